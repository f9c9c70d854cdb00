//! A client of a hub. What the hub asks of it waits until the test answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, CloseReason, Delivery, Feature, Gateway, LinkClosed, Refusal, SessionKind,
    Settlement,
};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

const FOREVER: Duration = Duration::from_mins(5);

/// A connected client.
pub struct Peer {
    hub: Arc<dyn Gateway>,
    /// Its connection.
    pub attachment: Attachment,
    deliveries: UnboundedReceiver<Given>,
    desired: UnboundedReceiver<Value>,
    calls: UnboundedReceiver<Call>,
    closed: UnboundedReceiver<CloseReason>,
}

/// A message that waits to be settled. Dropping it is what a lost connection looks like.
pub struct Given {
    /// What was delivered.
    pub delivery: Delivery,
    receipt: Receipt,
}

impl Given {
    /// Settles the message.
    pub fn settle(self, settlement: Settlement) {
        self.receipt.settle(settlement);
    }

    /// The message's text.
    pub fn text(&self) -> String {
        String::from_utf8(self.delivery.message.body.to_vec()).expect("text")
    }
}

/// A method call that waits for its answer.
pub struct Call {
    /// What is asked.
    pub request: MethodRequest,
    /// Where the answer goes.
    pub answer: oneshot::Sender<MethodResponse>,
}

impl Peer {
    /// Connects a client that has proved who it is.
    pub async fn attach(hub: Arc<dyn Gateway>, client: &Client, session: SessionKind) -> Self {
        Self::try_attach(hub, client, session).await.expect("the hub takes the client")
    }

    /// Connects a client, if the hub takes it.
    pub async fn try_attach(hub: Arc<dyn Gateway>, client: &Client, session: SessionKind) -> Result<Self, Refusal> {
        let (give, deliveries) = unbounded_channel();
        let (tell, desired) = unbounded_channel();
        let (call, calls) = unbounded_channel();
        let (close, closed) = unbounded_channel();
        let link = Arc::new(Link { give, tell, call, close });
        let attachment = hub.attach(client, session, link).await?;
        Ok(Self { hub, attachment, deliveries, desired, calls, closed })
    }

    /// Connects a client that takes nothing of what it is told.
    pub async fn attach_slow(hub: Arc<dyn Gateway>, client: &Client) -> Self {
        let (close, closed) = unbounded_channel();
        let (_, deliveries) = unbounded_channel();
        let (_, desired) = unbounded_channel();
        let (_, calls) = unbounded_channel();
        let link = Arc::new(Stuck { close, given: Mutex::default() });
        let attachment = hub.attach(client, SessionKind::Clean, link).await.expect("the hub takes the client");
        Self { hub, attachment, deliveries, desired, calls, closed }
    }

    /// Switches a feature on.
    pub async fn subscribe(&self, feature: Feature) -> Result<(), Refusal> {
        self.hub.subscribe(&self.attachment, feature).await
    }

    /// Switches a feature off.
    pub async fn unsubscribe(&self, feature: Feature) -> Result<(), Refusal> {
        self.hub.unsubscribe(&self.attachment, feature).await
    }

    /// Ends the connection.
    pub async fn leave(&self) {
        self.hub.detach(&self.attachment).await;
    }

    /// Sends a text, from an output if one is named.
    pub async fn send(&self, output: Option<&str>, text: &str) -> Result<(), Refusal> {
        let mut message = Message::new(text.to_owned());
        if let Some(output) = output {
            message.system.set(system::OUTPUT_NAME, output.to_owned());
        }
        self.send_message(message).await
    }

    /// Sends a message.
    pub async fn send_message(&self, message: Message) -> Result<(), Refusal> {
        self.hub.send(&self.attachment.client, vec![message]).await
    }

    /// Reads the client's own twin.
    pub async fn twin(&self) -> Value {
        self.hub.twin(&self.attachment.client).await.expect("a twin")
    }

    /// Reports properties.
    pub async fn report(&self, patch: Value) -> Result<Option<u64>, Refusal> {
        self.hub.report(&self.attachment.client, patch).await
    }

    /// The next message.
    pub async fn given(&mut self) -> Given {
        next(&mut self.deliveries).await
    }

    /// Takes messages, completes them, and returns their texts.
    pub async fn take(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            let given = self.given().await;
            texts.push(given.text());
            given.settle(Settlement::Complete);
        }
        texts
    }

    /// The next notice of changed desired properties.
    pub async fn desired(&mut self) -> Value {
        next(&mut self.desired).await
    }

    /// The next method call.
    pub async fn call(&mut self) -> Call {
        next(&mut self.calls).await
    }

    /// Why the hub closed the connection.
    pub async fn closed(&mut self) -> CloseReason {
        next(&mut self.closed).await
    }

    /// Whether the hub has asked nothing more so far.
    pub fn is_left_alone(&mut self) -> bool {
        self.deliveries.is_empty() && self.desired.is_empty() && self.calls.is_empty()
    }
}

async fn next<T>(queue: &mut UnboundedReceiver<T>) -> T {
    timeout(FOREVER, queue.recv()).await.expect("it comes").expect("the link is there")
}

/// The link of a client that takes nothing.
struct Stuck {
    close: UnboundedSender<CloseReason>,
    given: Mutex<Vec<(Delivery, Receipt)>>,
}

#[async_trait]
impl ClientLink for Stuck {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        self.given.lock().expect("nobody failed with it").extend(deliveries);
    }

    async fn desired_changed(&self, _: Value) -> Result<(), LinkClosed> {
        std::future::pending().await
    }

    async fn invoke(&self, _: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        std::future::pending().await
    }

    fn close(&self, reason: CloseReason) {
        // The test may have ended.
        let _ = self.close.send(reason);
    }
}

struct Link {
    give: UnboundedSender<Given>,
    tell: UnboundedSender<Value>,
    call: UnboundedSender<Call>,
    close: UnboundedSender<CloseReason>,
}

#[async_trait]
impl ClientLink for Link {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        for (delivery, receipt) in deliveries {
            // A test that has dropped the client has dropped the receipts.
            let _ = self.give.send(Given { delivery, receipt });
        }
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        self.tell.send(patch).map_err(|_| LinkClosed)
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        let (answer, answered) = oneshot::channel();
        self.call.send(Call { request, answer }).map_err(|_| LinkClosed)?;
        answered.await.map_err(|_| LinkClosed)
    }

    fn close(&self, reason: CloseReason) {
        // A test that has dropped the client does not want to know.
        let _ = self.close.send(reason);
    }
}
