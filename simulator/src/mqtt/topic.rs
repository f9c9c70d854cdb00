//! Topics, parsed once into what they mean. Identifiers stand in topics as they are; property bags are encoded.

use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::decode;
use edgectl_wire::mqtt::packet::PacketId;

/// What a client publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Telemetry, or an output of a module.
    Message {
        /// Whose topic it is.
        from: Identity,
        /// The properties, still encoded.
        bag: String,
    },
    /// The client asks for its twin.
    GetTwin {
        /// Names the answer.
        request_id: String,
    },
    /// The client reports properties.
    Report {
        /// Names the answer; without one there is none.
        request_id: Option<String>,
    },
    /// The answer to a method.
    MethodResponse {
        /// What the method answered; 400000 if it is no number, as in the real hub.
        status: i32,
        /// Names the request.
        request_id: String,
    },
    /// An edge hub settles a cloud-to-device message in a way for which MQTT has no packet; see [`settlement`].
    Settled {
        /// The packet that brought the message.
        id: PacketId,
        /// How it is settled.
        settlement: Settlement,
    },
    /// A topic of the hub's own that means nothing: the connection is closed.
    Forbidden,
    /// Any other topic: the message is dropped.
    Unknown,
}

/// How settlements begin, after `$iothub/`.
const SETTLED: &str = "edgectl/settled/";
/// The settlements that MQTT lacks.
const SETTLEMENTS: [(Settlement, &str); 2] = [(Settlement::Abandon, "abandon"), (Settlement::Reject, "reject")];

/// The status of a method's answer that is no number.
const STATUS_NOT_A_NUMBER: i32 = 400_000;

impl Published {
    /// Reads the topic of a message that a client published.
    pub fn parse(topic: &str) -> Self {
        if let Some(rest) = topic.strip_prefix("$iothub/") {
            return Self::parse_own(rest);
        }
        parse_message(topic).unwrap_or(Self::Unknown)
    }

    fn parse_own(rest: &str) -> Self {
        if let Some(query) = rest.strip_prefix("twin/GET/") {
            return match request_id(query) {
                Some(request_id) => Self::GetTwin { request_id },
                None => Self::Forbidden,
            };
        }
        if let Some(query) = rest.strip_prefix("twin/PATCH/properties/reported/") {
            if !(query.is_empty() || query.starts_with('?')) {
                return Self::Forbidden;
            }
            return Self::Report { request_id: request_id(query) };
        }
        if let Some(settled) = rest.strip_prefix(SETTLED) {
            return parse_settled(settled).unwrap_or(Self::Forbidden);
        }
        match rest.strip_prefix("methods/res/").and_then(|rest| rest.split_once('/')) {
            Some((status, query)) => match request_id(query) {
                Some(request_id) => Self::MethodResponse {
                    status: status.parse().unwrap_or(STATUS_NOT_A_NUMBER),
                    // The number is ours, and one of the SDKs encodes it.
                    request_id: decode(&request_id),
                },
                None => Self::Forbidden,
            },
            None => Self::Forbidden,
        }
    }
}

/// `devices/{D}/messages/events[/{bag}]` and `devices/{D}/modules/{M}/messages/events[/{bag}]`.
fn parse_message(topic: &str) -> Option<Published> {
    let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
    let (identity, rest) = match rest.strip_prefix("modules/") {
        None => (device.to_owned(), rest),
        Some(rest) => {
            let (module, rest) = rest.split_once('/')?;
            (format!("{device}/{module}"), rest)
        }
    };
    let bag = rest.strip_prefix("messages/events")?;
    let bag = if bag.is_empty() { bag } else { bag.strip_prefix('/')? };
    Some(Published::Message { from: Identity::parse(&identity).ok()?, bag: bag.to_owned() })
}

/// `{settlement}/{packet}`.
fn parse_settled(rest: &str) -> Option<Published> {
    let (word, id) = rest.split_once('/')?;
    let (settlement, _) = SETTLEMENTS.into_iter().find(|(_, known)| *known == word)?;
    Some(Published::Settled { id: id.parse().ok()?, settlement })
}

/// The value of `$rid` in `?$rid=…&…`, as it stands: the answer must have the same.
fn request_id(query: &str) -> Option<String> {
    query_value(query, "$rid").filter(|id| !id.is_empty()).map(str::to_owned)
}

fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.strip_prefix('?')?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| decode(key) == name).map(|(_, value)| value)
}

/// What a topic filter asks for. None for filters that are granted and have no effect.
pub fn feature_of(filter: &str) -> Option<Feature> {
    if filter.starts_with("$iothub/methods/POST/") {
        Some(Feature::Methods)
    } else if filter.starts_with("$iothub/twin/PATCH/properties/desired/") {
        Some(Feature::DesiredProperties)
    } else if filter.ends_with("messages/devicebound/#") {
        Some(Feature::CloudToDevice)
    } else if is_inputs(filter) {
        Some(Feature::Inputs)
    } else {
        None
    }
}

