//! Addresses of links, parsed once into what they mean: `/devices/{D}[/modules/{M}]/…`, or a whole URL of that path.
//!
//! Identifiers may be percent-encoded; the words between them are taken in any case, as clients differ in it.

use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::decode;

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Tokens, and how they were taken.
    Tokens,
    /// A client sends telemetry, a module to its outputs.
    Events(Identity),
    /// A module receives at its inputs.
    Inputs(Identity),
    /// A device receives from the cloud.
    CloudToDevice(Identity),
    /// A client is asked for methods.
    MethodCalls(Identity),
    /// A client answers methods.
    MethodAnswers(Identity),
    /// A client asks for its twin, and reports.
    TwinRequests(Identity),
    /// A client is answered, and told of changed desired properties.
    TwinAnswers(Identity),
    /// Something of the hub's service, by its name there.
    Service(String),
}

/// Which end of a link the hub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubEnd {
    /// The client sends.
    Receives,
    /// The client receives.
    Sends,
}

/// An address that means nothing, or not in that direction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {0:?} means nothing here")]
pub struct UnknownAddress(pub String);

impl Purpose {
    /// Reads the address that a client attaches to.
    pub fn parse(address: &str, hub: HubEnd) -> Result<Self, UnknownAddress> {
        Self::of_path(path(address), hub).ok_or_else(|| UnknownAddress(address.to_owned()))
    }

    fn of_path(path: &str, hub: HubEnd) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let [node] = segments[..] {
            return node.eq_ignore_ascii_case("$cbs").then_some(Self::Tokens);
        }
        let (identity, rest) = match segments[..] {
            [devices, device, modules, module, ref rest @ ..] if is(devices, "devices") && is(modules, "modules") => {
                (format!("{}/{}", decode(device), decode(module)), rest)
            }
            [devices, device, ref rest @ ..] if is(devices, "devices") => (decode(device), rest),
            _ => return None,
        };
        let identity = Identity::parse(&identity).ok()?;
        let is_module = identity.module.is_some();
        match (rest, hub) {
            ([first, last], _) if is(first, "messages") => match hub {
                HubEnd::Receives if is(last, "events") => Some(Self::Events(identity)),
                HubEnd::Sends if is(last, "events") && is_module => Some(Self::Inputs(identity)),
                HubEnd::Sends if is(last, "devicebound") && !is_module => Some(Self::CloudToDevice(identity)),
                HubEnd::Receives | HubEnd::Sends => None,
            },
            ([first, last], HubEnd::Receives) if is(first, "methods") && is(last, "devicebound") => {
                Some(Self::MethodAnswers(identity))
            }
            ([first, last], HubEnd::Sends) if is(first, "methods") && is(last, "devicebound") => {
                Some(Self::MethodCalls(identity))
            }
            ([only], HubEnd::Receives) if is(only, "twin") => Some(Self::TwinRequests(identity)),
            ([only], HubEnd::Sends) if is(only, "twin") => Some(Self::TwinAnswers(identity)),
            _ => None,
        }
    }

    /// Which client's link it is; none for tokens, which may be anyone's, and for services.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Tokens | Self::Service(_) => None,
            Self::Events(identity)
            | Self::Inputs(identity)
            | Self::CloudToDevice(identity)
            | Self::MethodCalls(identity)
            | Self::MethodAnswers(identity)
            | Self::TwinRequests(identity)
            | Self::TwinAnswers(identity) => Some(identity),
        }
    }
}

fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

/// What stands behind scheme and host, if they are there.
pub fn path(address: &str) -> &str {
    match address.split_once("://") {
        Some((_scheme, rest)) => rest.split_once('/').map_or("", |(_host, path)| path),
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn addresses_mean_what_they_say_in_their_direction() {
        use HubEnd::{Receives, Sends};
        for (address, hub, purpose) in [
            ("$cbs", Receives, Some(Purpose::Tokens)),
            ("amqps://host:5671/$cbs", Sends, Some(Purpose::Tokens)),
            ("/devices/d/messages/events", Receives, Some(Purpose::Events(id("d")))),
            ("/devices/d/messages/events/", Receives, Some(Purpose::Events(id("d")))),
            ("/devices/d/messages/events", Sends, None),
            ("/devices/d/modules/m/messages/events", Receives, Some(Purpose::Events(id("d/m")))),
            ("/devices/d/modules/m/messages/events", Sends, Some(Purpose::Inputs(id("d/m")))),
            ("/devices/d/messages/deviceBound", Sends, Some(Purpose::CloudToDevice(id("d")))),
            ("/Devices/d/messages/devicebound", Sends, Some(Purpose::CloudToDevice(id("d")))),
            ("/devices/d/messages/devicebound", Receives, None),
            ("/devices/d/modules/m/messages/devicebound", Sends, None),
            ("/devices/d/methods/devicebound", Receives, Some(Purpose::MethodAnswers(id("d")))),
            ("/devices/d/modules/m/methods/devicebound", Sends, Some(Purpose::MethodCalls(id("d/m")))),
            ("/devices/d/twin", Receives, Some(Purpose::TwinRequests(id("d")))),
            ("/devices/n%40m/modules/a%20b", Sends, None),
            ("/devices/n%40m/modules/a%24b/twin", Sends, Some(Purpose::TwinAnswers(id("n@m/a$b")))),
            ("/devices/d/modules/m", Sends, None),
            ("/devices//twin", Sends, None),
            ("/messages/devicebound", Receives, None),
            ("", Receives, None),
        ] {
            assert_eq!(Purpose::parse(address, hub).ok(), purpose, "{address} {hub:?}");
        }
    }

    fn kind(purpose: &Purpose) -> &'static str {
        match purpose {
            Purpose::Tokens => "Cbs",
            Purpose::Service(_) => "Service",
            Purpose::Events(_) => "Events",
            Purpose::Inputs(_) => "ModuleMessages",
            Purpose::CloudToDevice(_) => "C2D",
            Purpose::MethodCalls(_) => "MethodSending",
            Purpose::MethodAnswers(_) => "MethodReceiving",
            Purpose::TwinRequests(_) => "TwinReceiving",
            Purpose::TwinAnswers(_) => "TwinSending",
        }
    }

    #[test]
    fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/amqp.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let (input, expected) = (&vector["input"], &vector["expected"]);
            if vector["op"] == "link_identity" {
                let text = |name: &str| input[name].as_str().unwrap();
                let address = format!("/devices/{}/modules/{}/twin", text("deviceid"), text("moduleid"));
                let purpose = Purpose::parse(&address, HubEnd::Sends).unwrap();
                let identity = purpose.identity().unwrap();
                assert_eq!(identity.device.as_str(), expected["deviceId"], "{vector}");
                assert_eq!(identity.module.as_ref().unwrap().as_str(), expected["moduleId"], "{vector}");
                continue;
            }
            let hub = if input["hubIsReceiver"] == true { HubEnd::Receives } else { HubEnd::Sends };
            let purpose = Purpose::parse(input["uri"].as_str().unwrap(), hub);
            assert_eq!(purpose.is_err(), expected["error"] == true, "{vector} {purpose:?}");
            if let Ok(purpose) = purpose {
                assert_eq!(kind(&purpose), expected["kind"], "{vector}");
            }
        }
    }
}
