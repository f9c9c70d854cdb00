//! `edgectl deploy`: to one device or to many, here or at another hub, with what it would change, how far it is, and back.

pub mod apply;
pub mod command;
mod difference;
mod history;
mod place;
mod rollback;
mod status;
