//! What became of messages in the edge hub, for who asks a running device.

pub use edgectl_hub::edge::trail::{QueueState, QueueTrace, Trace, Wanted};
