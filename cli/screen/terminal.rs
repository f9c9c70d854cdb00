//! Taking the terminal over, and giving it back whatever happens.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

use super::keys::{self, Key};

/// How often it is seen that nobody waits for keys any more.
const PATIENCE: Duration = Duration::from_millis(250);
/// Inputs that wait to be handled; a keyboard that is faster waits.
const QUEUE: usize = 64;

/// The terminal, taken over until this is dropped. A panic gives it back before it tells of itself.
pub(super) struct Taken {
    pub(super) terminal: DefaultTerminal,
}

/// What somebody did at the terminal.
pub(super) enum Input {
    /// A key was pressed.
    Key(Key),
    /// The terminal has another size.
    Resized,
}

impl Taken {
    /// Takes it over.
    pub(super) fn take() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        Ok(Self { terminal })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Hears what is done at the terminal, on a thread of its own, until nobody listens.
pub(super) fn inputs() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(PATIENCE) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let input = match event::read() {
                Ok(Event::Key(key)) => keys::read(key).map(Input::Key),
                Ok(Event::Resize(..)) => Some(Input::Resized),
                Ok(_) => None,
                Err(_) => return,
            };
            if input.is_some_and(|input| sender.blocking_send(input).is_err()) {
                return;
            }
        }
    });
    receiver
}
