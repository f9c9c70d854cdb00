//! The provisioning service beside the cloud hub: it registers devices that an enrolment is for.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::{SasToken, SharedKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::enrollments::{Again, Attestation, Enrollment, Enrollments, Kind, derived_key};
use super::held::Held;
use super::hub::CloudHub;
use super::registry::{Condition, Wanted};
use super::twins::Change;
use crate::auth::Authentication;
use crate::certificate::ClientCertificate;
use crate::clock::Clock;
use crate::documents::{Documents, DocumentsError, Table};
use crate::gateway::Credential;
use crate::provisioning::{Applicant, Operation, Provisioning, ProvisioningRefusal};

const REGISTRATIONS: Table = Table::new("provisionedDevices");

/// The provisioning service's own things.
pub struct Provisioner {
    /// Who may register.
    pub enrollments: Enrollments,
    registrations: Held<Provisioned>,
    scope: String,
}

/// A device that registered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provisioned {
    operation: String,
    status: String,
    substatus: String,
    device: DeviceId,
    created: String,
    updated: String,
    etag: u64,
    group: Option<String>,
}

/// An enrolment that an applicant proved to be in, and how it will prove itself at the hub.
struct Admitted {
    enrollment: Arc<Enrollment>,
    kind: Kind,
    authentication: Authentication,
}

impl Provisioner {
    /// Loads what is kept in `documents`. The scope, by which devices name the service, belongs to the hub's owner.
    pub fn open(documents: &Arc<Documents>, clock: Arc<dyn Clock>, owner: &SharedKey) -> Result<Self, DocumentsError> {
        let [a, b, c, d, ..] = owner.sign(b"scope of the provisioning service");
        Ok(Self {
            enrollments: Enrollments::open(documents, clock)?,
            registrations: Held::open(Arc::clone(documents), REGISTRATIONS)?,
            // As those of the real service look.
            scope: format!("0ne{:08X}", u32::from_be_bytes([a, b, c, d])),
        })
    }

    /// The scope of the service: what devices name it by.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Forgets that a device registered. It stays with the hub.
    pub fn forget(&self, registration_id: &str) -> Result<bool, DocumentsError> {
        let known = self.registrations.get(registration_id).is_some();
        self.registrations.write([(registration_id.to_owned(), None)])?;
        Ok(known)
    }

    /// Finds the enrolment that the applicant belongs to. One of its own goes before groups.
    fn check(&self, applicant: &Applicant, clock: &dyn Clock) -> Result<Admitted, ProvisioningRefusal> {
        if applicant.scope != self.scope {
            return Err(ProvisioningRefusal::Unauthorized);
        }
        let own = self.enrollments.get(Kind::Individual, &applicant.registration_id);
        let found = match own {
            Some(enrollment) => proved(applicant, &enrollment, Kind::Individual, clock)
                .map(|authentication| Admitted { enrollment, kind: Kind::Individual, authentication }),
            None => self.enrollments.all(Kind::Group).into_iter().find_map(|enrollment| {
                let authentication = proved(applicant, &enrollment, Kind::Group, clock)?;
                Some(Admitted { enrollment, kind: Kind::Group, authentication })
            }),
        };
        found.ok_or(ProvisioningRefusal::Unauthorized)
    }
}

impl Provisioned {
    fn show(&self, registration_id: &str, hub: &str) -> Value {
        let mut state = json!({
            "registrationId": registration_id,
            "createdDateTimeUtc": self.created,
            "status": self.status,
            "lastUpdatedDateTimeUtc": self.updated,
            "etag": self.etag.to_string(),
        });
        if self.status == "assigned" {
            state["assignedHub"] = json!(hub);
            state["deviceId"] = json!(self.device);
            state["substatus"] = json!(self.substatus);
        }
        state
    }

    fn operation(&self, registration_id: &str, hub: &str) -> Operation {
        let state = self.show(registration_id, hub);
        Operation { id: self.operation.clone(), status: self.status.clone(), state }
    }
}

/// How an applicant will prove itself at the hub, if it proved now that it belongs to the enrolment.
fn proved(applicant: &Applicant, enrollment: &Enrollment, kind: Kind, clock: &dyn Clock) -> Option<Authentication> {
    match (&enrollment.terms.attestation, &applicant.credential) {
        (Attestation::SymmetricKey { primary_key, secondary_key }, Credential::Token(token)) => {
            let key = |text: &String| match kind {
                Kind::Individual => SharedKey::from_base64(text).ok(),
                Kind::Group => {
                    SharedKey::from_base64(text).ok().map(|key| derived_key(&key, &applicant.registration_id))
                }
            };
            let (primary, secondary) = (key(primary_key)?, key(secondary_key)?);
            let token = SasToken::parse(token).ok()?;
            let audience = format!("{}/registrations/{}", applicant.scope, applicant.registration_id);
            let holds = (token.is_signed_by(&primary) || token.is_signed_by(&secondary))
                && token.audience().eq_ignore_ascii_case(&audience)
                && token.check_expiry(clock.now_seconds()).is_ok();
            let (primary_key, secondary_key) = (primary.to_base64(), secondary.to_base64());
            holds.then_some(Authentication::Sas { primary_key, secondary_key })
        }
        (Attestation::Certificate { thumbprints }, Credential::Certificate(certificate)) => {
            let is_known = certificate.thumbprints.iter().any(|own| thumbprints.contains(own));
            (is_known && holds_now(certificate, clock)).then(|| known_by(certificate))
        }
        (Attestation::Authority, Credential::Certificate(certificate)) => {
            let is_named = certificate.common_name.as_deref() == Some(applicant.registration_id.as_str());
            (certificate.is_vouched_for && is_named && holds_now(certificate, clock)).then(|| known_by(certificate))
        }
        (Attestation::Signed { authorities }, Credential::Certificate(certificate)) => {
            let is_named = certificate.common_name.as_deref() == Some(applicant.registration_id.as_str());
            let leads_to = |authority: &String| {
                let authority = BASE64.decode(authority);
                authority.is_ok_and(|authority| certificate.chain.leads_to(&authority, clock.now_seconds()))
            };
            let is_admitted = is_named && holds_now(certificate, clock) && authorities.iter().any(leads_to);
            is_admitted.then(|| known_by(certificate))
        }
        _ => None,
    }
}

