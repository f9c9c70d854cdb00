//! Who belongs to whom: modules to devices, devices to the edge device whose scope they are in, up to the cloud.
//!
//! An edge device's scope is `ms-azure-iot-edge://{device}-{number}`. A device that connects through it names that scope
//! as its parent; an edge device has a scope of its own besides. A chain lists a client and all above it, nearest first:
//! `leaf;child;parent`, or `child/module;child;parent`.

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};

use crate::auth::{AuthError, IdentityRecord};

/// The beginning of every scope.
pub const SCOPE_SCHEME: &str = "ms-azure-iot-edge://";
/// Edge devices above each other, as many as the service allows.
pub const MAX_DEPTH: usize = 5;

/// An identity and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who, and how it proves itself.
    #[serde(flatten)]
    pub record: IdentityRecord,
    /// Whether it is an edge device.
    #[serde(default)]
    pub edge: bool,
    /// An edge device's own scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The scopes that a device is in; at most one is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
}

/// The device that a scope is of, by the scope's name.
pub fn device_of_scope(scope: &str) -> Option<DeviceId> {
    DeviceId::new(scope.strip_prefix(SCOPE_SCHEME)?.rsplit_once('-')?.0).ok()
}

/// Whether somebody is in the scope of an edge device: the device itself, one of its modules, or a device below it.
pub fn is_member(member: &Member, edge: &Member) -> bool {
    let identity = &member.record.identity;
    identity.device == edge.record.identity.device
        || (identity.module.is_none() && edge.scope.as_ref().is_some_and(|scope| member.parents.contains(scope)))
}

/// An identity and those above it, nearest first, as far as they are known.
pub fn lineage(identity: &Identity, find: impl Fn(&Identity) -> Option<Member>) -> Vec<Member> {
    let Some(member) = find(identity) else { return Vec::new() };
    let mut above = vec![member];
    if identity.module.is_some() {
        above.extend(find(&Identity::device(identity.device.clone())));
    }
    while above.len() <= MAX_DEPTH
        && let Some(parent) = above.last().and_then(|device| parent_of(device, &find))
    {
        above.push(parent);
    }
    above
}

fn parent_of(device: &Member, find: impl Fn(&Identity) -> Option<Member>) -> Option<Member> {
    device.parents.iter().find_map(|scope| {
        let parent = find(&Identity::device(device_of_scope(scope)?))?;
        (parent.edge && parent.scope.as_ref() == Some(scope)).then_some(parent)
    })
}

/// The text of a chain.
pub fn chain(lineage: &[Member]) -> String {
    let ids: Vec<String> = lineage.iter().map(|member| member.record.identity.to_string()).collect();
    ids.join(";")
}

/// Checks the chain with which an edge hub acts for a client: it begins with the client, follows its lineage and ends
/// with the acting device, and all on it are enabled. Returns the identity of that device's edge hub.
pub fn actor(
    chain: &str,
    target: &Identity,
    find: impl Fn(&Identity) -> Option<Member>,
) -> Result<Identity, AuthError> {
    let refused = || AuthError::Chain(chain.to_owned());
    let lineage = lineage(target, find);
    if lineage.is_empty() {
        return Err(AuthError::Unknown(target.clone()));
    }
    let ids: Vec<&str> = chain.split(';').collect();
    let on_the_way = lineage.get(..ids.len()).ok_or_else(refused)?;
    if !on_the_way.iter().zip(&ids).all(|(member, id)| member.record.identity.to_string() == *id) {
        return Err(refused());
    }
    if let Some(disabled) = on_the_way.iter().find(|member| !member.record.enabled) {
        return Err(AuthError::Disabled(disabled.record.identity.clone()));
    }
    match on_the_way.last() {
        Some(device) if device.edge && device.record.identity.module.is_none() => {
            Ok(Identity::module(device.record.identity.device.clone(), ModuleId::edge_hub()))
        }
        _ => Err(refused()),
    }
}

/// Checks the chain with which an edge device asks about a device at or below it: `target;…;actor`. Returns the target.
pub fn target(
    chain: &str,
    acting: &DeviceId,
    find: impl Fn(&Identity) -> Option<Member>,
) -> Result<DeviceId, AuthError> {
    let refused = || AuthError::Chain(chain.to_owned());
    let first = chain.split(';').next().unwrap_or_default();
    let target = Identity::parse(first).map_err(|_| refused())?;
    if target.module.is_some() {
        return Err(refused());
    }
    if chain != acting.as_str() && actor(chain, &target, find)?.device != *acting {
        return Err(refused());
    }
    Ok(target.device)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::auth::Authentication;

    fn member(text: &str, parent: Option<&str>) -> Member {
        let edge = !text.contains('/') && text != "leaf";
        Member {
            record: IdentityRecord {
                identity: Identity::parse(text).unwrap(),
                generation_id: "1".into(),
                enabled: true,
                authentication: Authentication::None,
            },
            edge,
            scope: edge.then(|| format!("{SCOPE_SCHEME}{text}-638")),
            parents: parent.map(|parent| format!("{SCOPE_SCHEME}{parent}-638")).into_iter().collect(),
        }
    }

    fn family() -> HashMap<Identity, Member> {
        let members = [
            member("my-root", None),
            member("child", Some("my-root")),
            member("child/$edgeHub", None),
            member("child/m", None),
            member("sister", Some("my-root")),
            member("leaf", Some("child")),
        ];
        members.into_iter().map(|member| (member.record.identity.clone(), member)).collect()
    }

    fn chain_of(text: &str) -> String {
        let family = family();
        chain(&lineage(&Identity::parse(text).unwrap(), |identity| family.get(identity).cloned()))
    }

    fn actor_of(target: &str, chain: &str) -> Result<String, AuthError> {
        let family = family();
        let found = actor(chain, &Identity::parse(target).unwrap(), |identity| family.get(identity).cloned());
        found.map(|identity| identity.to_string())
    }

    #[test]
    fn chains_go_up_to_the_root() {
        assert_eq!(chain_of("leaf"), "leaf;child;my-root");
        assert_eq!(chain_of("child/m"), "child/m;child;my-root");
        assert_eq!(chain_of("my-root"), "my-root");
        assert_eq!(chain_of("stranger"), "");
    }

    #[test]
    fn those_above_a_client_may_act_for_it_and_nobody_else() {
        assert_eq!(actor_of("leaf", "leaf;child"), Ok("child/$edgeHub".into()));
        assert_eq!(actor_of("leaf", "leaf;child;my-root"), Ok("my-root/$edgeHub".into()));
        assert_eq!(actor_of("child/$edgeHub", "child/$edgeHub;child;my-root"), Ok("my-root/$edgeHub".into()));
        for (target, chain) in [
            ("leaf", "leaf;sister"),
            ("leaf", "leaf;my-root"),
            ("leaf", "leaf"),
            ("leaf", ""),
            ("leaf", "child"),
            ("leaf", "leaf;child;my-root;above"),
            ("child/m", "child/m"),
            ("stranger", "stranger;child"),
        ] {
            assert!(actor_of(target, chain).is_err(), "{chain}");
        }
    }

    #[test]
    fn a_circle_of_scopes_ends() {
        let mut family = family();
        family.get_mut(&Identity::parse("my-root").unwrap()).unwrap().parents =
            vec![format!("{SCOPE_SCHEME}child-638")];
        let found = lineage(&Identity::parse("leaf").unwrap(), |identity| family.get(identity).cloned());
        assert!(found.len() <= MAX_DEPTH + 1);
    }
}
