//! Work that takes a while: moving lines on a terminal, plain lines elsewhere, nothing where nobody wants to know.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::printer::Printer;

const TICK: Duration = Duration::from_millis(120);

/// Several things that go on at once.
#[derive(Debug)]
pub struct Progress {
    printer: Printer,
    bars: Option<MultiProgress>,
    width: usize,
}

/// One of the things that go on.
#[derive(Debug)]
pub struct Line<'a> {
    progress: &'a Progress,
    name: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress of things with these names, on standard error.
    pub fn new(printer: &Printer, names: &[&str]) -> Self {
        let moving = std::io::stderr().is_terminal() && !printer.quiet && !printer.json;
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { printer: printer.clone(), bars: moving.then(MultiProgress::new), width }
    }

    /// Starts the line of a thing.
    pub fn start(&self, name: &str, doing: &str) -> Line<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg:.dim} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(self.padded(name));
            bar.set_message(doing.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        let line = Line { progress: self, name: name.to_owned(), bar };
        if line.bar.is_none() {
            line.say(doing);
        }
        line
    }

    fn padded(&self, name: &str) -> String {
        let width = self.width;
        format!("{name:width$}")
    }
}

impl Line<'_> {
    /// Shows what is going on; on a terminal only, since it changes often.
    pub fn update(&self, doing: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(doing.to_owned());
        }
    }

    /// Says something that stays, with the name before each of its lines.
    pub fn say(&self, text: &str) {
        let name = self.progress.padded(&self.name);
        let print = || {
            for line in text.lines() {
                self.progress.printer.note(&format!("{} {line}", self.progress.printer.err.dim(&format!("{name} |"))));
            }
        };
        match &self.progress.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Ends the line with how it went.
    pub fn finish(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.say(outcome);
    }
}