fn holds_now(certificate: &ClientCertificate, clock: &dyn Clock) -> bool {
    (certificate.valid_from..=certificate.valid_until).contains(&clock.now_seconds())
}

/// The hub knows a device by the certificate with which it registered.
fn known_by(certificate: &ClientCertificate) -> Authentication {
    let [primary_thumbprint, _] = certificate.thumbprints.clone();
    Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint: String::new() }
}

impl Provisioning for CloudHub {
    fn admit(&self, applicant: &Applicant) -> Result<(), ProvisioningRefusal> {
        self.provisioner().check(applicant, self.clock()).map(drop)
    }

    fn register(&self, applicant: &Applicant) -> Result<Operation, ProvisioningRefusal> {
        let service = self.provisioner();
        let admitted = service.check(applicant, self.clock())?;
        let now = self.clock().now_text();
        let id = &applicant.registration_id;
        let old = service.registrations.get(id);
        let terms = &admitted.enrollment.terms;
        let device = match &terms.device {
            Some(device) => device.clone(),
            None => DeviceId::new(id).map_err(|error| ProvisioningRefusal::Invalid(error.to_string()))?,
        };
        let substatus = if terms.enabled { self.place(&device, &admitted)? } else { "" };
        let operation = uuid::Uuid::new_v4();
        let provisioned = Provisioned {
            operation: format!("4.{:016x}.{operation}", operation.as_u64_pair().0),
            status: if terms.enabled { "assigned" } else { "disabled" }.to_owned(),
            substatus: substatus.to_owned(),
            device,
            created: old.as_ref().map_or_else(|| now.clone(), |old| old.created.clone()),
            updated: now,
            etag: old.map_or(1, |old| old.etag + 1),
            group: (admitted.kind == Kind::Group).then(|| admitted.enrollment.name.clone()),
        };
        service.registrations.put(id, provisioned.clone()).map_err(unavailable)?;
        Ok(provisioned.operation(id, self.host()))
    }

    fn operation(&self, applicant: &Applicant, id: &str) -> Result<Operation, ProvisioningRefusal> {
        self.admit(applicant)?;
        let found = self.provisioner().registrations.get(&applicant.registration_id);
        let found = found.filter(|found| found.operation == id).ok_or(ProvisioningRefusal::NotFound)?;
        Ok(found.operation(&applicant.registration_id, self.host()))
    }

    fn registration(&self, applicant: &Applicant) -> Result<Value, ProvisioningRefusal> {
        self.admit(applicant)?;
        self.provisioned(&applicant.registration_id).ok_or(ProvisioningRefusal::NotFound)
    }
}

impl CloudHub {
    /// The registration of a device with the provisioning service, as that shows it.
    pub fn provisioned(&self, registration_id: &str) -> Option<Value> {
        Some(self.provisioner().registrations.get(registration_id)?.show(registration_id, self.host()))
    }

    /// The registrations of a group's devices.
    pub fn provisioned_in(&self, group: &str) -> Vec<Value> {
        let all = self.provisioner().registrations.entries().into_iter();
        let own = all.filter(|(_, provisioned)| provisioned.group.as_deref() == Some(group));
        own.map(|(id, provisioned)| provisioned.show(&id, self.host())).collect()
    }

    /// Puts the device into the registry as its enrolment wants it. Returns how, in the service's words.
    fn place(&self, device: &DeviceId, admitted: &Admitted) -> Result<&'static str, ProvisioningRefusal> {
        let terms = &admitted.enrollment.terms;
        let identity = Identity::device(device.clone());
        let is_known = self.registry().get(&identity).is_some();
        if is_known && terms.again == Again::Stay {
            return Ok("initialAssignment");
        }
        let wanted = Wanted {
            enabled: Some(true),
            authentication: Some(admitted.authentication.clone()),
            edge: (!is_known).then_some(terms.edge),
            ..Wanted::default()
        };
        let condition = if is_known { Condition::Present } else { Condition::Absent };
        self.put_identity(&identity, wanted, Some(condition)).map_err(unavailable)?;
        if !is_known || terms.again == Again::ResetTwin {
            let initial = |pointer: &str| terms.initial_twin.pointer(pointer).filter(|value| !value.is_null()).cloned();
            let reset = |value: Option<Value>| value.or_else(|| is_known.then(|| json!({})));
            let (tags, desired) = (reset(initial("/tags")), reset(initial("/properties/desired")));
            if tags.is_some() || desired.is_some() {
                self.change_twin(&identity, &Change { tags, desired, replace: true }, None).map_err(unavailable)?;
            }
        }
        Ok(match (is_known, terms.again) {
            (false, _) | (_, Again::Stay) => "initialAssignment",
            (true, Again::KeepTwin) => "deviceDataMigrated",
            (true, Again::ResetTwin) => "deviceDataReset",
        })
    }
}

fn unavailable(error: impl std::error::Error) -> ProvisioningRefusal {
    ProvisioningRefusal::Unavailable(error.to_string())
}
