//! What happens in a device, as one typed stream. Counters and every view of a running device are readers of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
        route: String,
    },
    /// An endpoint acknowledged a message.
    MessageDelivered {
        /// The endpoint: `iothub`, or `D/{module}/{input}`.
        endpoint: String,
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
        {
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            match &event {
                Event::MessageAccepted { from } => *counters.accepted.entry(from.to_string()).or_default() += 1,
                Event::MessageRouted { route } => *counters.routed.entry(route.clone()).or_default() += 1,
                Event::MessageDelivered { endpoint } => {
                    *counters.delivered.entry(endpoint.clone()).or_default() += 1;
                }
                Event::MessageDropped { reason } => *counters.dropped.entry(*reason).or_default() += 1,
                Event::ClientConnected { .. } | Event::ClientDisconnected { .. } | Event::HubConfigured { .. } => {}
            }
        }
        // Nobody listening is no error.
        let _ = self.stream.send(event);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.stream.subscribe()
    }
}
