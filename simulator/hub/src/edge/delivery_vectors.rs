//! What is settled in any order, and what of it may be forgotten: the public vectors of checkpoints and queue names, on
//! the receipts and the queue that delivery uses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::store::queue::{Cursor, Queue};
use super::store::record::{Entry, QueueKey};
use crate::gateway::Settlement;
use crate::message::Message;
use crate::receipt::Receipts;

/// The offsets of a vector, which may be any numbers, as places in their order: the rules know no more of them.
struct Places(Vec<i64>);

impl Places {
    fn of(offsets: impl IntoIterator<Item = i64>) -> Self {
        Self(offsets.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn place(&self, offset: i64) -> u64 {
        self.0.binary_search(&offset).expect("an offset of the vector") as u64
    }

    /// The highest offset that the queue is done with.
    fn checkpoint(&self, queue: &Queue) -> i64 {
        let mut done = self.0.iter().filter(|offset| queue.is_done(self.place(**offset)));
        done.next_back().copied().expect("the checkpoint that it began with")
    }
}

fn queue_from(place: u64) -> Queue {
    let mut queue = Queue::new(Arc::default());
    queue.complete(place, |_, _| {});
    queue
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("an offset")
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().expect("offsets").iter().map(number).collect()
}

fn admits(input: &Value) -> bool {
    let (offset, checkpoint) = (number(&input["offset"]), number(&input["checkpoint"]));
    let places = Places::of([offset, checkpoint]);
    !queue_from(places.place(checkpoint)).is_done(places.place(offset))
}

/// Hands messages over in order, settles the successful ones in the vector's order, and completes what delivery would.
fn commit(input: &Value) -> (Places, Queue) {
    let (successful, remaining) = (numbers(&input["successful"]), numbers(&input["remaining"]));
    let checkpoint = number(&input["checkpoint"]);
    let all = || successful.iter().chain(&remaining).copied();
    let places = Places::of(all().chain([checkpoint]));
    let mut queue = queue_from(places.place(checkpoint));
    let waiting: BTreeSet<i64> = all().filter(|offset| !queue.is_done(places.place(*offset))).collect();
    let receipts = Arc::new(Receipts::default());
    let mut issued = Vec::new();
    for offset in &waiting {
        let place = places.place(*offset);
        let entry = Entry { offset: place, enqueued_ms: 0, expires_ms: u64::MAX, message: Message::new("x").into() };
        assert!(queue.push(entry, Cursor { base: 0, position: 0 }, true));
        issued.push((*offset, Some(receipts.issue())));
    }
    for offset in successful {
        if let Some((_, receipt)) = issued.iter_mut().find(|(known, _)| *known == offset) {
            receipt.take().expect("settled once").settle(Settlement::Complete);
        }
    }
    for (offset, outcome) in waiting.iter().zip(receipts.collect()) {
        assert_eq!(outcome, Ok(Settlement::Complete));
        queue.complete(places.place(*offset), |_, _| {});
    }
    (places, queue)
}

fn result(operation: &str, input: &Value) -> Value {
    match operation {
        "admit" => json!(admits(input)),
        "commit" => {
            let (places, queue) = commit(input);
            json!(places.checkpoint(&queue))
        }
        "commit_keeps_remaining_admissible" => {
            let (places, queue) = commit(input);
            json!(numbers(&input["remaining"]).into_iter().all(|offset| !queue.is_done(places.place(offset))))
        }
        "parse_queue_id" => {
            let key = QueueKey::parse(input.as_str().expect("a name"));
            json!({ "endpoint": &*key.endpoint, "priority": key.priority })
        }
        other => panic!("no such operation: {other}"),
    }
}

#[test]
fn the_public_vectors_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/store_forward.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("passed over: {} is not there", path.display());
        return;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let got = result(vector["op"].as_str().unwrap(), &vector["input"]);
        assert_eq!(got, vector["expected"], "{}", vector["id"]);
    }
}

#[test]
fn the_name_of_a_queue_tells_endpoint_and_priority() {
    let cases = [
        ("iothub", "iothub", 2_000_000_000),
        ("iothub_Pri0", "iothub", 0),
        ("edge/a_Pri7/in_Pri3", "edge/a_Pri7/in", 3),
        ("edge/a/in_Prime", "edge/a/in_Prime", 2_000_000_000),
        ("edge/a/in_Pri", "edge/a/in_Pri", 2_000_000_000),
    ];
    for (name, endpoint, priority) in cases {
        let key = QueueKey { endpoint: endpoint.into(), priority };
        assert_eq!(QueueKey::parse(name), key);
        assert_eq!(key.to_string(), name);
    }
}

#[test]
fn what_is_settled_behind_a_gap_is_not_forgotten() {
    let input = json!({ "checkpoint": 10, "successful": [13, 11], "remaining": [12] });
    assert_eq!(result("commit", &input), json!(11));
}
