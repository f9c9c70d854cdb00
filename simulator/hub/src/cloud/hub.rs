//! The cloud hub itself, with what the service offers to those who manage devices.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::SharedKey;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activities, Activity};
use super::cloud_to_device::{CloudToDevice, QueueError};
use super::configurations::all::Configurations;
use super::events::{Events, EventsError};
use super::feedback::{self, Feedback};
use super::jobs::Jobs;
use super::outbox::Outboxes;
use super::policies::Policies;
use super::provisioner::Provisioner;
use super::registry::{Condition, Order, Registration, Registry, RegistryError, Wanted};
use super::twins::{Change, Twin, TwinError, Twins};
use super::uploads::Uploads;
use crate::auth::{AuthError, Right};
use crate::clock::{Clock, within};
use crate::documents::{Documents, DocumentsError};
use crate::gateway::{CloseReason, Feature, Refusal};
use crate::message::Message;
use crate::method::{MAX_PAYLOAD_BYTES, MethodRequest, MethodResponse};
use crate::sessions::Sessions;

/// What a cloud hub needs to know.
#[derive(Debug, Clone)]
pub struct CloudHubOptions {
    /// Its host name, which tokens are for.
    pub host: String,
    /// Where it keeps what it keeps.
    pub directory: PathBuf,
    /// The key of the policy that may do everything.
    pub owner_key: SharedKey,
}

