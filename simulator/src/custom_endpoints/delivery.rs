//! Following the built-in endpoint for a custom one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::sas::encode;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{HubSettings, Routes};
use super::target::Target;
use crate::state::{read_json, write_json};

/// Messages that are looked at together.
const BATCH: usize = 256;
/// An endpoint that does not take messages is tried again after the first of these, and then later and later.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// What a solution wants of custom endpoints.
#[derive(Debug, Clone, Default)]
pub struct CustomEndpoints {
    /// Endpoints and routes.
    pub settings: HubSettings,
    /// What the names of files are relative to.
    pub root: PathBuf,
    /// Who prints what goes to standard output; none where nobody does.
    pub printed: Option<mpsc::Sender<ReceivedEvent>>,
}

/// How far an endpoint is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    next_sequence_number: u64,
}

impl CustomEndpoints {
    /// Follows a cloud hub for all endpoints until the shutdown. How far each is lies in a folder.
    pub fn follow(self, cloud: &Arc<CloudHub>, folder: &Path, tasks: &TaskTracker, shutdown: &CancellationToken) {
        for (name, address, routes) in self.settings.prepared(&self.root) {
            let target = match Target::of(address, self.printed.clone()) {
                Ok(target) => target,
                Err(error) => {
                    tracing::error!(endpoint = name, %error, "an endpoint cannot be used");
                    continue;
                }
            };
            if matches!(target, Target::Stdout(None)) {
                tracing::warn!(endpoint = name, "a device in the background has no standard output");
            }
            let checkpoint = folder.join(format!("endpoint-{}.json", encode(&name)));
            let delivery = Delivery { cloud: Arc::clone(cloud), name, target, routes, checkpoint };
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = delivery.run() => {}
                }
            });
        }
    }
}

struct Delivery {
    cloud: Arc<CloudHub>,
    name: String,
    target: Target,
    routes: Routes,
    checkpoint: PathBuf,
}

impl Delivery {
    async fn run(self) {
        let mut arrivals = self.cloud.events().next_number();
        let mut next = match read_json::<Checkpoint>(&self.checkpoint) {
            Ok(Some(checkpoint)) => checkpoint.next_sequence_number,
            Ok(None) => {
                // A new endpoint gets what comes from now on.
                let now = *arrivals.borrow();
                self.reached(now);
                now
            }
            Err(error) => {
                tracing::error!(endpoint = self.name, %error, "it is not known how far the endpoint is");
                return;
            }
        };
        loop {
            // Looked at before reading, so that nothing slips through between.
            let end = *arrivals.borrow_and_update();
            while next < end {
                let events = match self.cloud.events().read(next, BATCH) {
                    Ok(events) => events,
                    Err(error) => {
                        tracing::error!(endpoint = self.name, %error, "what the hub received cannot be read");
                        break;
                    }
                };
                let (Some(first), Some(last)) = (events.first(), events.last()) else { break };
                if first.sequence_number > next {
                    let lost = first.sequence_number - next;
                    tracing::warn!(
                        endpoint = self.name,
                        lost,
                        "messages are gone that the endpoint did not take in time"
                    );
                }
                next = last.sequence_number + 1;
                let taken: Vec<ReceivedEvent> = events.into_iter().filter(|event| self.routes.take(event)).collect();
                if !taken.is_empty() {
                    self.deliver(taken).await;
                }
                self.reached(next);
            }
            if arrivals.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes until it succeeds.
    async fn deliver(&self, events: Vec<ReceivedEvent>) {
        let events: Vec<_> = events.into_iter().map(|event| ReceivedEvent { notices: 0, ..event }).collect();
        let [mut delay, most] = RETRY_DELAYS;
        while let Err(error) = self.target.write(events.clone()).await {
            tracing::warn!(endpoint = self.name, %error, "the endpoint takes no messages now");
            self.cloud.clock().sleep(delay).await;
            delay = (delay * 2).min(most);
        }
    }

    fn reached(&self, next_sequence_number: u64) {
        // Without it the endpoint gets some messages again after a restart.
        if let Err(error) = write_json(&self.checkpoint, &Checkpoint { next_sequence_number }) {
            tracing::warn!(endpoint = self.name, %error, "it cannot be remembered how far the endpoint is");
        }
    }
}
