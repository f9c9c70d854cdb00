//! Profiles: what the machine of a device is like, so that a simulated one refuses what the real one would.

pub mod amount;
pub mod architecture;
pub mod budget;
pub mod catalog;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod profile;
