//! The module as its own program sees it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, PublishNoticeError, PublishOptions};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connection::{self, Shared};
use super::environment::Environment;
use super::{Error, Message};

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
const AT_LEAST_ONCE: PublishOptions = PublishOptions::at_least_once();

/// What the hub has for a module.
#[derive(Debug)]
pub enum Event {
    /// A message on an input. The hub keeps it until [`Module::complete`].
    Input { input: String, message: Message },
    /// The desired properties, all of them: after connecting, and whenever they changed.
    Desired(Value),
    /// A direct method, to be answered with [`Module::respond`].
    Method(Method),
}

/// A call of a direct method.
#[derive(Debug)]
pub struct Method {
    pub name: String,
    #[allow(dead_code)]
    pub payload: Value,
    pub(super) request: String,
}

/// The connection of a module to its hub. It comes back by itself when it is lost.
pub struct Module {
    environment: Environment,
    mqtt: AsyncClient,
    events: mpsc::Receiver<Event>,
    /// Messages that came before the desired properties.
    early: VecDeque<Event>,
    configured: bool,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Module {
    /// Connects the module that the environment describes. Returns at once when the device's workload API has
    /// answered; the hub may still be starting.
    pub async fn from_environment() -> Result<Self, Error> {
        let environment = Environment::read()?;
        let opened = connection::open(environment.clone()).await?;
        let connection::Opened {
            mqtt,
            events,
            shared,
            task,
        } = opened;
        Ok(Self {
            environment,
            mqtt,
            events,
            early: VecDeque::new(),
            configured: false,
            shared,
            task,
        })
    }

    /// Waits for what the hub has next. No message comes before the first desired properties.
    pub async fn next(&mut self) -> Event {
        loop {
            let early = if self.configured {
                self.early.pop_front()
            } else {
                None
            };
            let event = match early {
                Some(event) => event,
                None => match self.events.recv().await {
                    Some(event) => event,
                    None => std::future::pending().await,
                },
            };
            match &event {
                // It came through a connection that is lost: the hub will deliver it again.
                Event::Input { message, .. }
                    if !self.shared.is_current(message.receipt.as_ref()) =>
                {
                    continue;
                }
                Event::Input { .. } if !self.configured => {
                    self.early.push_back(event);
                    continue;
                }
                Event::Desired(_) => self.configured = true,
                _ => {}
            }
            return event;
        }
    }

    /// Sends a message to an output, and returns when the hub has it.
    pub async fn send(&self, output: &str, message: &Message) -> Result<(), Error> {
        let Environment { device, module, .. } = &self.environment;
        let topic = format!(
            "devices/{device}/modules/{module}/messages/events/{}",
            message.to_bag(output)
        );
        loop {
            let body = message.body.clone();
            let sent = self
                .mqtt
                .publish_tracked(topic.clone(), body, AT_LEAST_ONCE)
                .await;
            match sent
                .map_err(|_| Error::Closed)?
                .wait_completion_async()
                .await
            {
                Ok(()) => return Ok(()),
                // The hub has started anew and knows nothing of the message.
                Err(PublishNoticeError::SessionReset) => {}
                Err(_) => return Err(Error::Closed),
            }
        }
    }

    /// Tells the hub that it need not keep a message any more.
    pub async fn complete(&self, message: &Message) {
        if let Some(receipt) = message
            .receipt
            .as_ref()
            .filter(|receipt| self.shared.is_current(Some(receipt)))
        {
            // If it cannot be told, the connection is gone, and it will deliver the message again.
            let _ = self.mqtt.ack(&receipt.publish).await;
        }
    }

    /// Merges properties into the reported ones of the module's twin.
    pub async fn report(&self, properties: &Value) -> Result<(), Error> {
        let operation = "a report of properties";
        let (request, answer) = self.shared.expect_answer();
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={request}");
        self.mqtt
            .publish(topic, properties.to_string(), AT_LEAST_ONCE)
            .await
            .map_err(|_| Error::Closed)?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        self.shared.forget(request);
        match answer
            .map_err(|_| Error::TimedOut(operation))?
            .map_err(|_| Error::Closed)?
        {
            (status, _) if status < 300 => Ok(()),
            (status, body) => Err(Error::Refused {
                operation,
                status,
                body,
            }),
        }
    }

    /// Answers a direct method.
    pub async fn respond(
        &self,
        method: &Method,
        status: u16,
        payload: &Value,
    ) -> Result<(), Error> {
        let topic = format!("$iothub/methods/res/{status}/?$rid={}", method.request);
        self.mqtt
            .publish(topic, payload.to_string(), AT_LEAST_ONCE)
            .await
            .map_err(|_| Error::Closed)
    }

    /// Disconnects in good order.
    pub async fn close(mut self) {
        let _ = self.mqtt.disconnect_now().await;
        if tokio::time::timeout(CLOSE_WITHIN, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}
