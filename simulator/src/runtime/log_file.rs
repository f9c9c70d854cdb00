//! The log of a module: what it wrote, line by line, in a file of limited size.
//!
//! Each line is `{time} {stream} {text}`, the time in RFC 3339. A full file becomes `{name}.1`, in place of the one
//! before it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{broadcast, mpsc};

use crate::runtime::module_runtime::{LogLine, LogQuery, LogStream};

/// Lines on their way to a follower; who is further behind misses the oldest.
const FOLLOWED_LINES: usize = 1024;
/// Lines on their way to a reader; the reading waits for the reader.
const QUEUED_LINES: usize = 64;

/// The log of one module.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    open: Mutex<OpenLog>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    bytes: u64,
    followers: broadcast::Sender<LogLine>,
}

impl LogFile {
    /// Opens a log for appending. The file and the one before it have at most `max_bytes` each, but for what was
    /// appended last.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let open = OpenLog { file, bytes, followers: broadcast::Sender::new(FOLLOWED_LINES) };
        Ok(Self { path: path.to_owned(), max_bytes, open: Mutex::new(open) })
    }

    /// Appends lines.
    pub fn append(&self, lines: Vec<LogLine>) -> io::Result<()> {
        let text: String = lines.iter().map(format_line).collect();
        let mut open = self.lock();
        if open.bytes >= self.max_bytes {
            fs::rename(&self.path, self.rotated())?;
            open.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            open.bytes = 0;
        }
        open.file.write_all(text.as_bytes())?;
        open.bytes += text.len() as u64;
        if open.followers.receiver_count() > 0 {
            for line in lines {
                // Who has gone in the meantime is told nothing.
                open.followers.send(line).ok();
            }
        }
        Ok(())
    }

    /// Reads the lines that a query asks for. With `follow` the lines to come are sent until the log is dropped.
    pub fn read(self: &Arc<Self>, query: LogQuery) -> mpsc::Receiver<LogLine> {
        let (lines, receiver) = mpsc::channel(QUEUED_LINES);
        // What is in the file and what is still to come must neither overlap nor have a gap.
        let (files, news) = {
            let open = self.lock();
            let older = File::open(self.rotated()).ok().map(|file| (file, u64::MAX));
            // Its length now, since others may write to it too.
            let newer = File::open(&self.path).and_then(|file| file.metadata().map(|now| (file, now.len()))).ok();
            (older.into_iter().chain(newer), query.follow.then(|| open.followers.subscribe()))
        };
        tokio::spawn(async move {
            let (wanted, reader) = (query.clone(), lines.clone());
            let past = tokio::task::spawn_blocking(move || send_past(files, &wanted, &reader)).await;
            if let (Ok(Ok(())), Some(news)) = (past, news) {
                follow(news, &query, &lines).await;
            }
        });
        receiver
    }

    /// Removes the log's files.
    pub fn delete(&self) -> io::Result<()> {
        for path in [self.rotated(), self.path.clone()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn rotated(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".1");
        path.into()
    }

    fn lock(&self) -> MutexGuard<'_, OpenLog> {
        // The worst that a panic can leave is a line without its end.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the lines of files, each up to a number of bytes. Only the last ones are held in memory, if only those are wanted.
fn send_past(
    files: impl Iterator<Item = (File, u64)>,
    query: &LogQuery,
    lines: &mpsc::Sender<LogLine>,
) -> Result<(), SendError<LogLine>> {
    let mut last = VecDeque::new();
    for (file, end) in files {
        let mut reader = BufReader::new(io::Read::take(file, end));
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = parse_line(&String::from_utf8_lossy(&bytes)).filter(|line| is_wanted(query, line));
            bytes.clear();
            match (line, query.tail) {
                (Some(line), None) => lines.blocking_send(line)?,
                (Some(line), Some(tail)) => {
                    last.push_back(line);
                    if last.len() > tail {
                        last.pop_front();
                    }
                }
                (None, _) => {}
            }
        }
    }
    last.into_iter().try_for_each(|line| lines.blocking_send(line))
}

async fn follow(mut news: broadcast::Receiver<LogLine>, query: &LogQuery, lines: &mpsc::Sender<LogLine>) {
    loop {
        let line = tokio::select! {
            () = lines.closed() => return,
            line = news.recv() => line,
        };
        match line {
            Ok(line) if is_wanted(query, &line) => {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
            Ok(line) if query.until.is_some_and(|until| line.at > until) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                let text = format!("[{missed} lines are missing here: they came faster than they were read]");
                let gap = LogLine { at: Timestamp::now(), stream: LogStream::Stderr, text };
                if lines.send(gap).await.is_err() {
                    return;
                }
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn is_wanted(query: &LogQuery, line: &LogLine) -> bool {
    query.since.is_none_or(|since| line.at >= since) && query.until.is_none_or(|until| line.at <= until)
}

fn format_line(line: &LogLine) -> String {
    format!("{} {} {}\n", line.at, line.stream.as_str(), line.text)
}

/// Reads a line of the file. None for one that was not written whole.
fn parse_line(line: &str) -> Option<LogLine> {
    let mut parts = line.strip_suffix('\n')?.splitn(3, ' ');
    let at = parts.next()?.parse().ok()?;
    let stream = match parts.next()? {
        "stdout" => LogStream::Stdout,
        "stderr" => LogStream::Stderr,
        _ => return None,
    };
    Some(LogLine { at, stream, text: parts.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(number: i64) -> LogLine {
        let at = Timestamp::from_second(number).unwrap();
        LogLine { at, stream: LogStream::Stdout, text: format!("line {number}") }
    }

    async fn all(mut lines: mpsc::Receiver<LogLine>) -> Vec<LogLine> {
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn a_log_is_cut_at_its_size_and_read_through_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::open(&folder.path().join("m.log"), 400).unwrap());
        for number in 0..100 {
            log.append(vec![line(number)]).unwrap();
        }
        let bytes: u64 = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 1000);
        let kept = all(log.read(LogQuery::default())).await;
        assert_eq!(kept.last(), Some(&line(99)));
        let first = 100 - i64::try_from(kept.len()).unwrap();
        assert_eq!(kept, (first..100).map(line).collect::<Vec<_>>());
        let query = LogQuery { tail: Some(2), until: Some(line(97).at), ..LogQuery::default() };
        assert_eq!(all(log.read(query)).await, [line(96), line(97)]);
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::open(&folder.path().join("m.log"), 1 << 20).unwrap());
        log.append(vec![line(0)]).unwrap();
        log.append(vec![line(1)]).unwrap();
        let mut lines = log.read(LogQuery { tail: Some(1), follow: true, ..LogQuery::default() });
        log.append(vec![line(2)]).unwrap();
        assert_eq!(lines.recv().await, Some(line(1)));
        assert_eq!(lines.recv().await, Some(line(2)));
        log.append(vec![line(3)]).unwrap();
        drop(log);
        assert_eq!(all(lines).await, [line(3)]);
    }

    proptest! {
        #[test]
        fn lines_read_as_they_were_written(text in "[^\n]*", seconds in 0..4_000_000_000_i64, nanos in 0..1_000_000_000) {
            let at = Timestamp::new(seconds, nanos).unwrap();
            let line = LogLine { at, stream: LogStream::Stderr, text };
            prop_assert_eq!(parse_line(&format_line(&line)), Some(line));
        }
    }
}
