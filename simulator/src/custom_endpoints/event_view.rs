//! A received message as conditions of routes see it.

use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_schemas::route::message::{Lookup, MessageView};
use serde_json::{Map, Value};

/// A view of an event.
pub struct EventView<'a> {
    event: &'a ReceivedEvent,
    body: Vec<u8>,
}

impl<'a> EventView<'a> {
    /// Looks at an event.
    pub fn new(event: &'a ReceivedEvent) -> Self {
        Self { body: event.bytes(), event }
    }
}

impl MessageView for EventView<'_> {
    fn source(&self) -> &'static str {
        // Conditions do not ask.
        ""
    }

    fn property(&self, name: &str) -> Lookup<'_> {
        found(&self.event.properties, name)
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        found(&self.event.system_properties, name)
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}

fn found<'a>(all: &'a Map<String, Value>, name: &str) -> Lookup<'a> {
    let value = all
        .get(name)
        .or_else(|| all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    match value {
        None => Lookup::Absent,
        Some(value) => value.as_str().map_or(Lookup::Null, Lookup::Value),
    }
}
