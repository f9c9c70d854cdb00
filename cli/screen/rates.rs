//! What happened between two looks, in a second.

use std::collections::BTreeMap;

use super::look::Look;

/// How fast things go. Empty where there is nothing to compare with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    /// Messages a second, by the counter's name and then by what it counts for.
    counters: BTreeMap<&'static str, BTreeMap<String, f64>>,
    /// Messages a second that reach the cloud hub.
    pub(super) cloud: Option<f64>,
    /// Percent of the machine's processors, by module.
    pub(super) processors: BTreeMap<String, f64>,
}

impl Rates {
    /// The rates of one counter.
    pub(super) fn of(&self, counter: &str, name: &str) -> Option<f64> {
        self.counters.get(counter)?.get(name).copied()
    }

    /// Compares a look with the one before it.
    pub(super) fn between(before: &Look, now: &Look) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        let counter = |counter: &'static str| {
            let earlier = before.counts(counter);
            let rates = now.counts(counter).into_iter().map(|(name, count)| {
                let rate = number(since(count, earlier.get(&name).copied().unwrap_or_default())) / seconds;
                (name, rate)
            });
            (counter, rates.collect())
        };
        let total = number(since(now.processors.total, before.processors.total));
        let processors = now.usage.iter().filter(|_| total > 0.0).filter_map(|(name, usage)| {
            let ticks = since(usage.ticks, before.usage.get(name)?.ticks);
            Some((name.clone(), number(ticks) / total * 100.0))
        });
        let received = since(now.status.received_by_cloud, before.status.received_by_cloud);
        Self {
            counters: ["accepted", "routed", "delivered"].map(counter).into(),
            cloud: Some(number(received) / seconds),
            processors: processors.collect(),
        }
    }
}

/// What came since; less than before means that counting began anew.
fn since(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[expect(clippy::cast_precision_loss, reason = "rates are not that exact")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::state::tests::look;
    use super::*;

    #[test]
    fn rates_are_counts_in_a_second_and_start_anew_with_the_device() {
        let before = look(10);
        let mut now = look(16);
        now.at = before.at + Duration::from_secs(2);
        let rates = Rates::between(&before, &now);
        assert_eq!(rates.of("routed", "filterToCloud"), Some(3.0));
        assert_eq!(rates.cloud, Some(3.0));
        assert_eq!(rates.processors.get("filter").copied(), Some(3.0));
        assert_eq!(rates.of("routed", "none"), None);
        let mut restarted = look(4);
        restarted.at = now.at + Duration::from_secs(1);
        assert_eq!(Rates::between(&now, &restarted).cloud, Some(4.0));
    }
}
