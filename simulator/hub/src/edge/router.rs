//! The edge hub's configuration, compiled: which message goes to which queues, and how long it is wanted there.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgectl_schemas::ids::{DeviceId, ModuleId};
use edgectl_schemas::route::definition::{DefinitionForm, Priority, RouteDefinition};
use edgectl_schemas::route::message::{Lookup, MessageView};
use edgectl_schemas::route::sink::Endpoint;
use edgectl_schemas::route::table::RouteTable;
use serde_json::Value;

use super::store::record::{QueueKey, Target};
use super::store::store::Incoming;
use crate::message::{Message, Properties};

/// The routes in force. Swapped whole when the desired properties change.
#[derive(Debug, Default)]
pub struct Router {
    table: RouteTable,
    /// What messages that a route takes are kept with, in the order of the table.
    lines: Vec<RouteLine>,
    texts: BTreeMap<String, String>,
    /// For messages of routes without a time of their own; none for as long as it takes.
    time_to_live_secs: Option<u64>,
    limit_bytes: Option<u64>,
}

/// What messages that a route takes are kept with.
#[derive(Debug)]
struct RouteLine {
    name: Arc<str>,
    queue: QueueKey,
    time_to_live_secs: Option<u64>,
}

/// What becomes of a message.
#[derive(Debug)]
pub struct Routed {
    /// The routes that took it.
    pub routes: Vec<Arc<str>>,
    /// The message with its queues; none if no route took it.
    pub incoming: Option<Incoming>,
}

impl Router {
    /// No routes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Compiles desired properties of `$edgeHub` of a device. The error is for the reported properties; nothing is taken
    /// over then.
    pub fn compile(device: &DeviceId, desired: &Value) -> Result<Self, String> {
        let minor = schema_minor(member(desired, "schemaVersion"))?;
        let form = if minor == 0 { DefinitionForm::TextOnly } else { DefinitionForm::TextOrObject };
        let routes = match member(desired, "routes") {
            Some(Value::Object(routes)) => routes.clone(),
            None | Some(Value::Null) if minor == 0 => serde_json::Map::new(),
            _ => return Err("routes is not an object".to_owned()),
        };
        let mut definitions = Vec::new();
        for (name, value) in &routes {
            let definition =
                RouteDefinition::read(name, value, form).map_err(|error| format!("route {name:?}: {error}"))?;
            definitions.extend(definition);
        }
        let table = RouteTable::new(&definitions)
            .map_err(|invalid| invalid.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let texts = definitions.iter().map(|route| (route.name.to_string(), route.text.to_string())).collect();
        let lines = table.routes().iter().map(|route| RouteLine {
            name: route.name.as_ref().into(),
            queue: QueueKey { endpoint: route.endpoint.id(device).into(), priority: route.priority.number() },
            time_to_live_secs: (route.time_to_live_secs != 0).then(|| u64::from(route.time_to_live_secs)),
        });
        let lines = lines.collect();
        let time_to_live_secs = global_time_to_live(desired, minor)?;
        Ok(Self { table, lines, texts, time_to_live_secs, limit_bytes: store_limit(desired) })
    }

    /// Bytes of messages that a store in memory keeps; none if the configuration does not say.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// The text of each route.
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Finds the queues of a message from `source`.
    pub fn route(&self, source: &str, message: Arc<Message>, now_ms: u64) -> Routed {
        let taken = self.table.evaluate(&View { source, message: &message });
        let lines = taken.iter().filter_map(|route| self.lines.get(route.position));
        let (routes, targets) = lines
            .map(|line| {
                let expires_ms = self.expiry(line.time_to_live_secs, now_ms);
                (Arc::clone(&line.name), Target { queue: line.queue.clone(), expires_ms })
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let incoming = (!targets.is_empty()).then_some(Incoming { message, enqueued_ms: now_ms, targets });
        Routed { routes, incoming }
    }

    /// A message for one input, past all routes.
    pub fn to_input(
        &self,
        device: &DeviceId,
        module: &ModuleId,
        input: &str,
        message: Message,
        now_ms: u64,
    ) -> Incoming {
        let endpoint = Endpoint::Module { module: module.as_str().into(), input: input.into() };
        let queue = QueueKey { endpoint: endpoint.id(device).into(), priority: Priority::DEFAULT.number() };
        let targets = vec![Target { queue, expires_ms: self.expiry(None, now_ms) }];
        Incoming { message: Arc::new(message), enqueued_ms: now_ms, targets }
    }

    /// When a message is no longer wanted that is taken now by a route with, or without, a time of its own.
    fn expiry(&self, own_secs: Option<u64>, now_ms: u64) -> u64 {
        let seconds = own_secs.or(self.time_to_live_secs);
        seconds.map_or(u64::MAX, |seconds| now_ms.saturating_add(seconds.saturating_mul(1000)))
    }
}

/// The minor number of a schema version that this hub understands: 1.0 to 1.3.
fn schema_minor(version: Option<&Value>) -> Result<u32, String> {
    let text = version.and_then(Value::as_str).unwrap_or_default();
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, minor, ..]) if *minor <= 3 => Ok(*minor),
        _ => Err(format!("the schema version {text:?} is not supported, 1.0 to 1.3 are")),
    }
}

