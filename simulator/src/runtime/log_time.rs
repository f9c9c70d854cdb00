//! Times as people give them for logs.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a time such as 2026-01-31T08:00:00Z, nor a duration such as 10m or 1 hour 20m, nor seconds since 1970"
)]
pub struct InvalidTime(String);

/// Reads a time: RFC 3339, seconds since the Unix epoch, or how long before `now` it was, as in `1d` or `1 hour 20m`.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, InvalidTime> {
    let invalid = || InvalidTime(text.to_owned());
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map_err(|_| invalid());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago: Span = text.parse().map_err(|_| invalid())?;
    if ago.is_negative() {
        return Err(invalid());
    }
    // Days are of 24 hours.
    let then = now.to_zoned(TimeZone::UTC).checked_sub(ago).map_err(|_| invalid())?;
    Ok(then.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_counted_or_counted_back() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
            ("2026-01-31T09:00:00+01:00", "2026-01-31T08:00:00Z"),
            ("1769846400", "2026-01-31T08:00:00Z"),
            ("10m", "2026-01-31T11:50:00Z"),
            ("1d", "2026-01-30T12:00:00Z"),
            ("1 hour 20m", "2026-01-31T10:40:00Z"),
            ("90s", "2026-01-31T11:58:30Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["yesterday", "-5m", "", "9999999999999999h", "99999999999999999"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }
}
