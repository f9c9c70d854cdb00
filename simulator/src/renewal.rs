//! When a certificate is made anew: at a share of its time, or at a time before its end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// The rule. Its text is `80%`, `30min` or `10day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalPolicy {
    /// When so many percent of its time are over, from 1 to 100.
    Percent(u8),
    /// When it ends in this time or less.
    Before(Duration),
}

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} says nothing of renewal: give a share of the time from 1% to 100%, or minutes or days as in 30min or 10day"
)]
pub struct InvalidRenewal(String);

impl RenewalPolicy {
    /// Whether a certificate that holds between two times is to be made anew now.
    pub fn is_due(self, not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Percent(share) => {
                let (whole, used) = (not_after.duration_since(not_before), now.duration_since(not_before));
                used.as_millis() * 100 >= whole.as_millis() * i128::from(share)
            }
            Self::Before(time) => {
                SignedDuration::try_from(time).is_ok_and(|time| not_after.duration_since(now) <= time)
            }
        }
    }
}

impl FromStr for RenewalPolicy {
    type Err = InvalidRenewal;

    fn from_str(text: &str) -> Result<Self, InvalidRenewal> {
        let number = |unit: &str| text.strip_suffix(unit)?.parse::<u64>().ok().filter(|number| *number > 0);
        let share = number("%").and_then(|share| u8::try_from(share).ok()).filter(|share| *share <= 100);
        let seconds = number("min").and_then(|minutes| minutes.checked_mul(MINUTE));
        let seconds = seconds.or_else(|| number("day").and_then(|days| days.checked_mul(DAY)));
        let before = seconds.map(|seconds| Self::Before(Duration::from_secs(seconds)));
        share.map(Self::Percent).or(before).ok_or_else(|| InvalidRenewal(text.to_owned()))
    }
}

impl fmt::Display for RenewalPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Before(time) if time.as_secs() % DAY == 0 => write!(f, "{}day", time.as_secs() / DAY),
            Self::Before(time) => write!(f, "{}min", time.as_secs() / MINUTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn policy(value: &Value) -> RenewalPolicy {
        match value["percent"].as_u64() {
            Some(share) => RenewalPolicy::Percent(share.try_into().unwrap()),
            None => RenewalPolicy::Before(Duration::from_secs(value["secs"].as_u64().unwrap())),
        }
    }

    #[test]
    fn the_daemons_vectors_hold() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/daemon.json");
        let Ok(text) = std::fs::read(file) else { return println!("passed over: no behaviour vectors") };
        let document: Value = serde_json::from_slice(&text).unwrap();
        let mut checked = std::collections::BTreeSet::new();
        for vector in document["vectors"].as_array().unwrap() {
            let (input, expected) = (&vector["input"], &vector["expected"]);
            match vector["op"].as_str().unwrap() {
                "renewal_policy" => match input.as_str().unwrap().parse::<RenewalPolicy>() {
                    Ok(read) => assert_eq!(read, policy(expected), "{vector}"),
                    Err(_) => assert_eq!(expected["error"], true, "{vector}"),
                },
                "renewal_policy_text" => assert_eq!(json!(policy(input).to_string()), *expected, "{vector}"),
                "should_renew" => {
                    let time = |name: &str| Timestamp::from_second(input[name].as_i64().unwrap()).unwrap();
                    let is_due = policy(&input["policy"]).is_due(time("notBefore"), time("notAfter"), time("now"));
                    assert_eq!(json!(is_due), *expected, "{vector}");
                }
                _ => continue,
            }
            checked.insert(vector["op"].as_str().unwrap());
        }
        assert_eq!(checked.len(), 3);
    }

    proptest! {
        #[test]
        fn rules_read_as_they_are_written(share in 1_u8..=100, minutes in 1_u64..100_000) {
            for policy in [RenewalPolicy::Percent(share), RenewalPolicy::Before(Duration::from_secs(minutes * MINUTE))] {
                prop_assert_eq!(policy.to_string().parse(), Ok(policy));
            }
        }
    }
}
