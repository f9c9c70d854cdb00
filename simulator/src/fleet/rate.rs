//! How many messages of a fleet reach its cloud hub a second.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edgectl_hub::cloud::hub::CloudHub;
use tokio::time::Instant;

/// Messages a second are counted over so many seconds.
const RATE_SECONDS: usize = 10;

/// How many messages come a second.
#[derive(Default)]
pub struct Rate {
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Rate {
    /// Looks every second.
    pub async fn watch(&self, cloud: &CloudHub) {
        loop {
            self.sample(cloud.clock().now(), cloud.events().telemetry());
            cloud.clock().sleep(Duration::from_secs(1)).await;
        }
    }

    fn sample(&self, at: Instant, count: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((at, count));
        if samples.len() > RATE_SECONDS + 1 {
            samples.pop_front();
        }
    }

    /// Lately.
    pub fn per_second(&self) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((begin, first)), Some((end, last))) = (samples.front(), samples.back()) else { return 0.0 };
        let seconds = end.duration_since(*begin).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let messages = last.saturating_sub(*first) as f64;
        if seconds > 0.0 { (messages / seconds * 10.0).round() / 10.0 } else { 0.0 }
    }
}
