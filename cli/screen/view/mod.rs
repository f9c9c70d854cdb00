//! Drawing: a file for each view, and the frame around them.

pub mod frame;
mod logs;
mod modules;
mod numbers;
mod queues;
mod routes;
mod twins;
