//! The task that keeps the connection: tokens, subscriptions, coming back after a loss.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, Publish};
use rumqttc::tokio_rustls::rustls;
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, EventLoop, MqttOptions, Outgoing, PublishOptions, QoS,
    Transport,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::environment::Environment;
use super::module::{Event, Method};
use super::topic::{self, Arrival};
use super::twin::{Change, Desired};
use super::{Error, Message, workload};

const PORT: u16 = 8883;
const KEEP_ALIVE_SECONDS: u16 = 60;
/// The hub takes bodies of up to 256 KiB; the rest is for the topic.
const LARGEST_PACKET: usize = 320 * 1024;
const REQUESTS_WAITING: usize = 64;
/// More than a hub sends before it waits for completions.
const EVENTS_WAITING: usize = 1024;
const TOKEN_TIME_TO_LIVE: Duration = Duration::from_secs(3600);
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What an open connection consists of.
pub struct Opened {
    pub mqtt: AsyncClient,
    pub events: mpsc::Receiver<Event>,
    pub shared: Arc<Shared>,
    pub task: JoinHandle<()>,
}

/// How to tell the hub that a message is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub publish: Publish,
    connection: u64,
}

/// An answer of the hub about the twin: its status and its body.
pub type TwinAnswer = (u16, String);

/// What the task and the module both know.
#[derive(Default)]
pub struct Shared {
    /// Counts connections. A message can be completed only on the one that it came through.
    connection: AtomicU64,
    request: AtomicU64,
    answers: Mutex<HashMap<u64, oneshot::Sender<TwinAnswer>>>,
}

impl Shared {
    pub fn is_current(&self, receipt: Option<&Receipt>) -> bool {
        receipt.is_none_or(|receipt| receipt.connection == self.connection.load(Ordering::Acquire))
    }

    /// A number for a request, and where its answer will arrive.
    pub fn expect_answer(&self) -> (u64, oneshot::Receiver<TwinAnswer>) {
        let request = self.next_request();
        let (sender, receiver) = oneshot::channel();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(request, sender);
        (request, receiver)
    }

    pub fn forget(&self, request: u64) -> Option<oneshot::Sender<TwinAnswer>> {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&request)
    }

    fn next_request(&self) -> u64 {
        self.request.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Asks the workload API whom to trust, and starts the task.
pub async fn open(environment: Environment) -> Result<Opened, Error> {
    let bundle = workload::trust_bundle(&environment).await?;
    let mut options =
        MqttOptions::new(environment.client_id(), (environment.gateway.clone(), PORT));
    options
        .set_transport(Transport::tls_with_config(trust(&bundle)?.into()))
        .set_keep_alive(KEEP_ALIVE_SECONDS)
        .set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET)
        // The hub keeps subscriptions and messages for a module that is away.
        .set_clean_session(false)
        .set_ack_mode(AckMode::Manual);
    let (mqtt, event_loop) = AsyncClient::builder(options)
        .capacity(REQUESTS_WAITING)
        .build();
    let (sender, events) = mpsc::channel(EVENTS_WAITING);
    let shared = Arc::new(Shared::default());
    let connection = Connection {
        environment,
        mqtt: mqtt.clone(),
        events: sender,
        shared: shared.clone(),
        desired: Desired::default(),
        desired_request: 0,
    };
    let task = tokio::spawn(connection.run(event_loop));
    Ok(Opened {
        mqtt,
        events,
        shared,
        task,
    })
}

