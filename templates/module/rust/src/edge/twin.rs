//! The desired properties of the module's twin, kept whole from an answer and the patches after it.

use serde_json::Value;

/// The desired properties as far as they are known.
#[derive(Debug, Default)]
pub struct Desired {
    pub properties: Value,
}

/// What a patch did.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was known already.
    None,
    Made,
    /// It cannot be applied, since one before it is missing.
    Missed,
}

impl Desired {
    /// Takes over the answer to a request for the twin. True if that changed anything.
    pub fn replace(&mut self, answer: &[u8]) -> bool {
        let Ok(mut twin) = serde_json::from_slice::<Value>(answer) else {
            return false;
        };
        let desired = twin["desired"].take();
        let news = version(&desired) != version(&self.properties) || self.properties.is_null();
        self.properties = desired;
        news
    }

    /// Applies a patch: members are merged, null removes.
    pub fn patch(&mut self, patch: &[u8]) -> Change {
        let Ok(patch) = serde_json::from_slice::<Value>(patch) else {
            return Change::Missed;
        };
        match (version(&self.properties), version(&patch)) {
            (Some(known), Some(new)) if new <= known => Change::None,
            (Some(known), Some(new)) if new == known + 1 => {
                merge(&mut self.properties, patch);
                Change::Made
            }
            _ => Change::Missed,
        }
    }
}

fn version(properties: &Value) -> Option<u64> {
    properties["$version"].as_u64()
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        // A patch for what is no object replaces it, without the members that it would remove.
        (target, Value::Object(patch)) => {
            *target = Value::Object(serde_json::Map::new());
            merge(target, Value::Object(patch));
        }
        (target, value) => *target = value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_in_order_are_merged() {
        let mut desired = Desired::default();
        assert!(
            desired.replace(
                br#"{"desired":{"a":{"b":1,"c":2},"$version":4},"reported":{"$version":1}}"#
            )
        );
        assert_eq!(
            desired.patch(br#"{"a":{"b":null,"d":{"e":null,"f":3}},"$version":5}"#),
            Change::Made
        );
        assert_eq!(
            desired.properties,
            json!({ "a": { "c": 2, "d": { "f": 3 } }, "$version": 5 })
        );
        assert_eq!(desired.patch(br#"{"a":null,"$version":5}"#), Change::None);
        assert_eq!(desired.patch(br#"{"a":null,"$version":7}"#), Change::Missed);
    }

    #[test]
    fn an_answer_with_the_known_version_is_no_news() {
        let answer = br#"{"desired":{"$version":4}}"#;
        let mut desired = Desired::default();
        assert!(desired.replace(answer));
        assert!(!desired.replace(answer));
    }
}
