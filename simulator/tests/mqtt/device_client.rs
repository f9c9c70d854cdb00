//! Our own client against the front end, over TLS on the loopback address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{CloseReason, Credential, Delivery, Destination, Feature, Refusal, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use edgectl_simulator::client::device_client::{
    ClientError, ClientEvent, ClientOptions, DeviceClient, IncomingDelivery, OnRefusal, SessionKind, Status,
};
use edgectl_simulator::client::token::{Token, TokenError, TokenSource};
use edgectl_simulator::link::Link;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::memory_hub::MemoryHub;
use crate::raw_client::MODULE;
use crate::secure::Listening;

/// Tokens that end so many seconds from now.
struct Tokens(u64);

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self, now: u64) -> Result<Token, TokenError> {
        let expires_at = now + self.0;
        Ok(Token { text: format!("SharedAccessSignature sr=r&sig=c2ln&se={expires_at}"), expires_at })
    }
}

fn options(listening: &Listening, token_seconds: u64) -> ClientOptions {
    ClientOptions {
        link: Link::default(),
        hub_host: "hub".to_owned(),
        address: listening.address,
        server_name: ServerName::try_from("127.0.0.1").expect("a name"),
        identity: Identity::parse(MODULE).expect("an identity"),
        tls: Arc::clone(&listening.tls),
        tokens: Arc::new(Tokens(token_seconds)),
        product: "test".to_owned(),
        auth_chain: None,
        keep_alive: Duration::from_mins(1),
        session: SessionKind::Persistent,
        refusal: OnRefusal::End,
    }
}

/// The events of a client, without those that say how its connection is.
struct Events(mpsc::Receiver<ClientEvent>);

impl Events {
    async fn next(&mut self) -> ClientEvent {
        loop {
            match self.0.recv().await.expect("an event") {
                ClientEvent::Connected { .. } | ClientEvent::Disconnected { .. } => {}
                event => return event,
            }
        }
    }

    async fn connected(&mut self) -> bool {
        loop {
            if let ClientEvent::Connected { session_present } = self.0.recv().await.expect("an event") {
                return session_present;
            }
        }
    }

    async fn delivery(&mut self) -> IncomingDelivery {
        match self.next().await {
            ClientEvent::Delivery(delivery) => delivery,
            other => panic!("not a delivery: {other:?}"),
        }
    }
}

async fn connected() -> (Arc<MemoryHub>, Listening, DeviceClient, Events) {
    let hub = MemoryHub::new();
    let listening = Listening::mqtt(&hub).await;
    let (client, events) = DeviceClient::start(options(&listening, 3600));
    client.wait_connected().await.expect("a connection");
    (hub, listening, client, Events(events))
}

fn input(body: &'static str) -> Delivery {
    let destination = Destination::Input("in1".into());
    Delivery { destination, message: Arc::new(Message::new(body)), redelivered: false }
}

#[tokio::test]
async fn messages_arrive_with_their_properties_in_order() {
    let (hub, _listening, client, _events) = connected().await;
    let mut message = Message::new("first");
    message.system.set(system::OUTPUT_NAME, "out".to_owned());
    message.properties.set("k", "a&b=c".to_owned());
    let mut underway = vec![client.enqueue(message.clone()).await.unwrap()];
    for number in 0..500 {
        underway.push(client.enqueue(Message::new(number.to_string())).await.unwrap());
    }
    for acknowledgement in underway {
        acknowledgement.wait().await.unwrap();
    }
    let bodies = hub.bodies();
    assert_eq!(bodies[1..], (0..500).map(|number: u16| number.to_string()).collect::<Vec<_>>());
    assert_eq!(hub.read(|state| state.messages[0].clone()), message);

    let mut endless = Message::new("x");
    endless.properties.set("k", "%".repeat(40_000));
    assert!(matches!(client.send(endless).await, Err(ClientError::Refused { status: 400, .. })));
}

#[tokio::test]
async fn twins_are_read_and_reported() {
    let (hub, _listening, client, _events) = connected().await;
    assert_eq!(client.twin().await.unwrap()["desired"]["a"], 1);
    assert_eq!(client.report(json!({ "a": 1 })).await.unwrap(), None);
    hub.set(|state| state.version = Some(7));
    assert_eq!(client.report(json!({ "a": 2 })).await.unwrap(), Some(7));
    let refused = client.report(json!([])).await.unwrap_err();
    assert_eq!(refused, ClientError::Refused { status: 400, message: "reported properties are an object".to_owned() });
}

