//! Direct methods of `$edgeAgent`.

pub mod log_line;
pub mod log_request;
pub mod logs;
pub mod method;
