//! Tokens over the link pair `$cbs`: a client puts a token for an audience, and is told whether it holds.

use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{SasToken, decode};
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::Value;

/// The names of tokens that are shared access signatures.
const TOKEN_TYPES: [&str; 2] = ["azure-devices.net:sastoken", "servicebus.windows.net:sastoken"];

/// A request that puts a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutToken {
    /// What the token is for, as the client names it: `{host}/devices/{D}[/modules/{M}]`, encoded or not.
    pub audience: String,
    /// The token.
    pub token: String,
}

/// A request that puts no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The operation is another one.
    #[error("the operation is not put-token")]
    Operation,
    /// The token is of another type.
    #[error("the type of the token is not known")]
    Type,
    /// It does not say what the token is for.
    #[error("the request has no name")]
    Name,
    /// The body is no shared access signature.
    #[error("the body is no shared access signature")]
    Token,
}

impl PutToken {
    /// Reads a request.
    pub fn read(message: AnnotatedMessage) -> Result<Self, InvalidRequest> {
        let property = |name| message.application_properties.get(name).and_then(Value::as_text).unwrap_or_default();
        if property("operation") != "put-token" {
            return Err(InvalidRequest::Operation);
        }
        if !TOKEN_TYPES.contains(&property("type")) {
            return Err(InvalidRequest::Type);
        }
        let audience = property("name").to_owned();
        if audience.is_empty() {
            return Err(InvalidRequest::Name);
        }
        let Body::Value(Value::String(token)) = message.body else { return Err(InvalidRequest::Token) };
        match SasToken::parse(&token) {
            Ok(_) => Ok(Self { audience, token }),
            Err(_) => Err(InvalidRequest::Token),
        }
    }

    /// Whose token it is; none if the audience is no client's.
    pub fn identity(&self) -> Option<Identity> {
        identity_of(&self.audience)
    }
}

/// The client that an audience names.
fn identity_of(audience: &str) -> Option<Identity> {
    // Some clients encode the whole as well as the identifiers in it.
    let whole = if audience.contains('/') { audience.to_owned() } else { decode(audience) };
    let path = whole.split_once("://").map_or(whole.as_str(), |(_scheme, rest)| rest);
    let segments: Vec<String> = path.trim_end_matches('/').split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        [_, "devices", device] => Identity::parse(device).ok(),
        [_, "devices", device, "modules", module] => Identity::parse(&format!("{device}/{module}")).ok(),
        _ => None,
    }
}

/// The answer to a request. It names the request in the type in which the client named it.
pub fn answer(request: Option<MessageId>, status: i32, description: &str) -> AnnotatedMessage {
    let mut message = AnnotatedMessage { body: Body::Value(Value::Null), ..AnnotatedMessage::default() };
    message.properties.correlation_id = request;
    message.application_properties.put_text("status-code", Value::Int(status));
    message.application_properties.put_text("status-description", description.into());
    message
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use edgectl_schemas::ids::ModuleId;

    use super::*;

    #[test]
    fn audiences_of_the_sdks_name_their_clients() {
        for (audience, identity) in [
            ("hub.net/devices/d", Some("d")),
            ("hub.net%2Fdevices%2Fd%2Fmodules%2Fm", Some("d/m")),
            ("hub.net%2Fdevices%2Fn%2540m", Some("n@m")),
            ("amqps://hub.net/devices/d/modules/m/", Some("d/m")),
            ("127.0.1.1%3A5671%2Fdevices%2Fd", Some("d")),
            ("hub.net", None),
            ("hub.net/devices", None),
            ("hub.net/devices/d/m", None),
        ] {
            assert_eq!(identity_of(audience).map(|identity| identity.to_string()).as_deref(), identity, "{audience}");
        }
    }

    #[test]
    fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/auth.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        for vector in vectors.iter().filter(|vector| vector["op"] == "cbs_parse_ids") {
            let identity = identity_of(vector["input"].as_str().unwrap()).unwrap();
            assert_eq!(identity.device.as_str(), vector["expected"][0], "{vector}");
            assert_eq!(identity.module.as_ref().map(ModuleId::as_str), vector["expected"][1].as_str(), "{vector}");
        }
        for vector in vectors.iter().filter(|vector| vector["op"] == "cbs_put_token") {
            let text = |name: &str| vector["input"][name].as_str().unwrap();
            let body = if text("body") == "valid-sas" {
                "SharedAccessSignature sr=a&sig=b&se=4102444800"
            } else {
                text("body")
            };
            let mut message = AnnotatedMessage { body: Body::Value(body.into()), ..AnnotatedMessage::default() };
            for name in ["type", "name", "operation"] {
                message.application_properties.put_text(name, text(name).into());
            }
            assert_eq!(PutToken::read(message).is_ok(), vector["expected"]["ok"] == true, "{vector}");
        }
    }
}
