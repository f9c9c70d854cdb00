//! What the edge hub counts and measures, under the names and labels of the real one.
//!
//! What happens together is written down together: a batch of messages costs one look at a table, and a message alone
//! nothing. Tables are bounded, since clients choose the names of outputs: what finds no place in one is counted under
//! [`OTHER`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// Label values of what found no place of its own.
pub const OTHER: &str = "other";
/// Most series of a metric.
const MAX_SERIES: usize = 512;
/// How many of the last observations quantiles are taken from.
const OBSERVATIONS: usize = 512;
/// Quantiles of a summary that saw nothing for this long are not numbers any more, as at the real hub.
const IDLE_MS: u64 = 10 * 60 * 1000;
const QUANTILES: [(&str, f64); 6] =
    [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999), ("0.9999", 0.9999)];
/// Between label values where they are a key. No name of a client, output or input holds it.
const SEPARATOR: char = '\u{1f}';

/// What kind of metric one is, in the words of Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Quantiles, sum and count.
    Summary,
}

/// A metric of the edge hub.
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub static $constant: Metric =
            Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
    };
}

metrics! {
    MESSAGES_RECEIVED: Counter "edgehub_messages_received_total" ["route_output", "id"] "Messages taken from clients.";
    MESSAGES_SENT: Counter "edgehub_messages_sent_total" ["from", "to", "from_route_output", "to_route_input", "priority"] "Messages acknowledged by endpoints.";
    MESSAGES_DROPPED: Counter "edgehub_messages_dropped_total" ["reason", "from", "from_route_output"] "Messages that will never arrive.";
    MESSAGES_UNACKNOWLEDGED: Counter "edgehub_messages_unack_total" ["reason", "from", "from_route_output"] "Messages not acknowledged because they could not be stored.";
    MESSAGE_SIZE: Summary "edgehub_message_size_bytes" ["id"] "Size of messages taken from clients.";
    SEND_DURATION: Summary "edgehub_message_send_duration_seconds" ["from", "to", "from_route_output", "to_route_input"] "Time from handing a message to an endpoint until it is acknowledged.";
    QUEUE_LENGTH: Gauge "edgehub_queue_length" ["endpoint", "priority"] "Messages that wait for an endpoint.";
    GET_TWIN: Counter "edgehub_gettwin_total" ["source", "id"] "Twins read by clients.";
    GET_TWIN_DURATION: Summary "edgehub_gettwin_duration_seconds" ["source", "id"] "Time to read a twin.";
    REPORTED_PROPERTIES: Counter "edgehub_reported_properties_total" ["target", "id"] "Patches of reported properties.";
    REPORTED_PROPERTIES_DURATION: Summary "edgehub_reported_properties_update_duration_seconds" ["target", "id"] "Time to take a patch of reported properties.";
    DIRECT_METHODS: Counter "edgehub_direct_methods_total" ["from", "to"] "Direct methods called.";
    DIRECT_METHOD_DURATION: Summary "edgehub_direct_method_duration_seconds" ["from", "to"] "Time until a direct method was answered.";
    CONNECTED_CLIENTS: Gauge "edgehub_connected_clients" [] "Clients connected now.";
    CONNECT_SUCCESS: Counter "edgehub_client_connect_success_total" ["id"] "Connections made by clients.";
    CONNECT_FAILED: Counter "edgehub_client_connect_failed_total" ["id", "reason"] "Connections refused.";
    DISCONNECTED: Counter "edgehub_client_disconnect_total" ["id"] "Connections that ended.";
    OPERATION_RETRIED: Counter "edgehub_operation_retry_total" ["id", "operation"] "Operations tried once more because the hub above could not be reached.";
}

/// All values of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it tells.
    pub help: String,
    /// What kind it is.
    pub kind: Kind,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's name, with `_sum` or `_count` behind it where a summary has these.
    pub name: String,
    /// What it is of.
    pub labels: BTreeMap<String, String>,
    /// How much or many; none for what is not a number.
    pub value: Option<f64>,
}

#[derive(Debug)]
enum Series {
    Number(f64),
    Summary(Summary),
}

/// The last observations, and what all of them come to.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    sum: f64,
    last: Vec<f32>,
    next: usize,
    last_ms: u64,
}

