//! Who may ask the service: those whose policy has the right, and devices for what is their own.

use std::marker::PhantomData;

use axum::Extension;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use edgectl_hub::auth::Right;
use edgectl_hub::gateway::{Credential, Gateway, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};

use super::answer::ServiceError;
use super::serve::PeerCertificate;
use super::service::Service;
use super::shape;

/// Proof that a request was made with the token of a policy that has the right. A handler takes it before all else that it
/// takes of the request, so that nobody else learns what more is wrong with theirs.
pub struct Holder<R>(PhantomData<R>);

/// A right, as a type.
pub trait Needed {
    /// The right.
    const RIGHT: Right;
}

macro_rules! rights {
    ($($name:ident),*) => {$(
        /// The right of this name.
        pub struct $name;

        impl Needed for $name {
            const RIGHT: Right = Right::$name;
        }
    )*};
}
rights!(RegistryRead, RegistryWrite, ServiceConnect);

impl<R: Needed> FromRequestParts<Service> for Holder<R> {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ServiceError> {
        check_policy(service, &parts.headers, R::RIGHT).map(|()| Self(PhantomData))
    }
}

/// The device that a path begins with, and proof that the request was made by the device, by its edge hub, or with the token
/// of a policy that may read the registry or, where the request changes something, write it. A handler takes it like
/// [`Holder`].
pub struct Caller(pub DeviceId);

impl FromRequestParts<Service> for Caller {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ServiceError> {
        let device = device_in_path(parts, service).await;
        let right = if parts.method == Method::GET { Right::RegistryRead } else { Right::RegistryWrite };
        if let Err(error) = check_policy(service, &parts.headers, right) {
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

fn check_policy(Service { hub }: &Service, headers: &HeaderMap, right: Right) -> Result<(), ServiceError> {
    match hub.authorize(authorization(headers), right) {
        Ok(_) => Ok(()),
        Err(error) => Err(ServiceError::unauthorized(error.to_string())),
    }
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
