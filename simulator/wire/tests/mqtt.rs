//! Packets as bytes: golden ones, and any.

use bytes::{Bytes, BytesMut};
use edgectl_wire::mqtt::codec::{decode, encode};
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode, Will};
use edgectl_wire::mqtt::error::MqttError;
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{SubAck, Subscribe, Unsubscribe};
use proptest::prelude::*;

const LIMIT: usize = 300_000;

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

fn one(bytes: &[u8]) -> Result<Option<Packet>, MqttError> {
    decode(&mut BytesMut::from(bytes), LIMIT)
}

/// Bytes taken down from the standard's own examples and from clients, with what they mean.
fn golden() -> Vec<(&'static [u8], Packet)> {
    let connect = Connect {
        protocol_level: 4,
        clean_session: false,
        keep_alive: 60,
        client_id: "edge1/mod1".into(),
        will: None,
        username: Some("u".into()),
        password: Some(Bytes::from_static(b"pw")),
    };
    let publish = |delivery, payload: &'static [u8]| {
        Packet::Publish(Publish { topic: "a/b".into(), payload: Bytes::from_static(payload), delivery, retain: false })
    };
    vec![
        (
            b"\x10\x1d\x00\x04MQTT\x04\xc0\x00\x3c\x00\x0aedge1/mod1\x00\x01u\x00\x02pw",
            Packet::Connect(Box::new(connect)),
        ),
        (b"\x20\x02\x01\x00", Packet::ConnAck(ConnAck { session_present: true, code: ConnectReturnCode::Accepted })),
        (
            b"\x20\x02\x00\x05",
            Packet::ConnAck(ConnAck { session_present: false, code: ConnectReturnCode::NotAuthorized }),
        ),
        (b"\x30\x05\x00\x03a/b", publish(Delivery::AtMostOnce, b"")),
        (b"\x32\x09\x00\x03a/b\x00\x0ahi", publish(Delivery::AtLeastOnce { id: id(10), duplicate: false }, b"hi")),
        (b"\x3a\x09\x00\x03a/b\x00\x0ahi", publish(Delivery::AtLeastOnce { id: id(10), duplicate: true }, b"hi")),
        (b"\x40\x02\x12\x34", Packet::PubAck(id(0x1234))),
        (
            b"\x82\x08\x00\x01\x00\x03a/#\x01",
            Packet::Subscribe(Subscribe { id: id(1), filters: vec![("a/#".into(), QualityOfService::AtLeastOnce)] }),
        ),
        (
            b"\x90\x04\x00\x01\x01\x80",
            Packet::SubAck(SubAck { id: id(1), granted: vec![Some(QualityOfService::AtLeastOnce), None] }),
        ),
        (b"\xa2\x07\x00\x02\x00\x03a/#", Packet::Unsubscribe(Unsubscribe { id: id(2), filters: vec!["a/#".into()] })),
        (b"\xb0\x02\x00\x02", Packet::UnsubAck(id(2))),
        (b"\xc0\x00", Packet::PingReq),
        (b"\xd0\x00", Packet::PingResp),
        (b"\xe0\x00", Packet::Disconnect),
    ]
}

#[test]
fn golden_bytes_mean_what_they_should_and_are_written_again() {
    for (bytes, packet) in golden() {
        assert_eq!(one(bytes), Ok(Some(packet.clone())), "{bytes:02x?}");
        let mut written = BytesMut::new();
        encode(&packet, &mut written).expect("a packet that can be written");
        assert_eq!(&written[..], bytes, "{packet:?}");
    }
}

