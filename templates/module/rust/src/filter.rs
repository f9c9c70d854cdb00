//! What the module does with a message. No network here: this is the part to change, and to test.

use serde_json::Value;

use crate::edge::Message;

const DEFAULT_THRESHOLD: f64 = 25.0;

/// Lets through messages whose machine temperature is above a threshold.
pub struct Filter {
    /// Degrees; a message at the threshold is no alert yet.
    pub threshold: f64,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            threshold: DEFAULT_THRESHOLD,
        }
    }
}

impl Filter {
    /// Takes the threshold from the desired properties; the default where they have none.
    pub fn configure(&mut self, desired: &Value) {
        self.threshold = match &desired["TemperatureThreshold"] {
            Value::Null => DEFAULT_THRESHOLD,
            value => value.as_f64().unwrap_or_else(|| {
                log::warn!(
                    "TemperatureThreshold must be a number, not {value}: it stays at {}",
                    self.threshold
                );
                self.threshold
            }),
        };
    }

    /// The alert for a message, or nothing if it is not above the threshold.
    pub fn alert(&self, message: &Message) -> Option<Message> {
        let body: Value = match serde_json::from_slice(&message.body) {
            Ok(body) => body,
            Err(error) => {
                log::warn!("a message that is not JSON was dropped: {error}");
                return None;
            }
        };
        let temperature = body["machine"]["temperature"].as_f64()?;
        if temperature <= self.threshold {
            return None;
        }
        let mut alert = message.clone();
        alert
            .properties
            .insert("MessageType".to_owned(), "Alert".to_owned());
        Some(alert)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(temperature: f64) -> Message {
        let mut message = Message::json(&json!({ "machine": { "temperature": temperature } }));
        message
            .properties
            .insert("sequenceNumber".to_owned(), "7".to_owned());
        message
    }

    #[test]
    fn hot_messages_become_alerts_and_keep_their_properties() {
        let message = reading(25.1);
        let alert = Filter::default().alert(&message).expect("25.1 is above 25");
        assert_eq!(alert.properties["MessageType"], "Alert");
        assert_eq!(alert.properties["sequenceNumber"], "7");
        assert_eq!(alert.body, message.body);
    }

    #[test]
    fn messages_at_or_below_the_threshold_are_dropped() {
        assert!(Filter::default().alert(&reading(25.0)).is_none());
        assert!(Filter::default().alert(&reading(-3.0)).is_none());
    }

    #[test]
    fn messages_without_a_temperature_are_dropped() {
        assert!(
            Filter::default()
                .alert(&Message::json(&json!({ "machine": {} })))
                .is_none()
        );
        assert!(Filter::default().alert(&Message::new("not JSON")).is_none());
    }

    #[test]
    fn the_threshold_comes_from_the_desired_properties() {
        let mut filter = Filter::default();
        filter.configure(&json!({ "TemperatureThreshold": 30 }));
        assert!(filter.alert(&reading(29.0)).is_none());
        filter.configure(&json!({ "TemperatureThreshold": "warm" }));
        assert_eq!(filter.threshold, 30.0);
        filter.configure(&json!({}));
        assert_eq!(filter.threshold, DEFAULT_THRESHOLD);
    }
}
