//! Amounts of memory and storage, in bytes, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Units, the larger ones first; a unit without `i` counts in thousands, as makers of disks do.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// Numbers from here on are not read at a glance.
const MOST_SHOWN: u64 = 100_000;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Amount(pub u64);

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount: a number above 0 with its unit, as in 512MiB, 4GiB or 32GB")]
pub struct InvalidAmount(String);

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = || InvalidAmount(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = (trimmed[..end].parse::<u64>().map_err(|_| invalid())?, trimmed[end..].trim());
        let factor = match unit {
            "" | "B" => 1,
            unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(invalid)?.1,
        };
        number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().filter(|(_, factor)| self.0.is_multiple_of(*factor));
        let whole = whole.map(|(name, factor)| (self.0 / factor, name));
        if let Some((number, name)) = whole.filter(|(number, _)| (1..MOST_SHOWN).contains(number)).min() {
            return write!(f, "{number} {name}");
        }
        // No unit divides it into a number that can be read: the largest binary unit that leaves a number, with a tenth.
        match UNITS.iter().take(4).find(|(_, factor)| self.0 >= *factor) {
            Some((name, factor)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(*factor);
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => bytes.to_string().parse().map_err(de::Error::custom),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_what_they_show() {
        for (text, bytes, shown) in [
            ("4GiB", 4 << 30, "4 GiB"),
            ("512 mib", 512 << 20, "512 MiB"),
            ("32GB", 32_000_000_000, "32 GB"),
            ("1536MiB", 1536 << 20, "1536 MiB"),
            ("1000", 1000, "1 KB"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!((amount.0, amount.to_string().as_str()), (bytes, shown), "{text}");
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        assert_eq!(Amount((5 << 30) / 2 + 1).to_string(), "2.5 GiB");
        for wrong in ["", "0", "4 furlongs", "-1GiB", "1.5GiB", "99999999999TiB"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }
}
