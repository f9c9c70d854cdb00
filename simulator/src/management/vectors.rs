//! The behaviour vectors for the daemon's management API.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use edgectl_schemas::manifest::image_reference;
use edgectl_schemas::sas::encode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::logs::LogsQuery;
use super::route::Route;
use super::specification::{Specification, check_names};
use crate::runtime::docker::engine::engine_name;
use crate::runtime::log_time;
use crate::runtime::module_runtime::ModuleStatus;

#[test]
fn the_daemons_vectors_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/daemon.json");
    let Ok(text) = std::fs::read(file) else { return println!("passed over: no behaviour vectors") };
    let document: Value = serde_json::from_slice(&text).unwrap();
    let mut checked = BTreeMap::new();
    for vector in document["vectors"].as_array().unwrap() {
        if check(vector) {
            *checked.entry(vector["op"].as_str().unwrap()).or_insert(0) += 1;
        }
    }
    assert!(checked.len() >= 7, "{checked:?}");
}

fn check(vector: &Value) -> bool {
    let (input, expected) = (&vector["input"], &vector["expected"]);
    let text = || input.as_str().unwrap();
    match vector["op"].as_str().unwrap() {
        "route" if input["api"] == "management" => {
            let route = Route::parse(input["path"].as_str().unwrap());
            assert_eq!(route.is_some(), expected["match"], "{vector}");
            if let Some(parameters) = expected["params"].as_object() {
                let expected: BTreeSet<&str> = parameters.values().filter_map(Value::as_str).collect();
                assert_eq!(parameters_of(route.as_ref().unwrap()), expected, "{vector}");
            }
        }
        "logs_query" => {
            let fields = input.as_object().unwrap().iter();
            let fields: Vec<String> =
                fields.map(|(name, value)| format!("{name}={}", encode(value.as_str().unwrap()))).collect();
            match LogsQuery::read(Some(&fields.join("&")), Timestamp::now()) {
                Ok(query) => assert_eq!(written(&query), *expected, "{vector}"),
                Err(_) => assert_eq!(expected["error"], true, "{vector}"),
            }
        }
        "parse_since" => check_since(vector),
        "module_spec" => {
            let valid = check_names(input["name"].as_str().unwrap(), input["type"].as_str().unwrap()).is_ok();
            assert_eq!(json!(valid), *expected, "{vector}");
        }
        "daemon_docker_image" => {
            let body = json!({ "name": "m", "type": "docker", "config": { "settings": { "image": input } } });
            assert_eq!(json!(Specification::read(body).is_ok()), *expected, "{vector}");
            assert_eq!(json!(image_reference::normalize(text()).is_ok()), *expected, "{vector}");
        }
        "module_status" => match text().parse::<ModuleStatus>() {
            Ok(status) => assert_eq!(json!(status.as_str()), *expected, "{vector}"),
            Err(_) => assert_ne!(input, expected, "{vector}"),
        },
        "network_name" if input.is_string() => assert_eq!(json!(engine_name(text())), *expected, "{vector}"),
        _ => return false,
    }
    true
}

fn parameters_of(route: &Route) -> BTreeSet<&str> {
    match route {
        Route::Module(name) | Route::Logs(name) | Route::Identity(name) => BTreeSet::from([name.as_str()]),
        Route::Action { module, action } => BTreeSet::from([module.as_str(), action.as_str()]),
        _ => BTreeSet::new(),
    }
}

/// A query as the vectors write it.
fn written(query: &LogsQuery) -> Value {
    json!({
        "follow": query.follow, "timestamps": query.timestamps,
        "tail": query.tail.map_or_else(|| json!("all"), |lines| json!(lines)),
        "since": query.since.as_second(), "until": query.until.map(Timestamp::as_second),
    })
}

fn check_since(vector: &Value) {
    let (input, expected) = (vector["input"].as_str().unwrap(), &vector["expected"]);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    match log_time::parse(input, now) {
        Err(_) => assert_eq!(expected["error"], true, "{vector}"),
        Ok(time) => match expected.get("secondsAgo") {
            Some(ago) => assert_eq!(json!(now.as_second() - time.as_second()), *ago, "{vector}"),
            None => {
                let known: Vec<i64> = expected.as_object().unwrap().values().filter_map(Value::as_i64).collect();
                assert_eq!(known, [time.as_second()], "{vector}");
            }
        },
    }
}
