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

/// Registers the devices that are not yet, gives those their tags, and removes those of an earlier, larger fleet.
pub fn register(cloud: &CloudHub, devices: &[DeviceId], tags: &[Tag], seed: Seed) -> Result<(), DeviceError> {
    let known = |device: &DeviceId| cloud.registry().get(&Identity::device(device.clone())).is_some();
    let new: Vec<&DeviceId> = devices.iter().filter(|device| !known(device)).collect();
    let order = |device: &&DeviceId| Order {
        identity: Identity::device(DeviceId::clone(device)),
        wanted: Wanted { edge: Some(true), ..Wanted::default() },
        condition: None,
    };
    let made = cloud.put_identities(new.iter().map(order).collect());
    for outcome in made.map_err(|error| other("the registry")(&error))? {
        outcome?;
    }
    let tagged: Vec<(Identity, Change)> = new
        .into_iter()
        .map(|device| {
            let tags = tags_of(device, tags, seed);
            (Identity::device(device.clone()), Change { tags: Some(Value::Object(tags)), ..Change::default() })
        })
        .filter(|(_, change)| change.tags.as_ref().and_then(Value::as_object).is_some_and(|tags| !tags.is_empty()))
        .collect();
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

/// The tags of a device.
fn tags_of(device: &DeviceId, all: &[Tag], seed: Seed) -> Map<String, Value> {
    let mut tags = Map::new();
    for tag in all {
        let mut left = seed.share(&format!("tag {}", tag.name), &[device.as_str()]);
        let value = tag.values.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        if let Some((value, _)) = value {
            put(&mut tags, &tag.name, value);
        }
    }
    tags
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
