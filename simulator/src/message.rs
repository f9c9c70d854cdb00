//! Messages, for those who send them through the simulator.

pub use edgectl_hub::message::{Message, Properties, system};
