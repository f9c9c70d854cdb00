//! What goes into an image that we build: a file for each kind of module, and how programs are compiled for a platform.

pub mod c;
pub mod code;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod content;
pub mod elf;
pub mod go;
pub mod node;
pub mod python;
pub mod rust;
pub mod stage;
pub mod toolchain;
