//! MQTT over loopback TLS: the front end before a cloud hub, spoken to by our own client and in bare packets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_hub::cloud::registry::Wanted;
use edgectl_hub::cloud::twins::Change;
use edgectl_hub::gateway::{ClientLink as _, Feature, Settlement};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message, system};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{SharedKey, encoded_audience, make_token};
use edgectl_simulator::authority::Authority;
use edgectl_simulator::client::device_client::{ClientEvent, ClientOptions, DeviceClient, OnRefusal, SessionKind};
use edgectl_simulator::client::token::KeyTokens;
use edgectl_simulator::frontend::mqtt::connection;
use edgectl_simulator::frontend::mqtt::link::MqttLink;
use edgectl_simulator::frontend::mqtt::outbox::Outbox;
use edgectl_simulator::link::Link;
use edgectl_simulator::mqtt::packets::{PacketReader, PacketWriter};
use edgectl_simulator::mqtt::{topic, username};
use edgectl_simulator::tls::ServerTls;
use edgectl_simulator::{listen, tls};
use edgectl_wire::mqtt::codec::decode;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::Subscribe;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const HOST: &str = "hub.example";
const PATIENCE: Duration = Duration::from_mins(1);
const ID: PacketId = PacketId::MIN;

/// A cloud hub with a listener, the device `d1` and its module `d1/m1`.
struct Served {
    hub: Arc<CloudHub>,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    shutdown: CancellationToken,
    _directory: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn id(text: &str) -> Identity {
    Identity::parse(text).expect("an identity")
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it happens")
}

impl Served {
    /// The messages that came; what the hub tells itself is none.
    fn events(&self) -> Vec<ReceivedEvent> {
        let mut events = self.hub.events().read(0, 100).expect("events");
        events.retain(|event| event.source.is_none());
        events
    }

    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let options = CloudHubOptions {
            host: HOST.to_owned(),
            directory: directory.path().to_owned(),
            owner_key: SharedKey::from_bytes(*b"owner"),
        };
        let hub = CloudHub::open(options, Arc::new(SystemClock)).expect("a hub");
        for identity in ["d1", "d1/m1", "d2"] {
            hub.put_identity(&id(identity), Wanted::default(), None).expect("an identity");
        }
        let now = jiff::Timestamp::now();
        let authority = Authority::open(&directory.path().join("authority"), &id("d1").device, now).expect("roots");
        let authority = Arc::new(authority);
        let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let gateway = Arc::clone(&hub);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let server = ServerTls::new(&authority, &["127.0.0.1"], &clock).expect("a configuration");
        tokio::spawn(listen::accept(listener, server, shutdown.clone(), move |stream, certificate, shutdown| {
            connection::serve(stream, certificate, Arc::clone(&gateway) as _, Arc::new(SystemClock), shutdown)
        }));
        let tls = tls::client_config(authority.trust_bundle()).expect("a configuration");
        Self { hub, address, tls, shutdown, _directory: directory }
    }

    fn key(&self, identity: &str) -> SharedKey {
        self.hub.registry().require(&id(identity)).expect("it is registered").record.keys().remove(0)
    }

    fn token(&self, signer: &str, identity: &str, expires_at: u64) -> String {
        make_token(&self.key(signer), &encoded_audience(HOST, &id(identity)), expires_at, None)
    }

