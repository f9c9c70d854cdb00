//! What the service says of a twin's properties beside their values: when each last changed, and desired ones in which
//! version.

use serde_json::{Map, Value, json};

/// The metadata of a section after a change. What is as it was keeps its time; what changed has `now`, and so has all that it
/// stands in.
pub fn stamped(
    metadata: &Map<String, Value>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    now: &str,
    version: Option<u64>,
) -> Map<String, Value> {
    let mut stamp = mark(now, version);
    for (name, value) in new {
        let known = metadata.get(name).and_then(Value::as_object);
        let kept = match (known, old.get(name)) {
            (Some(known), Some(before)) if before == value => known.clone(),
            (known, before) => match value {
                Value::Object(members) => {
                    let nothing = Map::new();
                    let before = before.and_then(Value::as_object).unwrap_or(&nothing);
                    stamped(known.unwrap_or(&nothing), before, members, now, version)
                }
                _ => mark(now, version),
            },
        };
        stamp.insert(name.clone(), Value::Object(kept));
    }
    stamp
}

fn mark(now: &str, version: Option<u64>) -> Map<String, Value> {
    let mut mark = Map::new();
    mark.insert("$lastUpdated".into(), json!(now));
    if let Some(version) = version {
        mark.insert("$lastUpdatedVersion".into(), json!(version));
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_keeps_its_time() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let first = map(json!({ "a": { "b": 1, "c": 2 }, "d": 3 }));
        let one = stamped(&Map::new(), &Map::new(), &first, "then", Some(2));
        assert_eq!(one["a"]["b"], json!({ "$lastUpdated": "then", "$lastUpdatedVersion": 2 }));
        let second = map(json!({ "a": { "b": 1, "c": 7 }, "d": 3 }));
        let two = Value::Object(stamped(&one, &first, &second, "now", None));
        let at = |pointer: &str| two.pointer(pointer).cloned().unwrap();
        assert_eq!(at("/$lastUpdated"), "now");
        assert_eq!([at("/a/$lastUpdated"), at("/a/b/$lastUpdated")], ["now", "then"]);
        assert_eq!([at("/a/c/$lastUpdated"), at("/d/$lastUpdated")], ["now", "then"]);
    }
}
