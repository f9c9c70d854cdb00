//! What is on its way to connected clients: changed desired properties and messages from the cloud. Each connection has
//! tasks of its own, so that what comes keeps its order, a slow client holds up nobody, and no service waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::{DeviceId, Identity};
use serde_json::Value;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cloud_to_device::{CloudToDevice, LOCK_TIME, Received};
use crate::clock::{Clock, within};
use crate::gateway::{Attachment, ClientLink, CloseReason, Delivery, Destination, Settlement};

/// Changes that may wait for a client. One that falls further behind is cut off, and reads its whole twin when it is back.
const MAX_CHANGES: usize = 64;

/// The outboxes of all connections.
pub struct Outboxes {
    messages: Arc<CloudToDevice>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<Identity, Outbox>>,
    tasks: TaskTracker,
}

struct Outbox {
    number: u64,
    link: Arc<dyn ClientLink>,
    changes: mpsc::Sender<Value>,
    /// Ends all tasks of the connection.
    ended: CancellationToken,
    /// Ends the delivery of messages, while there is one.
    delivering: Option<CancellationToken>,
}

impl Outboxes {
    /// Delivers messages of these queues.
    pub fn new(messages: Arc<CloudToDevice>, clock: Arc<dyn Clock>) -> Self {
        Self { messages, clock, open: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Opens the outbox of a connection; an older one of the identity ends.
    pub fn open(&self, attachment: &Attachment, link: Arc<dyn ClientLink>) {
        let (changes, waiting) = mpsc::channel(MAX_CHANGES);
        let ended = CancellationToken::new();
        self.tasks.spawn(tell(waiting, Arc::clone(&link), ended.clone()));
        let outbox = Outbox { number: attachment.number, link, changes, ended, delivering: None };
        let old = self.lock().insert(attachment.client.identity.clone(), outbox);
        if let Some(old) = old {
            old.ended.cancel();
        }
    }

    /// Ends the outbox of a connection.
    pub fn close(&self, attachment: &Attachment) {
        let mut open = self.lock();
        let identity = &attachment.client.identity;
        if open.get(identity).is_some_and(|outbox| outbox.number == attachment.number)
            && let Some(outbox) = open.remove(identity)
        {
            outbox.ended.cancel();
        }
    }

    /// Begins or ends the delivery of messages to a device.
    pub fn deliver(&self, attachment: &Attachment, wanted: bool) {
        let identity = &attachment.client.identity;
        let mut open = self.lock();
        let Some(outbox) = open.get_mut(identity).filter(|outbox| outbox.number == attachment.number) else { return };
        // Messages are for devices, and each goes through one task alone.
        if identity.module.is_some() || outbox.delivering.is_some() == wanted {
            return;
        }
        match outbox.delivering.take() {
            Some(delivering) => delivering.cancel(),
            None => {
                let delivering = outbox.ended.child_token();
                let messages = Messages {
                    device: identity.device.clone(),
                    queues: Arc::clone(&self.messages),
                    clock: Arc::clone(&self.clock),
                    link: Arc::clone(&outbox.link),
                    connection: outbox.ended.clone(),
                    ended: delivering.clone(),
                };
                self.tasks.spawn(messages.run());
                outbox.delivering = Some(delivering);
            }
        }
    }

    /// Tells a client of changed desired properties, after those that it was told before.
    pub fn tell(&self, identity: &Identity, change: Value) {
        if let Some(outbox) = self.lock().get(identity)
            && let Err(TrySendError::Full(_)) = outbox.changes.try_send(change)
        {
            tracing::warn!(%identity, "the client takes no changes of its desired properties");
            outbox.link.close(CloseReason::FellBehind);
        }
    }

    /// Ends all outboxes.
    pub async fn close_all(&self) {
        for (_, outbox) in self.lock().drain() {
            outbox.ended.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Outbox>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(mut changes: mpsc::Receiver<Value>, link: Arc<dyn ClientLink>, ended: CancellationToken) {
    let work = async {
        while let Some(change) = changes.recv().await {
            // A client that is just going away reads its whole twin when it is back.
            if link.desired_changed(change).await.is_err() {
                tracing::debug!("a change of desired properties did not reach its client");
            }
        }
    };
    tokio::select! {
        () = ended.cancelled() => {}
        () = work => {}
    }
}

/// The delivery of a device's messages over one connection.
struct Messages {
    device: DeviceId,
    queues: Arc<CloudToDevice>,
    clock: Arc<dyn Clock>,
    link: Arc<dyn ClientLink>,
    /// Ends with the connection.
    connection: CancellationToken,
    /// Ends when the device wants no more messages; what it has by then it may still settle.
    ended: CancellationToken,
}

impl Messages {
    async fn run(self) {
        let changes = self.queues.changes(&self.device);
        while !self.ended.is_cancelled() {
            match self.queues.receive(&self.device) {
                Ok(Some(received)) => self.hand_over(received).await,
                Ok(None) => {
                    let unlock = self.queues.next_unlock(&self.device);
                    let unlocked = async {
                        match unlock {
                            Some(time) => self.clock.sleep(time).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = self.ended.cancelled() => {}
                        () = changes.notified() => {}
                        () = unlocked => {}
                    }
                }
                Err(error) => {
                    tracing::error!(%error, device = %self.device, "its messages cannot be read");
                    within(self.clock.as_ref(), LOCK_TIME, self.ended.cancelled()).await;
                }
            }
        }
    }

    /// Gives the device a message and settles it as the device does; what it does not settle in time is given back.
    async fn hand_over(&self, received: Received) {
        let Received { message, lock, redelivered } = received;
        let delivery = Delivery { destination: Destination::CloudToDevice, message: Arc::new(message), redelivered };
        let settlement = tokio::select! {
            biased;
            settled = within(self.clock.as_ref(), LOCK_TIME, self.link.deliver_one(delivery)) => match settled {
                Some(Ok(settlement)) => settlement,
                Some(Err(_)) => {
                    // Nothing more goes over this connection.
                    self.ended.cancel();
                    Settlement::Abandon
                }
                None => Settlement::Abandon,
            },
            () = self.connection.cancelled() => Settlement::Abandon,
        };
        if let Err(refusal) = self.queues.settle(&self.device, &lock, settlement) {
            tracing::debug!(%refusal, device = %self.device, "a message was settled too late");
        }
    }
}
