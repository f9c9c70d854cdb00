//! The way of a device of a fleet to the cloud hub in the same process: calls in place of a network.

use std::sync::Arc;

use async_trait::async_trait;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::registry::{RegistryError, Wanted};
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::family::Member;
use edgectl_hub::gateway::{Attachment, Client, ClientLink, Credential, Feature, Gateway, Refusal, SessionKind};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::admit;
use super::agent_connection::HubConnection;
use super::ties::{NO_WORKLOAD_API, Ties};
use crate::agent::identity::{IdentityError, IdentityProvider, ModuleIdentity};

/// Who manages the modules of a deployment.
const MANAGER: &str = "IotEdge";

/// The way of one device.
struct Way {
    cloud: Arc<CloudHub>,
    device: DeviceId,
}

/// Joins a registered device to the cloud hub in the same process.
pub fn join(cloud: &Arc<CloudHub>, device: DeviceId) -> Result<Ties, RegistryError> {
    let agent = Identity::module(device.clone(), ModuleId::edge_agent());
    let known = cloud.twin_of(&agent)?;
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (connection, events) = HubConnection::new(Arc::clone(cloud), agent);
    tasks.spawn(Arc::clone(&connection).keep(shutdown.clone()));
    let way = Arc::new(Way { cloud: Arc::clone(cloud), device: device.clone() });
    Ok(Ties {
        device,
        hub_host: cloud.host().to_owned(),
        upstream: Arc::<Way>::clone(&way),
        scope: Arc::<Way>::clone(&way),
        identities: way,
        agent: connection,
        events,
        reported: Value::Object(known.reported.properties.clone()),
        tasks,
        shutdown,
    })
}

#[async_trait]
impl Gateway for Way {
    async fn authenticate(&self, identity: &Identity, _: &Credential) -> Result<Client, Refusal> {
        admit(&self.cloud, identity)
    }

    async fn attach(
        &self,
        client: &Client,
        session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        self.cloud.attach(client, session, link).await
    }

    async fn detach(&self, attachment: &Attachment) {
        self.cloud.detach(attachment).await;
    }

    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        self.cloud.send(client, messages).await
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        self.cloud.twin(client).await
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        self.cloud.report(client, patch).await
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.cloud.subscribe(attachment, feature).await
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.cloud.unsubscribe(attachment, feature).await
    }

    async fn invoke(
        &self,
        caller: &Client,
        target: &Identity,
        request: MethodRequest,
    ) -> Result<MethodResponse, Refusal> {
        self.cloud.invoke(caller, target, request).await
    }
}

#[async_trait]
impl ScopeSource for Way {
    /// The device and its modules: leaf devices and devices below are not part of a fleet.
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        let registry = self.cloud.registry();
        let own = registry.get(&Identity::device(self.device.clone()));
        let own = own.ok_or_else(|| Refusal::NotFound(self.device.to_string()))?;
        Ok(std::iter::once(own).chain(registry.modules(&self.device)).map(|found| found.member()).collect())
    }
}

#[async_trait]
impl IdentityProvider for Way {
    async fn ensure(&self, module_id: &str) -> Result<ModuleIdentity, IdentityError> {
        let identity = self.module(module_id)?;
        let registration = match self.cloud.registry().get(&identity) {
            Some(registration) => registration,
            None => {
                let wanted = Wanted { managed_by: Some(MANAGER.to_owned()), ..Wanted::default() };
                let made = self.cloud.put_identity(&identity, wanted, None);
                made.map_err(|error| IdentityError(error.to_string()))?
            }
        };
        let generation_id = registration.record.generation_id.clone();
        Ok(ModuleIdentity { generation_id, workload_uri: NO_WORKLOAD_API.to_owned() })
    }

    async fn remove(&self, module_id: &str) -> Result<(), IdentityError> {
        match self.cloud.remove_identity(&self.module(module_id)?, None) {
            Ok(()) | Err(RegistryError::NotFound(_)) => Ok(()),
            Err(error) => Err(IdentityError(error.to_string())),
        }
    }
}

impl Way {
    fn module(&self, module_id: &str) -> Result<Identity, IdentityError> {
        let module = ModuleId::new(module_id).map_err(|error| IdentityError(error.to_string()))?;
        Ok(Identity::module(self.device.clone(), module))
    }
}
