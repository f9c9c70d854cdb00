//! What a device asks of the hub above it over HTTPS: identities for its modules, and who is in its scope.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::auth::IdentityRecord;
use edgectl_hub::clock::within;
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::family::{MAX_DEPTH, Member};
use edgectl_hub::gateway::Refusal;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::encode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::token::{KeyTokens, TokenSource};
use crate::frontend::http::member::{read_member, read_members};
use crate::link::Link;

const API_VERSION: &str = "2021-04-12";
const TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that was not used for so long is not used again: the hub may be about to close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What requests to hubs are made with, for one device or many.
pub fn http(tls: &rustls::ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().pool_idle_timeout(IDLE_TIMEOUT).tls_backend_preconfigured(tls.clone()).build()
}

/// A device's access to the registry of its hub.
pub struct RegistryClient {
    http: reqwest::Client,
    address: SocketAddr,
    link: Link,
    device: DeviceId,
    tokens: Arc<dyn TokenSource>,
}

impl RegistryClient {
    /// Uses the hub at an address; tokens are the device's own.
    pub fn new(
        address: SocketAddr,
        link: Link,
        http: reqwest::Client,
        device: DeviceId,
        tokens: Arc<dyn TokenSource>,
    ) -> Self {
        Self { http, address, link, device, tokens }
    }

    /// One of the runtime's own modules, and tokens of its own: the device asks for its key like for those of the others.
    pub async fn runtime_module(
        &self,
        hub_host: &str,
        module: ModuleId,
    ) -> Result<(Identity, Arc<KeyTokens>), Refusal> {
        let record = self.ensure_module(module.as_str()).await?;
        let key = record.keys().into_iter().next();
        let key = key.ok_or_else(|| Refusal::Unauthorized(format!("{module} has no key")))?;
        let identity = Identity::module(self.device.clone(), module);
        let tokens = Arc::new(KeyTokens::new(hub_host, &identity, key));
        Ok((identity, tokens))
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
        read_member(&found)
            .map(|member| member.record)
            .ok_or_else(|| Refusal::Unavailable("an identity that is not understood".to_owned()))
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

    /// The dollar sign stands in such paths as it is.
    fn edge_hub_path(&self, operation: &str) -> String {
        format!("/devices/{}/modules/$edgeHub/{operation}", encode(self.device.as_str()))
    }

    /// Asks for something on behalf of a device below this one, as the chain in the body says. The answer, a status and a
    /// body, is for that device.
    pub async fn on_behalf(&self, operation: &str, body: &Value) -> Result<(u16, String), Refusal> {
        let path = self.edge_hub_path(operation);
        let (status, text) = self.request(Method::POST, &path, Some(body)).await?;
        Ok((status.as_u16(), text))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let (status, text) = self.request(method, path, body).await?;
        match status {
            status if status.is_success() => Ok(serde_json::from_str(&text).unwrap_or_default()),
            StatusCode::NOT_FOUND => Err(Refusal::NotFound(text)),
            StatusCode::UNAUTHORIZED => Err(Refusal::Unauthorized(text)),
            StatusCode::BAD_REQUEST => Err(Refusal::Invalid(text)),
            _ => Err(Refusal::Unavailable(format!("{status}: {text}"))),
        }
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String), Refusal> {
        let answered = within(self.link.clock().as_ref(), TIMEOUT, self.exchange(method, path, body)).await;
        answered.unwrap_or_else(|| Err(Refusal::Unavailable("the hub above did not answer in time".to_owned())))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), Refusal> {
        let unavailable = |error: &dyn std::fmt::Display| Refusal::Unavailable(error.to_string());
        self.link.pass().await.map_err(|error| unavailable(&error))?;
        let token = self.tokens.token(self.link.clock().now_seconds()).await.map_err(|error| unavailable(&error))?;
        let url = format!("https://{}{path}?api-version={API_VERSION}", self.address);
        let mut request = self.http.request(method, url).header("Authorization", token.text);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| unavailable(&error))?;
        Ok((status, text))
    }

    /// Who is in the scope of the device that a chain begins with.
    async fn members(&self, chain: &str) -> Result<Vec<Member>, Refusal> {
        let path = self.edge_hub_path("devicesAndModulesInTargetDeviceScope");
        let body = json!({ "pageSize": 1000, "continuationLink": "", "authChain": chain });
        Ok(read_members(&self.ask(Method::POST, &path, Some(&body)).await?))
    }
}

#[async_trait]
impl ScopeSource for RegistryClient {
    /// Asks about this device and, one after the other, about all edge devices below it.
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        let mut all: BTreeMap<Identity, Member> = BTreeMap::new();
        let mut chains = vec![self.device.to_string()];
        while let Some(chain) = chains.pop() {
            for member in self.members(&chain).await? {
                let identity = member.record.identity.clone();
                let is_below = member.edge && identity.module.is_none() && identity.device != self.device;
                // The device that was asked about is in its own scope.
                if is_below && !all.contains_key(&identity) && chain.split(';').count() < MAX_DEPTH {
                    chains.push(format!("{identity};{chain}"));
                }
                all.insert(identity, member);
            }
        }
        Ok(all.into_values().collect())
    }
}