/// A cloud hub could not start.
#[derive(Debug, thiserror::Error)]
pub enum CloudHubError {
    /// Its documents cannot be used.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// The messages it received cannot be used.
    #[error(transparent)]
    Events(#[from] EventsError),
}

/// A message to a device is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The device is not registered.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// A simulated cloud hub.
pub struct CloudHub {
    pub(super) host: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sessions: Sessions,
    pub(super) events: Events,
    pub(super) outboxes: Outboxes,
    pub(super) activities: Activities,
    policies: Policies,
    provisioner: Provisioner,
    messages: Arc<CloudToDevice>,
    feedback: Arc<Feedback>,
    registry: Registry,
    twins: Twins,
    configurations: Configurations,
    jobs: Jobs,
    uploads: Uploads,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl CloudHub {
    /// Opens what was kept.
    pub fn open(options: CloudHubOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, CloudHubError> {
        let documents = Arc::new(Documents::open(&file(&options.directory))?);
        let feedback = Arc::new(Feedback::open(Arc::clone(&documents), feedback::TABLE, feedback::MAX_IN_BATCH)?);
        let messages =
            Arc::new(CloudToDevice::open(Arc::clone(&documents), Arc::clone(&feedback), Arc::clone(&clock))?);
        Ok(Arc::new(Self {
            outboxes: Outboxes::new(Arc::clone(&messages), Arc::clone(&clock)),
            messages,
            feedback,
            activities: Activities::default(),
            provisioner: Provisioner::open(&documents, Arc::clone(&clock), &options.owner_key)?,
            policies: Policies::new(options.owner_key),
            host: options.host,
            sessions: Sessions::open(Arc::clone(&documents))?,
            events: Events::open(&options.directory)?,
            registry: Registry::open(Arc::clone(&documents), Arc::clone(&clock))?,
            twins: Twins::open(Arc::clone(&documents), Arc::clone(&clock))?,
            configurations: Configurations::open(Arc::clone(&documents), Arc::clone(&clock))?,
            uploads: Uploads::open(Arc::clone(&documents), Arc::clone(&clock))?,
            jobs: Jobs::open(documents)?,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            clock,
        }))
    }

    /// Closes all connections.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.sessions.close_all(CloseReason::ShuttingDown);
        self.outboxes.close_all().await;
    }

    /// The host name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The time, as this hub has it.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Checks a policy's token for something that needs a right. Returns when it expires, in seconds since the Unix epoch.
    pub fn authorize(&self, token: &str, right: Right) -> Result<u64, AuthError> {
        self.policies.check(token, right, &self.host, self.clock.now_seconds())
    }

    /// The provisioning service beside the hub.
    pub fn provisioner(&self) -> &Provisioner {
        &self.provisioner
    }

    /// The policies with which services reach the hub.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The messages that were received.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Puts a message into a device's queue.
    pub fn send_to_device(&self, device: &DeviceId, message: Message) -> Result<(), SendError> {
        let registration = self.registry.require(&Identity::device(device.clone()))?;
        Ok(self.messages.enqueue(device, &registration.record.generation_id, message)?)
    }

    /// Files that devices bring.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// What became of messages to devices.
    pub fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    /// The messages that wait for devices.
    pub fn messages(&self) -> &CloudToDevice {
        &self.messages
    }

    /// The registry, for reading. Identities are changed through this hub, which closes connections that end.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// When an identity connected and did something.
    pub fn activity(&self, identity: &Identity) -> Activity {
        self.activities.of(identity)
    }

    /// All identities that are connected.
    pub fn connected(&self) -> Vec<Identity> {
        self.sessions.connected()
    }

    /// Whether a client is connected.
    pub fn is_connected(&self, identity: &Identity) -> bool {
        self.sessions.is_connected(identity)
    }

    /// Makes or changes an identity. A device that is disabled is cut off with its modules.
    pub fn put_identity(
        &self,
        identity: &Identity,
        wanted: Wanted,
        condition: Option<Condition>,
    ) -> Result<Arc<Registration>, RegistryError> {
        let registration = self.registry.put(identity, wanted, condition)?;
        self.notice_new([&*registration]);
        self.cut_off_disabled(&registration)?;
        self.reconsider(std::slice::from_ref(identity));
        Ok(registration)
    }

    /// Makes or changes identities, each as if it were alone.
    pub fn put_identities(&self, orders: Vec<Order>) -> Result<Vec<Result<(), RegistryError>>, DocumentsError> {
        let identities: Vec<Identity> = orders.iter().map(|order| order.identity.clone()).collect();
        let outcomes = self.registry.put_all(orders)?;
        let done = identities.into_iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let done: Vec<Identity> = done.map(|(identity, _)| identity).collect();
        let registrations: Vec<_> = done.iter().filter_map(|identity| self.registry.get(identity)).collect();
        self.notice_new(registrations.iter().map(|registration| &**registration));
        for registration in &registrations {
            self.cut_off_disabled(registration)?;
        }
        self.reconsider(&done);
        Ok(outcomes)
    }

    /// What was never changed since it was made is new.
    fn notice_new<'a>(&self, registrations: impl IntoIterator<Item = &'a Registration>) {
        let new = registrations.into_iter().filter(|registration| registration.etag == 1);
        self.notice_lives(true, new.map(|registration| &registration.record.identity));
    }

    fn cut_off_disabled(&self, registration: &Registration) -> Result<(), DocumentsError> {
        let identity = &registration.record.identity;
        if registration.record.enabled {
            return Ok(());
        }
        self.sessions.evict(identity)?;
        if identity.module.is_none() {
            for module in self.registry.modules(&identity.device) {
                self.sessions.evict(&module.record.identity)?;
            }
        }
        Ok(())
    }

    /// Removes an identity with its twin, a device with its modules.
    pub fn remove_identity(&self, identity: &Identity, condition: Option<Condition>) -> Result<(), RegistryError> {
        let removed = self.registry.remove(identity, condition)?;
        self.twins.remove(removed.iter().map(|registration| registration.record.identity.clone()))?;
        self.configurations.forget(removed.iter().map(|registration| &registration.record.identity))?;
        for registration in &removed {
            let identity = &registration.record.identity;
            if identity.module.is_none() {
                self.messages.purge(&identity.device)?;
            }
            self.sessions.evict(identity)?;
            self.activities.forget(identity);
        }
        self.notice_lives(false, removed.iter().map(|registration| &registration.record.identity));
        Ok(())
    }

