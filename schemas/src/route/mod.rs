//! The routes of an edge hub: `FROM source WHERE condition INTO sink`.
//!
//! A route's text goes through `lexer` and `parser` to a [`parser::Route`], its condition through
//! `condition` to something that can be evaluated, and many routes together are a [`table::RouteTable`].
//! [`check`] says all that is wrong or surprising about one route, with the place in its text.

pub mod body;
pub mod check;
pub mod condition;
pub mod definition;
pub mod error;
pub mod lexer;
pub mod message;
pub mod parser;
pub mod sink;
pub mod source;
pub mod table;
pub mod trap;