#[test]
fn what_the_standard_forbids_is_refused() {
    let refused: Vec<(&[u8], MqttError)> = vec![
        (b"\x00\x00", MqttError::Header(0x00)),
        (b"\xf0\x00", MqttError::Header(0xf0)),
        (b"\x80\x00", MqttError::Header(0x80)),
        (b"\xc1\x00", MqttError::Header(0xc1)),
        (b"\x30\xff\xff\xff\xff\x01", MqttError::RemainingLength),
        (b"\x36\x05\x00\x03a/b", MqttError::QualityOfService),
        (b"\x38\x05\x00\x03a/b", MqttError::Header(0x38)),
        (b"\x30\x05\x00\x03a/#", MqttError::Topic),
        (b"\x30\x02\x00\x00", MqttError::Topic),
        (b"\x30\x03\x00\x01\x00", MqttError::Text),
        (b"\x30\x03\x00\x01\xff", MqttError::Text),
        (b"\x30\x04\x00\x09ab", MqttError::Length),
        (b"\x32\x07\x00\x03a/b\x00\x00", MqttError::PacketId),
        (b"\x40\x03\x00\x01\x00", MqttError::Length),
        (b"\x82\x02\x00\x01", MqttError::NoFilter),
        (b"\x82\x08\x00\x01\x00\x03a#b\x01", MqttError::Topic),
        (b"\x82\x08\x00\x01\x00\x03#/a\x01", MqttError::Topic),
        (b"\x82\x08\x00\x01\x00\x03a/#\x03", MqttError::QualityOfService),
        (b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x00\x00\x00", MqttError::ProtocolName),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", MqttError::ConnectFlags),
        (b"\x10\x0c\x00\x04MQTT\x04\x40\x00\x00\x00\x00", MqttError::ConnectFlags),
        (b"\x20\x02\x00\x09", MqttError::ReturnCode(9)),
    ];
    for (bytes, error) in refused {
        assert_eq!(one(bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn a_packet_over_the_limit_is_refused_before_it_is_there() {
    let mut start = BytesMut::from(&b"\x30\x80\x80\x80\x01"[..]);
    assert!(matches!(decode(&mut start, LIMIT), Err(MqttError::TooLarge { .. })));
}

#[test]
fn another_protocol_version_is_told_apart() {
    let Ok(Some(Packet::Connect(connect))) = one(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00") else {
        panic!("not a CONNECT")
    };
    assert_eq!(connect.protocol_level, 5);
}

#[test]
fn a_packet_that_cannot_be_written_leaves_nothing() {
    let mut written = BytesMut::new();
    encode(&Packet::PingReq, &mut written).expect("a packet that can be written");
    let topic = "a".repeat(65_536);
    let publish = Publish { topic, payload: Bytes::new(), delivery: Delivery::AtMostOnce, retain: false };
    assert!(matches!(encode(&Packet::Publish(publish), &mut written), Err(MqttError::TooLarge { .. })));
    assert_eq!(&written[..], b"\xc0\x00");
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::AtMostOnce),
        (1..u16::MAX, any::<bool>()).prop_map(|(n, duplicate)| Delivery::AtLeastOnce { id: id(n), duplicate }),
        (1..u16::MAX, any::<bool>()).prop_map(|(n, duplicate)| Delivery::ExactlyOnce { id: id(n), duplicate }),
    ]
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn quality() -> impl Strategy<Value = QualityOfService> {
    prop_oneof![
        Just(QualityOfService::AtMostOnce),
        Just(QualityOfService::AtLeastOnce),
        Just(QualityOfService::ExactlyOnce)
    ]
}

prop_compose! {
    fn connect()(
        clean_session: bool, keep_alive: u16, client_id in "[^\0]{0,20}",
        will in proptest::option::of(("[^\0]{0,8}", payload(), quality(), any::<bool>())),
        login in proptest::option::of(("[^\0]{0,20}", proptest::option::of(payload()))),
    ) -> Packet {
        let will = will.map(|(topic, message, quality, retain)| Will { topic, message, quality, retain });
        let (username, password) = login.map_or((None, None), |(username, password)| (Some(username), password));
        Packet::Connect(Box::new(Connect { protocol_level: 4, clean_session, keep_alive, client_id, will, username, password }))
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        connect(),
        ("[^\0+#]{1,40}", payload(), delivery(), any::<bool>()).prop_map(|(topic, payload, delivery, retain)| {
            Packet::Publish(Publish { topic, payload, delivery, retain })
        }),
        (1..u16::MAX).prop_map(|n| Packet::PubAck(id(n))),
        (1..u16::MAX).prop_map(|n| Packet::PubRec(id(n))),
        (1..u16::MAX).prop_map(|n| Packet::PubRel(id(n))),
        (1..u16::MAX).prop_map(|n| Packet::PubComp(id(n))),
        (1..u16::MAX).prop_map(|n| Packet::UnsubAck(id(n))),
        (1..u16::MAX, proptest::collection::vec(("[a-z/]{1,10}(/#)?", quality()), 1..5))
            .prop_map(|(n, filters)| Packet::Subscribe(Subscribe { id: id(n), filters })),
        (1..u16::MAX, proptest::collection::vec("[a-z/]{1,10}", 1..5))
            .prop_map(|(n, filters)| Packet::Unsubscribe(Unsubscribe { id: id(n), filters })),
        (1..u16::MAX, proptest::collection::vec(proptest::option::of(quality()), 0..5))
            .prop_map(|(n, granted)| Packet::SubAck(SubAck { id: id(n), granted })),
    ]
}

proptest! {
    #[test]
    fn packets_are_read_as_written_however_the_bytes_come(packets in proptest::collection::vec(packet(), 1..5), step in 1..50usize) {
        let mut written = BytesMut::new();
        for packet in &packets {
            encode(packet, &mut written).expect("a packet that can be written");
        }
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for part in written.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(packet) = decode(&mut buffer, LIMIT).expect("well-formed") {
                read.push(packet);
            }
        }
        prop_assert_eq!(read, packets);
    }

    #[test]
    fn damaged_packets_are_refused_or_mean_what_they_say(
        packet in packet(), damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = BytesMut::new();
        encode(&packet, &mut bytes).expect("a packet that can be written");
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(Some(read)) = decode(&mut bytes, LIMIT) {
            // Another version of the protocol is read no further than its number.
            let whole = !matches!(&read, Packet::Connect(connect) if connect.protocol_level != 4);
            let mut written = BytesMut::new();
            encode(&read, &mut written).expect("a packet that was read");
            if whole {
                prop_assert_eq!(decode(&mut written, LIMIT), Ok(Some(read)));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode(&mut buffer, LIMIT) {}
    }
}
