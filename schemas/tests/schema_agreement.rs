//! The published schemas and the checker say the same about the shape of a document: what one refuses, the other
//! mentions, for every small change to a manifest that has everything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check};
use edgectl_schemas::published;
use serde_json::{Value, json};

/// A manifest that uses every member there is.
fn manifest() -> Value {
    let module = json!({"version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "on-create", "startupOrder": 3, "env": {"LEVEL": {"value": "debug"}},
        "settings": {"image": "registry.example.com/filter:1", "createOptions": "{}"}});
    let mut hub = module.clone();
    hub["settings"]["image"] = json!("registry.example.com/hub:1");
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25", "loggingOptions": "",
                "registryCredentials": {"one": {"address": "registry.example.com", "username": "u", "password": "p"}}}},
            "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "registry.example.com/agent:1"}},
                "edgeHub": hub},
            "modules": {"filter": module}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.2",
            "routes": {"up": {"route": "FROM /messages/* INTO $upstream", "priority": 1, "timeToLiveSecs": 5},
                "other": "FROM /messages/* INTO $upstream"},
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200, "storeLimits": {"maxSizeBytes": 5}}}},
        "filter": {"properties.desired": {"limit": 3}}}})
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        found.push(pointer.clone());
        pointers(inner, &pointer, found);
    }
}

/// The document with one member changed.
fn changed(pointer: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>, &str)) -> Value {
    let mut document = manifest();
    let (holder, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    change(document.pointer_mut(holder).unwrap().as_object_mut().unwrap(), &name);
    document
}

/// Whether the checker mentions anything about the shape; of what it merely advises on the schema knows nothing.
fn is_mentioned(document: &Value) -> bool {
    let advice = ["EDGE0215", "EDGE0212", "EDGE0303", "EDGE0306", "EDGE0613", "EDGE0305", "EDGE0002"];
    let parsed = Document::parse("manifest.json", document.to_string(), Format::Json).unwrap();
    check(&parsed, Purpose::Manifest).diagnostics.iter().any(|found| !advice.contains(&found.rule.code))
}

#[test]
fn schema_and_checker_agree_on_every_small_change() {
    let schema: Value = serde_json::from_str(published::find("deployment").unwrap().text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(
        validator.is_valid(&manifest()),
        "{:?}",
        validator.iter_errors(&manifest()).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    assert!(!is_mentioned(&manifest()));
    let mut all = Vec::new();
    pointers(&manifest(), "", &mut all);
    let mut differences = Vec::new();
    for pointer in all {
        // What a twin of a module holds is the module's own affair, and so are texts with a language of their own.
        if pointer.starts_with("/modulesContent/filter/properties.desired/") {
            continue;
        }
        let values = [json!({}), json!(-7), json!([]), json!(""), json!(true)];
        let mut documents: Vec<(String, Value)> = values
            .iter()
            .map(|value| (format!("= {value}"), changed(&pointer, |holder, name| holder[name] = value.clone())))
            .collect();
        documents.push((
            "deleted".to_owned(),
            changed(&pointer, |holder, name| {
                holder.remove(name);
            }),
        ));
        documents.push((
            "renamed".to_owned(),
            changed(&pointer, |holder, name| {
                let value = holder.remove(name).unwrap();
                holder.insert(format!("{name}.x"), value);
            }),
        ));
        for (what, document) in documents {
            let (valid, mentioned) = (validator.is_valid(&document), is_mentioned(&document));
            if valid == mentioned {
                differences.push(format!("{pointer} {what}: schema valid {valid}, checker mentions {mentioned}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_schemas_are_schemas() {
    for schema in published::SCHEMAS {
        let value: Value = serde_json::from_str(schema.text).unwrap();
        assert!(jsonschema::meta::is_valid(&value), "{}", schema.name);
        jsonschema::validator_for(&value).unwrap();
    }
}
