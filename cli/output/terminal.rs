//! The terminal behind standard input, handed over to another program.

use std::io::{self, IsTerminal as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal gives every key at once and shows none, until this is dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Hands the terminal over; none where standard input is none.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }

    /// Its width and height, in characters.
    pub fn size() -> (u16, u16) {
        // One that does not say is taken for the usual one.
        tcgetwinsize(io::stdin()).map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