impl Summary {
    #[expect(clippy::cast_possible_truncation, reason = "quantiles are not that exact")]
    fn observe(&mut self, value: f64, now_ms: u64) {
        self.count += 1;
        self.sum += value;
        self.last_ms = now_ms;
        match self.last.get_mut(self.next) {
            Some(place) => *place = value as f32,
            None => self.last.push(value as f32),
        }
        self.next = (self.next + 1) % OBSERVATIONS;
    }

    /// The value below which this share of the last observations lies; none after a long silence.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among a few hundred"
    )]
    fn quantile(sorted: &[f32], share: f64) -> Option<f64> {
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.saturating_sub(1)).map(|value| f64::from(*value))
    }

    fn samples(&self, name: &str, labels: &BTreeMap<String, String>, now_ms: u64) -> Vec<Sample> {
        let mut sorted = if now_ms.saturating_sub(self.last_ms) > IDLE_MS { Vec::new() } else { self.last.clone() };
        sorted.sort_unstable_by(f32::total_cmp);
        let quantiles = QUANTILES.iter().map(|(text, share)| {
            let mut labels = labels.clone();
            labels.insert("quantile".to_owned(), (*text).to_owned());
            Sample { name: name.to_owned(), labels, value: Self::quantile(&sorted, *share) }
        });
        let total = |suffix: &str, value| Sample { name: format!("{name}{suffix}"), labels: labels.clone(), value };
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
        let count = self.count as f64;
        quantiles.chain([total("_sum", Some(self.sum)), total("_count", Some(count))]).collect()
    }
}

/// All that an edge hub counted and measured since it started.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    common: [(&'static str, String); 3],
    families: Mutex<BTreeMap<&'static str, Table>>,
}

struct Table {
    metric: &'static Metric,
    series: HashMap<String, Series>,
}

