//! What time it is and when it is over, handed in, so that tests can say.
//!
//! There are two times, as on every machine. That of the calendar can be set, back as well as ahead; dates, and what has to
//! outlive the process, go by it. The other one only runs, and everything that waits or measures goes by that.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::time::Instant;

/// A wait for a time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A clock.
pub trait Clock: Send + Sync + 'static {
    /// The time of the calendar: milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// The time that only runs.
    fn now(&self) -> Instant;

    /// Waits until the time that only runs is such.
    fn sleep_until(&self, at: Instant) -> Sleep;

    /// Waits for a time that passes on this clock.
    fn sleep(&self, time: Duration) -> Sleep {
        match self.now().checked_add(time) {
            Some(at) => self.sleep_until(at),
            // It is not lived to see.
            None => Box::pin(std::future::pending()),
        }
    }

    /// Seconds since the Unix epoch.
    fn now_seconds(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// The time as text, RFC 3339 in UTC.
    fn now_text(&self) -> String {
        text_of(self.now_ms())
    }

    /// The time of the calendar.
    fn timestamp(&self) -> Timestamp {
        timestamp_of(self.now_ms())
    }

    /// When a time of the calendar, in seconds since the Unix epoch, comes if nobody sets the clock before; none if that is
    /// too far away to be counted.
    fn instant_of(&self, seconds: u64) -> Option<Instant> {
        let left = seconds.saturating_mul(1000).saturating_sub(self.now_ms());
        self.now().checked_add(Duration::from_millis(left))
    }
}

/// Runs work for at most so long on a clock. None if it did not end by then.
pub async fn within<T>(clock: &dyn Clock, time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // What is done when the time is over counts as done in time.
        biased;
        done = work => Some(done),
        () = clock.sleep(time) => None,
    }
}

/// A wait that is put off again and again and seldom ends, such as that for somebody who goes silent. Putting it off costs
/// nothing: what was set before rings, and only then is the new time set.
pub struct Alarm {
    clock: Arc<dyn Clock>,
    set: Option<(Instant, Sleep)>,
}

impl Alarm {
    /// Set to no time yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, set: None }
    }

    /// Waits for a time, and returns what it is the time for; for ever if there is none. May be dropped and begun again, also
    /// with another time.
    pub async fn wait<T>(&mut self, next: Option<(Instant, T)>) -> T {
        let Some((at, what)) = next else { return std::future::pending().await };
        loop {
            if self.set.as_ref().is_none_or(|(set, _)| *set > at) {
                self.set = Some((at, self.clock.sleep_until(at)));
            }
            let Some((set, sleep)) = &mut self.set else { continue };
            sleep.await;
            let is_time = *set >= at;
            self.set = None;
            if is_time {
                return what;
            }
        }
    }
}

/// A time in milliseconds since the Unix epoch as text, RFC 3339 in UTC.
pub fn text_of(ms: u64) -> String {
    timestamp_of(ms).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn timestamp_of(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(async move {
            // The runtime's timers count whole milliseconds: one that is over already would still take the next of them.
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
        })
    }
}
