//! What every built-in module starts with: its environment, the workload API, and a connection to the edge hub.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::client::device_client::{ClientEvent, ClientOptions, DeviceClient, OnRefusal, SessionKind};
use crate::client::token::{Token, TokenError, TokenSource};
use crate::link::Link;
use crate::workload::client::{WorkloadClient, WorkloadError};

/// The port of the edge hub's MQTT listener; fixed in the SDKs.
const MQTT_PORT: u16 = 8883;
/// How long a token holds.
const TOKEN_SECONDS: u64 = 3600;

/// A module could not start.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A variable that every module gets is missing or wrong.
    #[error("environment variable {0} is missing or wrong")]
    Environment(&'static str),
    /// The workload API failed.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The trust bundle holds no usable certificate.
    #[error("the trust bundle cannot be used: {0}")]
    Trust(String),
    /// The edge hub refused the module.
    #[error("the edge hub: {0}")]
    Hub(String),
}

/// A built-in module's connection to its edge hub, and its settings.
pub struct Module {
    /// The connection.
    pub client: DeviceClient,
    /// What comes from the hub.
    pub events: mpsc::Receiver<ClientEvent>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

impl Module {
    /// Connects with what the environment says.
    pub async fn connect(environment: BTreeMap<String, String>) -> Result<Self, ModuleError> {
        let variable =
            |name: &'static str| environment.get(name).map(String::as_str).ok_or(ModuleError::Environment(name));
        let device = DeviceId::new(variable("IOTEDGE_DEVICEID")?);
        let module = ModuleId::new(variable("IOTEDGE_MODULEID")?);
        let identity = Identity::module(
            device.map_err(|_| ModuleError::Environment("IOTEDGE_DEVICEID"))?,
            module.map_err(|_| ModuleError::Environment("IOTEDGE_MODULEID"))?,
        );
        let socket = variable("IOTEDGE_WORKLOADURI")?.strip_prefix("unix://").map(PathBuf::from);
        let workload = WorkloadClient::new(socket.ok_or(ModuleError::Environment("IOTEDGE_WORKLOADURI"))?);
        let gateway = variable("IOTEDGE_GATEWAYHOSTNAME")?;
        let hub_host = variable("IOTEDGE_IOTHUBHOSTNAME")?.to_owned();
        let tokens = WorkloadTokens {
            workload: workload.clone(),
            hub_host: hub_host.clone(),
            identity: identity.clone(),
            generation: variable("IOTEDGE_MODULEGENERATIONID")?.to_owned(),
        };
        let bundle = workload.trust_bundle().await?;
        let tls = crate::tls::client_config(&bundle).map_err(|error| ModuleError::Trust(error.to_string()))?;
        let address = resolve(gateway).await.ok_or(ModuleError::Environment("IOTEDGE_GATEWAYHOSTNAME"))?;
        let server_name = ServerName::try_from(gateway.to_owned())
            .map_err(|_| ModuleError::Environment("IOTEDGE_GATEWAYHOSTNAME"))?;
        let (client, events) = DeviceClient::start(ClientOptions {
            link: Link::default(),
            hub_host,
            address,
            server_name,
            identity,
            tls,
            tokens: Arc::new(tokens),
            product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth_chain: None,
            keep_alive: Duration::from_mins(1),
            session: SessionKind::Persistent,
            refusal: OnRefusal::End,
        });
        Ok(Self { client, events, environment })
    }

    /// The module's desired properties as they are now.
    pub async fn desired(&self) -> Result<Value, ModuleError> {
        let twin = self.client.twin().await.map_err(|error| ModuleError::Hub(error.to_string()))?;
        Ok(twin.get("desired").cloned().unwrap_or_else(|| json!({})))
    }
}

async fn resolve(host: &str) -> Option<SocketAddr> {
    match host.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, MQTT_PORT)),
        Err(_) => tokio::net::lookup_host((host, MQTT_PORT)).await.ok()?.next(),
    }
}

/// Tokens signed by the workload API: the key never leaves it.
struct WorkloadTokens {
    workload: WorkloadClient,
    hub_host: String,
    identity: Identity,
    generation: String,
}

#[async_trait]
impl TokenSource for WorkloadTokens {
    async fn token(&self, now: u64) -> Result<Token, TokenError> {
        let expires_at = now + TOKEN_SECONDS;
        let resource = sas::encoded_audience(&self.hub_host, &self.identity);
        let data = BASE64.encode(sas::string_to_sign(&resource, expires_at));
        let module = self.identity.module.as_ref().map_or("", ModuleId::as_str);
        let digest = self
            .workload
            .sign(module, &self.generation, &data)
            .await
            .map_err(|error| TokenError::new(error.to_string()))?;
        Ok(Token { text: sas::format_token(&resource, &digest, expires_at, None), expires_at })
    }
}

/// Prints a line the way the runtime's own modules do.
#[expect(clippy::print_stdout, reason = "a module speaks through its standard output")]
pub fn log(level: u8, word: &str, text: &str) {
    let now = jiff::Timestamp::now();
    println!("<{level}> {} +00:00 [{word}] - {text}", now.strftime("%Y-%m-%d %H:%M:%S%.3f"));
}
