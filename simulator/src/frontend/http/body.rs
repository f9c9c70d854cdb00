//! The body of a request to the service.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::answer::ServiceError;

/// A body of JSON, whatever its type is said to be: clients differ in that, and some say nothing.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ServiceError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ServiceError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| ServiceError::invalid(error.body_text()))?;
        let read = serde_json::from_slice(&bytes);
        read.map(Self)
            .map_err(|error| ServiceError::invalid(format!("the body is not the JSON that is wanted: {error}")))
    }
}
