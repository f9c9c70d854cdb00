//! Work that takes a while: moving lines on a terminal, plain lines elsewhere, nothing where nobody wants to know.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{BinaryBytes, MultiProgress, ProgressBar, ProgressStyle};

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
        let moving = is_moving(printer);
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { printer: printer.clone(), bars: moving.then(MultiProgress::new), width }
    }

    /// Starts the line of a thing.
    pub fn start(&self, name: &str, doing: &str) -> Line<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            set_up(&bar, self.padded(name), doing);
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

    /// Shows besides how many bytes were moved.
    pub fn transfer(&self, doing: &str) -> Transfer {
        Transfer { bar: self.bar.clone(), doing: doing.into(), ..Transfer::default() }
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

/// How many bytes of how many were sent or received: shown on a terminal, and nowhere else.
#[derive(Debug, Clone, Default)]
pub struct Transfer {
    bar: Option<ProgressBar>,
    doing: Arc<str>,
    moved: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Transfer {
    /// A transfer with a line of its own, which is gone when it has ended.
    pub fn new(printer: &Printer, name: &str, doing: &str) -> Self {
        let bar = is_moving(printer).then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            set_up(bar, name.to_owned(), doing);
        }
        Self { bar, doing: doing.into(), ..Self::default() }
    }

    /// There are more bytes to move.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    /// A part of so many bytes begins to move. Where it breaks off, it counts for nothing.
    pub fn part(&self, size: u64) -> Part {
        Part { transfer: self.clone(), size, moved: 0 }
    }

    /// Takes the line away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            let total = self.total.load(Ordering::Relaxed);
            // What was moved in vain may have been counted all the same.
            let moved = self.moved.load(Ordering::Relaxed).min(total);
            bar.set_message(format!("{}, {} of {}", self.doing, BinaryBytes(moved), BinaryBytes(total)));
        }
    }
}

/// A part of what is sent or received.
#[derive(Debug)]
pub struct Part {
    transfer: Transfer,
    size: u64,
    moved: u64,
}

impl Part {
    /// So many bytes of it were moved.
    pub fn add(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        self.transfer.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.transfer.show();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.moved < self.size {
            self.transfer.moved.fetch_sub(self.moved, Ordering::Relaxed);
        }
    }
}

/// Whether lines move: a person looks at a terminal.
fn is_moving(printer: &Printer) -> bool {
    std::io::stderr().is_terminal() && !printer.quiet && !printer.json
}

fn set_up(bar: &ProgressBar, name: String, doing: &str) {
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg:.dim} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.set_prefix(name);
    bar.set_message(doing.to_owned());
    bar.enable_steady_tick(TICK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_breaks_off_counts_for_nothing() {
        let transfer = Transfer::default();
        transfer.expect(10);
        let mut whole = transfer.part(4);
        whole.add(4);
        drop(whole);
        let mut broken = transfer.part(6);
        broken.add(5);
        assert_eq!(transfer.moved.load(Ordering::Relaxed), 9);
        drop(broken);
        assert_eq!(transfer.moved.load(Ordering::Relaxed), 4);
    }
}
