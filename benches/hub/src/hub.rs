//! The edge hub as a process of its own, on one port, with TLS or without: the front end takes any stream of bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::SystemClock;
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubOptions};
use edgectl_hub::edge::scope::ScopeSource;
use edgectl_hub::family::Member;
use edgectl_hub::gateway::{Attachment, Client, ClientLink, Credential, Feature, Gateway, Refusal, SessionKind};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_simulator::frontend::mqtt::connection::serve;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How a hub runs.
pub struct Options {
    pub port: u16,
    pub tls: bool,
    pub sinks: usize,
    pub directory: PathBuf,
    pub durability: String,
}

/// Serves until the process is killed.
pub fn run(options: Options) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let edge = EdgeHubOptions {
            device: DeviceId::new("edge").unwrap(),
            hub_host: "hub".to_owned(),
            gateway_host: "127.0.0.1".to_owned(),
            directory: Some(options.directory),
            durability: options.durability.parse().unwrap(),
        };
        let cloud = Arc::new(Cloud { sinks: options.sinks });
        let hub = EdgeHub::start(edge, cloud.clone(), cloud, Arc::new(SystemClock)).await.unwrap();
        // A new hub has no routes until it has read its twin, and what comes before that has nowhere to go.
        while hub.status().routes.len() < options.sinks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let gateway: Arc<dyn Gateway> = Arc::new(Open(hub));
        let acceptor = options.tls.then(|| TlsAcceptor::from(crate::tls::server()));
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (gateway, acceptor) = (Arc::clone(&gateway), acceptor.clone());
            tokio::spawn(async move {
                let (clock, shutdown) = (Arc::new(SystemClock), CancellationToken::new());
                match acceptor {
                    None => serve(stream, Default::default(), gateway, clock, shutdown).await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        serve(stream, Default::default(), gateway, clock, shutdown).await;
                    }
                }
            });
        }
    });
}

/// The hub with a door that anyone may enter: connecting is not what is measured.
struct Open(Arc<EdgeHub>);

#[async_trait]
impl Gateway for Open {
    async fn authenticate(&self, identity: &Identity, _: &Credential) -> Result<Client, Refusal> {
        Ok(Client { identity: identity.clone(), expires_at: None })
    }
    async fn attach(
        &self,
        client: &Client,
        kind: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        self.0.attach(client, kind, link).await
    }
    async fn detach(&self, attachment: &Attachment) {
        self.0.detach(attachment).await;
    }
    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        self.0.send(client, messages).await
    }
    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        self.0.twin(client).await
    }
    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        Gateway::report(&*self.0, client, patch).await
    }
    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.0.subscribe(attachment, feature).await
    }
    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.0.unsubscribe(attachment, feature).await
    }
    async fn invoke(
        &self,
        caller: &Client,
        target: &Identity,
        request: MethodRequest,
    ) -> Result<MethodResponse, Refusal> {
        Gateway::invoke(&*self.0, caller, target, request).await
    }
}

/// A cloud hub that knows the routes and nothing else.
struct Cloud {
    sinks: usize,
}

#[async_trait]
impl Gateway for Cloud {
    async fn authenticate(&self, identity: &Identity, _: &Credential) -> Result<Client, Refusal> {
        Ok(Client { identity: identity.clone(), expires_at: None })
    }
    async fn attach(&self, client: &Client, _: SessionKind, link: Arc<dyn ClientLink>) -> Result<Attachment, Refusal> {
        // As after every connection: the twin is read.
        tokio::spawn(async move { link.reconnected().await });
        Ok(Attachment { client: client.clone(), number: 1, session_present: false, features: Vec::new() })
    }
    async fn detach(&self, _: &Attachment) {}
    async fn send(&self, _: &Client, _: Vec<Message>) -> Result<(), Refusal> {
        Ok(())
    }
    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        let routes: serde_json::Map<String, Value> = (0..self.sinks)
            .map(|sink| {
                let condition = "$body.machine.temperature > 80 AND $body.ambient.humidity <= 60";
                let text = format!(
                    "FROM /messages/modules/* WHERE {condition} INTO BrokeredEndpoint(\"/modules/sub{sink}/inputs/in\")"
                );
                (format!("to{sink}"), json!(text))
            })
            .collect();
        let desired = if client.identity.to_string() == "edge/$edgeHub" {
            json!({ "$version": 2, "schemaVersion": "1.1", "routes": routes,
                "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 } })
        } else {
            json!({ "$version": 1 })
        };
        Ok(json!({ "desired": desired, "reported": { "$version": 1 } }))
    }
    async fn report(&self, _: &Client, _: Value) -> Result<Option<u64>, Refusal> {
        Ok(Some(1))
    }
    async fn subscribe(&self, _: &Attachment, _: Feature) -> Result<(), Refusal> {
        Ok(())
    }
    async fn unsubscribe(&self, _: &Attachment, _: Feature) -> Result<(), Refusal> {
        Ok(())
    }
    async fn invoke(&self, _: &Client, target: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
        Err(Refusal::NotConnected(target.clone()))
    }
}

#[async_trait]
impl ScopeSource for Cloud {
    async fn identities(&self) -> Result<Vec<Member>, Refusal> {
        Ok(Vec::new())
    }
}