/// The hub-wide time to live: negative for ever. The section may be missing in schema 1.0 alone.
fn global_time_to_live(desired: &Value, minor: u32) -> Result<Option<u64>, String> {
    let Some(section) = member(desired, "storeAndForwardConfiguration").filter(|section| !section.is_null()) else {
        return if minor == 0 { Ok(None) } else { Err("storeAndForwardConfiguration is missing".to_owned()) };
    };
    if !section.is_object() {
        return Err("storeAndForwardConfiguration is not an object".to_owned());
    }
    match member(section, "timeToLiveSecs") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|seconds| i32::try_from(*seconds).is_ok()) {
            Some(seconds) => Ok(u64::try_from(seconds).ok()),
            None => Err("timeToLiveSecs is not a whole number".to_owned()),
        },
    }
}

/// What the configuration says of the bytes that are kept in memory.
fn store_limit(desired: &Value) -> Option<u64> {
    let limits = member(member(desired, "storeAndForwardConfiguration")?, "storeLimits")?;
    member(limits, "maxSizeBytes")?.as_u64()
}

/// The runtime finds names in any case.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A message as routes see it.
struct View<'a> {
    source: &'a str,
    message: &'a Message,
}

impl MessageView for View<'_> {
    fn source(&self) -> &str {
        self.source
    }

    fn property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.message.properties, name)
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.message.system, name)
    }

    fn body(&self) -> &[u8] {
        &self.message.body
    }
}

fn lookup<'a>(properties: &'a Properties, name: &str) -> Lookup<'a> {
    match properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        None => Lookup::Absent,
        Some((_, None)) => Lookup::Null,
        Some((_, Some(value))) => Lookup::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn desired(routes: &Value) -> Value {
        json!({ "schemaVersion": "1.2", "routes": routes, "storeAndForwardConfiguration": { "timeToLiveSecs": 10 } })
    }

    fn device() -> DeviceId {
        DeviceId::new("edge").unwrap()
    }

    #[test]
    fn a_message_gets_queues_with_priority_and_time() {
        let router = Router::compile(
            &device(),
            &desired(&json!({
                "urgent": { "route": "FROM /messages/modules/a/* INTO $upstream", "priority": 2, "timeToLiveSecs": 3 },
                "all": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/b/inputs/in\")",
            })),
        )
        .unwrap();
        let routed = router.route("/messages/modules/a/outputs/o/", Message::new("x").into(), 1000);
        let incoming = routed.incoming.unwrap();
        let target = |endpoint: &str, priority, expires_ms| Target {
            queue: QueueKey { endpoint: endpoint.into(), priority },
            expires_ms,
        };
        assert_eq!(incoming.targets, [target("iothub", 2, 4000), target("edge/b/in", 2_000_000_000, 11_000)]);
        assert_eq!(routed.routes, ["urgent".into(), "all".into()] as [Arc<str>; 2]);
        assert!(router.route("/twinChangeNotifications/", Message::new("x").into(), 1).incoming.is_none());
    }

    #[test]
    fn conditions_see_properties_in_any_case() {
        let router =
            Router::compile(&device(), &desired(&json!({ "r": "FROM /* WHERE Kind = 'alert' INTO $upstream" })))
                .unwrap();
        let mut message = Message::new("x");
        message.properties.set("kind", "alert".to_owned());
        assert!(router.route("/messages/", message.into(), 0).incoming.is_some());
    }

    #[test]
    fn a_mistake_is_told_with_the_routes_name() {
        let error =
            Router::compile(&device(), &desired(&json!({ "broken": "FROM /messages/* INTO nowhere" }))).unwrap_err();
        assert!(error.contains("broken"), "{error}");
        let error = Router::compile(&device(), &json!({ "schemaVersion": "2.0" })).unwrap_err();
        assert!(error.contains("2.0"), "{error}");
    }

    #[test]
    fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/hub_config.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let got = Router::compile(&device(), &vector["desired"]).map(|_| ());
            assert_eq!(got.is_ok(), vector["expected"]["ok"] == true, "{} {got:?}", vector["id"]);
        }
    }
}
