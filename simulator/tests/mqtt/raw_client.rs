//! A client that says what it is told to, packet by packet, over a stream in memory.

use std::sync::Arc;

use bytes::Bytes;
use edgectl_hub::certificate::ClientCertificate;
use edgectl_hub::clock::SystemClock;
use edgectl_simulator::frontend::mqtt::connection::serve;
use edgectl_simulator::mqtt::packets::{PacketReader, PacketWriter};
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::Subscribe;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::memory_hub::MemoryHub;

pub const MODULE: &str = "edge/m";
pub const EVENTS: &str = "devices/edge/modules/m/messages/events/";
pub const TOKEN: &str = "SharedAccessSignature sr=r&sig=c2ln&se=4102444800";

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

/// CONNECT of a module with a token.
pub fn connect(client: &str, token: &str) -> Connect {
    Connect {
        protocol_level: 4,
        clean_session: false,
        keep_alive: 10,
        client_id: client.to_owned(),
        will: None,
        username: Some(format!("hub/{client}/?api-version=2021-04-12")),
        password: (!token.is_empty()).then(|| Bytes::copy_from_slice(token.as_bytes())),
    }
}

/// What all clients present in the handshake.
pub fn certificate() -> ClientCertificate {
    ClientCertificate {
        common_name: None,
        thumbprints: ["AA".repeat(20), "BB".repeat(32)],
        valid_from: 0,
        valid_until: u64::MAX,
        is_vouched_for: false,
        chain: edgectl_hub::certificate::Chain::default(),
    }
}

/// A publish of quality 1, or of quality 0 without a number.
pub fn publish(topic: &str, number: Option<u16>, payload: impl Into<Bytes>) -> Packet {
    let delivery = number.map_or(Delivery::AtMostOnce, |n| Delivery::AtLeastOnce { id: id(n), duplicate: false });
    Packet::Publish(Publish { topic: topic.to_owned(), payload: payload.into(), delivery, retain: false })
}

pub fn subscribe(number: u16, filter: &str) -> Packet {
    let filters = vec![(filter.to_owned(), QualityOfService::AtLeastOnce)];
    Packet::Subscribe(Subscribe { id: id(number), filters })
}

/// The client's end of a connection.
pub struct RawClient {
    reader: PacketReader<ReadHalf<DuplexStream>>,
    writer: PacketWriter<WriteHalf<DuplexStream>>,
}

impl RawClient {
    /// Opens a connection and says nothing.
    pub fn open(hub: &Arc<MemoryHub>) -> Self {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let hub = Arc::clone(hub);
        tokio::spawn(serve(far, Some(certificate()), hub, Arc::new(SystemClock), CancellationToken::new()));
        let (read, write) = tokio::io::split(near);
        Self { reader: PacketReader::new(read, 1024 * 1024), writer: PacketWriter::new(write) }
    }

    /// Opens a connection with a CONNECT; returns what it is answered.
    pub async fn connect(hub: &Arc<MemoryHub>, connect: Connect) -> (Self, Option<Packet>) {
        let mut client = Self::open(hub);
        client.send([Packet::Connect(Box::new(connect))]).await;
        let answer = client.next().await;
        (client, answer)
    }

    /// A module that is let in.
    pub async fn module(hub: &Arc<MemoryHub>) -> Self {
        let (client, answer) = Self::connect(hub, connect(MODULE, TOKEN)).await;
        assert!(matches!(answer, Some(Packet::ConnAck(ConnAck { code: ConnectReturnCode::Accepted, .. }))));
        client
    }

    /// Sends packets in one piece.
    pub async fn send(&mut self, packets: impl IntoIterator<Item = Packet>) {
        self.writer.put_all(packets);
        self.writer.flush().await.expect("the stream takes it");
    }

    /// The next packet; none when the hub has closed the connection.
    pub async fn next(&mut self) -> Option<Packet> {
        self.reader.next().await.expect("packets")
    }

    /// The next packet, which is a publish.
    pub async fn next_publish(&mut self) -> Publish {
        match self.next().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("not a publish: {other:?}"),
        }
    }
}