/// TLS that trusts the authorities of the bundle and no others.
fn trust(bundle: &str) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| Error::TrustBundle(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| Error::TrustBundle(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| Error::TrustBundle(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why a connection ended.
enum Ended {
    Closed,
    Renewal,
    Lost(String),
}

struct Connection {
    environment: Environment,
    mqtt: AsyncClient,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    desired: Desired,
    /// The number of the latest request for the twin.
    desired_request: u64,
}

impl Connection {
    async fn run(mut self, mut event_loop: EventLoop) {
        let mut retry = FIRST_RETRY;
        loop {
            // Each connection has a token of its own, so a new token means a new connection.
            let ended = match workload::token(&self.environment, TOKEN_TIME_TO_LIVE).await {
                Ok(token) => {
                    event_loop
                        .mqtt_options
                        .set_credentials(self.environment.user_name(), token);
                    self.serve(&mut event_loop, &mut retry).await
                }
                Err(error) => Ended::Lost(error.to_string()),
            };
            event_loop.clean();
            match ended {
                Ended::Closed => return,
                Ended::Renewal => log::debug!("renewing the token"),
                Ended::Lost(reason) => {
                    log::warn!("not connected to the hub, trying again in {retry:?}: {reason}");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Serves one connection until it ends.
    async fn serve(&mut self, event_loop: &mut EventLoop, retry: &mut Duration) -> Ended {
        let renewal = Instant::now() + TOKEN_TIME_TO_LIVE - RENEW_BEFORE_EXPIRY;
        loop {
            let event = tokio::select! {
                event = event_loop.poll() => event,
                () = tokio::time::sleep_until(renewal) => return Ended::Renewal,
            };
            let handled = match event {
                Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => {
                    *retry = FIRST_RETRY;
                    self.on_connected()
                }
                Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => self.on_publish(publish),
                Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect))
                | Err(ConnectionError::RequestsDone) => {
                    return Ended::Closed;
                }
                Ok(_) => Ok(()),
                Err(error) => return Ended::Lost(error.to_string()),
            };
            if let Err(reason) = handled {
                return Ended::Lost(reason);
            }
        }
    }

    /// Subscribes, and asks for the desired properties, which may have changed in the meantime.
    fn on_connected(&mut self) -> Result<(), String> {
        log::info!("connected to the hub at {}", self.environment.gateway);
        self.shared.connection.fetch_add(1, Ordering::Release);
        let Environment { device, module, .. } = &self.environment;
        let inputs = format!("devices/{device}/modules/{module}/inputs/#");
        for filter in topic::SUBSCRIPTIONS.into_iter().chain([inputs.as_str()]) {
            self.mqtt
                .try_subscribe(filter, QoS::AtLeastOnce)
                .map_err(overflow)?;
        }
        self.ask_for_twin()
    }

    fn ask_for_twin(&mut self) -> Result<(), String> {
        self.desired_request = self.shared.next_request();
        let topic = format!("$iothub/twin/GET/?$rid={}", self.desired_request);
        self.mqtt
            .try_publish(topic, " ", PublishOptions::at_least_once())
            .map_err(overflow)
    }

    fn on_publish(&mut self, publish: Publish) -> Result<(), String> {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let body = publish.payload.to_vec();
        match topic::parse(&topic) {
            Some(Arrival::Input { input, bag }) => {
                let mut message = Message::from_bag(bag, body);
                let connection = self.shared.connection.load(Ordering::Acquire);
                message.receipt = Some(Receipt {
                    publish,
                    connection,
                });
                return self.hand_over(Event::Input { input, message });
            }
            Some(Arrival::Method { name, request }) => {
                let payload = serde_json::from_slice(&body).unwrap_or(Value::Null);
                self.hand_over(Event::Method(Method {
                    name,
                    payload,
                    request: request.to_owned(),
                }))?;
            }
            Some(Arrival::TwinAnswer { status, request }) => {
                self.on_twin_answer(status, request, &body)?
            }
            Some(Arrival::DesiredPatch) => match self.desired.patch(&body) {
                Change::None => {}
                Change::Made => self.hand_over(Event::Desired(self.desired.properties.clone()))?,
                Change::Missed => self.ask_for_twin()?,
            },
            None => log::warn!("nothing is known about the topic {topic}"),
        }
        self.mqtt.try_ack(&publish).map_err(overflow)
    }

    fn on_twin_answer(&mut self, status: u16, request: &str, body: &[u8]) -> Result<(), String> {
        let Ok(request) = request.parse::<u64>() else {
            return Ok(());
        };
        if request == self.desired_request {
            if status != 200 {
                return Err(format!(
                    "the hub answered a request for the twin with status {status}"
                ));
            }
            if self.desired.replace(body) {
                self.hand_over(Event::Desired(self.desired.properties.clone()))?;
            }
        } else if let Some(answer) = self.shared.forget(request) {
            // Whoever asked may have given up.
            let _ = answer.send((status, String::from_utf8_lossy(body).into_owned()));
        }
        Ok(())
    }

    fn hand_over(&self, event: Event) -> Result<(), String> {
        self.events.try_send(event).map_err(overflow)
    }
}

/// There is no room for another event or request.
fn overflow<E>(_: E) -> String {
    "the module does not keep up; the hub will deliver again".to_owned()
}
