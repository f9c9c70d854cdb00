//! Who the modules of a device are: identities at the hub, keys kept by the device, a workload API for each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::identity::{IdentityError, IdentityProvider, ModuleIdentity};
use crate::client::registry::RegistryClient;
use crate::workload::socket::{WorkloadFacts, WorkloadSocket};

/// Longest part of a module's name in the name of its socket, whose path must stay short.
const MAX_SOCKET_NAME_BYTES: usize = 16;

/// The modules' identities and sockets.
pub struct Modules {
    registry: Arc<RegistryClient>,
    facts: Arc<WorkloadFacts>,
    sockets: PathBuf,
    open: Mutex<HashMap<String, OpenModule>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct OpenModule {
    identity: ModuleIdentity,
    close: CancellationToken,
}

impl Modules {
    /// Opens sockets in a directory until shutdown.
    pub fn new(
        registry: Arc<RegistryClient>,
        facts: Arc<WorkloadFacts>,
        sockets: PathBuf,
        shutdown: CancellationToken,
    ) -> Self {
        Self { registry, facts, sockets, open: Mutex::default(), tasks: TaskTracker::new(), shutdown }
    }

    /// Waits until all sockets are closed, which they are after shutdown.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The name of a module's socket: the beginning of its name for people, and a number that tells names apart.
    fn socket(&self, module_id: &str) -> PathBuf {
        let plain: String = module_id.chars().filter(char::is_ascii_alphanumeric).take(MAX_SOCKET_NAME_BYTES).collect();
        self.sockets.join(format!("{plain}-{:08x}.sock", crc32fast::hash(module_id.as_bytes())))
    }

    fn serve(&self, module_id: &str, generation_id: String) -> Result<ModuleIdentity, IdentityError> {
        let socket = WorkloadSocket::open(&self.socket(module_id)).map_err(|error| IdentityError(error.to_string()))?;
        let identity = ModuleIdentity { generation_id, workload_uri: socket.uri() };
        let close = self.shutdown.child_token();
        let (facts, name, closed) = (Arc::clone(&self.facts), module_id.to_owned(), close.clone());
        self.tasks.spawn(async move {
            if let Err(error) = socket.serve(facts, name.clone(), closed.cancelled_owned()).await {
                tracing::warn!(module = name, %error, "the workload API ended");
            }
        });
        let open = OpenModule { identity: identity.clone(), close };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(module_id.to_owned(), open);
        Ok(identity)
    }
}

#[async_trait]
impl IdentityProvider for Modules {
    async fn ensure(&self, module_id: &str) -> Result<ModuleIdentity, IdentityError> {
        let record = self
            .registry
            .ensure_module(module_id)
            .await
            .map_err(|refusal| IdentityError(format!("no identity for {module_id}: {refusal}")))?;
        let key = record
            .keys()
            .into_iter()
            .next()
            .ok_or_else(|| IdentityError(format!("the identity of {module_id} has no key")))?;
        self.facts.keys.insert(module_id, &record.generation_id, key);
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = known.get(module_id)
            && open.identity.generation_id == record.generation_id
        {
            return Ok(open.identity.clone());
        }
        drop(known);
        self.serve(module_id, record.generation_id)
    }

    async fn remove(&self, module_id: &str) -> Result<(), IdentityError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(module_id);
        if let Some(open) = open {
            open.close.cancel();
        }
        self.facts.keys.remove(module_id);
        self.registry.remove_module(module_id).await.map_err(|refusal| IdentityError(refusal.to_string()))
    }
}
