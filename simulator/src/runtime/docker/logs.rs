//! A container's log as lines with their times.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::runtime::docker::engine::Engine;
use crate::runtime::module_runtime::{LogLine, LogQuery, LogStream};

/// Longest piece of a line that is kept before it is handed on as a line of its own, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// Reads the log of a container. The engine's own stream ends when the container does, so who follows reads on when it is
/// started again.
#[derive(Debug)]
pub struct LogReader {
    engine: Engine,
    container: String,
    query: LogQuery,
    changes: watch::Receiver<u64>,
    /// The time of the last line that was handed on.
    last: Option<Timestamp>,
    /// The same when the engine was last asked: it gives lines of that second again.
    resume_after: Option<Timestamp>,
}

/// Who reads the lines is gone.
struct Unwanted;

impl LogReader {
    /// Reads what a query asks for. What is followed is looked at again at each change.
    pub fn new(engine: Engine, container: String, query: LogQuery, changes: watch::Receiver<u64>) -> Self {
        Self { engine, container, query, changes, last: None, resume_after: None }
    }

    /// Reads until the end of the log, or of the container if it is followed.
    pub async fn run(mut self, lines: &mpsc::Sender<LogLine>) {
        loop {
            self.changes.borrow_and_update();
            match self.read(lines).await {
                Ok(true) if self.query.follow => {}
                _ => return,
            }
            if self.changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads until the engine has no more. False if there is no such container.
    async fn read(&mut self, lines: &mpsc::Sender<LogLine>) -> Result<bool, Unwanted> {
        self.resume_after = self.last;
        let mut log = self.engine.docker().logs(&self.container, Some(self.options()));
        let mut reader = LineReader::default();
        // The engine counts the last lines before it looks at their times.
        let keep = self.query.tail.filter(|_| self.query.until.is_some());
        let mut kept = VecDeque::new();
        let mut is_there = true;
        loop {
            let found = match log.next().await {
                Some(Ok(piece)) => reader.take(&piece),
                Some(Err(error)) => {
                    let error = self.engine.explain(error);
                    is_there = !error.is_not_found();
                    tracing::debug!(container = self.container, %error, "the log ends");
                    break;
                }
                None => break,
            };
            self.hand_on(found, keep, &mut kept, lines).await?;
        }
        self.hand_on(reader.rest(), keep, &mut kept, lines).await?;
        for line in kept {
            lines.send(line).await.map_err(|_| Unwanted)?;
        }
        Ok(is_there)
    }

    async fn hand_on(
        &mut self,
        found: Vec<LogLine>,
        keep: Option<usize>,
        kept: &mut VecDeque<LogLine>,
        lines: &mpsc::Sender<LogLine>,
    ) -> Result<(), Unwanted> {
        let (since, until) = (self.query.since, self.query.until);
        for line in found {
            let is_wanted = since.is_none_or(|since| line.at >= since)
                && until.is_none_or(|until| line.at <= until)
                && self.resume_after.is_none_or(|last| line.at > last);
            if !is_wanted {
                continue;
            }
            match keep {
                Some(most) => {
                    kept.push_back(line);
                    if kept.len() > most {
                        kept.pop_front();
                    }
                }
                None => {
                    self.last = self.last.max(Some(line.at));
                    lines.send(line).await.map_err(|_| Unwanted)?;
                }
            }
        }
        Ok(())
    }

    /// The engine's times are whole seconds; lines are looked at again one by one.
    fn options(&self) -> LogsOptions {
        let second = |at: Timestamp| i32::try_from(at.as_second()).unwrap_or(i32::MAX);
        let tail = self.query.tail.filter(|_| self.query.until.is_none() && self.last.is_none());
        LogsOptions {
            follow: self.query.follow,
            stdout: true,
            stderr: true,
            since: self.last.or(self.query.since).map_or(0, second),
            until: self.query.until.map_or(0, |until| second(until).saturating_add(1)),
            timestamps: true,
            tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        }
    }
}

/// Puts the pieces of a stream with times together to lines.
#[derive(Debug, Default)]
pub struct LineReader {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl LineReader {
    /// Takes a piece, and gives the lines that it completes.
    pub fn take(&mut self, piece: &LogOutput) -> Vec<LogLine> {
        let (stream, bytes) = match piece {
            LogOutput::StdErr { message } => (LogStream::Stderr, message),
            // A terminal has one stream for both.
            LogOutput::StdOut { message } | LogOutput::Console { message } => (LogStream::Stdout, message),
            LogOutput::StdIn { .. } => return Vec::new(),
        };
        let held = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        held.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            lines.extend(line_of(&line[..end], stream));
        }
        if held.len() > MAX_LINE {
            lines.extend(line_of(&std::mem::take(held), stream));
        }
        lines
    }

    /// What is left when the log ends.
    pub fn rest(&mut self) -> Vec<LogLine> {
        let stdout = line_of(&std::mem::take(&mut self.stdout), LogStream::Stdout);
        stdout.into_iter().chain(line_of(&std::mem::take(&mut self.stderr), LogStream::Stderr)).collect()
    }
}

/// A line as the engine writes it: its time, a blank, and the text.
fn line_of(bytes: &[u8], stream: LogStream) -> Option<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    if text.is_empty() {
        return None;
    }
    let (at, text) = match text.split_once(' ') {
        Some((time, rest)) => match time.parse::<Timestamp>() {
            Ok(at) => (at, rest),
            Err(_) => (Timestamp::UNIX_EPOCH, text),
        },
        // An empty line is its time alone.
        None => text.parse::<Timestamp>().map_or((Timestamp::UNIX_EPOCH, text), |at| (at, "")),
    };
    Some(LogLine { at, stream, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_of_their_streams() {
        let mut reader = LineReader::default();
        let out = |text: &'static str| LogOutput::StdOut { message: text.into() };
        let error = |text: &'static str| LogOutput::StdErr { message: text.into() };
        let texts = |lines: Vec<LogLine>| lines.into_iter().map(|line| (line.stream, line.text)).collect::<Vec<_>>();
        assert_eq!(
            texts(reader.take(&out("2026-01-01T00:00:00.1Z a b\n2026-01-01T00:00:00.2Z c"))),
            [(LogStream::Stdout, "a b".into())]
        );
        assert_eq!(texts(reader.take(&error("2026-01-01T00:00:00.3Z e\r\n"))), [(LogStream::Stderr, "e".into())]);
        let line = &reader.take(&out("d\n"))[0];
        assert_eq!((line.text.as_str(), line.at), ("cd", "2026-01-01T00:00:00.2Z".parse().unwrap()));
        assert_eq!(texts(reader.take(&out("2026-01-01T00:00:00.4Z \n"))), [(LogStream::Stdout, String::new())]);
        assert_eq!(texts(reader.take(&out("2026-01-01T00:00:00.5Z end"))), []);
        assert_eq!(texts(reader.rest()), [(LogStream::Stdout, "end".into())]);
    }
}
