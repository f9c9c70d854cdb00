//! A container's log as lines with their times.

use bollard::container::LogOutput;
use jiff::Timestamp;

use crate::runtime::module_runtime::{LogLine, LogStream};

/// Longest piece of a line that is kept before it is handed on as a line of its own, in bytes.
const MAX_LINE: usize = 256 * 1024;

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
        assert_eq!(texts(reader.take(&out("2026-01-01T00:00:00.1Z a b\n2026-01-01T00:00:00.2Z c"))), [(LogStream::Stdout, "a b".into())]);
        assert_eq!(texts(reader.take(&error("2026-01-01T00:00:00.3Z e\r\n"))), [(LogStream::Stderr, "e".into())]);
        let line = &reader.take(&out("d\n"))[0];
        assert_eq!((line.text.as_str(), line.at), ("cd", "2026-01-01T00:00:00.2Z".parse().unwrap()));
        assert_eq!(texts(reader.take(&out("2026-01-01T00:00:00.4Z \n"))), [(LogStream::Stdout, String::new())]);
        assert_eq!(texts(reader.take(&out("2026-01-01T00:00:00.5Z end"))), []);
        assert_eq!(texts(reader.rest()), [(LogStream::Stdout, "end".into())]);
    }
}
