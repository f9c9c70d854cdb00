//! The identities that a cloud hub knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SharedKey;
use serde::{Deserialize, Serialize};

use super::held::Held;
use crate::auth::{AuthError, Authentication, IdentityRecord};
use crate::clock::{Clock, text_of};
use crate::documents::{Documents, DocumentsError, Table};
use crate::family::{self, Member};

const TABLE: Table = Table::new("registry");
/// Most characters of the reason why a device is disabled.
const MAX_REASON_LENGTH: usize = 128;

/// An identity with all that the registry says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// How it connects.
    #[serde(flatten)]
    pub record: IdentityRecord,
    /// Counts changes.
    pub etag: u64,
    /// Whether it is an edge device.
    pub edge: bool,
    /// An edge device's own scope, or the scope of the edge device that a leaf device belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The scopes of the edge devices that the device connects through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// Who manages a module: `IotEdge` for modules of a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When it was last enabled or disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_updated: Option<String>,
}

impl Registration {
    /// The identity's place among the others. A leaf device that names only a scope has it as its parent.
    pub fn member(&self) -> Member {
        let parents = match (&self.scope, self.edge, self.parents.is_empty()) {
            (Some(scope), false, true) => vec![scope.clone()],
            _ => self.parents.clone(),
        };
        let scope = self.scope.clone().filter(|_| self.edge);
        Member { record: self.record.clone(), edge: self.edge, scope, parents }
    }
}

/// What is asked for when an identity is made or changed. What is absent is made up, or stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it may connect.
    pub enabled: Option<bool>,
    /// How it proves itself; empty keys are made up.
    pub authentication: Option<Authentication>,
    /// Whether it is an edge device.
    pub edge: Option<bool>,
    /// The scope of a leaf device.
    pub scope: Option<String>,
    /// The scope of the edge device that it connects through; empty to connect directly.
    pub parents: Option<Vec<String>>,
    /// Who manages a module.
    pub managed_by: Option<String>,
    /// Why it is disabled.
    pub status_reason: Option<String>,
}

/// What a change is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The identity must not exist.
    Absent,
    /// The identity must exist.
    Present,
    /// The identity must be at this etag.
    Etag(u64),
}

/// The registry does not do it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such identity.
    #[error("{0} is not registered")]
    NotFound(Identity),
    /// There is one already.
    #[error("{0} is registered already")]
    Exists(Identity),
    /// It was changed meanwhile.
    #[error("{0} was changed meanwhile")]
    Precondition(Identity),
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// Who acts for another may not.
    #[error(transparent)]
    Denied(#[from] AuthError),
    /// The registry cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// The registry of one cloud hub.
pub struct Registry {
    held: Held<Registration>,
    clock: Arc<dyn Clock>,
    /// One change at a time, since each reads before it writes.
    changing: Mutex<()>,
}

/// A registration that is to be made or changed.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose.
    pub identity: Identity,
    /// What is asked for.
    pub wanted: Wanted,
    /// What it is tied to; none makes a new one.
    pub condition: Option<Condition>,
}

/// Registrations that will be written together.
type Staged = BTreeMap<String, Registration>;

impl Registry {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, DocumentsError> {
        Ok(Self { held: Held::open(documents, TABLE)?, clock, changing: Mutex::default() })
    }

    /// A registration.
    pub fn get(&self, identity: &Identity) -> Option<Arc<Registration>> {
        self.held.get(&identity.to_string())
    }

    /// A registration that must be there.
    pub fn require(&self, identity: &Identity) -> Result<Arc<Registration>, RegistryError> {
        self.get(identity).ok_or_else(|| RegistryError::NotFound(identity.clone()))
    }

    /// All devices and modules: each device before its modules.
    pub fn all(&self) -> Vec<Arc<Registration>> {
        self.held.all()
    }

    /// All devices, by name.
    pub fn devices(&self) -> Vec<Arc<Registration>> {
        self.select(|identity| identity.module.is_none())
    }

    /// All modules of a device, by name.
    pub fn modules(&self, device: &DeviceId) -> Vec<Arc<Registration>> {
        self.held.beginning(&format!("{device}/"))
    }

