//! Who may ask the service: holders of the policy's key, and devices for what is their own.

use axum::Extension;
use axum::http::{HeaderMap, header};
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::gateway::{Credential, Gateway as _, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::{SasToken, SharedKey};

use super::answer::ServiceError;
use super::serve::PeerCertificate;

/// The policy that may do everything.
pub const OWNER_POLICY: &str = "iothubowner";

/// Requires the policy's token.
pub fn require_service(hub: &CloudHub, key: &SharedKey, headers: &HeaderMap) -> Result<(), ServiceError> {
    let token =
        SasToken::parse(authorization(headers)).map_err(|error| ServiceError::unauthorized(error.to_string()))?;
    if token.policy.as_deref() != Some(OWNER_POLICY) {
        return Err(ServiceError::unauthorized("the token is not one of a known policy"));
    }
    if !token.is_signed_by(key) {
        return Err(ServiceError::unauthorized("the policy's key did not sign the token"));
    }
    if !token.audience().split([':', '/']).next().is_some_and(|host| host.eq_ignore_ascii_case(hub.host())) {
        return Err(ServiceError::unauthorized("the token is for another hub"));
    }
    token.check_expiry(hub.clock().now_seconds()).map_err(|error| ServiceError::unauthorized(error.to_string()))
}

/// Requires the policy's token, or one of the device or of its edge hub.
pub async fn require_device(
    hub: &CloudHub,
    key: &SharedKey,
    headers: &HeaderMap,
    device: &DeviceId,
) -> Result<(), ServiceError> {
    if require_service(hub, key, headers).is_ok() {
        return Ok(());
    }
    let credential = Credential::Token(authorization(headers).to_owned());
    let edge_hub = Identity::module(device.clone(), ModuleId::edge_hub());
    if hub.authenticate(&edge_hub, &credential).await.is_ok() {
        return Ok(());
    }
    hub.authenticate(&Identity::device(device.clone()), &credential).await?;
    Ok(())
}

/// The text of the Authorization header; empty without one.
pub fn authorization(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The proof that a request brought: the certificate of its connection goes before the token.
pub fn credential(certificate: Option<Extension<PeerCertificate>>, headers: &HeaderMap) -> Result<Credential, Refusal> {
    if let Some(Extension(PeerCertificate(Some(certificate)))) = certificate {
        return Ok(Credential::Certificate(certificate));
    }
    match authorization(headers) {
        "" => Err(Refusal::Unauthorized("there is neither a token nor a certificate".to_owned())),
        token => Ok(Credential::Token(token.to_owned())),
    }
}
