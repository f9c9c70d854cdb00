//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::View;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Leave the screen.
    Leave,
    /// Ctrl-C.
    Interrupt,
    /// Show a view.
    Show(View),
    /// The next view.
    Next,
    /// The view before.
    Previous,
    /// One up.
    Up,
    /// One down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Cut the network to the hub above, or mend it.
    Network,
    /// Log lines of all modules, or of the chosen one.
    Scope,
}

/// The keys that are always there, for the last line.
pub(super) const ALWAYS: &str = "q quit  Tab or 1-5 view  n network off/on";

/// What else a view has.
pub(super) fn of(view: View) -> &'static str {
    match view {
        View::Modules => "Up/Down module",
        View::Routes | View::Queues => "Up/Down row",
        View::Twins => "Up/Down module  PgUp/PgDn twin",
        View::Logs => "Up/Down scroll  a all/one module",
    }
}

/// Reads a key; none for one without a meaning.
pub(super) fn read(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return (event.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    match event.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Leave),
        KeyCode::Tab | KeyCode::Right => Some(Key::Next),
        KeyCode::BackTab | KeyCode::Left => Some(Key::Previous),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(Key::PageDown),
        KeyCode::Char('n') => Some(Key::Network),
        KeyCode::Char('a') => Some(Key::Scope),
        KeyCode::Char(digit) => {
            let place = digit.to_digit(10)?.checked_sub(1)?;
            View::ALL.get(place as usize).copied().map(Key::Show)
        }
        _ => None,
    }
}
