//! Messages that reached the cloud hub: appended to a file as lines of JSON, numbered, and read again from any number.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::ids::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::message::{Message, Properties, system};

/// A file that has grown to this size is put aside, and the one put aside before is removed.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedEvent {
    /// Its number; the first is 0.
    pub sequence_number: u64,
    /// When it was received.
    pub enqueued_time: String,
    /// The sending device.
    pub device_id: String,
    /// The sending module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Application properties.
    pub properties: Map<String, Value>,
    /// System properties, by the names that routes use.
    pub system_properties: Map<String, Value>,
    /// The body: JSON where the sender says it is and it is, else text where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// A body that is neither, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The text of a body that is shown as JSON, where writing that again would not give the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_text: Option<String>,
    /// What it is where it is no telemetry: `twinChangeEvents`, `deviceLifecycleEvents`, `deviceConnectionStateEvents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How many events up to this one were no telemetry.
    #[serde(default, skip_serializing_if = "is_none")]
    pub notices: u64,
}

/// What is known of a message without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventHead {
    /// Its number.
    pub sequence_number: u64,
    /// When it was received.
    pub enqueued_time: String,
    /// The device.
    pub device_id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl ReceivedEvent {
    /// The body as it came.
    pub fn bytes(&self) -> Vec<u8> {
        match (&self.body_text, &self.body_base64, &self.body) {
            (Some(text), _, _) => text.clone().into_bytes(),
            // Nobody but us writes it.
            (None, Some(encoded), _) => BASE64.decode(encoded).unwrap_or_default(),
            (None, None, Some(Value::String(text))) if !self.is_json() => text.clone().into_bytes(),
            (None, None, Some(body)) => body.to_string().into_bytes(),
            (None, None, None) => Vec::new(),
        }
    }

    fn is_json(&self) -> bool {
        let kind = self.system_properties.get(system::CONTENT_TYPE).and_then(Value::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct EventsError {
    path: PathBuf,
    source: io::Error,
}

/// A message that is to be kept.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// What it is where it is no telemetry.
    pub source: Option<&'a str>,
    /// Who sent it, or whom it is about.
    pub from: &'a Identity,
    /// The message.
    pub message: Message,
}

/// The messages that one cloud hub received.
pub struct Events {
    directory: PathBuf,
    inner: Mutex<Inner>,
    next: watch::Sender<u64>,
}

struct Inner {
    file: File,
    length: u64,
    notices: u64,
}

impl Events {
    /// Opens what was kept in a directory. A line that a crash left unfinished is cut off.
    pub fn open(directory: &Path) -> Result<Self, EventsError> {
        let path = current(directory);
        let error = |source| EventsError { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path).map_err(error)?;
        let (length, last) = whole_lines(&path).map_err(error)?;
        file.set_len(length).map_err(error)?;
        let last = match last {
            Some(last) => Some(last),
            None if aside(directory).exists() => whole_lines(&aside(directory)).map_err(error)?.1,
            None => None,
        };
        let (next, notices) = last.map_or((0, 0), |(number, notices)| (number + 1, notices));
        let inner = Mutex::new(Inner { file, length, notices });
        Ok(Self { directory: directory.to_owned(), inner, next: watch::Sender::new(next) })
    }

    /// Keeps messages. When this returns they survive the death of the process.
    pub fn append(&self, arrivals: &[Arrival], now: &str) -> Result<(), EventsError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |source| EventsError { path: current(&self.directory), source };
        let first = *self.next.borrow();
        let mut bytes = Vec::new();
        let mut notices = inner.notices;
        for (arrival, number) in arrivals.iter().zip(first..) {
            notices += u64::from(arrival.source.is_some());
            let event = ReceivedEvent { notices, ..received(number, arrival, now) };
            serde_json::to_writer(&mut bytes, &event).map_err(|e| error(e.into()))?;
            bytes.push(b'\n');
        }
        if inner.length >= FILE_BYTES {
            let path = current(&self.directory);
            std::fs::rename(&path, aside(&self.directory)).map_err(error)?;
            inner.file =
                OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path).map_err(error)?;
            inner.length = 0;
        }
        if let Err(source) = inner.file.write_all(&bytes) {
            // Half a line must not stay before the next one.
            let _ = inner.file.set_len(inner.length);
            return Err(error(source));
        }
        inner.length += bytes.len() as u64;
        inner.notices = notices;
        self.next.send_replace(first + arrivals.len() as u64);
        Ok(())
    }

    /// The messages that are kept, from a number on, at most so many.
    pub fn read(&self, from: u64, count: usize) -> Result<Vec<ReceivedEvent>, EventsError> {
        let mut events = Vec::new();
        self.each(from, |event: ReceivedEvent| {
            if event.sequence_number >= from {
                events.push(event);
            }
            events.len() < count
        })?;
        Ok(events)
    }

    /// Goes through all that is kept without reading what is in it.
    pub fn heads(&self, mut visit: impl FnMut(EventHead)) -> Result<(), EventsError> {
        self.each(0, |head| {
            visit(head);
            true
        })
    }

    /// Goes through the lines from shortly before a number on, until the visitor has enough.
    fn each<T: DeserializeOwned>(&self, from: u64, mut visit: impl FnMut(T) -> bool) -> Result<(), EventsError> {
        for path in [aside(&self.directory), current(&self.directory)] {
            let error = |source| EventsError { path: path.clone(), source };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(error(source)),
            };
            let mut lines = BufReader::new(file);
            seek_to(&mut lines, from).map_err(error)?;
            for line in lines.lines() {
                // The last line may be one that is being written.
                let Ok(event) = serde_json::from_str(&line.map_err(error)?) else { continue };
                if !visit(event) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How many messages devices and modules have sent.
    pub fn telemetry(&self) -> u64 {
        // Both change while the lock is held.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (*self.next.borrow()).saturating_sub(inner.notices)
    }

    /// The number that the next message will have, and how to wait for it to grow.
    pub fn next_number(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }
}

fn current(directory: &Path) -> PathBuf {
    directory.join("events.jsonl")
}

fn aside(directory: &Path) -> PathBuf {
    directory.join("events.old.jsonl")
}

/// Goes to a line shortly before the one with a number, or at the beginning: lines stand in the order of their numbers.
fn seek_to(lines: &mut BufReader<File>, from: u64) -> io::Result<()> {
    /// Within so many bytes it is as quick to read on.
    const NEAR: u64 = 32 * 1024;
    let (mut low, mut high) = (0, lines.get_ref().metadata()?.len());
    while from > 0 && high - low > NEAR {
        let middle = low + (high - low) / 2;
        lines.seek(SeekFrom::Start(middle))?;
        let mut line = Vec::new();
        // The rest of a line, and the next one whole.
        lines.read_until(b'\n', &mut line)?;
        let at = lines.stream_position()?;
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        match serde_json::from_slice::<EventHead>(&line) {
            Ok(head) if head.sequence_number < from && at < high => low = at,
            _ => high = middle,
        }
    }
    lines.seek(SeekFrom::Start(low))?;
    Ok(())
}

/// Bytes of the whole lines of a file, and in the last of them its number and how many were no telemetry. Only the end of
/// the file is read: it may be large, and who starts a device waits.
fn whole_lines(path: &Path) -> io::Result<(u64, Option<(u64, u64)>)> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut window = 64 * 1024;
    loop {
        let start = end.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&file).take(end - start).read_to_end(&mut bytes)?;
        let newline = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
        let last = newline(&bytes);
        let begin = last.and_then(|last| newline(&bytes[..last]).map(|before| before + 1));
        let (begin, last) = match (begin, last) {
            (Some(begin), Some(last)) => (begin, last),
            _ if start > 0 => {
                window *= 2;
                continue;
            }
            (None, Some(last)) => (0, last),
            (_, None) => return Ok((0, None)),
        };
        let event: ReceivedEvent = serde_json::from_slice(&bytes[begin..last])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        return Ok((start + last as u64 + 1, Some((event.sequence_number, event.notices))));
    }
}

