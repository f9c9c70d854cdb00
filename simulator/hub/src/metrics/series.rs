//! What is counted or measured under one set of labels. Nothing here locks or allocates while it counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the last observations quantiles are taken from.
const OBSERVATIONS: usize = 512;
/// Observations older than this are in no quantile, as at the real runtime.
const MAX_AGE_SECONDS: u64 = 10 * 60;
/// The quantiles of all summaries, with the value of their label.
pub const QUANTILES: [(&str, f64); 6] =
    [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999), ("0.9999", 0.9999)];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, count: usize) {
        if count > 0 {
            self.0.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last observations, and what all of them come to.
#[derive(Debug)]
pub struct Summary {
    count: AtomicU64,
    /// The bits of a number.
    sum: AtomicU64,
    /// Each holds the bits of a value above the second in which it was seen, counted from the Unix epoch; 0 for none.
    last: Box<[AtomicU64]>,
}

impl Default for Summary {
    fn default() -> Self {
        let last = (0..OBSERVATIONS).map(|_| AtomicU64::new(0)).collect();
        Self { count: AtomicU64::new(0), sum: AtomicU64::new(0), last }
    }
}

impl Summary {
    /// Observes a value at a time in milliseconds since the Unix epoch.
    pub fn observe(&self, value: f64, now_ms: u64) {
        self.observe_all([value], now_ms);
    }

    /// Observes values at a time in milliseconds since the Unix epoch.
    #[expect(clippy::cast_possible_truncation, reason = "quantiles are not that exact")]
    pub fn observe_all(&self, values: impl IntoIterator<Item = f64>, now_ms: u64) {
        let second = u64::from(u32::try_from(now_ms / 1000).unwrap_or(u32::MAX)).max(1);
        let mut sum = 0.0;
        for value in values {
            sum += value;
            let place = self.count.fetch_add(1, Ordering::Relaxed) as usize % OBSERVATIONS;
            let seen = u64::from((value as f32).to_bits()) << 32 | second;
            self.last[place].store(seen, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + sum).to_bits());
        // The closure always has a new value.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What all of them come to.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }

    /// The values below which these shares of the last observations lie, in the order of [`QUANTILES`]; none if there was
    /// no observation for long.
    pub fn quantiles(&self, now_ms: u64) -> [Option<f64>; QUANTILES.len()] {
        let oldest = (now_ms / 1000).saturating_sub(MAX_AGE_SECONDS);
        let seen = self.last.iter().map(|place| place.load(Ordering::Relaxed));
        let fresh = seen.filter(|seen| *seen != 0 && seen & u64::from(u32::MAX) >= oldest);
        let mut values: Vec<f32> = fresh.map(|seen| f32::from_bits((seen >> 32) as u32)).collect();
        values.sort_unstable_by(f32::total_cmp);
        QUANTILES.map(|(_, share)| quantile(&values, share))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place among a few hundred"
)]
fn quantile(sorted: &[f32], share: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    // Written and read again, since the nearest of the finer numbers has digits that nobody measured.
    sorted.get(place.saturating_sub(1)).and_then(|value| value.to_string().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    #[test]
    fn quantiles_have_no_more_digits_than_what_was_observed() {
        assert_eq!(quantile(&[0.003], 0.5).map(|value| value.to_string()).as_deref(), Some("0.003"));
    }

    #[test]
    fn quantiles_are_of_the_last_observations() {
        let summary = Summary::default();
        summary.observe_all((1..=1000).map(f64::from), NOW_MS);
        let quantiles = summary.quantiles(NOW_MS);
        assert_eq!((quantiles[0], quantiles[5]), (Some(744.0), Some(1000.0)), "of 489 to 1000");
        assert_eq!((summary.count(), summary.sum()), (1000, 500_500.0));
    }

    #[test]
    fn what_is_older_than_ten_minutes_is_in_no_quantile() {
        let summary = Summary::default();
        summary.observe(1.0, NOW_MS);
        summary.observe(3.0, NOW_MS + 60_000);
        let later = NOW_MS + MAX_AGE_SECONDS * 1000 + 1000;
        assert_eq!(summary.quantiles(later - 1000)[0], Some(1.0));
        assert_eq!(summary.quantiles(later)[0], Some(3.0));
        assert_eq!(summary.quantiles(later + 60_000), [None; 6]);
        assert_eq!((summary.count(), summary.sum()), (2, 4.0));
    }
}
