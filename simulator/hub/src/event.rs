//! What happens in a device, as one typed stream. Counters and every view of a running device are readers of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::Identity;
use serde::Serialize;
use tokio::sync::broadcast;

/// How many events a slow reader may fall behind before it misses some.
const STREAM_LENGTH: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The edge hub took a message, and keeps it if a route wants it.
    MessageAccepted {
        /// Who sent it.
        from: Identity,
    },
    /// A route took a message.
    MessageRouted {
        /// The route's name.
        route: Arc<str>,
    },
    /// An endpoint acknowledged a message.
    MessageDelivered {
        /// The endpoint: `iothub`, or `D/{module}/{input}`.
        endpoint: Arc<str>,
    },
    /// A message will never arrive.
    MessageDropped {
        /// Why.
        reason: DropReason,
    },
    /// A client connected to the edge hub.
    ClientConnected {
        /// Who.
        client: Identity,
    },
    /// A client's connection to the edge hub ended.
    ClientDisconnected {
        /// Who.
        client: Identity,
    },
    /// The edge hub took, or refused, a configuration.
    HubConfigured {
        /// The `$version` of the desired properties.
        version: u64,
        /// 200, or 400.
        code: u16,
    },
}

/// Why a message was dropped; the words of the metric `edgehub_messages_dropped_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// No route wanted it.
    NoRoute,
    /// Its time to live ran out.
    TtlExpiry,
    /// The endpoint will never take it.
    Rejected,
}

/// What was counted since the device started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Messages taken, by sender.
    pub accepted: BTreeMap<String, u64>,
    /// Messages taken, by route.
    pub routed: BTreeMap<String, u64>,
    /// Messages acknowledged, by endpoint.
    pub delivered: BTreeMap<String, u64>,
    /// Messages dropped, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Counters {
    fn count(&mut self, event: &Event, times: u64) {
        match event {
            Event::MessageAccepted { from } => add(&mut self.accepted, &from.to_string(), times),
            Event::MessageRouted { route } => add(&mut self.routed, route, times),
            Event::MessageDelivered { endpoint } => add(&mut self.delivered, endpoint, times),
            Event::MessageDropped { reason } => *self.dropped.entry(*reason).or_default() += times,
            Event::ClientConnected { .. } | Event::ClientDisconnected { .. } | Event::HubConfigured { .. } => {}
        }
    }
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str, times: u64) {
    match counts.get_mut(name) {
        Some(count) => *count += times,
        None => {
            counts.insert(name.to_owned(), times);
        }
    }
}

/// Writes events down: counts them, and hands them to whoever listens.
#[derive(Debug)]
pub struct Ledger {
    counters: Mutex<Counters>,
    stream: broadcast::Sender<Event>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { counters: Mutex::default(), stream: broadcast::Sender::new(STREAM_LENGTH) }
    }
}

impl Ledger {
    /// Writes an event down.
    pub fn record(&self, event: Event) {
        self.record_times(&event, 1);
    }

    /// Writes down that the same happened so many times.
    pub fn record_times(&self, event: &Event, times: usize) {
        if times == 0 {
            return;
        }
        self.lock().count(event, times as u64);
        // Nobody listening is no error, and nothing is made for nobody.
        if self.stream.receiver_count() > 0 {
            for _ in 0..times {
                let _ = self.stream.send(event.clone());
            }
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.stream.subscribe()
    }
}
