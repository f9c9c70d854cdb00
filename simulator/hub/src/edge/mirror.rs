//! What clients have switched on at this hub, switched on for them at the cloud hub as well.
//!
//! Nothing is handed on step by step: for a client whose session changed, what the session says now is compared with
//! what the cloud hub was told, until both are the same. So no order of changes, interruptions and reconnections can
//! leave them apart.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgectl_schemas::ids::Identity;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::upstream::Upstream;
use crate::clock::{Clock, within};
use crate::gateway::{Feature, Refusal};
use crate::sessions::Sessions;

/// What the cloud hub did not take is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The mirror of one hub's sessions.
pub struct Mirror {
    sessions: Arc<Sessions>,
    upstream: Arc<Upstream>,
    clock: Arc<dyn Clock>,
    clients: Mutex<HashMap<Identity, Mirrored>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A client that is, or just was, connected here.
#[derive(Default)]
struct Mirrored {
    /// The session changed since it was last looked at.
    changed: bool,
    /// Wakes the task that brings the cloud hub up to date; there is at most one for a client.
    working: Option<Arc<Notify>>,
    /// What the cloud hub was told.
    told: BTreeSet<Feature>,
}

impl Mirror {
    /// Mirrors nothing yet.
    pub fn new(
        sessions: Arc<Sessions>,
        upstream: Arc<Upstream>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { sessions, upstream, clock, clients: Mutex::default(), tasks: TaskTracker::new(), shutdown })
    }

    /// A client connected, went away, or changed what it has subscribed to. Nobody waits for the cloud hub.
    pub fn changed(self: &Arc<Self>, identity: &Identity) {
        let mut clients = self.lock();
        let client = clients.entry(identity.clone()).or_default();
        client.changed = true;
        if let Some(task) = &client.working {
            task.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        client.working = Some(Arc::clone(&wake));
        let (mirror, identity) = (Arc::clone(self), identity.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = mirror.shutdown.cancelled() => {}
                () = mirror.work(&identity, &wake) => {}
            }
        });
    }

    /// Waits for all tasks, which end with the hub.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn work(&self, identity: &Identity, wake: &Notify) {
        loop {
            let mut told = {
                let mut clients = self.lock();
                let client = clients.entry(identity.clone()).or_default();
                client.changed = false;
                client.told.clone()
            };
            let wanted = self.sessions.features(identity);
            let result = self.tell(identity, wanted.as_ref(), &mut told).await;
            if let Err(refusal) = &result {
                tracing::debug!(%identity, %refusal, "the cloud hub was not told of a subscription");
            }
            {
                let mut clients = self.lock();
                let client = clients.entry(identity.clone()).or_default();
                client.told = told;
                if result.is_ok() && !client.changed {
                    client.working = None;
                    if wanted.is_none() {
                        clients.remove(identity);
                    }
                    return;
                }
            }
            if result.is_err() {
                within(self.clock.as_ref(), RETRY_INTERVAL, wake.notified()).await;
            }
        }
    }

    /// Tells the cloud hub what is new. `told` is kept up to date also where it fails half-way.
    async fn tell(
        &self,
        identity: &Identity,
        wanted: Option<&BTreeSet<Feature>>,
        told: &mut BTreeSet<Feature>,
    ) -> Result<(), Refusal> {
        let Some(wanted) = wanted else {
            // What was told ends with the connection.
            told.clear();
            self.upstream.disconnect(identity).await;
            return Ok(());
        };
        for feature in told.difference(wanted).copied().collect::<Vec<_>>() {
            self.upstream.unsubscribe(identity, feature).await?;
            told.remove(&feature);
        }
        for feature in wanted.difference(told).copied().collect::<Vec<_>>() {
            // The edge hub alone feeds inputs.
            if feature != Feature::Inputs {
                self.upstream.subscribe(identity, feature).await?;
            }
            told.insert(feature);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Mirrored>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
