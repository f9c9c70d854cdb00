//! An edge hub and the cloud hub behind it, whole and in process: no sockets, no protocol, and a clock that stands still
//! until everybody waits.

mod connections;
mod crash;
mod device;
mod leaves;
mod messages;
mod methods;
mod metrics;
mod model;
mod nested;
mod peer;
mod restart;
mod twins;
mod way;
