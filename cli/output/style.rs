//! Colours, where the reader wants them.

/// Wraps text in terminal colours, or does not.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to colour at all.
    pub color: bool,
}

impl Style {
    /// What stands out: headings, names.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Errors.
    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Warnings.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// What went well.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Commands to type.
    pub fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