/// System properties, with the sender as the hub knows it, whatever the message says.
fn stamped(system: &Properties, from: &Identity) -> Map<String, Value> {
    let mut stamped = object(system);
    stamped.insert(system::CONNECTION_DEVICE_ID.to_owned(), from.device.as_str().into());
    match &from.module {
        Some(module) => stamped.insert(system::CONNECTION_MODULE_ID.to_owned(), module.as_str().into()),
        None => stamped.shift_remove(system::CONNECTION_MODULE_ID),
    };
    stamped
}

fn received(sequence_number: u64, Arrival { source, from, message }: &Arrival, now: &str) -> ReceivedEvent {
    let is_json =
        message.system.get(system::CONTENT_TYPE).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let text = std::str::from_utf8(&message.body).ok();
    let parsed = text.filter(|_| is_json).and_then(|text| serde_json::from_str(text).ok());
    let body = parsed.or_else(|| text.map(|text| Value::String(text.to_owned())));
    let mut event = ReceivedEvent {
        sequence_number,
        enqueued_time: now.to_owned(),
        device_id: from.device.to_string(),
        module_id: from.module.as_ref().map(ToString::to_string),
        properties: object(&message.properties),
        system_properties: stamped(&message.system, from),
        body_base64: body.is_none().then(|| BASE64.encode(&message.body)),
        body,
        body_text: None,
        source: source.map(str::to_owned),
        notices: 0,
    };
    // A null is read back as nothing at all.
    if event.bytes() != message.body || event.body == Some(Value::Null) {
        event.body_text = text.map(str::to_owned);
    }
    event
}

