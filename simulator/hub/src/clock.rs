//! What time it is, handed in, so that tests can say.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Seconds since the Unix epoch.
    fn now_seconds(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// The time as text, RFC 3339 in UTC.
    fn now_text(&self) -> String {
        text_of(self.now_ms())
    }
}

/// A time in milliseconds since the Unix epoch as text, RFC 3339 in UTC.
pub fn text_of(ms: u64) -> String {
    let timestamp = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
