//! Twins as documents: merging patches, finding differences, and the limits of reported properties.
//!
//! The rules and the texts of the messages are the real edge hub's.

use serde_json::{Map, Value};

/// Most bytes of a section as compact JSON.
pub const MAX_SECTION_BYTES: usize = 32_768;
const MAX_DEPTH: usize = 10;
const MAX_NAME_BYTES: usize = 1024;
const MAX_VALUE_BYTES: usize = 4096;
const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// Merges a patch into a document. Objects merge member by member, everything else replaces. A null removes the member
/// if `null_deletes`, and otherwise stays as a null; a null for a member that is not there is passed over when nulls
/// delete. An object that replaces something that is none is taken as it is, nulls included.
pub fn merge(base: &Value, patch: &Value, null_deletes: bool) -> Value {
    let (Value::Object(base), Value::Object(patch)) = (base, patch) else { return patch.clone() };
    let mut merged = base.clone();
    for (name, change) in patch {
        match (merged.get_mut(name), change) {
            (_, Value::Null) if null_deletes => {
                // Shifting keeps the order of the others, as a reader would expect.
                merged.shift_remove(name);
            }
            (Some(slot @ Value::Object(_)), Value::Object(_)) => *slot = merge(slot, change, null_deletes),
            _ => {
                merged.insert(name.clone(), change.clone());
            }
        }
    }
    Value::Object(merged)
}

/// The patch that makes `to` of `from`: nulls for what is gone, and nothing for what is the same.
pub fn diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in to {
        match from.get(name) {
            Some(old) if old == new => {}
            Some(old @ Value::Object(_)) if new.is_object() => {
                patch.insert(name.clone(), diff(old, new));
            }
            _ => {
                patch.insert(name.clone(), new.clone());
            }
        }
    }
    Value::Object(patch)
}

/// The section without `$metadata` and `$version`, which are not part of what it says. Only the top level has them.
pub fn strip_metadata(section: &Value) -> Value {
    match section {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !matches!(name.as_str(), "$metadata" | "$version"));
            Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        other => other.clone(),
    }
}

/// A section of a twin that breaks a limit; the text is the real hub's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTwin(String);

/// Checks a section of a twin, or a patch of one: its size and depth, and the names and values in it. Nulls that delete are
/// good.
pub fn validate_section(patch: &Value) -> Result<(), InvalidTwin> {
    let Value::Object(members) = patch else {
        return Err(InvalidTwin("Twin properties have to be an object".to_owned()));
    };
    validate_object(members, 1, false)?;
    let size = patch.to_string().len();
    if size > MAX_SECTION_BYTES {
        return Err(InvalidTwin(format!("Twin properties size {size} exceeds maximum {MAX_SECTION_BYTES}")));
    }
    Ok(())
}

fn validate_object(members: &Map<String, Value>, depth: usize, in_array: bool) -> Result<(), InvalidTwin> {
    if depth > MAX_DEPTH {
        return Err(InvalidTwin(format!("Nested depth of twin property exceeds {MAX_DEPTH}")));
    }
    for (name, value) in members {
        validate_name(name)?;
        if in_array && value.is_null() {
            return Err(InvalidTwin(format!("Property {name} of an object in an array cannot be 'null'")));
        }
        validate_value(name, value, depth, in_array)?;
    }
    Ok(())
}

fn validate_value(name: &str, value: &Value, depth: usize, in_array: bool) -> Result<(), InvalidTwin> {
    match value {
        Value::Object(members) => validate_object(members, depth + 1, in_array),
        Value::Array(items) => {
            if depth + 1 > MAX_DEPTH {
                return Err(InvalidTwin(format!("Nested depth of twin property exceeds {MAX_DEPTH}")));
            }
            items.iter().try_for_each(|item| match item {
                Value::Null => Err(InvalidTwin("Arrays cannot contain 'null' as value".to_owned())),
                item => validate_value(name, item, depth + 1, true),
            })
        }
        Value::String(text) if text.len() > MAX_VALUE_BYTES => Err(InvalidTwin(format!(
            "Value associated with property name {} has length {} that exceeds maximum length of {MAX_VALUE_BYTES}",
            shortened(name),
            text.len()
        ))),
        Value::Number(number) => {
            let is_integer = number.is_i64() || number.is_u64();
            if is_integer && !number.as_i64().is_some_and(|number| INTEGERS.contains(&number)) {
                let (low, high) = (INTEGERS.start(), INTEGERS.end());
                return Err(InvalidTwin(format!(
                    "Property {} has an out of bound value. Valid values are between {low} and {high}",
                    shortened(name)
                )));
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn validate_name(name: &str) -> Result<(), InvalidTwin> {
    if name.len() > MAX_NAME_BYTES {
        let name = shortened(name);
        return Err(InvalidTwin(format!("Length of property name {name} exceeds maximum length of {MAX_NAME_BYTES}")));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '.' | '$' | '#' | ' ')) {
        return Err(InvalidTwin(format!(
            "Property name {} contains invalid character (control, '.', '$', '#', ' ')",
            shortened(name)
        )));
    }
    Ok(())
}

/// A long name is cut in messages.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        name.to_owned()
    } else {
        format!("{}..", name.chars().take(10).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_follows_objects_and_replaces_the_rest() {
        let base = json!({ "a": { "x": 1, "y": 2 }, "b": [1, 2], "c": "keep" });
        let patch = json!({ "a": { "x": null, "z": 3 }, "b": [3], "d": { "kept": null }, "absent": null });
        assert_eq!(
            merge(&base, &patch, true),
            json!({ "a": { "y": 2, "z": 3 }, "b": [3], "c": "keep", "d": { "kept": null } })
        );
        assert_eq!(merge(&json!({ "a": 1 }), &json!({ "a": null }), false), json!({ "a": null }));
    }

    #[test]
    fn metadata_goes_from_the_top_only() {
        let section = json!({ "$version": 3, "$metadata": {}, "a": { "$version": 1 } });
        assert_eq!(strip_metadata(&section), json!({ "a": { "$version": 1 } }));
    }

    #[test]
    fn limits_are_told_in_the_hubs_words() {
        let told = |patch: Value| validate_section(&patch).unwrap_err().to_string();
        assert_eq!(told(json!({ "a": [1, null] })), "Arrays cannot contain 'null' as value");
        assert_eq!(
            told(json!({ "n": 4_503_599_627_370_496_i64 })),
            "Property n has an out of bound value. Valid values are between -4503599627370496 and 4503599627370495"
        );
        assert_eq!(
            told(json!({ "x".repeat(1025): 1 })),
            "Length of property name xxxxxxxxxx.. exceeds maximum length of 1024"
        );
        let deep = (0..11).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(told(deep), "Nested depth of twin property exceeds 10");
        assert!(validate_section(&(0..10).fold(json!(1), |inner, _| json!({ "a": inner }))).is_ok());
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i32>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn a_difference_merged_gives_the_other(from in tree(), to in tree()) {
            if from.is_object() && to.is_object() {
                prop_assert_eq!(merge(&from, &diff(&from, &to), true), to);
            }
        }
    }
}
