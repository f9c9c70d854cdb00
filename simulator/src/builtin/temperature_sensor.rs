//! The simulated temperature sensor: the message contract of the well-known sample module.
//!
//! Output `temperatureOutput`; desired properties `SendInterval` (whole seconds) and `SendData`; method `reset`; input
//! `control` with `{"command": "reset"}` or an array of such. Beyond the sample, `EDGECTL_SEED` makes the walk
//! repeatable and `EDGECTL_SPEED` divides all intervals.

use std::collections::BTreeMap;
use std::time::Duration;

use edgectl_hub::gateway::{Destination, Feature, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::MethodResponse;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::module::{Module, ModuleError, log};
use super::walk::{Ranges, Walk};
use crate::client::device_client::ClientEvent;

/// Runs until the connection is refused for good or the process is stopped.
pub async fn run(environment: BTreeMap<String, String>) -> Result<(), ModuleError> {
    let mut module = Module::connect(environment).await?;
    let mut sensor = Sensor::new(&module.environment);
    for feature in [Feature::Inputs, Feature::Methods, Feature::DesiredProperties] {
        module.client.subscribe(feature).await.map_err(|error| ModuleError::Hub(error.to_string()))?;
    }
    sensor.apply(&module.desired().await?);
    log(6, "INF", "simulated temperature sensor is running");
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {
                next += sensor.interval();
                if let Some(message) = sensor.tick() {
                    // What cannot be sent now is sent by the client after it has reconnected.
                    if let Err(error) = module.client.send(message).await {
                        log(4, "WRN", &format!("a message was not taken: {error}"));
                    }
                }
            }
            event = module.events.recv() => {
                let Some(event) = event else { return Ok(()) };
                if let Some(report) = sensor.handle(event)? {
                    if let Err(error) = module.client.report(report).await {
                        log(4, "WRN", &format!("reported properties were not taken: {error}"));
                    }
                    next = next.min(Instant::now() + sensor.interval());
                }
            }
        }
    }
}

struct Sensor {
    walk: Walk,
    delay: Duration,
    speed: f64,
    send_data: bool,
    remaining: Option<u64>,
    sequence: u64,
    batch: String,
}

impl Sensor {
    fn new(environment: &BTreeMap<String, String>) -> Self {
        let number = |name: &str, default: f64| {
            environment.get(name).and_then(|text| text.parse().ok()).filter(|n: &f64| n.is_finite()).unwrap_or(default)
        };
        let defaults = Ranges::default();
        let ranges = Ranges {
            temperature_min: number("machineTempMin", defaults.temperature_min),
            temperature_max: number("machineTempMax", defaults.temperature_max),
            pressure_min: number("machinePressureMin", defaults.pressure_min),
            pressure_max: number("machinePressureMax", defaults.pressure_max),
            ambient: number("ambientTemp", defaults.ambient),
        };
        let count = environment.get("MessageCount").and_then(|text| text.parse::<i64>().ok()).unwrap_or(500);
        Self {
            walk: Walk::new(ranges, environment.get("EDGECTL_SEED").and_then(|text| text.parse().ok())),
            delay: environment
                .get("MessageDelay")
                .and_then(|text| parse_time_span(text))
                .unwrap_or(Duration::from_secs(5)),
            speed: number("EDGECTL_SPEED", 1.0).clamp(0.001, 100_000.0),
            send_data: true,
            remaining: u64::try_from(count).ok(),
            sequence: 0,
            batch: uuid::Uuid::new_v4().to_string(),
        }
    }

    fn interval(&self) -> Duration {
        self.delay.div_f64(self.speed).max(Duration::from_micros(100))
    }

    /// One step of the walk, and the message for it if one is to be sent.
    fn tick(&mut self) -> Option<Message> {
        let body = self.walk.step(&jiff::Timestamp::now().to_string());
        if !self.send_data || self.remaining == Some(0) {
            return None;
        }
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        self.sequence += 1;
        let mut message = Message::new(body.to_string());
        message.properties.set("sequenceNumber", self.sequence.to_string());
        message.properties.set("batchId", self.batch.clone());
        message.system.set(system::OUTPUT_NAME, "temperatureOutput".to_owned());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
        Some(message)
    }

    /// Takes `SendInterval` and `SendData` where they are there and usable.
    fn apply(&mut self, desired: &Value) {
        if let Some(seconds) = desired.get("SendInterval").and_then(Value::as_u64) {
            self.delay = Duration::from_secs(seconds);
        }
        if let Some(send) = desired.get("SendData").and_then(Value::as_bool) {
            self.send_data = send;
        }
    }

