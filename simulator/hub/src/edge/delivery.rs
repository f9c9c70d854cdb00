//! From a queue of the store to its endpoint: one task for each, strictly in order.

use std::sync::Arc;
use std::time::Duration;

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::route::sink::CLOUD_ENDPOINT_ID;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::line::Line;
use crate::clock::Clock;
use crate::edge::metrics::{Delivered, Metrics};
use crate::edge::settings::Settings;
use crate::edge::store::record::{Entry, QueueKey};
use crate::edge::store::store::{Batch, Store};
use crate::edge::trail::Trail;
use crate::edge::upstream::Upstream;
use crate::event::{DropReason, Event, Ledger};
use crate::gateway::{Destination, Feature, LinkClosed, Settlement};
use crate::sessions::Sessions;

/// Waits between tries grow from the first to the last of these.
pub(super) const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// How long a module that gave a message back, or whose connection just ended, is left alone.
pub(super) const REDELIVERY_DELAY: Duration = Duration::from_millis(100);

/// What all deliveries share.
pub struct Outbound {
    /// Where messages wait.
    pub store: Arc<Store>,
    /// Connected modules.
    pub sessions: Arc<Sessions>,
    /// The way to the cloud hub.
    pub upstream: Arc<Upstream>,
    /// Where deliveries are written down.
    pub ledger: Arc<Ledger>,
    /// What is counted and measured of deliveries.
    pub metrics: Arc<Metrics>,
    /// What became of the last messages.
    pub trail: Arc<Trail>,
    /// What the deployment sets.
    pub settings: Arc<watch::Sender<Settings>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Ends all deliveries.
    pub shutdown: CancellationToken,
}

/// Where an endpoint's messages go.
#[derive(Debug, Clone)]
pub enum Target {
    /// The cloud hub.
    Upstream,
    /// An input of a module of this device.
    Module {
        /// The module.
        identity: Identity,
        /// Its input.
        input: String,
    },
}

impl Target {
    /// The target of an endpoint by its identifier: `iothub`, or `{device}/{module}/{input}`.
    pub fn parse(endpoint: &str) -> Option<Self> {
        if endpoint == CLOUD_ENDPOINT_ID {
            return Some(Self::Upstream);
        }
        let (device, rest) = endpoint.split_once('/')?;
        let (module, input) = rest.split_once('/')?;
        let identity = Identity::module(DeviceId::new(device).ok()?, ModuleId::new(module).ok()?);
        Some(Self::Module { identity, input: input.to_owned() })
    }
}

impl Outbound {
    /// Delivers an endpoint's messages until shutdown.
    pub async fn run(self: Arc<Self>, endpoint: Arc<str>, target: Target) {
        let work = async {
            match &target {
                Target::Upstream => self.run_upstream(&endpoint).await,
                Target::Module { identity, input } => self.run_module(&endpoint, identity, input).await,
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = work => {}
        }
    }

    /// The next messages of an endpoint; waits until there are some.
    pub(super) async fn next(&self, endpoint: &Arc<str>, count: usize) -> (QueueKey, Vec<Entry>) {
        let arrivals = self.store.arrivals(endpoint);
        loop {
            let arrival = arrivals.notified();
            match self.take(endpoint, count) {
                Some(Batch { queue: Some(queue), messages, .. }) => return (queue, messages),
                Some(_) => arrival.await,
                None => self.clock.sleep(RETRY_DELAYS[1]).await,
            }
        }
    }

    async fn run_module(&self, endpoint: &Arc<str>, identity: &Identity, input: &str) {
        let destination = Destination::Input(input.into());
        let mut delivered = Delivered::new(Arc::clone(&self.metrics), endpoint);
        loop {
            let link = self.sessions.wait_for(identity, Feature::Inputs).await;
            let timeout = self.settings.borrow().acknowledgement_timeout;
            let mut line = Line::new(link, destination.clone(), timeout, Arc::clone(&self.clock));
            self.feed(endpoint, identity, &mut line, &mut delivered).await;
            self.store.give_back(endpoint);
            self.clock.sleep(REDELIVERY_DELAY).await;
        }
    }

    /// Keeps a module's line filled, until the module gives a message back, does not answer or is connected no more.
    async fn feed(&self, endpoint: &Arc<str>, identity: &Identity, line: &mut Line, delivered: &mut Delivered) {
        let arrivals = self.store.arrivals(endpoint);
        let mut overdue = self.clock.sleep(line.time_left());
        loop {
            let arrival = arrivals.notified();
            let link = self.sessions.link(identity, Feature::Inputs);
            if !link.is_some_and(|link| Arc::ptr_eq(&link, &line.link)) {
                return;
            }
            if !self.fill(endpoint, line) {
                return self.clock.sleep(RETRY_DELAYS[1]).await;
            }
            tokio::select! {
                () = line.receipts.settled() => if !self.collect(line, delivered) { return },
                () = arrival, if line.room() > 0 => {}
                () = overdue.as_mut() => match line.time_left() {
                    Duration::ZERO => return,
                    left => overdue = self.clock.sleep(left),
                },
            }
        }
    }

    /// Hands over what waits, as far as there is room for it. False if the store cannot be read.
    fn fill(&self, endpoint: &Arc<str>, line: &mut Line) -> bool {
        while line.room() > 0 {
            let Some(batch) = self.take(endpoint, line.room()) else { return false };
            let Some(queue) = batch.queue else { break };
            line.hand_over(&queue, batch.messages, batch.redelivered);
        }
        true
    }

    /// Completes what the module has settled, in order. False if it gave a message back, or left.
    fn collect(&self, line: &mut Line, delivered: &mut Delivered) -> bool {
        let settled = line.collect();
        for run in settled.chunk_by(|a, b| a.0.queue == b.0.queue && a.1 == b.1) {
            let (last, outcome) = &run[run.len() - 1];
            let dropped = match outcome {
                Ok(Settlement::Complete) => None,
                Ok(Settlement::Reject) => Some(DropReason::Rejected),
                Ok(Settlement::Abandon) | Err(LinkClosed) => return false,
            };
            self.done(&last.queue, (run[0].0.entry.offset, last.entry.offset), run.len(), dropped);
            if dropped.is_none() {
                let entries = run.iter().map(|(given, _)| (&given.entry, given.at_ms));
                delivered.count(&last.queue, entries.map(|(entry, at_ms)| (&*entry.message, entry.enqueued_ms, at_ms)));
            }
        }
        true
    }

    /// Takes messages from the store. None if it cannot be read.
    fn take(&self, endpoint: &Arc<str>, count: usize) -> Option<Batch> {
        let batch = self
            .store
            .take(endpoint, count, self.clock.now_ms())
            .inspect_err(|error| tracing::error!(%error, %endpoint, "the store cannot be read"))
            .ok()?;
        self.ledger.record_times(&Event::MessageDropped { reason: DropReason::TtlExpiry }, batch.expired.len());
        self.metrics.expired(&batch.expired);
        Some(batch)
    }

    pub(super) fn done(&self, queue: &QueueKey, (first, last): (u64, u64), count: usize, dropped: Option<DropReason>) {
        if let Err(error) = self.store.complete(queue, last) {
            // The messages will be delivered once more after a restart, which at-least-once allows.
            tracing::error!(%error, %queue, "the store cannot be written");
        }
        let event = match dropped {
            None => Event::MessageDelivered { endpoint: Arc::clone(&queue.endpoint) },
            Some(reason) => Event::MessageDropped { reason },
        };
        self.ledger.record_times(&event, count);
        self.trail.settled(queue, first, last, self.clock.now_ms(), dropped);
    }
}
