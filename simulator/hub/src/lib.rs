//! What a hub is: identities, messages, twins and methods behind one port, with no protocol and no socket.
//!
//! To its clients an edge hub looks like the cloud hub, so both implement [`gateway::Gateway`], and the edge hub
//! reaches the cloud through the same port.

pub mod auth;
pub mod certificate;
pub mod clock;
pub mod cloud;
pub mod documents;
pub mod edge;
pub mod event;
pub mod family;
pub mod gateway;
pub mod hand_clock;
pub mod message;
pub mod method;
pub mod metrics;
pub mod provisioning;
pub mod receipt;
pub mod sessions;
