//! Module runtimes: the port through which the agent runs modules, and what runs them.

pub mod module_runtime;
