//! Who may ask the service: holders of the policy's key, and devices for what is their own.

use axum::Extension;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use edgectl_hub::gateway::{Credential, Gateway, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SasToken;

use super::answer::ServiceError;
use super::serve::PeerCertificate;
use super::service::Service;
use super::shape;

/// The policy that may do everything.
pub const OWNER_POLICY: &str = "iothubowner";

/// Proof that a request was made by a holder of the policy's token. A handler takes it before all else that it takes of
/// the request, so that nobody else learns what more is wrong with theirs.
pub struct Owner;

impl FromRequestParts<Service> for Owner {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ServiceError> {
        check_owner(service, &parts.headers).map(|()| Self)
    }
}

/// The device that a path begins with, and proof that the request was made by a holder of the policy's token, by the device
/// or by its edge hub. A handler takes it like [`Owner`].
pub struct Caller(pub DeviceId);

impl FromRequestParts<Service> for Caller {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ServiceError> {
        let device = device_in_path(parts, service).await;
        if let Err(error) = check_owner(service, &parts.headers) {
            // Only who is known is told that there can be no such device.
            let device = device.as_ref().map_err(|_| error)?;
            check_device(service.hub.as_ref(), &parts.headers, device).await?;
        }
        device.map(Self)
    }
}

/// The first part of a path that varies, which names a device.
pub async fn device_in_path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<DeviceId, ServiceError> {
    let path = RawPathParams::from_request_parts(parts, state).await;
    let path = path.map_err(|error| ServiceError::invalid(error.to_string()))?;
    shape::device_id(path.iter().next().map_or("", |(_, device)| device))
}

fn check_owner(Service { hub, key }: &Service, headers: &HeaderMap) -> Result<(), ServiceError> {
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

/// Requires a token of the device or of its edge hub.
pub async fn check_device(hub: &dyn Gateway, headers: &HeaderMap, device: &DeviceId) -> Result<(), ServiceError> {
    let credential = Credential::Token(authorization(headers).to_owned());
    let edge_hub = Identity::module(device.clone(), ModuleId::edge_hub());
    if hub.authenticate(&edge_hub, &credential).await.is_err() {
        hub.authenticate(&Identity::device(device.clone()), &credential).await?;
    }
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
