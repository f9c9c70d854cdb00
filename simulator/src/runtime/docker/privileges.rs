//! What is taken from containers on a device whose daemon does not let them have more than they need.

use serde_json::{Map, Value, json};

/// What engines grant to every container, and what it could become root of the machine with.
const UNSAFE: [&str; 2] = ["CHOWN", "SETUID"];

/// Takes privileges and added capabilities from the `HostConfig` of a create request, and those that are unsafe unless
/// they were asked for by name.
pub fn restrict(host: &mut Map<String, Value>) {
    let texts = |list: Option<&Value>| -> Vec<String> {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let asked_for = texts(host.get("CapAdd"));
    let is_asked_for = |unsafe_one: &str| asked_for.iter().any(|asked| asked.trim_start_matches("CAP_") == unsafe_one);
    let mut dropped: Vec<String> = UNSAFE.into_iter().filter(|one| !is_asked_for(one)).map(str::to_owned).collect();
    for written in texts(host.get("CapDrop")) {
        if !dropped.contains(&written) {
            dropped.push(written);
        }
    }
    host.insert("CapDrop".to_owned(), json!(dropped));
    if host.get("Privileged") == Some(&Value::Bool(true)) {
        host.insert("Privileged".to_owned(), false.into());
    }
    host.remove("CapAdd");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_daemons_vectors_hold() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/daemon.json");
        let Ok(text) = std::fs::read(file) else { return println!("passed over: no behaviour vectors") };
        let document: Value = serde_json::from_slice(&text).unwrap();
        let mut checked = 0;
        for vector in document["vectors"].as_array().unwrap() {
            // Each vector tells of what one of the two rules changes.
            let others: &[&str] = match vector["op"].as_str().unwrap() {
                "unset_privileged" => &["CapDrop"],
                "drop_unsafe_privileges" => &["CapAdd", "Privileged"],
                _ => continue,
            };
            let before = vector["input"]["HostConfig"].as_object().cloned().unwrap_or_default();
            let mut host = before.clone();
            if vector["input"]["allowElevated"] != true {
                restrict(&mut host);
            }
            for (name, expected) in vector["expected"].as_object().unwrap() {
                if !others.contains(&name.as_str()) {
                    assert_eq!(host.get(name).unwrap_or(&Value::Null), expected, "{vector}");
                }
            }
            checked += 1;
        }
        assert!(checked >= 3, "{checked}");
    }

    #[test]
    fn what_was_asked_for_by_name_is_not_dropped_and_what_was_dropped_stays_so() {
        let host =
            json!({ "CapAdd": ["CAP_CHOWN", "NET_ADMIN"], "CapDrop": ["MKNOD"], "Privileged": true, "Memory": 1 });
        let Value::Object(mut host) = host else { unreachable!("it is one") };
        restrict(&mut host);
        let expected = json!({ "CapDrop": ["SETUID", "MKNOD"], "Privileged": false, "Memory": 1 });
        assert_eq!(Value::Object(host), expected);
    }
}
