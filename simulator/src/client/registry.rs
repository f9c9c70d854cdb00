//! What a device asks of the cloud hub over HTTPS: identities for its modules, and who is in its scope.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::auth::IdentityRecord;
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::gateway::Refusal;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::encode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::token::TokenSource;
use crate::frontend::http::scope::{read_identities, read_identity};

const API_VERSION: &str = "2021-04-12";
const TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that was not used for so long is not used again: the hub may be about to close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A device's access to the registry of its hub.
pub struct RegistryClient {
    http: reqwest::Client,
    address: SocketAddr,
    device: DeviceId,
    tokens: Arc<dyn TokenSource>,
}

impl RegistryClient {
    /// Uses the hub at an address; tokens are the device's own.
    pub fn new(
        address: SocketAddr,
        tls: &rustls::ClientConfig,
        device: DeviceId,
        tokens: Arc<dyn TokenSource>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tls_backend_preconfigured(tls.clone())
            .build()?;
        Ok(Self { http, address, device, tokens })
    }

    /// The identity of a module of the device; it is made if it does not exist.
    pub async fn ensure_module(&self, module: &str) -> Result<IdentityRecord, Refusal> {
        let path = self.module_path(module);
        let found = match self.ask(Method::GET, &path, None).await {
            Err(Refusal::NotFound(_)) => {
                let body = json!({ "deviceId": self.device, "moduleId": module, "managedBy": "IotEdge" });
                self.ask(Method::PUT, &path, Some(&body)).await?
            }
            found => found?,
        };
        read_identity(&found).ok_or_else(|| Refusal::Unavailable("an identity that is not understood".to_owned()))
    }

    /// Removes a module's identity; that there is none is as good.
    pub async fn remove_module(&self, module: &str) -> Result<(), Refusal> {
        match self.ask(Method::DELETE, &self.module_path(module), None).await {
            Ok(_) | Err(Refusal::NotFound(_)) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    fn module_path(&self, module: &str) -> String {
        format!("/devices/{}/modules/{}", encode(self.device.as_str()), encode(module))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let unavailable = |error: &dyn std::fmt::Display| Refusal::Unavailable(error.to_string());
        let token = self.tokens.token().await.map_err(|error| unavailable(&error))?;
        let url = format!("https://{}{path}?api-version={API_VERSION}", self.address);
        let mut request = self.http.request(method, url).header("Authorization", token.text);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| unavailable(&error))?;
        match status {
            status if status.is_success() => Ok(serde_json::from_str(&text).unwrap_or_default()),
            StatusCode::NOT_FOUND => Err(Refusal::NotFound(text)),
            StatusCode::UNAUTHORIZED => Err(Refusal::Unauthorized(text)),
            StatusCode::BAD_REQUEST => Err(Refusal::Invalid(text)),
            _ => Err(Refusal::Unavailable(format!("{status}: {text}"))),
        }
    }
}

#[async_trait]
impl ScopeSource for RegistryClient {
    async fn identities(&self) -> Result<Vec<IdentityRecord>, Refusal> {
        let device = encode(self.device.as_str());
        let path = format!("/devices/{device}/modules/$edgeHub/devicesAndModulesInTargetDeviceScope");
        let chain = Identity::device(self.device.clone()).to_string();
        let body = json!({ "pageSize": 1000, "continuationLink": "", "authChain": chain });
        Ok(read_identities(&self.ask(Method::POST, &path, Some(&body)).await?))
    }
}