    /// All identities in the scope of an edge device: itself, its modules, and the devices that connect through it.
    pub fn in_scope_of(&self, device: &DeviceId) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let own = self.require(&Identity::device(device.clone()))?.member();
        let mut all = self.held.all();
        all.retain(|registration| family::is_member(&registration.member(), &own));
        Ok(all)
    }

    /// The identity of the edge hub that acts with a chain for a client, if the chain holds together.
    pub fn actor(&self, chain: &str, target: &Identity) -> Result<Identity, RegistryError> {
        let find = |identity: &Identity| self.get(identity).map(|found| found.member());
        Ok(family::actor(chain, target, find)?)
    }

    /// The device that an edge device asks about with a chain, if the chain holds together.
    pub fn target(&self, chain: &str, acting: &DeviceId) -> Result<DeviceId, RegistryError> {
        Ok(family::target(chain, acting, |identity| self.get(identity).map(|found| found.member()))?)
    }

    /// Makes or changes an identity. An edge device gets `$edgeAgent` and `$edgeHub` at once.
    pub fn put(
        &self,
        identity: &Identity,
        wanted: Wanted,
        condition: Option<Condition>,
    ) -> Result<Arc<Registration>, RegistryError> {
        let order = Order { identity: identity.clone(), wanted, condition };
        self.put_all(vec![order])?.remove(0)?;
        self.require(identity)
    }

    /// Makes or changes identities, each as if it were alone; those that can be are written together.
    pub fn put_all(&self, orders: Vec<Order>) -> Result<Vec<Result<(), RegistryError>>, DocumentsError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut staged = Staged::new();
        let outcomes = orders.into_iter().map(|order| self.stage(&mut staged, order)).collect();
        self.held.write(staged.into_iter().map(|(key, registration)| (key, Some(registration))))?;
        Ok(outcomes)
    }

    fn stage(&self, staged: &mut Staged, Order { identity, wanted, condition }: Order) -> Result<(), RegistryError> {
        let old = self.find(staged, &identity);
        match (&old, condition) {
            (Some(_), None | Some(Condition::Absent)) => return Err(RegistryError::Exists(identity)),
            (None, Some(Condition::Present | Condition::Etag(_))) => return Err(RegistryError::NotFound(identity)),
            (Some(old), Some(Condition::Etag(etag))) if old.etag != etag => {
                return Err(RegistryError::Precondition(identity));
            }
            _ => {}
        }
        let device = Identity::device(identity.device.clone());
        if identity.module.is_some() && self.find(staged, &device).is_none() {
            return Err(RegistryError::NotFound(device));
        }
        let registration = match old {
            Some(old) => changed(old, wanted, &self.clock.now_text())?,
            None => self.made(&identity, wanted)?,
        };
        self.check_parents(staged, &registration.member())?;
        if registration.edge && identity.module.is_none() {
            for module in [ModuleId::edge_agent(), ModuleId::edge_hub()] {
                let module = Identity::module(identity.device.clone(), module);
                if self.find(staged, &module).is_none() {
                    let made = self.made(&module, Wanted::default())?;
                    staged.insert(module.to_string(), made);
                }
            }
        }
        staged.insert(identity.to_string(), registration);
        Ok(())
    }

    fn find(&self, staged: &Staged, identity: &Identity) -> Option<Registration> {
        let key = identity.to_string();
        staged.get(&key).cloned().or_else(|| self.held.get(&key).map(|found| Registration::clone(&found)))
    }

    /// Removes an identity, a device with its modules. Returns what was removed.
    pub fn remove(
        &self,
        identity: &Identity,
        condition: Option<Condition>,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.require(identity)?;
        if matches!(condition, Some(Condition::Etag(etag)) if etag != old.etag) {
            return Err(RegistryError::Precondition(identity.clone()));
        }
        let mut removed = vec![old];
        if identity.module.is_none() {
            removed.extend(self.modules(&identity.device));
        }
        self.held.write(removed.iter().map(|registration| (registration.record.identity.to_string(), None)))?;
        Ok(removed)
    }

    /// A device connects through an edge device that exists and is not below it.
    fn check_parents(&self, staged: &Staged, member: &Member) -> Result<(), RegistryError> {
        let invalid = |text: String| Err(RegistryError::Invalid(text));
        let scope = match &member.parents[..] {
            [] => return Ok(()),
            [scope] => scope,
            _ => return invalid("a device has one parent at most".to_owned()),
        };
        let parent = match family::device_of_scope(scope) {
            Some(device) => self.find(staged, &Identity::device(device)),
            None => None,
        };
        let Some(parent) = parent.filter(|parent| parent.edge && parent.scope.as_ref() == Some(scope)) else {
            return invalid(format!("{scope:?} is not the scope of an edge device"));
        };
        let find = |identity: &Identity| self.find(staged, identity).map(|found| found.member());
        let above = family::lineage(&parent.record.identity, find);
        if above.iter().any(|above| above.record.identity == member.record.identity) {
            return invalid(format!("{} is above its own parent", member.record.identity));
        }
        if above.len() >= family::MAX_DEPTH && member.edge {
            return invalid(format!("there are {} edge devices above each other, which is the most", above.len()));
        }
        Ok(())
    }

    fn made(&self, identity: &Identity, wanted: Wanted) -> Result<Registration, RegistryError> {
        let now = self.clock.now_ms();
        let edge = wanted.edge.unwrap_or(false) && identity.module.is_none();
        let scope =
            if edge { Some(format!("{}{}-{}", family::SCOPE_SCHEME, identity.device, ticks(now))) } else { None };
        let fresh = Registration {
            record: IdentityRecord {
                identity: identity.clone(),
                generation_id: ticks(now).to_string(),
                enabled: true,
                authentication: Authentication::Sas { primary_key: new_key(), secondary_key: new_key() },
            },
            etag: 0,
            edge,
            scope,
            parents: Vec::new(),
            managed_by: None,
            status_reason: None,
            status_updated: None,
        };
        changed(fresh, wanted, &text_of(now)).map(|made| Registration { status_updated: None, ..made })
    }

    fn select(&self, wanted: impl Fn(&Identity) -> bool) -> Vec<Arc<Registration>> {
        let mut all = self.held.all();
        all.retain(|item| wanted(&item.record.identity));
        all
    }
}