    fn server_name() -> ServerName<'static> {
        ServerName::try_from("127.0.0.1").expect("a name")
    }

    /// Our own client, connected.
    async fn client(&self, identity: &str) -> (DeviceClient, Receiver<ClientEvent>) {
        let (client, events) = DeviceClient::start(ClientOptions {
            link: Link::default(),
            hub_host: HOST.to_owned(),
            address: self.address,
            server_name: Self::server_name(),
            identity: id(identity),
            tls: Arc::clone(&self.tls),
            tokens: Arc::new(KeyTokens::new(HOST, &id(identity), self.key(identity))),
            product: "test".to_owned(),
            auth_chain: None,
            keep_alive: Duration::from_mins(1),
            session: SessionKind::Persistent,
            refusal: OnRefusal::End,
        });
        soon(client.wait_connected()).await.expect("it may connect");
        (client, events)
    }

    async fn bare(&self) -> Bare {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(Self::server_name(), stream).await.expect("TLS");
        let (read, write) = split(stream);
        Bare { reader: PacketReader::new(read, 1_000_000), writer: PacketWriter::new(write) }
    }

    /// A bare connection with CONNECT sent, and the answer to it.
    async fn connect(&self, client_id: &str, identity: &str, token: String) -> (Bare, ConnAck) {
        let mut bare = self.bare().await;
        bare.put(Packet::Connect(Box::new(Connect {
            protocol_level: PROTOCOL_LEVEL,
            clean_session: false,
            keep_alive: 60,
            client_id: client_id.to_owned(),
            will: None,
            username: Some(username::format(HOST, &id(identity), "test", None)),
            password: Some(token.into()),
        })))
        .await;
        match bare.next().await {
            Some(Packet::ConnAck(answer)) => (bare, answer),
            other => panic!("no answer but {other:?}"),
        }
    }

    /// A bare connection that was let in.
    async fn connected(&self, identity: &str) -> (Bare, bool) {
        let token = self.token(identity, identity, SystemClock.now_seconds() + 600);
        let (bare, answer) = self.connect(identity, identity, token).await;
        assert_eq!(answer.code, ConnectReturnCode::Accepted);
        (bare, answer.session_present)
    }

    /// A client still connects and sends: nobody else was harmed.
    async fn is_well(&self) {
        let (client, _events) = self.client("d2").await;
        soon(client.send(Message::new("well"))).await.expect("it is taken");
        client.close().await;
    }
}

/// A connection in packets.
struct Bare {
    reader: PacketReader<ReadHalf<TlsStream<TcpStream>>>,
    writer: PacketWriter<WriteHalf<TlsStream<TcpStream>>>,
}

impl Bare {
    async fn put(&mut self, packet: Packet) {
        self.writer.put(&packet);
        soon(self.writer.flush()).await.expect("it is written");
    }

    async fn next(&mut self) -> Option<Packet> {
        soon(self.reader.next()).await.unwrap_or(None)
    }

    async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>) {
        let delivery = Delivery::AtLeastOnce { id: ID, duplicate: false };
        let publish = Publish { topic: topic.to_owned(), payload: payload.into(), delivery, retain: false };
        self.put(Packet::Publish(publish)).await;
    }

    async fn subscribe(&mut self, filter: &str) {
        let filters = vec![(filter.to_owned(), QualityOfService::AtLeastOnce)];
        self.put(Packet::Subscribe(Subscribe { id: ID, filters })).await;
        assert!(matches!(self.next().await, Some(Packet::SubAck(_))));
    }

    async fn published(&mut self) -> Publish {
        match self.next().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("no message but {other:?}"),
        }
    }
}

async fn event<T>(events: &mut Receiver<ClientEvent>, wanted: impl Fn(ClientEvent) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(soon(events.recv()).await.expect("the client runs")) {
            return found;
        }
    }
}

fn call() -> MethodRequest {
    MethodRequest {
        name: "poke".to_owned(),
        payload: Bytes::from_static(b"{\"a\":1}"),
        response_timeout: PATIENCE,
        connect_timeout: PATIENCE,
    }
}

#[tokio::test]
async fn who_may_not_is_refused_with_code_5() {
    let served = Served::start().await;
    let later = SystemClock.now_seconds() + 600;
    let right = served.token("d1/m1", "d1/m1", later);
    let refused = [
        ("d1/m1", "d1/m1", served.token("d2", "d1/m1", later)),
        ("d1/m1", "d1/m1", served.token("d1/m1", "d1/m1", 1_600_000_000)),
        ("d1/m1", "d1/m1", served.token("d1/m1", "d2", later)),
        ("d1/m1", "d1/m1", String::new()),
        ("d1/m2", "d1/m2", right.clone()),
        ("d1", "d1/m1", right.clone()),
    ];
    for (client_id, identity, token) in refused {
        let (mut bare, answer) = served.connect(client_id, identity, token.clone()).await;
        assert_eq!(answer.code, ConnectReturnCode::NotAuthorized, "{client_id} as {identity} with {token}");
        assert_eq!(bare.next().await, None);
    }
    let (_bare, answer) = served.connect("d1/m1", "d1/m1", right).await;
    assert_eq!(answer, ConnAck { session_present: false, code: ConnectReturnCode::Accepted });
}

