//! The query language of the service: over devices, their modules and jobs, and in the target conditions of configurations.
//!
//! `token` splits a text, `parser` makes a `statement` of it, `evaluate` says what an `expression` is for one row.

pub mod evaluate;
pub mod expression;
pub mod parser;
pub mod statement;
mod token;

#[cfg(test)]
mod tests;
