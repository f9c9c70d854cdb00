//! What runs in place of a module: it sends a message now and then, and hands on what comes to it.
//!
//! What it does follows from the routes of its device: a module that a route leads to hands on what it gets, all others send
//! measurements of a simulated machine. It uses the output that a route begins at.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::Clock;
use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::gateway::{
    Client, ClientLink, CloseReason, Delivery, Feature, Gateway as _, LinkClosed, SessionKind, Settlement,
};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use edgectl_schemas::ids::{Identity, ModuleId};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::builtin::walk::{Ranges, Walk};

/// The output where no route says another one.
const DEFAULT_OUTPUT: &str = "output1";
/// Messages that may wait to be handed on; the hub keeps the others.
const INPUT_QUEUE: usize = 64;

/// A generator of one module.
pub struct Generator {
    /// The device's hub.
    pub edge: Arc<EdgeHub>,
    /// The module.
    pub identity: Identity,
    /// How often it sends.
    pub interval: Duration,
    /// How many messages it sends; none for no end.
    pub messages: Option<u64>,
    /// When it sends first, so that a fleet does not send all at once.
    pub first: Duration,
    /// What its measurements follow from.
    pub seed: u64,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Generator {
    /// Runs until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let (handed, inputs) = mpsc::channel(INPUT_QUEUE);
        let client = Client { identity: self.identity.clone(), expires_at: None };
        let attached = self.edge.attach(&client, SessionKind::Clean, Arc::new(Link { handed })).await;
        let attachment = match attached {
            Ok(attachment) => attachment,
            Err(refusal) => {
                tracing::warn!(module = %self.identity, %refusal, "a generator cannot connect");
                return;
            }
        };
        if let Err(refusal) = self.edge.subscribe(&attachment, Feature::Inputs).await {
            tracing::warn!(module = %self.identity, %refusal, "a generator gets no messages");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            never = self.generate(&client, inputs) => match never {},
        }
        self.edge.detach(&attachment).await;
    }

    /// Sends a message, if the hub takes it.
    async fn send(&self, client: &Client, message: Message) -> bool {
        let sent = self.edge.send(client, vec![message]).await;
        sent.inspect_err(|refusal| tracing::debug!(module = %self.identity, %refusal, "a message is not taken")).is_ok()
    }

    /// The next measurement.
    fn measure(&self, walk: &mut Walk, sequence: u64) -> Message {
        let mut message = Message::new(walk.step(&self.clock.now_text()).to_string());
        message.properties.set("sequenceNumber", sequence.to_string());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
        message
    }

    async fn generate(&self, client: &Client, mut inputs: mpsc::Receiver<(Delivery, Receipt)>) -> Infallible {
        let module = self.identity.module.as_ref().map(ModuleId::as_str).unwrap_or_default();
        let mut walk = Walk::new(Ranges::default(), Some(self.seed));
        let mut sequence = 0_u64;
        let mut next = self.clock.now() + self.first;
        let mut untaken: Option<Message> = None;
        loop {
            tokio::select! {
                () = self.clock.sleep_until(next) => {
                    next += self.interval;
                    let routes = self.edge.status().routes;
                    let part = Part::of(module, &routes);
                    let is_done = self.messages.is_some_and(|messages| sequence >= messages);
                    // A deployment's routes may come after its modules: without one a message would be lost.
                    if part.is_fed || routes.is_empty() || is_done {
                        continue;
                    }
                    let mut message = match untaken.take() {
                        Some(message) => message,
                        None => self.measure(&mut walk, sequence + 1),
                    };
                    message.system.set(system::OUTPUT_NAME, part.output);
                    if self.send(client, message.clone()).await {
                        sequence += 1;
                    } else {
                        untaken = Some(message);
                    }
                }
                Some((delivery, receipt)) = inputs.recv() => {
                    let mut message = Message::clone(&delivery.message);
                    message.system.set(system::OUTPUT_NAME, Part::of(module, &self.edge.status().routes).output);
                    // Without a receipt it comes again.
                    if self.send(client, message).await {
                        receipt.settle(Settlement::Complete);
                    }
                }
            }
        }
    }
}

/// What the routes of a device make of a module.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// A route leads to it.
    is_fed: bool,
    output: String,
}

impl Part {
    fn of(module: &str, routes: &BTreeMap<String, String>) -> Self {
        let input = format!("/modules/{module}/inputs/");
        let output = format!("/messages/modules/{module}/outputs/");
        let named = routes.values().find_map(|route| {
            let (_, rest) = route.split_once(&output)?;
            let name = rest.split(|c: char| c.is_whitespace() || c == '/').next()?;
            (!name.is_empty() && name != "*").then(|| name.to_owned())
        });
        Self {
            is_fed: routes.values().any(|route| route.contains(&input)),
            output: named.unwrap_or_else(|| DEFAULT_OUTPUT.to_owned()),
        }
    }
}

/// What the hub asks of a generator.
struct Link {
    handed: mpsc::Sender<(Delivery, Receipt)>,
}

#[async_trait]
impl ClientLink for Link {
    /// What finds no room is dropped with its receipt, and delivered again.
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        for delivery in deliveries {
            if self.handed.try_send(delivery).is_err() {
                return;
            }
        }
    }

    async fn desired_changed(&self, _: Value) -> Result<(), LinkClosed> {
        Ok(())
    }

    async fn invoke(&self, _: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        Err(LinkClosed)
    }

    fn close(&self, _: CloseReason) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_say_what_a_module_does() {
        let route = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let routes = BTreeMap::from([
            route(
                "a",
                "FROM /messages/modules/sensor/outputs/temperatureOutput INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")",
            ),
            route("b", "FROM /messages/modules/filter/outputs/* INTO $upstream"),
        ]);
        assert_eq!(Part::of("sensor", &routes), Part { is_fed: false, output: "temperatureOutput".to_owned() });
        assert_eq!(Part::of("filter", &routes), Part { is_fed: true, output: "output1".to_owned() });
        assert_eq!(Part::of("other", &routes), Part { is_fed: false, output: "output1".to_owned() });
    }
}
