//! The random walk of the simulated temperature sensor: the formulas of the public sample.

use serde_json::{Value, json};

/// The ranges of the machine and its surroundings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranges {
    /// Where the machine's temperature starts, degrees Celsius.
    pub temperature_min: f64,
    /// Where it stops rising.
    pub temperature_max: f64,
    /// The pressure at the lowest temperature, bar.
    pub pressure_min: f64,
    /// The pressure at the highest temperature.
    pub pressure_max: f64,
    /// The temperature around the machine.
    pub ambient: f64,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { temperature_min: 21.0, temperature_max: 100.0, pressure_min: 1.0, pressure_max: 10.0, ambient: 21.0 }
    }
}

/// The state of the walk.
#[derive(Debug)]
pub struct Walk {
    ranges: Ranges,
    temperature: f64,
    random: fastrand::Rng,
}

impl Walk {
    /// Starts a walk; equal seeds walk alike.
    pub fn new(ranges: Ranges, seed: Option<u64>) -> Self {
        let random = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self { ranges, temperature: ranges.temperature_min, random }
    }

    /// Starts over at the lowest temperature.
    pub fn reset(&mut self) {
        self.temperature = self.ranges.temperature_min;
    }

    /// One step, as the body of a message.
    pub fn step(&mut self, time_created: &str) -> Value {
        let ranges = self.ranges;
        self.temperature +=
            if self.temperature > ranges.temperature_max { self.between(-0.5, 0.5) } else { self.between(-0.25, 1.25) };
        let share = (self.temperature - ranges.temperature_min) / (ranges.temperature_max - ranges.temperature_min);
        let pressure = ranges.pressure_min + share * (ranges.pressure_max - ranges.pressure_min);
        let ambient = ranges.ambient + self.between(-0.5, 0.5);
        let humidity = self.random.i32(24..=26);
        json!({
            "machine": { "temperature": self.temperature, "pressure": pressure },
            "ambient": { "temperature": ambient, "humidity": humidity },
            "timeCreated": time_created,
        })
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.random.f64() * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_walk_alike_and_stay_in_step() {
        let (mut one, mut two) = (Walk::new(Ranges::default(), Some(7)), Walk::new(Ranges::default(), Some(7)));
        for _ in 0..500 {
            let body = one.step("2026-01-01T00:00:00Z");
            assert_eq!(body, two.step("2026-01-01T00:00:00Z"));
            let temperature = body["machine"]["temperature"].as_f64().unwrap();
            let pressure = body["machine"]["pressure"].as_f64().unwrap();
            assert!((pressure - (1.0 + (temperature - 21.0) * 9.0 / 79.0)).abs() < 1e-9);
            assert!((24..=26).contains(&body["ambient"]["humidity"].as_i64().unwrap()));
        }
    }

    #[test]
    fn the_temperature_rises_and_then_hovers() {
        let mut walk = Walk::new(Ranges::default(), Some(1));
        let last = (0..1000).map(|_| walk.step("")).last().unwrap();
        let temperature = last["machine"]["temperature"].as_f64().unwrap();
        assert!((90.0..115.0).contains(&temperature), "{temperature}");
    }
}