fn changed(mut registration: Registration, wanted: Wanted, now: &str) -> Result<Registration, RegistryError> {
    registration.etag += 1;
    if let Some(enabled) = wanted.enabled {
        if registration.record.enabled != enabled {
            registration.status_updated = Some(now.to_owned());
        }
        registration.record.enabled = enabled;
    }
    if let Some(authentication) = wanted.authentication {
        registration.record.authentication = completed(authentication, &registration.record.authentication)?;
    }
    let mut parents = wanted.parents;
    if let Some(scope) = wanted.scope {
        if registration.edge && registration.scope.as_ref() != Some(&scope) {
            return Err(RegistryError::Invalid("the scope of an edge device cannot be changed".to_owned()));
        }
        let is_moved = registration.scope.as_ref() != Some(&scope);
        // Tools take a device out of a scope with an empty one.
        let scope = Some(scope).filter(|scope| !scope.is_empty());
        if !registration.edge {
            registration.parents = scope.iter().cloned().collect();
        }
        registration.scope = scope;
        // Clients send back what they read: a new scope beside the old parents means the scope.
        parents = parents.filter(|_| !is_moved);
    }
    match parents {
        Some(parents) if registration.edge => registration.parents = parents,
        // Some clients send none of a leaf device with each change.
        Some(parents) if !parents.is_empty() => {
            registration.scope = parents.first().cloned();
            registration.parents = parents;
        }
        _ => {}
    }
    if wanted.managed_by.is_some() {
        registration.managed_by = wanted.managed_by;
    }
    if let Some(reason) = wanted.status_reason {
        let length = reason.chars().count();
        if length > MAX_REASON_LENGTH {
            let text = format!("the status reason has {length} characters, the most is {MAX_REASON_LENGTH}");
            return Err(RegistryError::Invalid(text));
        }
        registration.status_reason = Some(reason);
    }
    Ok(registration)
}

