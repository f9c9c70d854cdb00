//! The storage beside the cloud hub, where devices bring files: as much of a blob service as the SDKs use for that.
//!
//! Requests carry a signature over the name and a time; nothing is listed, leased or copied.

pub mod grant;
pub mod store;
