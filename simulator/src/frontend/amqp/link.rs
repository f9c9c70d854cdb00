//! What the hub sees of a connected client: deliveries and calls go out on the lines that its links opened, and their
//! answers come back by number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{ClientLink, CloseReason, Delivery, Destination, LinkClosed};
use edgectl_hub::message::system;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use edgectl_schemas::ids::Identity;
use edgectl_wire::amqp::message::{AnnotatedMessage, Header};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::amqp::{message, method, twin};

/// Messages that may wait for the credit of a link: all that the hub has under way to a module with several inputs.
const LINE_CAPACITY: usize = 1024;

/// Where the hub's messages for a client go: one line for each kind of link on which the client receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// Messages to a module's inputs.
    Inputs,
    /// Messages from the cloud.
    CloudToDevice,
    /// Calls of methods.
    Methods,
    /// Changed desired properties.
    Twin,
}

/// A message on its way to a client.
pub struct Outbound {
    /// The message's bytes.
    pub bytes: Bytes,
    /// Names the delivery.
    pub tag: Bytes,
    /// What becomes of it; none where it is sent settled.
    pub receipt: Option<Receipt>,
}

impl Outbound {
    /// A message that nobody waits for.
    pub fn settled(message: &AnnotatedMessage) -> Self {
        Self { bytes: message.to_bytes(), tag: Uuid::new_v4().into_bytes().to_vec().into(), receipt: None }
    }
}

/// What a connection is told when the hub closes one of its clients.
#[derive(Default)]
pub struct Closings {
    closed: Mutex<Vec<(Identity, CloseReason)>>,
    notify: Notify,
}

impl Closings {
    /// Waits until there is one.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Takes all that there are.
    pub fn take(&self) -> Vec<(Identity, CloseReason)> {
        std::mem::take(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One attached client. The connection's task owns the other ends.
pub struct AmqpLink {
    identity: Identity,
    closings: Arc<Closings>,
    closed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: HashMap<Line, mpsc::Sender<Outbound>>,
    calls: HashMap<Uuid, oneshot::Sender<MethodResponse>>,
}

impl AmqpLink {
    /// A link without any line; the connection is told through `closings` when the hub closes it.
    pub fn new(identity: Identity, closings: Arc<Closings>) -> Arc<Self> {
        Arc::new(Self { identity, closings, closed: CancellationToken::new(), state: Mutex::default() })
    }

    /// Opens a line for a link on which the client receives. It ends with the receiver.
    pub fn open(&self, line: Line) -> mpsc::Receiver<Outbound> {
        let (sender, receiver) = mpsc::channel(LINE_CAPACITY);
        self.lock().lines.insert(line, sender);
        receiver
    }

    /// The client answered a method.
    pub fn method_answered(&self, number: &Uuid, response: MethodResponse) {
        if let Some(waiting) = self.lock().calls.remove(number) {
            // The caller may have given up.
            let _ = waiting.send(response);
        }
    }

    /// Whether it was closed, by either side.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends what the hub still waits for.
    pub fn end(&self) {
        self.closed.cancel();
    }

    async fn put(&self, line: Line, outbound: Outbound) -> Result<(), LinkClosed> {
        let sender = self.lock().lines.get(&line).cloned().ok_or(LinkClosed)?;
        tokio::select! {
            // Nothing is sent on a link that is closed.
            biased;
            () = self.closed.cancelled() => Err(LinkClosed),
            sent = sender.send(outbound) => sent.map_err(|_| LinkClosed),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, LinkClosed> {
        tokio::select! {
            () = self.closed.cancelled() => Err(LinkClosed),
            answer = answer => answer.map_err(|_| LinkClosed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClientLink for AmqpLink {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        for (delivery, receipt) in deliveries {
            let line = match &delivery.destination {
                Destination::Input(_) => Line::Inputs,
                Destination::CloudToDevice => Line::CloudToDevice,
            };
            let Some(sender) = self.lock().lines.get(&line).cloned().filter(|_| !self.is_closed()) else { return };
            let token = delivery.message.system.get(system::LOCK_TOKEN).and_then(|token| Uuid::parse_str(token).ok());
            let token = token.unwrap_or_else(Uuid::new_v4).into_bytes();
            let mut message = message::write(&delivery.message, &delivery.destination, token);
            if delivery.redelivered {
                message.header = Some(Header { delivery_count: 1, ..Header::default() });
            }
            let tag = Bytes::copy_from_slice(&token);
            // Where there is no room, or no link any more, the receipt says so by being dropped.
            if sender.try_send(Outbound { bytes: message.to_bytes(), tag, receipt: Some(receipt) }).is_err() {
                return;
            }
        }
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        self.put(Line::Twin, Outbound::settled(&twin::desired(&patch))).await
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        let number = Uuid::new_v4();
        let (respond, answer) = oneshot::channel();
        self.lock().calls.insert(number, respond);
        let forget = ForgetCall { link: self, number };
        self.put(Line::Methods, Outbound::settled(&method::write_call(request, number))).await?;
        let response = self.answer(answer).await;
        drop(forget);
        response
    }

    fn close(&self, reason: CloseReason) {
        tracing::debug!(identity = %self.identity, ?reason, "the client is closed");
        self.closed.cancel();
        let mut closed = self.closings.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.push((self.identity.clone(), reason));
        self.closings.notify.notify_one();
    }
}

/// Forgets a call that is given up.
struct ForgetCall<'a> {
    link: &'a AmqpLink,
    number: Uuid,
}

impl Drop for ForgetCall<'_> {
    fn drop(&mut self) {
        self.link.lock().calls.remove(&self.number);
    }
}
