//! The filter of the tutorials: what comes in at `input1` with a machine temperature above the desired
//! `TemperatureThreshold` goes out at `output1` as an alert.

use std::collections::BTreeMap;

use edgectl_hub::gateway::{Destination, Feature, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::MethodResponse;
use serde_json::{Value, json};

use super::module::{Module, ModuleError, log};
use crate::client::device_client::{ClientEvent, DeviceClient};

/// The threshold until the twin says another, degrees Celsius.
const DEFAULT_THRESHOLD: f64 = 25.0;

/// Runs until the connection is refused for good or the process is stopped.
pub async fn run(environment: BTreeMap<String, String>) -> Result<(), ModuleError> {
    let mut module = Module::connect(environment).await?;
    for feature in [Feature::Inputs, Feature::Methods, Feature::DesiredProperties] {
        module.client.subscribe(feature).await.map_err(|error| ModuleError::Hub(error.to_string()))?;
    }
    let mut threshold = threshold_in(&module.desired().await?).unwrap_or(DEFAULT_THRESHOLD);
    report(&module.client, threshold).await;
    log(6, "INF", &format!("filter is running with threshold {threshold}"));
    while let Some(event) = module.events.recv().await {
        match event {
            ClientEvent::Delivery(delivery) => {
                if delivery.destination == Destination::Input("input1".into())
                    && let Some(alert) = alert(&delivery.message, threshold)
                    && let Err(error) = module.client.send(alert).await
                {
                    log(4, "WRN", &format!("an alert was not taken: {error}"));
                    delivery.settle(Settlement::Abandon);
                    continue;
                }
                delivery.settle(Settlement::Complete);
            }
            ClientEvent::Desired(patch) => {
                if let Some(changed) = threshold_in(&patch) {
                    threshold = changed;
                    report(&module.client, threshold).await;
                    log(6, "INF", &format!("threshold is {threshold} now"));
                }
            }
            ClientEvent::Method { request, respond } => {
                let (status, payload) = match request.name.as_str() {
                    "threshold" => (200, json!({ "threshold": threshold }).to_string()),
                    _ => (404, String::new()),
                };
                // A caller that has given up waiting is no matter of ours.
                let _ = respond.send(MethodResponse { status, payload: payload.into() });
            }
            ClientEvent::Unauthorized { reason } => return Err(ModuleError::Hub(reason)),
            ClientEvent::Connected { .. } => log(6, "INF", "connected to the edge hub"),
            ClientEvent::Disconnected { reason } => log(4, "WRN", &format!("disconnected: {reason}")),
        }
    }
    Ok(())
}

async fn report(client: &DeviceClient, threshold: f64) {
    if let Err(error) = client.report(json!({ "TemperatureThreshold": threshold })).await {
        log(4, "WRN", &format!("reported properties were not taken: {error}"));
    }
}

fn threshold_in(desired: &Value) -> Option<f64> {
    desired.get("TemperatureThreshold")?.as_f64()
}

/// The alert for a message, if its temperature is above the threshold: same body, same properties, one more.
fn alert(message: &Message, threshold: f64) -> Option<Message> {
    let body: Value = serde_json::from_slice(&message.body).ok()?;
    if body.pointer("/machine/temperature")?.as_f64()? <= threshold {
        return None;
    }
    let mut alert =
        Message { body: message.body.clone(), properties: message.properties.clone(), ..Message::default() };
    alert.properties.set("MessageType", "Alert".to_owned());
    for name in [system::CONTENT_TYPE, system::CONTENT_ENCODING] {
        if let Some(value) = message.system.get(name) {
            alert.system.set(name, value.to_owned());
        }
    }
    alert.system.set(system::OUTPUT_NAME, "output1".to_owned());
    Some(alert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(temperature: f64) -> Message {
        let mut message = Message::new(json!({ "machine": { "temperature": temperature } }).to_string());
        message.properties.set("sequenceNumber", "7".to_owned());
        message
    }

    #[test]
    fn only_what_is_above_the_threshold_is_an_alert() {
        assert!(alert(&reading(25.0), 25.0).is_none());
        let alert = alert(&reading(25.1), 25.0).unwrap();
        assert_eq!(alert.properties.get("MessageType"), Some("Alert"));
        assert_eq!(alert.properties.get("sequenceNumber"), Some("7"));
        assert_eq!(alert.system.get(system::OUTPUT_NAME), Some("output1"));
        assert_eq!(alert.body, reading(25.1).body);
    }

    #[test]
    fn what_is_no_reading_is_let_go() {
        assert!(alert(&Message::new("not json"), 25.0).is_none());
        assert!(alert(&Message::new("{}"), 25.0).is_none());
    }
}
