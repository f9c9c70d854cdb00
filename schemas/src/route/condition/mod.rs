//! The condition of a route: text to tree, tree to something that is evaluated for each message.

pub mod compile;
pub mod evaluate;
pub mod expression;
pub mod function;
pub mod number;
pub mod parser;
pub mod types;
pub mod value;
