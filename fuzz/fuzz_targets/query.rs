//! Queries of the service: reading, writing and reading again, and the condition over a device.
#![no_main]

use edgectl_schemas::query::evaluate::holds;
use edgectl_schemas::query::parser::{condition, statement};
use serde_json::json;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = statement(text) {
        assert!(error.column(text) >= 1);
    }
    if let Ok(read) = condition(text) {
        holds(&read, &json!({ "deviceId": "d", "tags": { "a": 1, "b": "x" } }));
    }
});