/// `devices/+…/modules/+…/#`, each part of at least one character.
fn is_inputs(filter: &str) -> bool {
    let inner = filter.strip_prefix("devices/").and_then(|rest| rest.strip_suffix("/#"));
    inner.is_some_and(|inner| {
        inner.match_indices("/modules/").any(|(at, found)| at > 0 && at + found.len() < inner.len())
    })
}

/// The filter with which a client asks for a feature.
pub fn filter_of(feature: Feature, identity: &Identity) -> String {
    match (feature, &identity.module) {
        (Feature::Inputs, Some(module)) => format!("devices/{}/modules/{module}/inputs/#", identity.device),
        (Feature::Inputs, None) => format!("devices/{}/inputs/#", identity.device),
        (Feature::CloudToDevice, _) => format!("devices/{}/messages/devicebound/#", identity.device),
        (Feature::Methods, _) => "$iothub/methods/POST/#".to_owned(),
        (Feature::DesiredProperties, _) => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
    }
}

/// The filter of answers about the twin.
pub const TWIN_ANSWERS: &str = "$iothub/twin/res/#";

/// The topic a client sends messages to.
pub fn messages(identity: &Identity, bag: &str) -> String {
    match &identity.module {
        None => format!("devices/{}/messages/events/{bag}", identity.device),
        Some(module) => format!("devices/{}/modules/{module}/messages/events/{bag}", identity.device),
    }
}

/// The topic with which an edge hub settles a message other than by PUBACK, in place of that. The service has no such
/// topic: the real edge hub speaks AMQP upwards, where this is a disposition.
pub fn settlement(id: PacketId, settlement: Settlement) -> Option<String> {
    let (_, word) = SETTLEMENTS.into_iter().find(|(known, _)| *known == settlement)?;
    Some(format!("$iothub/{SETTLED}{word}/{id}"))
}

/// The topic of a message to an input, up to the bag.
pub fn input(identity: &Identity, input: &str) -> String {
    let module = identity.module.as_ref().map_or("", |module| module.as_str());
    let mut topic = String::with_capacity(256);
    for part in ["devices/", identity.device.as_str(), "/modules/", module, "/inputs/", input, "/"] {
        topic.push_str(part);
    }
    topic
}

/// The topic of a cloud-to-device message, up to the bag.
pub fn device_bound(identity: &Identity) -> String {
    format!("devices/{}/messages/devicebound/", identity.device)
}

/// The topic of an answer about the twin.
pub fn twin_answer(status: u16, request_id: &str, version: Option<u64>) -> String {
    match version {
        None => format!("$iothub/twin/res/{status}/?$rid={request_id}"),
        Some(version) => format!("$iothub/twin/res/{status}/?$rid={request_id}&$version={version}"),
    }
}

/// The topic of changed desired properties.
pub fn desired(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// The topic of a method call. The name stands as it is: not every SDK decodes it.
pub fn method(name: &str, request_id: &str) -> String {
    format!("$iothub/methods/POST/{name}/?$rid={request_id}")
}

/// What a hub sends, as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A message to an input.
    Input {
        /// The input.
        input: String,
        /// The properties, still encoded.
        bag: String,
    },
    /// A cloud-to-device message.
    CloudToDevice {
        /// The properties, still encoded.
        bag: String,
    },
    /// The answer to a request about the twin.
    TwinAnswer {
        /// Like HTTP's.
        status: u16,
        /// Names the request.
        request_id: String,
        /// The new version of the reported properties.
        version: Option<u64>,
    },
    /// Changed desired properties.
    Desired,
    /// A method call.
    Method {
        /// The method.
        name: String,
        /// Names the answer.
        request_id: String,
    },
}

impl Sent {
    /// Reads the topic of a message that a hub sent to this client.
    pub fn parse(topic: &str, identity: &Identity) -> Option<Self> {
        if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
            let (status, query) = rest.split_once('/')?;
            let version = query_value(query, "$version").and_then(|version| version.parse().ok());
            return Some(Self::TwinAnswer { status: status.parse().ok()?, request_id: request_id(query)?, version });
        }
        if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
            return Some(Self::Desired);
        }
        if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/") {
            let (name, query) = rest.rsplit_once('/')?;
            return Some(Self::Method { name: decode(name), request_id: request_id(query)? });
        }
        let rest = topic.strip_prefix("devices/")?.strip_prefix(identity.device.as_str())?;
        if let Some(bag) = rest.strip_prefix("/messages/devicebound/") {
            return Some(Self::CloudToDevice { bag: bag.to_owned() });
        }
        let module = identity.module.as_ref()?;
        let rest = rest.strip_prefix("/modules/")?.strip_prefix(module.as_str())?.strip_prefix("/inputs/")?;
        let (input, bag) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self::Input { input: input.to_owned(), bag: bag.to_owned() })
    }
}

