//! What endpoints get: a message as the cloud hub received it.

pub use edgectl_hub::cloud::events::ReceivedEvent;