impl Metrics {
    /// Nothing yet, for a device of a hub.
    pub fn new(hub_host: &str, device: &str, clock: Arc<dyn Clock>) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        let common =
            [("iothub", hub_host.to_owned()), ("edge_device", device.to_owned()), ("instance_number", instance)];
        Self { clock, common, families: Mutex::default() }
    }

    /// Counts so many more; `labels` are the values of the metric's labels, in its order.
    pub fn count(&self, metric: &'static Metric, labels: &[&str], times: usize) {
        if times > 0 {
            #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
            self.change(metric, labels, |series| {
                if let Series::Number(number) = series {
                    *number += times as f64;
                }
            });
        }
    }

    /// Observes values of a summary.
    pub fn observe(&self, metric: &'static Metric, labels: &[&str], values: impl IntoIterator<Item = f64>) {
        let now_ms = self.clock.now_ms();
        self.change(metric, labels, |series| {
            if let Series::Summary(summary) = series {
                values.into_iter().for_each(|value| summary.observe(value, now_ms));
            }
        });
    }

    /// Seconds since a time of [`Clock::now_ms`].
    #[expect(clippy::cast_precision_loss, reason = "durations are short")]
    pub fn seconds_since(&self, start_ms: u64) -> f64 {
        self.clock.now_ms().saturating_sub(start_ms) as f64 / 1000.0
    }

    fn change(&self, metric: &'static Metric, labels: &[&str], change: impl FnOnce(&mut Series)) {
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        let key = labels.join(SEPARATOR.encode_utf8(&mut [0; 4]));
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let table = families.entry(metric.name).or_insert_with(|| Table { metric, series: HashMap::new() });
        let key = if table.series.len() < MAX_SERIES || table.series.contains_key(&key) {
            key
        } else {
            vec![OTHER; labels.len()].join(SEPARATOR.encode_utf8(&mut [0; 4]))
        };
        let empty = || match metric.kind {
            Kind::Counter | Kind::Gauge => Series::Number(0.0),
            Kind::Summary => Series::Summary(Summary::default()),
        };
        change(table.series.entry(key).or_insert_with(empty));
    }

    /// All metrics with their values, by name; `gauges` are those that are known only now.
    pub fn families(&self, gauges: impl IntoIterator<Item = (&'static Metric, Vec<String>, f64)>) -> Vec<Family> {
        let mut families: BTreeMap<&'static str, Family> = BTreeMap::new();
        let now_ms = self.clock.now_ms();
        {
            let tables = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            for table in tables.values() {
                let samples = families.entry(table.metric.name).or_insert_with(|| family(table.metric));
                for (key, series) in &table.series {
                    let labels = self.labels(table.metric, key.split(SEPARATOR));
                    match series {
                        Series::Number(number) => samples.samples.push(sample(table.metric, labels, *number)),
                        Series::Summary(summary) => {
                            samples.samples.extend(summary.samples(table.metric.name, &labels, now_ms));
                        }
                    }
                }
            }
        }
        for (metric, values, value) in gauges {
            let labels = self.labels(metric, values.iter().map(String::as_str));
            families.entry(metric.name).or_insert_with(|| family(metric)).samples.push(sample(metric, labels, value));
        }
        let mut families: Vec<Family> = families.into_values().collect();
        for family in &mut families {
            // A summary's parts stay together, and its quantiles in their order.
            family.samples.sort_by_cached_key(|sample| {
                let mut labels = sample.labels.clone();
                let quantile = labels.remove("quantile");
                (labels, quantile.is_none(), quantile, sample.name.clone())
            });
        }
        families
    }

    fn labels<'a>(&self, metric: &Metric, values: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let own = metric.labels.iter().copied().zip(values.map(str::to_owned));
        own.chain(self.common.iter().cloned()).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn family(metric: &Metric) -> Family {
    Family { name: metric.name.to_owned(), help: metric.help.to_owned(), kind: metric.kind, samples: Vec::new() }
}

fn sample(metric: &Metric, labels: BTreeMap<String, String>, value: f64) -> Sample {
    Sample { name: metric.name.to_owned(), labels, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn metrics() -> (Arc<Hand>, Metrics) {
        let clock = Arc::new(Hand(AtomicU64::new(1_000_000)));
        (Arc::clone(&clock), Metrics::new("hub", "edge", clock))
    }

    fn values(families: &[Family], name: &str) -> Vec<Option<f64>> {
        families
            .iter()
            .flat_map(|family| &family.samples)
            .filter(|sample| sample.name == name)
            .map(|s| s.value)
            .collect()
    }

    #[test]
    fn counters_add_up_by_label() {
        let (_, metrics) = metrics();
        metrics.count(&MESSAGES_RECEIVED, &["out", "edge/a"], 2);
        metrics.count(&MESSAGES_RECEIVED, &["out", "edge/a"], 3);
        metrics.count(&MESSAGES_RECEIVED, &["", "edge/b"], 1);
        metrics.count(&MESSAGES_RECEIVED, &["", "edge/c"], 0);
        let families = metrics.families([(&QUEUE_LENGTH, vec!["iothub".to_owned(), "0".to_owned()], 7.0)]);
        assert_eq!(values(&families, "edgehub_messages_received_total"), [Some(5.0), Some(1.0)]);
        assert_eq!(values(&families, "edgehub_queue_length"), [Some(7.0)]);
        let labels = &families[0].samples[0].labels;
        assert_eq!(
            (labels["id"].as_str(), labels["iothub"].as_str(), labels["edge_device"].as_str()),
            ("edge/a", "hub", "edge")
        );
    }

    #[test]
    fn quantiles_are_of_the_last_observations_and_none_after_ten_minutes_of_silence() {
        let (clock, metrics) = metrics();
        metrics.observe(&MESSAGE_SIZE, &["edge/a"], (1..=1000).map(f64::from));
        let families = metrics.families([]);
        let quantiles = values(&families, "edgehub_message_size_bytes");
        assert_eq!(quantiles.len(), QUANTILES.len());
        assert_eq!(quantiles[0], Some(744.0), "the median of 489 to 1000");
        assert_eq!(quantiles[5], Some(1000.0));
        assert_eq!(values(&families, "edgehub_message_size_bytes_count"), [Some(1000.0)]);
        assert_eq!(values(&families, "edgehub_message_size_bytes_sum"), [Some(500_500.0)]);
        clock.0.fetch_add(IDLE_MS + 1, Ordering::Relaxed);
        let families = metrics.families([]);
        assert!(values(&families, "edgehub_message_size_bytes").iter().all(Option::is_none));
        assert_eq!(values(&families, "edgehub_message_size_bytes_count"), [Some(1000.0)]);
    }

    #[test]
    fn names_that_clients_choose_cannot_fill_the_memory() {
        let (_, metrics) = metrics();
        for number in 0..10 * MAX_SERIES {
            metrics.count(&MESSAGES_RECEIVED, &[&format!("out{number}"), "edge/a"], 1);
        }
        let families = metrics.families([]);
        assert_eq!(families[0].samples.len(), MAX_SERIES + 1);
        let other = families[0].samples.iter().find(|sample| sample.labels["id"] == OTHER).unwrap();
        assert_eq!(other.value, Some(4608.0), "nine tenths of all");
    }
}