#[tokio::test]
async fn telemetry_is_kept_before_it_is_acknowledged() {
    let served = Served::start().await;
    let (client, _events) = served.client("d1/m1").await;
    let mut message = Message::new(r#"{"t":1}"#);
    message.properties.set("a b", "ü&=".to_owned());
    message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
    message.system.set(system::OUTPUT_NAME, "out".to_owned());
    soon(client.send(message)).await.unwrap();
    let events = served.events();
    assert_eq!((events[0].device_id.as_str(), events[0].module_id.as_deref()), ("d1", Some("m1")));
    assert_eq!((&events[0].body, &events[0].properties["a b"]), (&Some(json!({ "t": 1 })), &json!("ü&=")));
    assert_eq!(events[0].system_properties[system::OUTPUT_NAME], "out");
}

#[tokio::test]
async fn a_twin_is_read_reported_and_changed() {
    let served = Served::start().await;
    let (client, mut events) = served.client("d1/m1").await;
    soon(client.subscribe(Feature::DesiredProperties)).await.unwrap();
    assert_eq!(soon(client.report(json!({ "r": 1 }))).await.unwrap(), Some(2));
    assert!(soon(client.report(json!({ "a.b": 1 }))).await.is_err());
    let change = Change { desired: Some(json!({ "d": 1 })), ..Change::default() };
    served.hub.change_twin(&id("d1/m1"), &change, None).unwrap();
    let told = event(&mut events, |event| match event {
        ClientEvent::Desired(patch) => Some(patch),
        _ => None,
    });
    assert_eq!(told.await, json!({ "d": 1, "$version": 2 }));
    let twin = soon(client.twin()).await.unwrap();
    assert_eq!(twin, json!({ "desired": { "d": 1, "$version": 2 }, "reported": { "r": 1, "$version": 2 } }));
}

#[tokio::test]
async fn a_method_goes_there_and_back() {
    let served = Served::start().await;
    let (client, mut events) = served.client("d1/m1").await;
    soon(client.subscribe(Feature::Methods)).await.unwrap();
    let target = id("d1/m1");
    let (answer, ()) = tokio::join!(soon(served.hub.call(&target, call())), async {
        let (request, respond) = event(&mut events, |event| match event {
            ClientEvent::Method { request, respond } => Some((request, respond)),
            _ => None,
        })
        .await;
        assert_eq!((request.name.as_str(), &request.payload[..]), ("poke", &b"{\"a\":1}"[..]));
        respond.send(MethodResponse { status: 207, payload: Bytes::from_static(b"7") }).unwrap();
    });
    assert_eq!(answer, Ok(MethodResponse { status: 207, payload: Bytes::from_static(b"7") }));
}

#[tokio::test]
async fn a_persistent_session_is_there_again_with_its_subscriptions() {
    let served = Served::start().await;
    let (mut bare, present) = served.connected("d1/m1").await;
    assert!(!present);
    bare.subscribe("$iothub/methods/POST/#").await;
    bare.put(Packet::Disconnect).await;
    assert_eq!(bare.next().await, None);
    let (mut bare, present) = served.connected("d1/m1").await;
    assert!(present);
    let target = id("d1/m1");
    let (answer, ()) = tokio::join!(soon(served.hub.call(&target, call())), async {
        let asked = bare.published().await;
        let request_id = asked.topic.strip_prefix("$iothub/methods/POST/poke/?$rid=").unwrap().to_owned();
        bare.publish(&topic::method_response(200, &request_id), "null").await;
    });
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_second_connection_closes_the_first() {
    let served = Served::start().await;
    let (mut first, _) = served.connected("d1/m1").await;
    let (mut second, _) = served.connected("d1/m1").await;
    assert_eq!(first.next().await, None);
    second.put(Packet::PingReq).await;
    assert_eq!(second.next().await, Some(Packet::PingResp));
}

#[tokio::test]
async fn what_a_client_may_not_send_ends_its_connection_alone() {
    let served = Served::start().await;
    let large = vec![b'x'; MAX_MESSAGE_BYTES + 1];
    let forbidden: [(&str, Vec<u8>); 5] = [
        ("devices/d2/messages/events/", b"x".to_vec()),
        ("devices/d1/messages/events/", b"x".to_vec()),
        ("$iothub/nonsense", b"x".to_vec()),
        ("devices/d1/modules/m1/messages/events/", large),
        ("devices/d1/modules/m1/messages/events/", vec![b'x'; 400_000]),
    ];
    for (topic, payload) in forbidden {
        let (mut bare, _) = served.connected("d1/m1").await;
        let delivery = Delivery::AtLeastOnce { id: ID, duplicate: false };
        let publish = Publish { topic: topic.to_owned(), payload: payload.into(), delivery, retain: false };
        bare.writer.put(&Packet::Publish(publish));
        // The hub may break off before it has read all.
        let _ = soon(bare.writer.flush()).await;
        assert_eq!(bare.next().await, None, "{topic}");
    }
    assert_eq!(served.events(), []);
    served.is_well().await;
}

#[tokio::test]
async fn twin_answers_come_without_a_subscription() {
    let served = Served::start().await;
    let (mut bare, _) = served.connected("d1/m1").await;
    bare.publish(&topic::get_twin("7"), "").await;
    assert_eq!(bare.next().await, Some(Packet::PubAck(ID)));
    let answer = bare.published().await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=7");
    let twin: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(twin["desired"], json!({ "$version": 1 }));
    bare.publish(&topic::report("8"), "no JSON").await;
    assert_eq!(bare.next().await, Some(Packet::PubAck(ID)));
    let answer = bare.published().await;
    assert_eq!(answer.topic, "$iothub/twin/res/400/?$rid=8");
    assert_eq!(serde_json::from_slice::<Value>(&answer.payload).unwrap()["errorCode"], 400);
}

#[tokio::test]
async fn a_redelivery_says_that_it_is_one() {
    let outbox = Arc::new(Outbox::default());
    let link = MqttLink::new(id("d1/m1"), Arc::clone(&outbox), CancellationToken::new());
    for redelivered in [false, true] {
        let delivery = edgectl_hub::gateway::Delivery {
            destination: edgectl_hub::gateway::Destination::Input("in1".into()),
            message: Arc::new(Message::new("x")),
            redelivered,
        };
        let (settled, ()) = tokio::join!(soon(link.deliver_one(delivery)), async {
            soon(outbox.filled()).await;
            let Ok(Some(Packet::Publish(publish))) = decode(&mut outbox.take(), 1000) else { panic!("no message") };
            let Delivery::AtLeastOnce { id, duplicate } = publish.delivery else { panic!("no acknowledgement") };
            assert_eq!((publish.topic.as_str(), duplicate), ("devices/d1/modules/m1/inputs/in1/", redelivered));
            link.settled(id, Settlement::Complete);
        });
        assert_eq!(settled, Ok(Settlement::Complete));
    }
}

#[tokio::test]
async fn garbage_ends_a_connection_and_harms_nobody() {
    let served = Served::start().await;
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(plain.read_to_end(&mut rest)).await;
    for garbage in [&[0u8; 64][..], &[0xff; 64], &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff], &[b'G'; 128]] {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&served.tls));
        let mut stream = connector.connect(Served::server_name(), stream).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    let (mut bare, _) = served.connected("d1/m1").await;
    bare.put(Packet::PubAck(ID)).await;
    bare.put(Packet::ConnAck(ConnAck { session_present: false, code: ConnectReturnCode::Accepted })).await;
    assert_eq!(bare.next().await, None);
    served.is_well().await;
}

