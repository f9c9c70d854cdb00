//! Which messages of a fleet reached the cloud hub, each once, whatever order they came in and however often.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::CloudHub;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use tokio::time::Instant;

/// Messages that are looked at together.
const BATCH: usize = 256;

/// The part of a body that is about when, not what.
const TIME: &str = "timeCreated";

/// Who sent how much.
#[derive(Default)]
pub struct Tally {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What is left of each message, by device and module.
    messages: BTreeMap<(String, String), HashSet<u64>>,
    last: Option<Instant>,
}

impl Tally {
    /// Counts what comes from now on.
    pub async fn follow(self: Arc<Self>, cloud: Arc<CloudHub>, mut next: u64) {
        let mut arrivals = cloud.events().next_number();
        loop {
            // Looked at before reading, so that nothing slips through between.
            let end = *arrivals.borrow_and_update();
            while next < end {
                let events = match cloud.events().read(next, BATCH) {
                    Ok(events) => events,
                    Err(error) => {
                        tracing::error!(%error, "what the hub received cannot be counted");
                        return;
                    }
                };
                let Some(last) = events.last() else { break };
                next = last.sequence_number + 1;
                self.count(&events, cloud.clock().now());
            }
            if arrivals.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, events: &[ReceivedEvent], now: Instant) {
        let mut seen = self.lock();
        for event in events.iter().filter(|event| event.source.is_none()) {
            let Some(module) = event.module_id.clone() else { continue };
            if seen.messages.entry((event.device_id.clone(), module)).or_default().insert(left_of(event)) {
                seen.last = Some(now);
            }
        }
    }

    /// When the last new message came; none if none did.
    pub fn last(&self) -> Option<Instant> {
        self.lock().last
    }

    /// For each module of a device how many messages there were, and a digest of what they said.
    pub fn of(&self, device: &str) -> BTreeMap<String, (u64, String)> {
        let seen = self.lock();
        let from = (device.to_owned(), String::new());
        let own = seen.messages.range(from..).take_while(|((of, _), _)| of == device);
        own.map(|((_, module), messages)| (module.clone(), (messages.len() as u64, digest(messages)))).collect()
    }
}

/// What is kept of a message: its number and what it says, not when.
fn left_of(event: &ReceivedEvent) -> u64 {
    let body = match &event.body {
        Some(Value::Object(body)) => {
            let mut body = body.clone();
            body.remove(TIME);
            Value::Object(body).to_string()
        }
        _ => String::from_utf8_lossy(&event.bytes()).into_owned(),
    };
    let properties = Value::Object(event.properties.clone()).to_string();
    let hash = ring::digest::digest(&SHA256, format!("{properties}\n{body}").as_bytes());
    hash.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn digest(messages: &HashSet<u64>) -> String {
    let mut sorted: Vec<&u64> = messages.iter().collect();
    sorted.sort_unstable();
    let mut context = Context::new(&SHA256);
    for message in sorted {
        context.update(&message.to_be_bytes());
    }
    hexadecimal(context.finish().as_ref())
}

/// Bytes in lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xF])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: u64, body: Value) -> ReceivedEvent {
        let event = json!({
            "sequenceNumber": 0, "enqueuedTime": "", "deviceId": "d", "moduleId": "m",
            "properties": { "sequenceNumber": number.to_string() }, "systemProperties": {}, "body": body,
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn times_orders_and_repetitions_do_not_count() {
        let (one, two) = (Tally::default(), Tally::default());
        let (a, b) = (json!({ "v": 1, "timeCreated": "x" }), json!({ "v": 2, "timeCreated": "x" }));
        one.count(&[event(1, a.clone()), event(2, b.clone())], Instant::now());
        let later = json!({ "v": 1, "timeCreated": "y" });
        two.count(&[event(2, b), event(1, a), event(1, later)], Instant::now());
        assert_eq!(one.of("d"), two.of("d"));
        assert_eq!(one.of("d")["m"].0, 2);
        let other = Tally::default();
        other.count(&[event(1, json!({ "v": 3 })), event(2, json!({ "v": 2 }))], Instant::now());
        assert_ne!(one.of("d"), other.of("d"));
        assert!(one.of("e").is_empty());
    }
}
