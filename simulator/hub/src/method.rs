//! Direct methods: a question to a connected client, and its answer.

use std::time::Duration;

use bytes::Bytes;

/// Most bytes of a method's payload.
pub const MAX_PAYLOAD_BYTES: usize = 131_072;

/// A call as the target sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRequest {
    /// The method's name, 1 to 100 characters.
    pub name: String,
    /// JSON text; empty when the caller gave no payload.
    pub payload: Bytes,
    /// How long the target may take to answer.
    pub response_timeout: Duration,
    /// How long to wait for a target that is not connected.
    pub connect_timeout: Duration,
}

/// What the target answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    /// The target's own status.
    pub status: i32,
    /// JSON text; empty when the target gave none.
    pub payload: Bytes,
}
