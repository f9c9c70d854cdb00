//! The port between devices that ask where they belong and the provisioning service that tells them.

use serde_json::Value;

use crate::gateway::Credential;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// The scope of the provisioning service that it believes to ask.
    pub scope: String,
    /// The name under which it registers.
    pub registration_id: String,
    /// Its proof: a token for `{scope}/registrations/{registration}`, or a certificate.
    pub credential: Credential,
}

/// What a provisioning service offers to devices.
pub trait Provisioning: Send + Sync {
    /// Checks who asks, and does nothing else.
    fn admit(&self, applicant: &Applicant) -> Result<(), ProvisioningRefusal>;

    /// Registers the device with the hub. What it hands in goes nowhere: there is no custom allocation.
    fn register(&self, applicant: &Applicant) -> Result<Operation, ProvisioningRefusal>;

    /// What became of a registration.
    fn operation(&self, applicant: &Applicant, id: &str) -> Result<Operation, ProvisioningRefusal>;

    /// The device's present registration.
    fn registration(&self, applicant: &Applicant) -> Result<Value, ProvisioningRefusal>;
}

/// A registration that is under way or done.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its identifier, with which the device asks for it.
    pub id: String,
    /// `assigned` or `disabled`.
    pub status: String,
    /// The registration as the service shows it.
    pub state: Value,
}

/// The provisioning service does not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisioningRefusal {
    /// There is no such enrolment, or the proof is not that of the device. Devices are not told which.
    #[error("Unauthorized")]
    Unauthorized,
    /// There is no such registration or operation.
    #[error("Not found")]
    NotFound,
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The service cannot work.
    #[error("{0}")]
    Unavailable(String),
}
