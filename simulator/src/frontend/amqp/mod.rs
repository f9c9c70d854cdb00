//! The AMQP front end: `connection` moves frames, `opening` agrees on how, `conversation` and `requests` give them
//! meaning, `session` keeps a session's windows and links, whose ends are `receiving` and `sending`, `member` is one of the
//! clients that share the connection, `link` is what the hub sees of it.

pub mod connection;
pub mod conversation;
pub mod desk;
pub mod link;
pub mod member;
pub mod opening;
pub mod receiving;
pub mod refusal;
pub mod requests;
pub mod sending;
pub mod session;
