//! The enrolments of the provisioning service: which devices may register, alone or in groups, and as what.

use std::sync::{Arc, Mutex, PoisonError};

use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::held::Held;
use super::registry::{Condition, new_key};
use crate::clock::Clock;
use crate::documents::{Documents, DocumentsError, Table};

const ENROLLMENTS: Table = Table::new("enrollments");
const GROUPS: Table = Table::new("enrollmentGroups");

/// Whether an enrolment is of one device or of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One device, whose registration has the enrolment's name.
    Individual,
    /// All devices that can prove to belong to it.
    Group,
}

/// An enrolment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrollment {
    /// The registration's or the group's name.
    pub name: String,
    /// Counts changes.
    pub etag: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it was last changed, RFC 3339.
    pub updated: String,
    /// What it says.
    pub terms: Terms,
}

/// What an enrolment says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// The device's name at the hub; none where it is that of the registration.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// How devices prove that they belong to it.
    pub attestation: Attestation,
    /// Whether devices may register.
    pub enabled: bool,
    /// Whether they become edge devices.
    pub edge: bool,
    /// `{"tags": …, "properties": {"desired": …}}` that a device's twin begins with; null for an empty one.
    #[serde(default)]
    pub initial_twin: Value,
    /// What becomes of a device that registers again.
    pub again: Again,
}

/// What becomes of a device that the hub has when it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Again {
    /// It stays as it is.
    Stay,
    /// It proves itself as it does now, and its twin stays.
    KeepTwin,
    /// The same, and its twin begins anew.
    ResetTwin,
}

/// How devices prove that they belong to an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Attestation {
    /// By tokens signed with one of two keys; those of devices in a group are derived from the group's.
    SymmetricKey {
        /// Base64.
        primary_key: String,
        /// Base64.
        secondary_key: String,
    },
    /// By a certificate with one of these thumbprints, upper-case hexadecimal digits.
    Certificate {
        /// SHA-1 or SHA-256.
        thumbprints: Vec<String>,
    },
    /// By a certificate of the authority that the hub trusts, whose subject is the registration.
    Authority,
    /// By a certificate whose subject is the registration, and that leads to one of these authorities.
    Signed {
        /// DER, base64: the first one, and one that may take its place.
        authorities: Vec<String>,
    },
}

/// An enrolment is not made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum EnrollmentError {
    /// There is none of that name.
    #[error("Enrollment not found")]
    NotFound,
    /// There is one already.
    #[error("Enrollment already exists")]
    Exists,
    /// It was changed meanwhile.
    #[error("Precondition failed")]
    Precondition,
    /// It breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// The enrolments of one provisioning service.
pub struct Enrollments {
    individual: Held<Enrollment>,
    groups: Held<Enrollment>,
    clock: Arc<dyn Clock>,
    /// One change at a time, since each reads before it writes.
    changing: Mutex<()>,
}

impl Enrollments {
    /// Loads what is kept in `documents`.
    pub fn open(documents: &Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, DocumentsError> {
        let individual = Held::open(Arc::clone(documents), ENROLLMENTS)?;
        let groups = Held::open(Arc::clone(documents), GROUPS)?;
        Ok(Self { individual, groups, clock, changing: Mutex::default() })
    }

    /// One enrolment.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Arc<Enrollment>> {
        self.held(kind).get(name)
    }

    /// All enrolments of a kind, by name.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Enrollment>> {
        self.held(kind).all()
    }

    /// Makes an enrolment, or changes the one that the condition is of. Keys that are empty are made up, or stay.
    pub fn put(
        &self,
        kind: Kind,
        name: &str,
        terms: Terms,
        condition: Option<Condition>,
    ) -> Result<Arc<Enrollment>, EnrollmentError> {
        check_name(name)?;
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.get(kind, name);
        check_condition(old.as_deref(), condition)?;
        let before = old.as_ref().map(|old| &old.terms.attestation);
        let terms = Terms { attestation: completed(terms.attestation, before)?, ..terms };
        let now = self.clock.now_text();
        let enrollment = Enrollment {
            name: name.to_owned(),
            etag: old.as_ref().map_or(1, |old| old.etag + 1),
            created: old.map_or_else(|| now.clone(), |old| old.created.clone()),
            updated: now,
            terms,
        };
        self.held(kind).put(name, enrollment.clone())?;
        Ok(Arc::new(enrollment))
    }

    /// Removes an enrolment. The devices that registered with it stay with the hub.
    pub fn remove(&self, kind: Kind, name: &str, condition: Option<Condition>) -> Result<(), EnrollmentError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.get(kind, name).ok_or(EnrollmentError::NotFound)?;
        check_condition(Some(&old), Some(condition.unwrap_or(Condition::Present)))?;
        Ok(self.held(kind).write([(name.to_owned(), None)])?)
    }

    fn held(&self, kind: Kind) -> &Held<Enrollment> {
        match kind {
            Kind::Individual => &self.individual,
            Kind::Group => &self.groups,
        }
    }
}

/// The key of a device in a group.
pub fn derived_key(group_key: &SharedKey, registration_id: &str) -> SharedKey {
    SharedKey::from_bytes(group_key.sign(registration_id.as_bytes()))
}

/// Names are as those of devices, in fewer characters.
fn check_name(name: &str) -> Result<(), EnrollmentError> {
    let is_good = (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
        && !name.ends_with(['.', '_', ':', '-']);
    if is_good { Ok(()) } else { Err(EnrollmentError::Invalid(format!("the name {name:?} is not allowed"))) }
}

fn check_condition(old: Option<&Enrollment>, condition: Option<Condition>) -> Result<(), EnrollmentError> {
    match (old, condition) {
        (Some(_), None | Some(Condition::Absent)) => Err(EnrollmentError::Exists),
        (None, Some(Condition::Present | Condition::Etag(_))) => Err(EnrollmentError::NotFound),
        (Some(old), Some(Condition::Etag(etag))) if old.etag != etag => Err(EnrollmentError::Precondition),
        _ => Ok(()),
    }
}

fn completed(wanted: Attestation, old: Option<&Attestation>) -> Result<Attestation, EnrollmentError> {
    let Attestation::SymmetricKey { primary_key, secondary_key } = wanted else { return Ok(wanted) };
    let (old_primary, old_secondary) = match old {
        Some(Attestation::SymmetricKey { primary_key, secondary_key }) => (primary_key.clone(), secondary_key.clone()),
        _ => (new_key(), new_key()),
    };
    let key = |wanted: String, old: String| match SharedKey::from_base64(&wanted) {
        _ if wanted.is_empty() => Ok(old),
        Ok(_) => Ok(wanted),
        Err(error) => Err(EnrollmentError::Invalid(error.to_string())),
    };
    let (primary_key, secondary_key) = (key(primary_key, old_primary)?, key(secondary_key, old_secondary)?);
    Ok(Attestation::SymmetricKey { primary_key, secondary_key })
}