/// Empty keys stay what they were, or are made up. Thumbprints are written in one way.
fn completed(wanted: Authentication, old: &Authentication) -> Result<Authentication, RegistryError> {
    let (primary_key, secondary_key) = match wanted {
        Authentication::Sas { primary_key, secondary_key } => (primary_key, secondary_key),
        Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint } => {
            return self_signed(&primary_thumbprint, &secondary_thumbprint);
        }
        Authentication::CertificateAuthority | Authentication::None => return Ok(wanted),
    };
    let (old_primary, old_secondary) = match old {
        Authentication::Sas { primary_key, secondary_key } => (primary_key.clone(), secondary_key.clone()),
        _ => (new_key(), new_key()),
    };
    let key = |wanted: String, old: String| {
        if wanted.is_empty() {
            return Ok(old);
        }
        match SharedKey::from_base64(&wanted) {
            Ok(_) => Ok(wanted),
            Err(error) => Err(RegistryError::Invalid(error.to_string())),
        }
    };
    Ok(Authentication::Sas {
        primary_key: key(primary_key, old_primary)?,
        secondary_key: key(secondary_key, old_secondary)?,
    })
}

fn self_signed(primary: &str, secondary: &str) -> Result<Authentication, RegistryError> {
    if primary.is_empty() && secondary.is_empty() {
        return Err(RegistryError::Invalid("a self-signed certificate is known by its thumbprint".to_owned()));
    }
    let (primary_thumbprint, secondary_thumbprint) = (thumbprint(primary)?, thumbprint(secondary)?);
    Ok(Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint })
}

/// The digits of a SHA-1 or SHA-256 thumbprint, which tools write with and without colons; empty stays empty.
fn thumbprint(text: &str) -> Result<String, RegistryError> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    if matches!(digits.len(), 0 | 40 | 64) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err(RegistryError::Invalid(format!("thumbprint {text:?} has neither 40 nor 64 hexadecimal digits")))
}

/// 32 random bytes in base64.
pub fn new_key() -> String {
    let bytes: Vec<u8> = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4()]
        .iter()
        // Six of the 128 bits are not random, in bytes 6 and 8.
        .flat_map(|id| id.as_bytes().iter().enumerate().filter(|(n, _)| !matches!(n, 6 | 8)).map(|(_, byte)| *byte))
        .take(32)
        .collect();
    SharedKey::from_bytes(bytes).to_base64()
}

