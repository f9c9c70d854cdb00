//! The user name of CONNECT: `{hub}/{D}[/{M}]/?api-version=…&DeviceClientType=…&auth-chain=…`.
//!
//! The question mark may be missing, as with older clients, and one legacy form has slashes between the parameters.

use edgectl_schemas::ids::{Identity, InvalidId};
use edgectl_schemas::sas::{decode, encode};

/// The version of the protocol that our own clients name.
const API_VERSION: &str = "2021-04-12";
/// The parameters that mean something.
const PARAMETERS: [&str; 4] = ["api-version", "DeviceClientType", "model-id", "auth-chain"];

/// A user name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// Who connects.
    pub identity: Identity,
    /// What the client says it is.
    pub client_type: Option<String>,
    /// The digital twin model that it follows.
    pub model_id: Option<String>,
    /// The chain from the client to an edge hub that acts for it.
    pub auth_chain: Option<String>,
}

/// Why a user name is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    /// Host, device and parameters are not all there.
    #[error("the user name has not the form host/device/?api-version=…")]
    Form,
    /// The parameter `api-version` is missing or empty.
    #[error("the user name has no api-version")]
    ApiVersion,
    /// Device or module are not identifiers.
    #[error("the user name: {0}")]
    Identity(#[from] InvalidId),
}

impl Username {
    /// Takes a user name apart.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        let (_host, rest) = text.split_once('/').ok_or(InvalidUsername::Form)?;
        let (path, parameters) = split_parameters(rest).ok_or(InvalidUsername::Form)?;
        let identity = match path.split('/').collect::<Vec<_>>()[..] {
            [device] | [device, _] if device.is_empty() => return Err(InvalidUsername::Form),
            [device] => Identity::parse(device)?,
            [device, module] if !module.is_empty() => Identity::parse(&format!("{device}/{module}"))?,
            _ => return Err(InvalidUsername::Form),
        };
        if parameter(&parameters, "api-version").is_none_or(|version| version.is_empty()) {
            return Err(InvalidUsername::ApiVersion);
        }
        Ok(Self {
            identity,
            client_type: parameter(&parameters, "DeviceClientType"),
            model_id: parameter(&parameters, "model-id"),
            auth_chain: parameter(&parameters, "auth-chain"),
        })
    }
}

/// The user name of one of our own clients.
pub fn format(host: &str, identity: &Identity, product: &str, auth_chain: Option<&str>) -> String {
    let mut text = format!("{host}/{identity}/?api-version={API_VERSION}&DeviceClientType={}", encode(product));
    if let Some(chain) = auth_chain {
        text.push_str("&auth-chain=");
        text.push_str(&encode(chain));
    }
    text
}

/// The path of identifiers, and the parameters behind it.
fn split_parameters(rest: &str) -> Option<(&str, Vec<&str>)> {
    if let Some((path, query)) = rest.split_once("/?") {
        return Some((path, query.split('&').collect()));
    }
    // Without a question mark the parameters begin where the first of them stands.
    let starts = PARAMETERS.iter().filter_map(|name| rest.find(&format!("/{name}=")));
    let at = starts.min()?;
    let (path, query) = (&rest[..at], &rest[at + 1..]);
    let legacy = query.contains("/DeviceClientType=");
    Some((path, if legacy { query.splitn(2, '/').collect() } else { query.split('&').collect() }))
}

/// The first value of a parameter; the value may hold `=`.
fn parameter(parameters: &[&str], name: &str) -> Option<String> {
    parameters
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    #[test]
    fn user_names_of_the_sdks_are_understood() {
        let python = "simhub/edge1/mod1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0";
        let username = Username::parse(python).unwrap();
        assert_eq!(username.identity.to_string(), "edge1/mod1");
        assert_eq!(username.client_type.as_deref(), Some("azure-iot-device-iothub-py/2.14.0"));
        assert_eq!(Username::parse("hub/d/?DeviceClientType=x"), Err(InvalidUsername::ApiVersion));
        assert_eq!(Username::parse("hub"), Err(InvalidUsername::Form));
    }

    #[test]
    fn our_own_are_understood_too() {
        let identity = Identity::parse("edge/m").unwrap();
        let username = Username::parse(&format("hub", &identity, "edgectl/1", Some("edge/m;edge"))).unwrap();
        assert_eq!((username.identity, username.auth_chain.as_deref()), (identity, Some("edge/m;edge")));
    }

    #[test]
    fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/topics.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        let mut count = 0;
        for vector in vectors.iter().filter(|vector| vector["op"] == "parse_mqtt_username") {
            let (expected, got) = (&vector["expected"], Username::parse(vector["input"].as_str().unwrap_or_default()));
            assert_eq!(got.is_ok(), expected["ok"] == true, "{vector} {got:?}");
            if let Ok(username) = got {
                assert_eq!(username.identity.device.as_str(), expected["deviceId"], "{vector}");
                assert_eq!(
                    username.identity.module.map_or(String::new(), |m| m.to_string()),
                    expected["moduleId"],
                    "{vector}"
                );
                assert_eq!(username.client_type.unwrap_or_default(), expected["deviceClientType"], "{vector}");
                assert_eq!(username.model_id.as_deref(), expected["modelId"].as_str(), "{vector}");
            }
            count += 1;
        }
        assert!(count > 0);
    }
}
