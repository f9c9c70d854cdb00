//! How safely a device's edge hub keeps messages, for those who start one.

pub use edgectl_hub::edge::store::durability::Durability;
