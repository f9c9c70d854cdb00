//! The way of a device of a fleet to a cloud hub in another process: connections, as a device that runs alone has them.

use std::sync::Arc;

use async_trait::async_trait;
use edgectl_hub::gateway::Refusal;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SharedKey;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ties::{NO_WORKLOAD_API, Ties};
use crate::above::Above;
use crate::agent::identity::{IdentityError, IdentityProvider, ModuleIdentity};
use crate::agent_link;
use crate::client::cloud_gateway::{CloudGateway, CloudGatewayOptions};
use crate::client::registry::RegistryClient;
use crate::client::token::KeyTokens;
use crate::device::{DeviceError, other};
use crate::link::Link;

/// What the devices of a process share on their way to the hub.
pub struct Network {
    /// Where the hub is.
    pub above: Above,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// Requests to the hub.
    pub http: reqwest::Client,
    /// A network without faults.
    pub link: Link,
}

impl Network {
    /// Connects a registered device with its key. Returns when its agent is connected.
    pub async fn join(&self, device: DeviceId, key: SharedKey) -> Result<Ties, DeviceError> {
        let Above { hub_host, mqtt, https, name, .. } = self.above.clone();
        let own = Arc::new(KeyTokens::new(&hub_host, &Identity::device(device.clone()), key));
        let registry = RegistryClient::new(https, self.link.clone(), self.http.clone(), device.clone(), own);
        let registry = Arc::new(registry);
        let unknown = |refusal: Refusal| other("the identity of the runtime")(&refusal);
        let (actor, tokens) = registry.runtime_module(&hub_host, ModuleId::edge_hub()).await.map_err(unknown)?;
        let upstream = CloudGateway::new(CloudGatewayOptions {
            hub_host: hub_host.clone(),
            address: mqtt,
            link: self.link.clone(),
            server_name: name,
            tls: Arc::clone(&self.tls),
            actor,
            tokens,
        });
        let (identity, tokens) = registry.runtime_module(&hub_host, ModuleId::edge_agent()).await.map_err(unknown)?;
        let (link, tls) = (self.link.clone(), Arc::clone(&self.tls));
        let (client, events) = agent_link::connect(&self.above, link, tls, identity, tokens);
        client.wait_connected().await.map_err(|error| other("the agent's connection")(&error))?;
        let reported = agent_link::reported(&client).await;
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (connection, ended) = (client.clone(), shutdown.clone());
        tasks.spawn(async move {
            ended.cancelled().await;
            connection.close().await;
        });
        Ok(Ties {
            device,
            hub_host,
            upstream,
            scope: Arc::<RegistryClient>::clone(&registry),
            identities: Arc::new(Identities(registry)),
            agent: Arc::new(client),
            events,
            reported,
            tasks,
            shutdown,
        })
    }
}

/// The identities of a device's modules.
struct Identities(Arc<RegistryClient>);

#[async_trait]
impl IdentityProvider for Identities {
    async fn ensure(&self, module_id: &str) -> Result<ModuleIdentity, IdentityError> {
        let record = self.0.ensure_module(module_id).await.map_err(|refusal| IdentityError(refusal.to_string()))?;
        Ok(ModuleIdentity { generation_id: record.generation_id, workload_uri: NO_WORKLOAD_API.to_owned() })
    }

    async fn remove(&self, module_id: &str) -> Result<(), IdentityError> {
        self.0.remove_module(module_id).await.map_err(|refusal| IdentityError(refusal.to_string()))
    }
}