#[tokio::test]
async fn an_identity_that_is_removed_is_disconnected() {
    let served = Served::start().await;
    let (mut bare, _) = served.connected("d1/m1").await;
    served.hub.remove_identity(&id("d1/m1"), None).unwrap();
    assert_eq!(bare.next().await, None);
}

#[tokio::test]
async fn a_message_to_a_device_comes_again_marked_until_it_is_acknowledged() {
    let served = Served::start().await;
    let (mut first, _) = served.connected("d1").await;
    first.subscribe("devices/d1/messages/devicebound/#").await;
    let mut message = Message::new("go");
    message.properties.set("a b", "c&d".to_owned());
    served.hub.send_to_device(&id("d1").device, message).unwrap();
    let publish = first.published().await;
    let bag = publish.topic.strip_prefix("devices/d1/messages/devicebound/").unwrap();
    assert!(bag.starts_with("a%20b=c%26d&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound"), "{bag}");
    assert!(matches!(publish.delivery, Delivery::AtLeastOnce { duplicate: false, .. }));
    assert_eq!(&publish.payload[..], b"go");

    // Another connection of the device takes over: it has the session, and what was not acknowledged.
    let (mut second, session_present) = served.connected("d1").await;
    assert!(session_present);
    let publish = second.published().await;
    let Delivery::AtLeastOnce { id: number, duplicate: true } = publish.delivery else { panic!("{publish:?}") };
    assert_eq!(served.hub.messages().count(&id("d1").device), 1);
    second.put(Packet::PubAck(number)).await;
    served.hub.send_to_device(&id("d1").device, Message::new("next")).unwrap();
    let next = second.published().await;
    assert_eq!((&next.payload[..], served.hub.messages().count(&id("d1").device)), (&b"next"[..], 1));
}