#[tokio::test]
async fn inputs_methods_and_desired_properties_come_as_events() {
    let (hub, _listening, client, mut events) = connected().await;
    for feature in [Feature::Inputs, Feature::Methods, Feature::DesiredProperties] {
        client.subscribe(feature).await.unwrap();
    }
    let link = hub.link(MODULE, Feature::DesiredProperties).await;

    link.desired_changed(json!({ "a": 2, "$version": 3 })).await.unwrap();
    assert!(matches!(events.next().await, ClientEvent::Desired(Value::Object(patch)) if patch["$version"] == 3));

    let delivering = tokio::spawn({
        let link = Arc::clone(&link);
        async move { link.deliver_one(input("hello")).await }
    });
    let delivery = events.delivery().await;
    assert_eq!((&delivery.destination, &delivery.message.body[..]), (&input("").destination, &b"hello"[..]));
    delivery.settle(Settlement::Complete);
    assert_eq!(delivering.await.unwrap(), Ok(Settlement::Complete));

    let calling = tokio::spawn(async move {
        let timeout = Duration::from_secs(30);
        let payload = Bytes::from_static(b"[1]");
        link.invoke(MethodRequest {
            name: "m".to_owned(),
            payload,
            response_timeout: timeout,
            connect_timeout: timeout,
        })
        .await
    });
    let ClientEvent::Method { request, respond } = events.next().await else { panic!("not a method") };
    assert_eq!((request.name.as_str(), &request.payload[..]), ("m", &b"[1]"[..]));
    let response = MethodResponse { status: 201, payload: Bytes::from_static(b"{}") };
    respond.send(response.clone()).unwrap();
    assert_eq!(calling.await.unwrap(), Ok(response));

    client.unsubscribe(Feature::Inputs).await.unwrap();
    let features = hub.read(|state| state.features.values().next().cloned().unwrap_or_default());
    assert!(!features.contains(&Feature::Inputs));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_over_the_next_connection() {
    let (hub, _listening, client, mut events) = connected().await;
    client.subscribe(Feature::Inputs).await.unwrap();
    hub.set(|state| state.holds_messages = true);
    let sending = client.enqueue(Message::new("a")).await.unwrap();
    hub.link(MODULE, Feature::Inputs).await.close(CloseReason::Unauthorized);
    assert!(!events.connected().await, "the first connection");
    assert!(events.connected().await, "the session is continued");
    hub.set(|state| state.holds_messages = false);
    sending.wait().await.unwrap();
    assert!(hub.bodies().contains(&"a".to_owned()));

    // The session goes on: nothing has to be subscribed again for messages to come.
    let link = hub.link(MODULE, Feature::Inputs).await;
    let delivering = tokio::spawn(async move { link.deliver_one(input("b")).await });
    events.delivery().await.settle(Settlement::Complete);
    assert_eq!(delivering.await.unwrap(), Ok(Settlement::Complete));
}

#[tokio::test]
async fn a_hub_that_forgot_the_session_is_told_again() {
    let (hub, _listening, client, mut events) = connected().await;
    client.subscribe(Feature::Methods).await.unwrap();
    let link = hub.link(MODULE, Feature::Methods).await;
    hub.set(|state| state.features.clear());
    link.close(CloseReason::ShuttingDown);
    events.connected().await;
    assert!(!events.connected().await);
    hub.link(MODULE, Feature::Methods).await;
}

#[tokio::test]
async fn refusals_are_final_and_told() {
    let hub = MemoryHub::new();
    hub.set(|state| state.refusal = Some(Refusal::Unauthorized("no".to_owned())));
    let listening = Listening::mqtt(&hub).await;
    let (client, mut events) = DeviceClient::start(options(&listening, 3600));
    assert!(matches!(client.wait_connected().await, Err(ClientError::Refused { status: 401, .. })));
    assert!(matches!(events.recv().await, Some(ClientEvent::Unauthorized { .. })));
    assert!(events.recv().await.is_none());
    assert!(matches!(client.status(), Status::Unauthorized(_)));
    assert_eq!(client.send(Message::new("x")).await, Err(ClientError::Closed));
    assert_eq!(hub.read(|state| state.credentials.len()), 1);
}

#[tokio::test]
async fn tokens_are_renewed_over_a_new_connection() {
    let hub = MemoryHub::new();
    let listening = Listening::mqtt(&hub).await;
    let (client, events) = DeviceClient::start(options(&listening, 1));
    let mut events = Events(events);
    client.subscribe(Feature::Methods).await.unwrap();
    events.connected().await;
    assert!(events.connected().await);
    client.send(Message::new("after")).await.unwrap();
    let tokens = hub.read(|state| state.credentials.clone());
    assert!(matches!(&tokens[..2], [Credential::Token(one), Credential::Token(other)] if one != other), "{tokens:?}");
}

#[tokio::test]
async fn a_client_is_closed_in_order_and_also_while_it_connects() {
    let (hub, listening, client, _events) = connected().await;
    client.send(Message::new("a")).await.unwrap();
    client.close().await;
    hub.until(|state| state.detached == 1).await;
    assert_eq!(client.twin().await, Err(ClientError::Closed));

    // A listener that never answers.
    let silent = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let silent_options = ClientOptions { address: silent.local_addr().unwrap(), ..options(&listening, 3600) };
    let (client, _events) = DeviceClient::start(silent_options);
    let (_stream, _) = silent.accept().await.unwrap();
    client.close().await;
    assert_eq!(client.send(Message::new("b")).await, Err(ClientError::Closed));
}
