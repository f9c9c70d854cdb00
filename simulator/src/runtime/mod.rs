//! Module runtimes: the port through which the agent runs modules, and what runs them.

mod cgroup;
pub mod choice;
pub mod docker;
pub mod group_record;
pub mod launcher;
mod limits;
pub mod log_file;
pub mod log_time;
pub mod module_runtime;
pub mod process;
mod process_group;
mod process_module;

#[cfg(test)]
mod process_tests;