    /// The twin of a registered identity.
    pub fn twin_of(&self, identity: &Identity) -> Result<Arc<Twin>, RegistryError> {
        self.registry.require(identity)?;
        Ok(self.twins.get(identity))
    }

    /// Changes a twin. A connected client is told of changed desired properties; nobody waits for that.
    pub fn change_twin(&self, identity: &Identity, change: &Change, etag: Option<u64>) -> Result<Twin, TwinError> {
        let twin = self.twins.change(identity, change, etag, |patch| self.tell(identity, patch))?;
        self.notice_changes([(identity, change, twin.versions())]);
        self.reconsider(std::slice::from_ref(identity));
        Ok(twin)
    }

    /// Changes many twins as [`Self::change_twin`] does, in one write; all of it happens, or nothing does.
    pub fn change_many(&self, changes: &[(Identity, Change)]) -> Result<(), TwinError> {
        self.change_twins(changes)?;
        self.reconsider(&changes.iter().map(|(identity, _)| identity.clone()).collect::<Vec<_>>());
        Ok(())
    }

    /// The twins.
    pub(super) fn twins(&self) -> &Twins {
        &self.twins
    }

    /// The configurations for many devices.
    pub fn configurations(&self) -> &Configurations {
        &self.configurations
    }

    /// What the hub does beside answering.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Tells when that has to end.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The jobs over many devices.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Changes the desired properties of many twins at once.
    pub(super) fn change_twins(&self, changes: &[(Identity, Change)]) -> Result<(), TwinError> {
        let versions = self.twins.change_all(changes, |identity, patch| self.tell(identity, patch))?;
        let changes = changes.iter().zip(versions);
        self.notice_changes(changes.map(|((identity, change), versions)| (identity, change, versions)));
        Ok(())
    }

    /// Tells a client that its desired properties changed, if it is connected and wants to know.
    fn tell(&self, identity: &Identity, patch: Value) {
        if self.sessions.link(identity, Feature::DesiredProperties).is_some() {
            self.outboxes.tell(identity, patch);
        }
    }

    /// Merges what a client reports.
    pub(super) fn merge_reported(&self, identity: &Identity, patch: &Value) -> Result<u64, Refusal> {
        let versions = self.twins.report(identity, patch).map_err(|error| match error {
            TwinError::Invalid(text) => Refusal::Invalid(text),
            TwinError::Precondition | TwinError::Documents(_) => Refusal::Unavailable(error.to_string()),
        })?;
        self.notice_report(identity, patch, versions);
        self.reconsider(std::slice::from_ref(identity));
        Ok(versions.reported)
    }

    /// Calls a direct method of a client.
    pub async fn call(&self, target: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal> {
        self.registry.require(target).map_err(refusal)?;
        if request.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::TooLarge { size: request.payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        let link = match self.sessions.link(target, Feature::Methods) {
            Some(link) => Some(link),
            None => {
                let waiting = self.sessions.wait_for(target, Feature::Methods);
                within(self.clock.as_ref(), request.connect_timeout, waiting).await
            }
        };
        let link = link.ok_or_else(|| Refusal::NotConnected(target.clone()))?;
        match within(self.clock.as_ref(), request.response_timeout, link.invoke(request)).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) | None => Err(Refusal::NoAnswer(target.clone())),
        }
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("documents")
}

pub(super) fn refusal(error: RegistryError) -> Refusal {
    match error {
        RegistryError::NotFound(identity) => Refusal::NotFound(identity.to_string()),
        RegistryError::Exists(_) | RegistryError::Precondition(_) | RegistryError::Invalid(_) => {
            Refusal::Invalid(error.to_string())
        }
        RegistryError::Denied(error) => Refusal::Unauthorized(error.to_string()),
        RegistryError::Documents(error) => Refusal::Unavailable(error.to_string()),
    }
}
