//! The configuration of an image: what it runs, and what it says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::image::oci::layer::Layer;
use crate::image::platform::Platform;

/// How an image is run, and what it says of itself. What is left out is the base image's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Where it runs.
    pub directory: Option<String>,
    /// Its environment, added to that of the base.
    pub environment: BTreeMap<String, String>,
    /// What is said of the image.
    pub labels: BTreeMap<String, String>,
}

/// The configuration of an image: that of its base, with layers on top.
pub fn compose(base: Option<&Value>, platform: &Platform, settings: &Settings, layers: &[Layer], time: u64) -> Value {
    let created = created(time);
    let mut config = base.and_then(Value::as_object).cloned().unwrap_or_default();
    config.insert("created".to_owned(), json!(created));
    config.insert("architecture".to_owned(), json!(platform.architecture));
    config.insert("os".to_owned(), json!(platform.os));
    if let Some(variant) = &platform.variant {
        config.insert("variant".to_owned(), json!(variant));
    }
    let run = config.entry("config").or_insert_with(|| json!({}));
    if !run.is_object() {
        *run = json!({});
    }
    if let Value::Object(run) = run {
        apply(run, settings);
    }
    let diff_ids = layers.iter().map(|layer| json!(layer.diff_id));
    let history = layers
        .iter()
        .map(|layer| json!({ "created": created, "created_by": "edgectl build", "comment": layer.purpose }));
    let known: Vec<Value> =
        base.and_then(|base| base.pointer("/rootfs/diff_ids")?.as_array().cloned()).unwrap_or_default();
    let told: Vec<Value> = base.and_then(|base| base.get("history")?.as_array().cloned()).unwrap_or_default();
    config.insert(
        "rootfs".to_owned(),
        json!({ "type": "layers", "diff_ids": known.into_iter().chain(diff_ids).collect::<Vec<_>>() }),
    );
    config.insert("history".to_owned(), told.into_iter().chain(history).collect());
    Value::Object(config)
}

fn apply(run: &mut Map<String, Value>, settings: &Settings) {
    if !settings.entrypoint.is_empty() {
        run.insert("Entrypoint".to_owned(), json!(settings.entrypoint));
        // The base's arguments were meant for the base's program.
        run.remove("Cmd");
    }
    if let Some(directory) = &settings.directory {
        run.insert("WorkingDir".to_owned(), json!(directory));
    }
    let mut environment: Vec<String> = run
        .get("Env")
        .and_then(Value::as_array)
        .map(|entries| entries.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    for (name, value) in &settings.environment {
        environment.retain(|entry| entry.split('=').next() != Some(name));
        environment.push(format!("{name}={value}"));
    }
    if environment.is_empty() {
        environment.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    }
    run.insert("Env".to_owned(), json!(environment));
    let labels = run.entry("Labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    for (name, value) in &settings.labels {
        labels[name] = json!(value);
    }
}

/// A time as documents have it.
pub fn created(time: u64) -> String {
    let seconds = i64::try_from(time).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::oci::digest::Digest;
    use crate::image::oci::document::{Descriptor, LAYER_GZIP};

    #[test]
    fn what_the_base_says_stays_unless_it_is_said_anew() {
        let base = json!({
            "architecture": "amd64", "os": "linux", "author": "somebody",
            "config": { "Env": ["PATH=/bin", "A=1"], "Cmd": ["python3"], "User": "app", "Labels": { "a": "1" } },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"base")] },
            "history": [{ "created_by": "base" }],
        });
        let layer = Layer {
            descriptor: Descriptor::of(LAYER_GZIP, b"x"),
            diff_id: Digest::of(b"y"),
            purpose: "code".to_owned(),
        };
        let settings = Settings {
            entrypoint: vec!["python3".to_owned(), "main.py".to_owned()],
            directory: Some("/app".to_owned()),
            environment: BTreeMap::from([("A".to_owned(), "2".to_owned())]),
            labels: BTreeMap::from([("b".to_owned(), "2".to_owned())]),
        };
        let config = compose(Some(&base), &"linux/amd64".parse().unwrap(), &settings, &[layer], 86_400);
        assert_eq!(config["created"], "1970-01-02T00:00:00Z");
        assert_eq!(config["author"], "somebody");
        assert_eq!(config["config"]["Env"], json!(["PATH=/bin", "A=2"]));
        assert_eq!(config["config"]["User"], "app");
        assert_eq!(config["config"].get("Cmd"), None);
        assert_eq!(config["config"]["Labels"], json!({ "a": "1", "b": "2" }));
        assert_eq!(config["rootfs"]["diff_ids"], json!([Digest::of(b"base"), Digest::of(b"y")]));
        assert_eq!(config["history"][1]["comment"], "code");
    }
}
