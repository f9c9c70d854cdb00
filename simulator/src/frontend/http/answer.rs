//! What refusals and registry errors become in HTTP: the service's codes and its shape of error bodies, in one place.
//!
//! `{"Message": "ErrorCode:Code;text", "ExceptionMessage": "Tracking ID:…-TimeStamp:…"}` and the header
//! `iothub-errorcode`; the Node SDK takes the text apart at the semicolon.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use edgectl_hub::cloud::cloud_to_device::QueueError;
use edgectl_hub::cloud::deployments::DeploymentError;
use edgectl_hub::cloud::hub::SendError;
use edgectl_hub::cloud::registry::RegistryError;
use edgectl_hub::cloud::twins::TwinError;
use edgectl_hub::gateway::Refusal;
use serde_json::json;

/// An error as the service tells it.
#[derive(Debug)]
pub struct ServiceError {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl ServiceError {
    /// An error with the service's word for it.
    pub fn of(status: StatusCode, code: &'static str, text: String) -> Self {
        Self { status, code, text }
    }

    /// The hub cannot do what it should.
    pub fn failed(text: String) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "ServerError", text }
    }

    /// The request breaks a rule.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "ArgumentInvalid", text: text.into() }
    }

    /// The caller may not.
    pub fn unauthorized(text: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code: "IotHubUnauthorizedAccess", text: text.into() }
    }

    /// The request does not say which version of the interface it is made for.
    pub fn no_version() -> Self {
        let text = "api-version is missing".to_owned();
        Self { status: StatusCode::BAD_REQUEST, code: "InvalidProtocolVersion", text }
    }

    /// The lock of a message is not, or no longer, the caller's.
    pub fn lock_lost() -> Self {
        let text = "the lock of the message is not held".to_owned();
        Self { status: StatusCode::PRECONDITION_FAILED, code: "DeviceMessageLockLost", text }
    }

    /// The service's word for it.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong, for people.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// There is no such path.
    pub fn no_such_path() -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "NotFound", text: "no such resource".to_owned() }
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let exception = format!("Tracking ID:{}-TimeStamp:{}", uuid::Uuid::new_v4().simple(), jiff::Timestamp::now());
        let body =
            json!({ "Message": format!("ErrorCode:{};{}", self.code, self.text), "ExceptionMessage": exception });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert("iothub-errorcode", HeaderValue::from_static(self.code));
        response
    }
}

impl From<RegistryError> for ServiceError {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        let (status, code) = match &error {
            RegistryError::NotFound(identity) if identity.module.is_some() => (StatusCode::NOT_FOUND, "ModuleNotFound"),
            RegistryError::NotFound(_) => (StatusCode::NOT_FOUND, "DeviceNotFound"),
            RegistryError::Exists(identity) if identity.module.is_some() => {
                (StatusCode::CONFLICT, "ModuleAlreadyExistsOnDevice")
            }
            RegistryError::Exists(_) => (StatusCode::CONFLICT, "DeviceAlreadyExists"),
            RegistryError::Precondition(_) => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            RegistryError::Invalid(_) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            RegistryError::Denied(_) => (StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess"),
            RegistryError::Documents(_) => (StatusCode::INTERNAL_SERVER_ERROR, "ServerError"),
        };
        Self { status, code, text }
    }
}

impl From<SendError> for ServiceError {
    fn from(error: SendError) -> Self {
        let text = error.to_string();
        let (status, code) = match error {
            SendError::Registry(error) => return error.into(),
            SendError::Queue(QueueError::Full(_)) => (StatusCode::FORBIDDEN, "DeviceMaximumQueueDepthExceeded"),
            SendError::Queue(QueueError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge"),
            SendError::Queue(QueueError::Expiry(_)) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            SendError::Queue(QueueError::Documents(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "ServerError"),
        };
        Self { status, code, text }
    }
}

impl From<TwinError> for ServiceError {
    fn from(error: TwinError) -> Self {
        let text = error.to_string();
        let (status, code) = match error {
            TwinError::Precondition => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            TwinError::Invalid(_) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            TwinError::Documents(_) => (StatusCode::INTERNAL_SERVER_ERROR, "ServerError"),
        };
        Self { status, code, text }
    }
}

impl From<DeploymentError> for ServiceError {
    fn from(error: DeploymentError) -> Self {
        match error {
            DeploymentError::Invalid(text) => Self::invalid(text),
            DeploymentError::Registry(error) => error.into(),
            DeploymentError::Twin { module, source } => {
                let error = Self::from(source);
                Self { text: format!("module {module}: {}", error.text), ..error }
            }
        }
    }
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        let text = match &refusal {
            // The service's own numbers, which tools look for in the text.
            Refusal::NotConnected(_) => "404103: Timed out waiting for device to connect.".to_owned(),
            Refusal::NoAnswer(_) => "504101: Timed out waiting for the response from device.".to_owned(),
            other => other.to_string(),
        };
        let (status, code) = match refusal {
            Refusal::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess"),
            Refusal::NotFound(_) | Refusal::NotConnected(_) => (StatusCode::NOT_FOUND, "DeviceNotFound"),
            Refusal::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout"),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge"),
            Refusal::Invalid(_) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            Refusal::Detached | Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        };
        Self { status, code, text }
    }
}
