//! Direct methods of `$edgeAgent`.

pub mod blob;
pub mod log_line;
pub mod log_request;
pub mod logs;
pub mod method;
pub mod tasks;
pub mod uploads;

#[cfg(test)]
mod method_tests;
