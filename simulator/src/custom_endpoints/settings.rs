//! What a solution says of the cloud hub's endpoints and routes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_schemas::route::body::evaluation::Evaluation;
use edgectl_schemas::route::body::paths::BodyPaths;
use edgectl_schemas::route::condition::compile::Condition;
use edgectl_schemas::route::parser::parse_condition;
use serde::{Deserialize, Serialize};

use super::event_view::EventView;

/// The built-in endpoint, in routes.
pub const BUILT_IN: &str = "events";

/// Endpoints beside the built-in one, and routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubSettings {
    /// The endpoints, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, CustomEndpoint>,
    /// The routes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, HubRoute>,
}

/// An endpoint: one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomEndpoint {
    /// A file that messages are appended to, a line of JSON each; relative to the solution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An HTTP or HTTPS address that messages are posted to, as a list in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The standard output of a device that runs in the foreground.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdout: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubRoute {
    /// What it takes: `DeviceMessages` where absent.
    #[serde(default)]
    pub source: RouteSource,
    /// For which messages, in the language of routes; for all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The name of the endpoint; `events` is the built-in one.
    pub endpoint: String,
    /// Whether it is in force.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub is_enabled: bool,
}

fn yes() -> bool {
    true
}

/// The sources of the service's routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteSource {
    /// Messages of devices and modules.
    #[default]
    DeviceMessages,
    /// Changed twins.
    TwinChangeEvents,
    /// New and removed devices and modules.
    DeviceLifecycleEvents,
    /// Connections.
    DeviceConnectionStateEvents,
}

impl RouteSource {
    fn is_of(self, event: &ReceivedEvent) -> bool {
        let source = match self {
            Self::DeviceMessages => None,
            Self::TwinChangeEvents => Some("twinChangeEvents"),
            Self::DeviceLifecycleEvents => Some("deviceLifecycleEvents"),
            Self::DeviceConnectionStateEvents => Some("deviceConnectionStateEvents"),
        };
        event.source.as_deref() == source
    }
}

/// The routes to one endpoint, ready to be asked.
pub struct Routes {
    routes: Vec<(RouteSource, Option<Condition>)>,
    paths: BodyPaths,
}

impl Routes {
    /// Whether one of them takes a message.
    pub fn take(&self, event: &ReceivedEvent) -> bool {
        self.routes.iter().any(|(source, condition)| {
            let holds = |condition: &Condition| {
                let view = EventView::new(event);
                condition.evaluate(&Evaluation::new(&view, &self.paths)) == Some(true)
            };
            source.is_of(event) && condition.as_ref().is_none_or(holds)
        })
    }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file.
    File(PathBuf),
    /// An HTTP or HTTPS address.
    Url(String),
    /// Standard output.
    Stdout,
}

impl HubSettings {
    /// What is wrong, by the path in the settings.
    pub fn mistakes(&self) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        for (name, endpoint) in &self.endpoints {
            let address = endpoint.address(Path::new("")).map(drop);
            let is_free =
                if name == BUILT_IN { Err("this is the name of the built-in endpoint".to_owned()) } else { Ok(()) };
            if let Err(what) = is_free.and(address) {
                found.push((vec!["endpoints".to_owned(), name.clone()], what));
            }
        }
        for (name, route) in &self.routes {
            let at = |member: &str| vec!["routes".to_owned(), name.clone(), member.to_owned()];
            if route.endpoint != BUILT_IN && !self.endpoints.contains_key(&route.endpoint) {
                found.push((at("endpoint"), format!("there is no endpoint {:?}", route.endpoint)));
            }
            if let Err(what) = compiled(route, &mut BodyPaths::default()) {
                found.push((at("condition"), what));
            }
        }
        found
    }

    /// The endpoints that a route leads to, with their routes. Settings with mistakes have been refused before.
    pub fn prepared(&self, root: &Path) -> Vec<(String, Address, Routes)> {
        let endpoints = self.endpoints.iter().filter_map(|(name, endpoint)| {
            let routes = self.routes_to(name);
            let address = endpoint.address(root).ok()?;
            (!routes.routes.is_empty()).then(|| (name.clone(), address, routes))
        });
        endpoints.collect()
    }

    /// What consumers of the built-in endpoint see: what devices send and how twins change, without a route. The service's own
    /// tests, and the SDKs', expect these two there and would trip over the others.
    pub fn built_in(&self) -> Routes {
        let mut routes = self.routes_to(BUILT_IN);
        let always = [RouteSource::DeviceMessages, RouteSource::TwinChangeEvents];
        routes.routes.extend(always.map(|source| (source, None)));
        routes
    }

    fn routes_to(&self, endpoint: &str) -> Routes {
        let mut paths = BodyPaths::default();
        let own = self.routes.values().filter(|route| route.is_enabled && route.endpoint == endpoint);
        let routes = own.filter_map(|route| Some((route.source, compiled(route, &mut paths).ok()?))).collect();
        Routes { routes, paths }
    }
}

impl CustomEndpoint {
    fn address(&self, root: &Path) -> Result<Address, String> {
        match (&self.file, &self.url, self.stdout) {
            (Some(file), None, false) => Ok(Address::File(root.join(file))),
            (None, Some(url), false) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Address::Url(url.clone()))
            }
            (None, Some(url), false) => Err(format!("{url:?} is not an HTTP address")),
            (None, None, true) => Ok(Address::Stdout),
            _ => Err("an endpoint has one of file, url and stdout".to_owned()),
        }
    }
}

fn compiled(route: &HubRoute, paths: &mut BodyPaths) -> Result<Option<Condition>, String> {
    let Some(text) = &route.condition else { return Ok(None) };
    let expression = parse_condition(text).map_err(|error| error.to_string())?;
    let condition = Condition::compile(text, expression.as_ref(), paths);
    let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ");
    condition.map(Some).map_err(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_built_in_endpoint_has_what_devices_send_and_what_routes_lead_to_it() {
        let event = |source: Option<&str>| -> ReceivedEvent {
            let event = json!({
                "sequenceNumber": 0, "enqueuedTime": "", "deviceId": "d", "properties": { "opType": "createDeviceIdentity" },
                "systemProperties": {}, "source": source,
            });
            serde_json::from_value(event).unwrap()
        };
        let seen = |settings: &HubSettings| {
            let routes = settings.built_in();
            [None, Some("twinChangeEvents"), Some("deviceLifecycleEvents"), Some("deviceConnectionStateEvents")]
                .map(|source| routes.take(&event(source)))
        };
        assert_eq!(seen(&HubSettings::default()), [true, true, false, false]);
        let of = |routes| -> HubSettings { serde_json::from_value(json!({ "routes": routes })).unwrap() };
        let lives = of(json!({ "a": { "source": "DeviceLifecycleEvents", "endpoint": "events" } }));
        assert_eq!((seen(&lives), lives.mistakes()), ([true, true, true, false], Vec::new()));
        let removed = of(json!({
            "a": { "source": "DeviceLifecycleEvents", "endpoint": "events", "condition": "opType = 'deleteDeviceIdentity'" },
            "b": { "source": "DeviceConnectionStateEvents", "endpoint": "events", "isEnabled": false },
        }));
        assert_eq!(seen(&removed), [true, true, false, false]);
        let taken: HubSettings =
            serde_json::from_value(json!({ "endpoints": { "events": { "stdout": true } } })).unwrap();
        assert_eq!(taken.mistakes().len(), 1);
    }
}
