//! The devices of a fleet in the registry of its cloud hub, and the tags that they get by chance.

use std::collections::HashSet;

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::registry::{Order, Wanted};
use edgectl_hub::cloud::twins::Change;
use edgectl_schemas::ids::{DeviceId, Identity};
use serde_json::{Map, Value};

use super::chance::Seed;
use crate::device::{DeviceError, other};

/// A tag that devices get by chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// Its name; dots lead into objects.
    pub name: String,
    /// Its values, each with its share. Who is in none of the shares does not get the tag.
    pub values: Vec<(String, f64)>,
}

/// Registers the devices that are not yet, gives all of them the tags that they lack, and removes those of an earlier, larger
/// fleet.
pub fn register(cloud: &CloudHub, devices: &[DeviceId], tags: &[Tag], seed: Seed) -> Result<(), DeviceError> {
    let known = |device: &DeviceId| cloud.registry().get(&Identity::device(device.clone())).is_some();
    let order = |device: &DeviceId| Order {
        identity: Identity::device(device.clone()),
        wanted: Wanted { edge: Some(true), ..Wanted::default() },
        condition: None,
    };
    let new = devices.iter().filter(|device| !known(device)).map(order).collect();
    for outcome in cloud.put_identities(new).map_err(|error| other("the registry")(&error))? {
        outcome?;
    }
    let mut tagged: Vec<(Identity, Change)> = Vec::new();
    for device in devices {
        let identity = Identity::device(device.clone());
        let twin = cloud.twin_of(&identity).map_err(|error| other("the tags")(&error))?;
        let lacking = tags_of(device, tags.iter().filter(|tag| !has_tag(&twin.tags, &tag.name)), seed);
        if !lacking.is_empty() {
            tagged.push((identity, Change { tags: Some(Value::Object(lacking)), ..Change::default() }));
        }
    }
    cloud.change_many(&tagged).map_err(|error| other("the tags")(&error))?;
    let stem = devices.first().map_or("", |first| first.as_str().trim_end_matches(|c: char| c.is_ascii_digit()));
    let wanted: HashSet<&DeviceId> = devices.iter().collect();
    let is_of_fleet = |name: &str| {
        name.strip_prefix(stem).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for registration in cloud.registry().devices() {
        let identity = &registration.record.identity;
        if registration.edge && is_of_fleet(identity.device.as_str()) && !wanted.contains(&identity.device) {
            cloud.remove_identity(identity, None)?;
        }
    }
    Ok(())
}

fn has_tag(tags: &Map<String, Value>, name: &str) -> bool {
    match name.split_once('.') {
        None => tags.contains_key(name),
        Some((first, rest)) => tags.get(first).and_then(Value::as_object).is_some_and(|inner| has_tag(inner, rest)),
    }
}

/// Those of the tags that a device has by chance.
fn tags_of<'a>(device: &DeviceId, tags: impl Iterator<Item = &'a Tag>, seed: Seed) -> Map<String, Value> {
    let mut found = Map::new();
    for tag in tags {
        let mut left = seed.share(&format!("tag {}", tag.name), &[device.as_str()]);
        let value = tag.values.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        if let Some((value, _)) = value {
            put(&mut found, &tag.name, value);
        }
    }
    found
}

fn put(tags: &mut Map<String, Value>, name: &str, value: &str) {
    match name.split_once('.') {
        None => drop(tags.insert(name.to_owned(), value.into())),
        Some((first, rest)) => {
            let inner = tags.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