/// The topic on which a client answers a method.
pub fn method_response(status: i32, request_id: &str) -> String {
    format!("$iothub/methods/res/{status}/?$rid={request_id}")
}

/// The topic on which a client asks for its twin.
pub fn get_twin(request_id: &str) -> String {
    format!("$iothub/twin/GET/?$rid={request_id}")
}

/// The topic on which a client reports properties.
pub fn report(request_id: &str) -> String {
    format!("$iothub/twin/PATCH/properties/reported/?$rid={request_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn what_clients_publish_is_understood() {
        let message = |from: &str, bag: &str| Published::Message { from: id(from), bag: bag.into() };
        for (topic, meaning) in [
            ("devices/d1/messages/events/", message("d1", "")),
            ("devices/d1/messages/events", message("d1", "")),
            ("devices/d1/modules/m/messages/events/%24.on=o/", message("d1/m", "%24.on=o/")),
            ("devices/d1/messages/eve/a=b", Published::Unknown),
            ("other", Published::Unknown),
            ("$iothub/twin/GET/?$rid=7", Published::GetTwin { request_id: "7".into() }),
            ("$iothub/twin/GET/?$rid=a%26b%23", Published::GetTwin { request_id: "a%26b%23".into() }),
            ("$iothub/twin/GET/", Published::Forbidden),
            ("$iothub/twin/GET/something", Published::Forbidden),
            ("$iothub/twin/PATCH/properties/reported/", Published::Report { request_id: None }),
            (
                "$iothub/twin/PATCH/properties/reported/?$rid=5&$version=1",
                Published::Report { request_id: Some("5".into()) },
            ),
            ("$iothub/twin/PATCH/properties/reported/something", Published::Forbidden),
            (
                "$iothub/methods/res/200/?$rid=1&random",
                Published::MethodResponse { status: 200, request_id: "1".into() },
            ),
            ("$iothub/methods/res/0/?$rid=a%2Db", Published::MethodResponse { status: 0, request_id: "a-b".into() }),
            ("$iothub/methods/res/ok/?$rid=1", Published::MethodResponse { status: 400_000, request_id: "1".into() }),
            ("$iothub/edgectl/settled/complete/1", Published::Forbidden),
            ("$iothub/edgectl/settled/reject/0", Published::Forbidden),
        ] {
            assert_eq!(Published::parse(topic), meaning, "{topic}");
        }
    }

    #[test]
    fn edge_hubs_settle_where_mqtt_has_no_packet() {
        let id = PacketId::MAX;
        for way in [Settlement::Abandon, Settlement::Reject] {
            let topic = settlement(id, way).unwrap();
            assert_eq!(Published::parse(&topic), Published::Settled { id, settlement: way }, "{topic}");
        }
        assert_eq!(settlement(id, Settlement::Complete), None, "PUBACK says it");
    }

    #[test]
    fn filters_ask_for_features() {
        for (filter, feature) in [
            ("devices/d/modules/m/inputs/#", Some(Feature::Inputs)),
            ("devices/d/modules/m/#", Some(Feature::Inputs)),
            ("devices/d/modules//#", None),
            ("devices/d/messages/devicebound/#", Some(Feature::CloudToDevice)),
            ("messages/devicebound/#/somemorestuff", None),
            ("$iothub/methods/POST/#", Some(Feature::Methods)),
            ("$iothub/twin/PATCH/properties/desired//somemorestuff", Some(Feature::DesiredProperties)),
            (TWIN_ANSWERS, None),
        ] {
            assert_eq!(feature_of(filter), feature, "{filter}");
        }
        let module = id("d/m");
        for feature in [Feature::Inputs, Feature::CloudToDevice, Feature::Methods, Feature::DesiredProperties] {
            assert_eq!(feature_of(&filter_of(feature, &module)), Some(feature));
        }
    }

    #[test]
    fn clients_read_what_hubs_send() {
        let module = id("d/m");
        for (topic, sent) in [
            (input(&module, "input1") + "a=b", Sent::Input { input: "input1".into(), bag: "a=b".into() }),
            (device_bound(&module), Sent::CloudToDevice { bag: String::new() }),
            (
                twin_answer(204, "r", Some(3)),
                Sent::TwinAnswer { status: 204, request_id: "r".into(), version: Some(3) },
            ),
            (desired(3), Sent::Desired),
            (method("a/b", "r"), Sent::Method { name: "a/b".into(), request_id: "r".into() }),
        ] {
            assert_eq!(Sent::parse(&topic, &module), Some(sent), "{topic}");
        }
        assert_eq!(Sent::parse("devices/other/modules/m/inputs/x/", &module), None);
    }
}