    /// Handles what the hub sent. Returns what to report, if anything.
    fn handle(&mut self, event: ClientEvent) -> Result<Option<Value>, ModuleError> {
        match event {
            ClientEvent::Connected { .. } => log(6, "INF", "connected to the edge hub"),
            ClientEvent::Disconnected { reason } => log(4, "WRN", &format!("disconnected: {reason}")),
            ClientEvent::Unauthorized { reason } => return Err(ModuleError::Hub(reason)),
            ClientEvent::Delivery(delivery) => {
                if delivery.destination == Destination::Input("control".into()) && is_reset(&delivery.message.body) {
                    self.walk.reset();
                    log(6, "INF", "reset by a message");
                }
                delivery.settle(Settlement::Complete);
            }
            ClientEvent::Desired(patch) => {
                self.apply(&patch);
                return Ok(Some(json!({ "SendData": self.send_data, "SendInterval": self.delay.as_secs() })));
            }
            ClientEvent::Method { request, respond } => {
                let status = if request.name == "reset" {
                    self.walk.reset();
                    log(6, "INF", "reset by a direct method");
                    200
                } else {
                    404
                };
                // A caller that has given up waiting is no matter of ours.
                let _ = respond.send(MethodResponse { status, payload: bytes::Bytes::new() });
            }
        }
        Ok(None)
    }
}

/// Whether a control message asks for a reset: one command, or an array of them; a word in any case, or its number.
fn is_reset(body: &[u8]) -> bool {
    let is_reset_command = |command: &Value| match command.get("command") {
        Some(Value::String(word)) => word.eq_ignore_ascii_case("reset"),
        Some(Value::Number(number)) => number.as_u64() == Some(0),
        _ => false,
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(commands)) => commands.iter().any(is_reset_command),
        Ok(command) => is_reset_command(&command),
        Err(_) => false,
    }
}

/// Reads `[d.]hh:mm:ss[.fffffff]`.
fn parse_time_span(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('.') {
        Some((days, rest)) if !days.contains(':') => (days.parse::<u64>().ok()?, rest),
        _ => (0, text),
    };
    let mut parts = rest.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    if parts.next().is_some() || !(0.0..60.0).contains(&seconds) {
        return None;
    }
    Some(Duration::from_secs(days * 86400 + hours * 3600 + minutes * 60) + Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor(settings: &[(&str, &str)]) -> Sensor {
        Sensor::new(&settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn messages_have_the_contract_of_the_sample() {
        let message = sensor(&[]).tick().unwrap();
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert!(body["machine"]["temperature"].is_f64() && body["machine"]["pressure"].is_f64());
        assert!(body["ambient"]["temperature"].is_f64() && body["ambient"]["humidity"].is_i64());
        assert!(body["timeCreated"].as_str().unwrap().ends_with('Z'));
        assert_eq!(message.properties.get("sequenceNumber"), Some("1"));
        assert_eq!(message.properties.get("batchId").unwrap().len(), 36);
        assert_eq!(message.system.get(system::OUTPUT_NAME), Some("temperatureOutput"));
        assert_eq!(message.system.get(system::CONTENT_TYPE), Some("application/json"));
    }

    #[test]
    fn the_count_ends_sending_and_minus_one_never_does() {
        let mut limited = sensor(&[("MessageCount", "2")]);
        assert_eq!((0..5).filter(|_| limited.tick().is_some()).count(), 2);
        let mut unlimited = sensor(&[("MessageCount", "-1")]);
        assert_eq!((0..600).filter(|_| unlimited.tick().is_some()).count(), 600);
    }

    #[test]
    fn desired_properties_change_interval_and_sending() {
        let mut sensor = sensor(&[("MessageDelay", "00:00:01.5")]);
        assert_eq!(sensor.interval(), Duration::from_millis(1500));
        sensor.apply(&json!({ "SendInterval": 3, "SendData": false, "$version": 2 }));
        assert_eq!(sensor.interval(), Duration::from_secs(3));
        assert!(sensor.tick().is_none());
    }

    #[test]
    fn commands_are_words_or_numbers_alone_or_in_an_array() {
        for body in [r#"{"command":"Reset"}"#, r#"{"command":0}"#, r#"[{"command":"NoOperation"},{"command":"reset"}]"#]
        {
            assert!(is_reset(body.as_bytes()), "{body}");
        }
        for body in [r#"{"command":"NoOperation"}"#, r#"{"command":1}"#, "reset", "[]"] {
            assert!(!is_reset(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn time_spans_are_read_as_dotnet_writes_them() {
        assert_eq!(parse_time_span("00:00:05"), Some(Duration::from_secs(5)));
        assert_eq!(parse_time_span("1.02:03:04"), Some(Duration::from_secs(93_784)));
        assert_eq!(parse_time_span("00:00:00.25"), Some(Duration::from_millis(250)));
        assert_eq!(parse_time_span("5"), None);
    }
}