/// The service counts in steps of 100 ns since the year 1.
fn ticks(ms: u64) -> u64 {
    621_355_968_000_000_000 + ms * 10_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn registry(directory: &tempfile::TempDir) -> Registry {
        let documents = Documents::open(&directory.path().join("documents")).unwrap();
        Registry::open(Arc::new(documents), Arc::new(SystemClock)).unwrap()
    }

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn an_edge_device_comes_with_its_runtime_modules_and_a_scope() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(&directory);
        let edge = registry.put(&id("edge"), Wanted { edge: Some(true), ..Wanted::default() }, None).unwrap();
        let names: Vec<_> = registry.modules(&edge.record.identity.device);
        let names: Vec<_> = names.iter().map(|module| module.record.identity.to_string()).collect();
        assert_eq!(names, ["edge/$edgeAgent", "edge/$edgeHub"]);
        assert!(edge.scope.clone().unwrap().starts_with("ms-azure-iot-edge://edge-"));

        let leaf = Wanted { scope: edge.scope.clone(), ..Wanted::default() };
        registry.put(&id("leaf"), leaf, None).unwrap();
        registry.put(&id("stranger"), Wanted::default(), None).unwrap();
        let scope = registry.in_scope_of(&id("edge").device).unwrap();
        let mut scope: Vec<_> = scope.iter().map(|item| item.record.identity.to_string()).collect();
        scope.sort();
        assert_eq!(scope, ["edge", "edge/$edgeAgent", "edge/$edgeHub", "leaf"]);

        // Clients send what they read with one member changed.
        let present = Some(Condition::Present);
        let moved = |scope: &str, parents: &[String]| Wanted {
            scope: Some(scope.to_owned()),
            parents: Some(parents.to_vec()),
            ..Wanted::default()
        };
        let own = edge.scope.clone().unwrap();
        let elsewhere = registry.put(&id("leaf"), moved("elsewhere", std::slice::from_ref(&own)), present);
        assert!(matches!(elsewhere, Err(RegistryError::Invalid(_))));
        let other = registry.put(&id("other"), Wanted { edge: Some(true), ..Wanted::default() }, None).unwrap();
        let new = other.scope.clone().unwrap();
        for (wanted, parent) in [
            (moved(&own, &[]), Some(&own)),
            (moved(&new, &[]), Some(&new)),
            (moved(&own, std::slice::from_ref(&new)), Some(&own)),
            (moved(&own, std::slice::from_ref(&new)), Some(&new)),
            (moved("", std::slice::from_ref(&new)), None),
        ] {
            let leaf = registry.put(&id("leaf"), wanted, present).unwrap();
            assert_eq!(leaf.parents.first(), parent);
        }
        let below = Wanted { parents: Some(vec![own]), ..Wanted::default() };
        assert_eq!(registry.put(&id("other"), below, present).unwrap().parents.len(), 1);
        let alone = Wanted { parents: Some(Vec::new()), ..Wanted::default() };
        assert_eq!(registry.put(&id("other"), alone, present).unwrap().parents.len(), 0);
    }

    #[test]
    fn conditions_guard_changes() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(&directory);
        let put = |condition| registry.put(&id("d"), Wanted::default(), condition);
        assert!(matches!(put(Some(Condition::Present)), Err(RegistryError::NotFound(_))));
        assert_eq!(put(None).unwrap().etag, 1);
        assert!(matches!(put(None), Err(RegistryError::Exists(_))));
        assert!(matches!(put(Some(Condition::Etag(7))), Err(RegistryError::Precondition(_))));
        assert_eq!(put(Some(Condition::Etag(1))).unwrap().etag, 2);
        assert!(matches!(registry.put(&id("x/m"), Wanted::default(), None), Err(RegistryError::NotFound(_))));
    }

    #[test]
    fn keys_are_made_up_kept_and_checked() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(&directory);
        let made = registry.put(&id("d"), Wanted::default(), None).unwrap();
        assert_eq!(made.record.keys().len(), 2);
        let empty = Authentication::Sas { primary_key: String::new(), secondary_key: String::new() };
        let wanted = Wanted { authentication: Some(empty), ..Wanted::default() };
        let kept = registry.put(&id("d"), wanted, Some(Condition::Present)).unwrap();
        assert_eq!(kept.record.authentication, made.record.authentication);
        let bad = Authentication::Sas { primary_key: "*".into(), secondary_key: String::new() };
        let wanted = Wanted { authentication: Some(bad), ..Wanted::default() };
        assert!(registry.put(&id("d"), wanted, Some(Condition::Present)).is_err());
    }
    #[test]
    fn thumbprints_are_checked_and_written_in_one_way() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(&directory);
        let put = |name: &str, primary: &str, secondary: &str| {
            let authentication = Authentication::SelfSigned {
                primary_thumbprint: primary.to_owned(),
                secondary_thumbprint: secondary.to_owned(),
            };
            let wanted = Wanted { authentication: Some(authentication), ..Wanted::default() };
            registry.put(&id(name), wanted, None)
        };
        let (sha1, sha256) = (["ab"; 20].join(":"), "CD".repeat(32));
        let made = put("d", &sha1, &sha256).unwrap().record.authentication.clone();
        let expected =
            Authentication::SelfSigned { primary_thumbprint: "AB".repeat(20), secondary_thumbprint: sha256.clone() };
        assert_eq!(made, expected);
        put("e", &sha256, "").unwrap();
        for (primary, secondary) in [("", ""), ("abc", ""), (&sha256[1..], ""), (&sha256, "x"), (&"g".repeat(40), "")] {
            assert!(matches!(put("f", primary, secondary), Err(RegistryError::Invalid(_))), "{primary} {secondary}");
        }
    }
}