fn object(properties: &Properties) -> Map<String, Value> {
    properties.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(events: &Events, body: &str) {
        let mut message = Message::new(body.to_owned());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        let from = &Identity::parse("edge/filter").unwrap();
        events.append(&[Arrival { source: None, from, message }], "2026-01-01T00:00:00.000Z").unwrap();
    }

    #[test]
    fn messages_are_numbered_on_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        append(&Events::open(directory.path()).unwrap(), r#"{"a":1}"#);
        let path = current(directory.path());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"sequenceNum").unwrap();

        let events = Events::open(directory.path()).unwrap();
        append(&events, "not json");
        let kept = events.read(0, 10).unwrap();
        assert_eq!(kept.iter().map(|event| event.sequence_number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(kept[0].body, Some(json!({ "a": 1 })));
        assert_eq!(kept[1].body, Some(json!("not json")));
        assert_eq!(kept[0].module_id.as_deref(), Some("filter"));
        assert_eq!(events.read(1, 10).unwrap().len(), 1);
    }

    #[test]
    fn the_end_of_a_file_is_found_however_long_its_last_lines_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = current(directory.path());
        for (number, length) in [10, 70_000, 300_000, 0].into_iter().enumerate() {
            let events = Events::open(directory.path()).unwrap();
            assert_eq!(*events.next_number().borrow(), number as u64);
            append(&events, &"x".repeat(length));
            OpenOptions::new().append(true).open(&path).unwrap().write_all(&vec![b'{'; length]).unwrap();
        }
        let events = Events::open(directory.path()).unwrap();
        assert_eq!(events.read(0, 10).unwrap().len(), 4);
        assert_eq!(events.telemetry(), 4);
        let mut numbers = Vec::new();
        events.heads(|head| numbers.push(head.sequence_number)).unwrap();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }

    #[test]
    fn bodies_come_out_as_they_went_in_and_from_any_number() {
        let directory = tempfile::tempdir().unwrap();
        let events = Events::open(directory.path()).unwrap();
        let bodies = [r#"{ "a" : 1.50 }"#, r#""text""#, "not json", "", r#"{"a":1}"#, "null"];
        for number in 0..3000 {
            append(&events, bodies[number % bodies.len()]);
        }
        for from in [0, 1, 17, 1500, 2998, 2999] {
            let event = events.read(from, 1).unwrap().remove(0);
            assert_eq!(event.sequence_number, from);
            assert_eq!(event.bytes(), bodies[usize::try_from(from).unwrap() % bodies.len()].as_bytes());
        }
        assert_eq!(events.read(1000, 5000).unwrap().len(), 2000);
        assert!(events.read(3000, 1).unwrap().is_empty());
    }

    #[test]
    fn a_body_that_is_no_text_is_base64() {
        let directory = tempfile::tempdir().unwrap();
        let events = Events::open(directory.path()).unwrap();
        let arrival =
            Arrival { source: None, from: &Identity::parse("leaf").unwrap(), message: Message::new(vec![0xff, 0x00]) };
        events.append(&[arrival], "t").unwrap();
        let event = events.read(0, 1).unwrap().remove(0);
        assert_eq!((event.body, event.body_base64.as_deref()), (None, Some("/wA=")));
    }
}
