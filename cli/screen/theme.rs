//! Colours, where they are wanted; what they say is said without them too.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) color: bool,
}

impl Theme {
    /// Headings and names.
    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub(super) fn weak() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What is chosen.
    pub(super) fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What went well.
    pub(super) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    /// What is wrong.
    pub(super) fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A module's status, in the runtime's words.
    pub(super) fn status(self, word: &str) -> Style {
        match word {
            "running" => self.good(),
            "backoff" | "unhealthy" => self.colored(Color::Yellow).add_modifier(Modifier::BOLD),
            "failed" | "dead" => self.bad(),
            _ => Style::new(),
        }
    }

    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }
}
