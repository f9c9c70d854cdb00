//! All series of one runtime module, by metric and labels.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::family::{Family, Sample};
use super::metric::Metric;
use super::series::{Counter, QUANTILES, Summary};
use crate::clock::Clock;

/// Label values of what found no place of its own.
pub const OTHER: &str = "other";
/// Most series of a metric: clients choose names of outputs, and callers those of methods.
pub const MAX_SERIES: usize = 512;

/// The values of labels that all metrics have.
type Common = Vec<(&'static str, String)>;

/// All that one runtime module counted and measured since it started.
pub struct Registry {
    clock: Arc<dyn Clock>,
    common: Common,
    counters: Mutex<BTreeMap<&'static str, Table<Counter>>>,
    summaries: Mutex<BTreeMap<&'static str, Table<Summary>>>,
}

/// The series of one metric, by the values of its labels.
struct Table<S> {
    metric: &'static Metric,
    series: HashMap<Box<[Box<str>]>, Arc<S>>,
}

/// A value that is known only when it is asked for: the metric, the values of its labels, and the value.
pub type Gauge = (&'static Metric, Vec<String>, f64);

impl Registry {
    /// Nothing yet, for a runtime module of a device of a hub.
    pub fn new(hub_host: &str, device: &str, clock: Arc<dyn Clock>) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        let common =
            vec![("iothub", hub_host.to_owned()), ("edge_device", device.to_owned()), ("instance_number", instance)];
        Self { clock, common, counters: Mutex::default(), summaries: Mutex::default() }
    }

    /// The counter of a metric with these values of its labels, in its order.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> Arc<Counter> {
        find(&mut lock(&self.counters), metric, labels)
    }

    /// The summary of a metric with these values of its labels, in its order.
    pub fn summary(&self, metric: &'static Metric, labels: &[&str]) -> Arc<Summary> {
        find(&mut lock(&self.summaries), metric, labels)
    }

    /// What time it is, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Observes how long something took that began at a time of [`Self::now_ms`], and is over now.
    pub fn observe_since(&self, summary: &Summary, start_ms: u64) {
        let now_ms = self.now_ms();
        summary.observe(seconds_between(start_ms, now_ms), now_ms);
    }

    /// All metrics with their values, by name. What was never counted is not there.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub fn families(&self, gauges: impl IntoIterator<Item = Gauge>) -> Vec<Family> {
        let mut families = BTreeMap::new();
        for table in lock(&self.counters).values() {
            for (values, counter) in table.series.iter().filter(|(_, counter)| counter.get() > 0) {
                let labels = self.labels(table.metric, values.iter().map(AsRef::as_ref));
                let value = Some(counter.get() as f64);
                push(&mut families, table.metric, [Sample { name: table.metric.name.to_owned(), labels, value }]);
            }
        }
        let now_ms = self.now_ms();
        for table in lock(&self.summaries).values() {
            for (values, summary) in table.series.iter().filter(|(_, summary)| summary.count() > 0) {
                let labels = self.labels(table.metric, values.iter().map(AsRef::as_ref));
                push(&mut families, table.metric, samples(table.metric.name, &labels, summary, now_ms));
            }
        }
        for (metric, values, value) in gauges {
            let labels = self.labels(metric, values.iter().map(String::as_str));
            push(&mut families, metric, [Sample { name: metric.name.to_owned(), labels, value: Some(value) }]);
        }
        let mut families: Vec<Family> = families.into_values().collect();
        families.iter_mut().for_each(Family::sort);
        families
    }

    fn labels<'a>(&self, metric: &Metric, values: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let own = metric.labels.iter().copied().zip(values.map(str::to_owned));
        let telemetry = metric.telemetry.then(|| ("ms_telemetry", "True".to_owned()));
        let all = own.chain(self.common.iter().cloned()).chain(telemetry);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Seconds between two times in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "durations are short")]
pub fn seconds_between(start_ms: u64, end_ms: u64) -> f64 {
    end_ms.saturating_sub(start_ms) as f64 / 1000.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find<S: Default>(tables: &mut BTreeMap<&'static str, Table<S>>, metric: &'static Metric, labels: &[&str]) -> Arc<S> {
    debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
    let table = tables.entry(metric.name).or_insert_with(|| Table { metric, series: HashMap::new() });
    let values: Box<[Box<str>]> = labels.iter().map(|value| (*value).into()).collect();
    if let Some(series) = table.series.get(&values) {
        return Arc::clone(series);
    }
    let values = if table.series.len() < MAX_SERIES { values } else { labels.iter().map(|_| OTHER.into()).collect() };
    Arc::clone(table.series.entry(values).or_default())
}

fn push(families: &mut BTreeMap<&'static str, Family>, metric: &Metric, samples: impl IntoIterator<Item = Sample>) {
    families.entry(metric.name).or_insert_with(|| Family::empty(metric)).samples.extend(samples);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn samples(name: &str, labels: &BTreeMap<String, String>, summary: &Summary, now_ms: u64) -> Vec<Sample> {
    let quantiles = QUANTILES.iter().zip(summary.quantiles(now_ms)).map(|((text, _), value)| {
        let mut labels = labels.clone();
        labels.insert("quantile".to_owned(), (*text).to_owned());
        Sample { name: name.to_owned(), labels, value }
    });
    let total = |suffix, value| Sample { name: format!("{name}{suffix}"), labels: labels.clone(), value: Some(value) };
    quantiles.chain([total("_sum", summary.sum()), total("_count", summary.count() as f64)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    static RECEIVED: Metric = Metric::counter("received_total", &["output", "id"], "Received.").with_telemetry();
    static LENGTH: Metric = Metric::gauge("length", &["queue"], "Length.");

    fn registry() -> Registry {
        Registry::new("hub", "edge", Arc::new(SystemClock))
    }

    #[test]
    fn series_are_found_again_by_their_labels() {
        let registry = registry();
        registry.counter(&RECEIVED, &["out", "edge/a"]).add(2);
        registry.counter(&RECEIVED, &["out", "edge/a"]).add(3);
        registry.counter(&RECEIVED, &["", "edge/b"]).add(1);
        registry.counter(&RECEIVED, &["", "edge/c"]).add(0);
        let families = registry.families([(&LENGTH, vec!["iothub".to_owned()], 7.0)]);
        let values: Vec<_> = families[1].samples.iter().map(|sample| sample.value).collect();
        assert_eq!((families[1].name.as_str(), values), ("received_total", vec![Some(5.0), Some(1.0)]));
        assert_eq!(families[0].samples[0].value, Some(7.0));
        let labels = &families[1].samples[0].labels;
        let found = ["id", "output", "iothub", "edge_device", "ms_telemetry"].map(|name| labels[name].as_str());
        assert_eq!(found, ["edge/a", "out", "hub", "edge", "True"]);
    }

    #[test]
    fn names_that_others_choose_cannot_fill_the_memory() {
        let registry = registry();
        for number in 0..10 * MAX_SERIES {
            registry.counter(&RECEIVED, &[&format!("out{number}"), "edge/a"]).add(1);
        }
        let families = registry.families([]);
        assert_eq!(families[0].samples.len(), MAX_SERIES + 1);
        let other = families[0].samples.iter().find(|sample| sample.labels["id"] == OTHER).unwrap();
        assert_eq!(other.value, Some(4608.0), "nine tenths of all");
    }
}
