//! What happens to whom: it follows from the seed and from names, so that the same fleet behaves in the same way each time,
//! however many devices there are and in whatever order they start.

use edgectl_schemas::ids::DeviceId;
use serde::{Deserialize, Serialize};

/// The seed of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// A number for a matter and those it concerns, anything of 64 bits.
    pub fn number(self, matter: &str, names: &[&str]) -> u64 {
        // FNV-1a over all of it, with an end after each name, then mixed so that near names give far numbers.
        let bytes = std::iter::once(matter).chain(names.iter().copied()).flat_map(|name| name.bytes().chain([0xff]));
        let hash = bytes
            .fold(self.0 ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    /// A number from 0 to less than 1.
    pub fn share(self, matter: &str, names: &[&str]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let share = (self.number(matter, names) >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }

    /// Whether a device connects, of which a share never does.
    pub fn is_online(self, device: &DeviceId, offline: f64) -> bool {
        self.share("offline", &[device.as_str()]) >= offline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_always_the_same() {
        let seed = Seed(7);
        let below = (0..10_000).filter(|n| seed.share("failing", &[&format!("device-{n:05}")]) < 0.05).count();
        assert!((420..580).contains(&below), "{below}");
        assert_eq!(seed.number("a", &["b", "c"]), seed.number("a", &["b", "c"]));
        assert_ne!(seed.number("a", &["b", "c"]), seed.number("a", &["bc"]));
        assert_ne!(seed.number("a", &["b"]), Seed(8).number("a", &["b"]));
    }
}
