//! What a request for logs may say, and lines as the container engine frames them.

use axum::body::Bytes;
use jiff::Timestamp;

use crate::runtime::log_time;
use crate::runtime::module_runtime::{LogLine, LogQuery};
use crate::workload::exchange::parameter;

/// Which lines, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct LogsQuery {
    /// Go on with the lines to come.
    pub follow: bool,
    /// The last so many lines; all of them if none.
    pub tail: Option<usize>,
    /// None older than this.
    pub since: Timestamp,
    /// None newer than this.
    pub until: Option<Timestamp>,
    /// Each line with its time before it.
    pub timestamps: bool,
}

/// A parameter is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} of parameter {name}")]
pub struct InvalidParameter {
    name: &'static str,
    value: String,
}

impl LogsQuery {
    /// Reads a query. Times are counted back from `now`.
    pub fn read(query: Option<&str>, now: Timestamp) -> Result<Self, InvalidParameter> {
        let follow = read(query, "follow", |text| text.parse().ok())?;
        let timestamps = read(query, "timestamps", |text| text.parse().ok())?;
        let tail = read(query, "tail", |text| if text == "all" { Some(None) } else { text.parse().ok().map(Some) })?;
        let time = |name| read(query, name, |text| log_time::parse(text, now).ok());
        Ok(Self {
            follow: follow.unwrap_or_default(),
            timestamps: timestamps.unwrap_or_default(),
            tail: tail.flatten(),
            since: time("since")?.unwrap_or(Timestamp::UNIX_EPOCH),
            until: time("until")?,
        })
    }

    /// As a module's runtime is asked.
    pub fn for_runtime(&self) -> LogQuery {
        LogQuery { tail: self.tail, since: Some(self.since), until: self.until, follow: self.follow }
    }
}

fn read<T>(
    query: Option<&str>,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, InvalidParameter> {
    match parameter(query, name) {
        None => Ok(None),
        Some(value) => match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(InvalidParameter { name, value }),
        },
    }
}

/// A line in a frame: the stream's number, three zeros, the length in four bytes, the line with its end.
pub fn frame(line: &LogLine, timestamps: bool) -> Bytes {
    let text = if timestamps { format!("{} {}\n", line.at, line.text) } else { format!("{}\n", line.text) };
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(text.len() + 8);
    frame.extend([line.stream.number(), 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend(text.into_bytes());
    frame.into()
}
