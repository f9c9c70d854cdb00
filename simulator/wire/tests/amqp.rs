//! Frames and messages as bytes: golden ones, and any.

use bytes::{Bytes, BytesMut};
use edgectl_wire::amqp::attach::{Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode};
use edgectl_wire::amqp::condition::{ErrorCondition, NOT_FOUND};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::error::AmqpError;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader, decode, encode};
use edgectl_wire::amqp::message::{AnnotatedMessage, Body, Header};
use edgectl_wire::amqp::open::{Close, Open};
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::properties::{MessageId, Properties};
use edgectl_wire::amqp::reader::Reader;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::session::{Begin, End, Flow};
use edgectl_wire::amqp::terminus::{Source, Target, Terminus};
use edgectl_wire::amqp::transfer::{Disposition, Transfer};
use edgectl_wire::amqp::value::{Array, Described, Map, Symbol, Value};
use edgectl_wire::amqp::writer::put_value;
use proptest::prelude::*;

const LIMIT: usize = 65_536;

fn one(bytes: &[u8]) -> Result<Option<Frame>, AmqpError> {
    decode(&mut BytesMut::from(bytes), LIMIT)
}

fn written(frame: &Frame) -> BytesMut {
    let mut buffer = BytesMut::new();
    encode(frame, &mut buffer);
    buffer
}

fn value(bytes: &'static [u8]) -> Result<Value, AmqpError> {
    let mut reader = Reader::new(Bytes::from_static(bytes));
    let value = reader.value()?;
    assert!(reader.is_empty(), "{bytes:02x?}");
    Ok(value)
}

fn array(values: Vec<Value>) -> Value {
    Value::Array(Array::new(values).expect("one type"))
}

/// Every way of writing a value, and what it is; the last way of a value is our own.
#[test]
fn values_of_every_type_are_read() {
    let cases: Vec<(&'static [u8], Value)> = vec![
        (b"\x40", Value::Null),
        (b"\x56\x01", Value::Boolean(true)),
        (b"\x41", Value::Boolean(true)),
        (b"\x42", Value::Boolean(false)),
        (b"\x50\xff", Value::Ubyte(255)),
        (b"\x60\x01\x02", Value::Ushort(258)),
        (b"\x70\x00\x00\x00\x00", Value::Uint(0)),
        (b"\x43", Value::Uint(0)),
        (b"\x52\x07", Value::Uint(7)),
        (b"\x70\x00\x01\x00\x00", Value::Uint(65_536)),
        (b"\x44", Value::Ulong(0)),
        (b"\x53\x10", Value::Ulong(16)),
        (b"\x80\x00\x00\x00\x00\x00\x00\x01\x00", Value::Ulong(256)),
        (b"\x51\xff", Value::Byte(-1)),
        (b"\x61\xff\xfe", Value::Short(-2)),
        (b"\x54\xff", Value::Int(-1)),
        (b"\x71\x00\x00\x00\xc8", Value::Int(200)),
        (b"\x55\x80", Value::Long(-128)),
        (b"\x81\x00\x00\x00\x00\x00\x00\x00\x80", Value::Long(128)),
        (b"\x72\x3f\x80\x00\x00", Value::Float(1.0)),
        (b"\x82\x3f\xf0\x00\x00\x00\x00\x00\x00", Value::Double(1.0)),
        (b"\x73\x00\x01\xf6\x00", Value::Char('\u{1f600}')),
        (b"\x83\x00\x00\x00\x00\x00\x00\x03\xe8", Value::Timestamp(1000)),
        (b"\x98\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", {
            Value::Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        }),
        (b"\xb0\x00\x00\x00\x01a", Value::Binary(Bytes::from_static(b"a"))),
        (b"\xa0\x01a", Value::Binary(Bytes::from_static(b"a"))),
        (b"\xb1\x00\x00\x00\x02\xc3\xa9", Value::from("é")),
        (b"\xa1\x02\xc3\xa9", Value::from("é")),
        (b"\xa3\x04amqp", Value::Symbol(Symbol::new("amqp"))),
        (b"\x45", Value::List(Vec::new())),
        (b"\xc0\x03\x02\x41\x40", Value::List(vec![Value::Boolean(true), Value::Null])),
        (b"\xd0\x00\x00\x00\x06\x00\x00\x00\x02\x41\x40", Value::List(vec![Value::Boolean(true), Value::Null])),
        (b"\xc1\x04\x02\xa1\x00\x41", Value::Map(Map(vec![("".into(), Value::Boolean(true))]))),
        (b"\xe0\x04\x02\x50\x01\x02", array(vec![Value::Ubyte(1), Value::Ubyte(2)])),
        (b"\xf0\x00\x00\x00\x07\x00\x00\x00\x02\x50\x01\x02", array(vec![Value::Ubyte(1), Value::Ubyte(2)])),
        (b"\x00\x53\x24\x45", {
            Value::Described(Box::new(Described { descriptor: Value::Ulong(0x24), value: Value::List(Vec::new()) }))
        }),
    ];
    for (index, (bytes, expected)) in cases.iter().enumerate() {
        assert_eq!(value(bytes).as_ref(), Ok(expected), "{bytes:02x?}");
        let last = cases.get(index + 1).is_none_or(|(_, next)| next != expected);
        if last && !matches!(expected, Value::List(list) if list.is_empty()) && !matches!(expected, Value::Map(_)) {
            let mut buffer = BytesMut::new();
            put_value(&mut buffer, expected);
            if !matches!(expected, Value::Described(_)) {
                assert_eq!(&buffer[..], *bytes, "{expected:?}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_values_are_refused() {
    let cases: Vec<(&'static [u8], AmqpError)> = vec![
        (b"", AmqpError::Length),
        (b"\x3f", AmqpError::TypeCode(0x3f)),
        (b"\x56\x02", AmqpError::Length),
        (b"\x70\x00", AmqpError::Length),
        (b"\xa0\x02a", AmqpError::Length),
        (b"\xa1\x01\xff", AmqpError::Text),
        (b"\xa3\x02\xc3\xa9", AmqpError::Text),
        (b"\x73\x00\x11\x00\x00", AmqpError::Text),
        (b"\xc0\x03\x01\x41\x40", AmqpError::Length),
        (b"\xc1\x02\x01\x41", AmqpError::Count),
        (b"\xd0\x00\x00\x00\x04\xff\xff\xff\xff", AmqpError::Count),
        // Four thousand million nulls in a dozen bytes.
        (b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40", AmqpError::Count),
        // A long descriptor would be every element's.
        (b"\xe0\x05\x01\x00\xa1\x00\x40", AmqpError::Descriptor),
    ];
    for (bytes, error) in cases {
        assert_eq!(value(bytes), Err(error), "{bytes:02x?}");
    }
    let deep = [&b"\x00\x44"[..]; 40].concat();
    assert_eq!(Reader::new(deep.into()).value(), Err(AmqpError::Depth));
    assert_eq!(Array::new(vec![Value::Null, Value::Ubyte(1)]), Err(AmqpError::Array));
}

/// Bytes that are written for every client, with what they mean: no field is left out, and no list is the short one.
fn golden() -> Vec<(&'static [u8], Frame)> {
    let accepted = Performative::Disposition(Disposition {
        role: Role::Receiver,
        first: 5,
        last: Some(9),
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    });
    let transfer = Performative::Transfer(Transfer {
        handle: 1,
        delivery_id: Some(300),
        delivery_tag: Some(Bytes::from_static(b"t")),
        message_format: Some(0),
        settled: Some(false),
        ..Transfer::default()
    });
    let close = Performative::Close(Close { error: Some(ErrorCondition::new(NOT_FOUND, "x")) });
    vec![
        (b"\0\0\0\x08\x02\0\0\0", Frame::Empty),
        (
            b"\0\0\0\x27\x02\0\0\x03\0\x53\x15\xd0\0\0\0\x17\0\0\0\x06\x41\x52\x05\x52\x09\x41\
              \0\x53\x24\xd0\0\0\0\x04\0\0\0\0\x42",
            Frame::of(3, accepted),
        ),
        (
            b"\0\0\0\x28\x02\0\0\0\0\x53\x14\xd0\0\0\0\x16\0\0\0\x0b\x52\x01\x70\0\0\x01\x2c\xa0\x01t\x43\x42\x42\
              \x40\x40\x42\x42\x42hi",
            Frame::Amqp { channel: 0, performative: transfer, payload: Bytes::from_static(b"hi") },
        ),
        (
            b"\0\0\0\x34\x02\0\0\0\0\x53\x18\xd0\0\0\0\x24\0\0\0\x01\0\x53\x1d\xd0\0\0\0\x18\0\0\0\x03\
              \xa3\x0eamqp:not-found\xa1\x01x\x40",
            Frame::of(0, close),
        ),
        (
            b"\0\0\0\x17\x02\x01\0\0\0\x53\x44\xd0\0\0\0\x07\0\0\0\x02\x50\x01\x40",
            Frame::Sasl(SaslFrame::Outcome(SaslCode::Authentication)),
        ),
    ]
}

#[test]
fn golden_bytes_mean_what_they_should_and_are_written_again() {
    for (bytes, frame) in golden() {
        assert_eq!(&written(&frame)[..], bytes, "{frame:?}");
        assert_eq!(one(bytes), Ok(Some(frame)), "{bytes:02x?}");
    }
}

/// As clients write them: with short lists, fields left out, and symbols for descriptors.
#[test]
fn what_clients_write_is_read() {
    let open = b"\0\0\0\x15\x02\0\0\0\0\x53\x10\xc0\x08\x02\xa1\x01c\xa1\x02hu";
    let Ok(Some(Frame::Amqp { performative: Performative::Open(open), .. })) = one(open) else { panic!("an open") };
    assert_eq!((open.container_id.as_str(), open.hostname.as_deref(), open.max_frame_size), ("c", Some("hu"), None));
    assert_eq!(one(b"\0\0\0\x0c\x02\0\0\x01\0\x53\x17\x45"), Ok(Some(Frame::of(1, Performative::End(End::default())))));
    let by_symbol = b"\0\0\0\x1b\x02\0\0\0\0\xa3\x0famqp:close:list\x45";
    assert_eq!(one(by_symbol), Ok(Some(Frame::of(0, Performative::Close(Close::default())))));
}

#[test]
fn frames_that_the_standard_forbids_are_refused() {
    let cases: Vec<(&[u8], AmqpError)> = vec![
        (b"\0\0\0\x07\x02\0\0", AmqpError::FrameHeader),
        (b"\0\0\0\x08\x01\0\0\0", AmqpError::FrameHeader),
        (b"\0\0\0\x08\x03\0\0\0", AmqpError::FrameHeader),
        (b"\0\0\0\x08\x02\x02\0\0", AmqpError::FrameHeader),
        (b"\0\x01\0\x01", AmqpError::TooLarge { size: LIMIT + 1, limit: LIMIT }),
        (b"\0\0\0\x0c\x02\0\0\0\0\x53\x99\x45", AmqpError::Descriptor),
        (b"\0\0\0\x0c\x02\0\0\0\0\x53\x10\x45", AmqpError::Field("container-id")),
        (b"\0\0\0\x09\x02\0\0\0\x40", AmqpError::Descriptor),
    ];
    for (bytes, error) in cases {
        assert_eq!(one(bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn a_connection_begins_with_one_of_two_headers() {
    for header in [ProtocolHeader::Amqp, ProtocolHeader::Sasl] {
        for cut in 0..8 {
            assert_eq!(ProtocolHeader::decode(&mut BytesMut::from(&header.bytes()[..cut])), Ok(None));
        }
        let mut buffer = BytesMut::from(&[header.bytes(), &b"rest"[..]].concat()[..]);
        assert_eq!(ProtocolHeader::decode(&mut buffer), Ok(Some(header)));
        assert_eq!(&buffer[..], b"rest");
    }
    for wrong in [&b"HTTP"[..], b"AMQP\x00\x00\x09\x01", b"\x10"] {
        assert_eq!(ProtocolHeader::decode(&mut BytesMut::from(wrong)), Err(AmqpError::ProtocolHeader));
    }
}

#[test]
fn sections_stand_in_their_order_and_once() {
    let properties = b"\0\x53\x73\x45";
    let data = b"\0\x53\x75\xa0\x01a";
    let value = b"\0\x53\x77\x40";
    let read = |sections: &[&[u8]]| AnnotatedMessage::decode(sections.concat().into());
    assert_eq!(read(&[properties, data, data]).map(|message| message.body), {
        Ok(Body::Data(vec![Bytes::from_static(b"a"); 2]))
    });
    assert_eq!(read(&[value]).map(|message| message.body), Ok(Body::Value(Value::Null)));
    for wrong in [&[&data[..], properties][..], &[properties, properties], &[value, value], &[data, value]] {
        assert_eq!(read(wrong), Err(AmqpError::Sections));
    }
    // What has no content is not written at all.
    assert_eq!(AnnotatedMessage::default().to_bytes(), Bytes::new());
    assert_eq!(AnnotatedMessage::of_data("a").to_bytes(), &data[..]);
}

fn symbol() -> BoxedStrategy<Symbol> {
    "[ -~]{0,12}".prop_map(|text| Symbol::from_text(&text)).boxed()
}

fn scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        any::<u32>().prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        (-200_i32..200).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        (-200_i64..200).prop_map(Value::Long),
        proptest::num::f32::NORMAL.prop_map(Value::Float),
        proptest::num::f64::NORMAL.prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        bytes().prop_map(Value::Binary),
        ".{0,300}".prop_map(Value::String),
        symbol().prop_map(Value::Symbol),
    ]
    .boxed()
}

fn bytes() -> BoxedStrategy<Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from).boxed()
}

fn any_value() -> BoxedStrategy<Value> {
    scalar()
        .prop_recursive(4, 32, 6, |inner| {
            let several = proptest::collection::vec(inner.clone(), 0..6);
            prop_oneof![
                several.prop_map(Value::List),
                proptest::collection::vec((inner.clone(), inner.clone()), 0..6).prop_map(|all| Value::Map(Map(all))),
                (inner.clone(), 0_usize..6).prop_map(|(value, count)| array(vec![value; count])),
                proptest::collection::vec(any::<u32>(), 0..6)
                    .prop_map(|all| array(all.into_iter().map(Value::Uint).collect())),
                (any::<u64>(), proptest::collection::vec(any::<bool>(), 1..6)).prop_map(|(code, all)| {
                    let described = |truth| Described { descriptor: Value::Ulong(code), value: Value::Boolean(truth) };
                    array(all.into_iter().map(|truth| Value::Described(Box::new(described(truth)))).collect())
                }),
                (symbol(), inner).prop_map(|(descriptor, value)| {
                    Value::Described(Box::new(Described { descriptor: Value::Symbol(descriptor), value }))
                }),
            ]
            .prop_filter("an array of values whose descriptors cannot be shared", |value| match value {
                Value::Array(array) => array.values().iter().all(|value| match value {
                    Value::Described(described) => {
                        matches!(described.descriptor, Value::Ulong(_))
                            && !matches!(described.value, Value::Described(_))
                    }
                    _ => true,
                }),
                _ => true,
            })
        })
        .boxed()
}

fn map() -> BoxedStrategy<Map> {
    proptest::collection::vec((symbol().prop_map(Value::Symbol), scalar()), 0..4).prop_map(Map).boxed()
}

fn option<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    proptest::option::of(strategy).boxed()
}

fn text() -> BoxedStrategy<String> {
    ".{0,20}".boxed()
}

fn error() -> BoxedStrategy<Option<ErrorCondition>> {
    option((symbol(), option(text()), map()).prop_map(|(condition, description, info)| ErrorCondition {
        condition,
        description,
        info,
    }))
    .boxed()
}

fn state() -> BoxedStrategy<DeliveryState> {
    prop_oneof![
        Just(DeliveryState::Accepted),
        Just(DeliveryState::Released),
        error().prop_map(DeliveryState::Rejected),
        (any::<u32>(), any::<u64>())
            .prop_map(|(section_number, section_offset)| DeliveryState::Received { section_number, section_offset }),
        (any::<bool>(), any::<bool>(), map()).prop_map(|(delivery_failed, undeliverable_here, annotations)| {
            DeliveryState::Modified { delivery_failed, undeliverable_here, annotations }
        }),
    ]
    .boxed()
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)]
}

fn symbols() -> BoxedStrategy<Vec<Symbol>> {
    proptest::collection::vec(symbol(), 0..3).boxed()
}

fn terminus() -> BoxedStrategy<Terminus> {
    (option(text()), any::<u32>(), option(symbol()), any::<u32>(), any::<bool>(), map(), symbols())
        .prop_map(|(address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities)| {
            Terminus { address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities }
        })
        .boxed()
}

fn source() -> BoxedStrategy<Source> {
    (terminus(), option(symbol()), map(), option(state()), symbols())
        .prop_map(|(terminus, distribution_mode, filter, default_outcome, outcomes)| Source {
            terminus,
            distribution_mode,
            filter,
            default_outcome,
            outcomes,
        })
        .boxed()
}

fn attach() -> BoxedStrategy<Attach> {
    let modes = (
        prop_oneof![Just(SenderSettleMode::Unsettled), Just(SenderSettleMode::Settled), Just(SenderSettleMode::Mixed)],
        prop_oneof![Just(ReceiverSettleMode::First), Just(ReceiverSettleMode::Second)],
    );
    let ends = (option(source()), option(terminus().prop_map(|terminus| Target { terminus })));
    let rest = (option(any::<u32>()), option(any::<u64>()), symbols(), symbols(), map());
    (text(), any::<u32>(), role(), modes, ends, rest)
        .prop_map(|(name, handle, role, modes, ends, rest)| Attach {
            name,
            handle,
            role,
            sender_settle_mode: modes.0,
            receiver_settle_mode: modes.1,
            source: ends.0,
            target: ends.1,
            initial_delivery_count: rest.0,
            max_message_size: rest.1,
            offered_capabilities: rest.2,
            desired_capabilities: rest.3,
            properties: rest.4,
        })
        .boxed()
}

fn transfer() -> BoxedStrategy<Transfer> {
    let delivery = (
        option(any::<u32>()),
        option(proptest::collection::vec(any::<u8>(), 0..=32).prop_map(Bytes::from)),
        option(any::<u32>()),
        option(any::<bool>()),
        option(Just(ReceiverSettleMode::Second)),
        option(state()),
    );
    (any::<u32>(), delivery, any::<[bool; 4]>())
        .prop_map(|(handle, delivery, flags)| Transfer {
            handle,
            delivery_id: delivery.0,
            delivery_tag: delivery.1,
            message_format: delivery.2,
            settled: delivery.3,
            more: flags[0],
            receiver_settle_mode: delivery.4,
            state: delivery.5,
            resume: flags[1],
            aborted: flags[2],
            batchable: flags[3],
        })
        .boxed()
}

fn performative() -> BoxedStrategy<Performative> {
    let number = || option(any::<u32>());
    prop_oneof![
        (text(), option(text()), number(), option(any::<u16>()), number(), symbols(), map()).prop_map(|open| {
            Performative::Open(Box::new(Open {
                container_id: open.0,
                hostname: open.1,
                max_frame_size: open.2,
                channel_max: open.3,
                idle_time_out: open.4,
                offered_capabilities: open.5.clone(),
                desired_capabilities: open.5,
                properties: open.6,
            }))
        }),
        (option(any::<u16>()), any::<[u32; 4]>(), symbols(), map()).prop_map(|begin| {
            Performative::Begin(Box::new(Begin {
                remote_channel: begin.0,
                next_outgoing_id: begin.1[0],
                incoming_window: begin.1[1],
                outgoing_window: begin.1[2],
                handle_max: Some(begin.1[3]),
                offered_capabilities: begin.2.clone(),
                desired_capabilities: begin.2,
                properties: begin.3,
            }))
        }),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))),
        ((number(), any::<[u32; 3]>()), (number(), number(), number(), number()), any::<[bool; 2]>(), map()).prop_map(
            |(window, link, flags, properties)| {
                Performative::Flow(Flow {
                    next_incoming_id: window.0,
                    incoming_window: window.1[0],
                    next_outgoing_id: window.1[1],
                    outgoing_window: window.1[2],
                    handle: link.0,
                    delivery_count: link.1,
                    link_credit: link.2,
                    available: link.3,
                    drain: flags[0],
                    echo: flags[1],
                    properties,
                })
            }
        ),
        transfer().prop_map(Performative::Transfer),
        (role(), any::<u32>(), number(), any::<[bool; 2]>(), option(state())).prop_map(
            |(role, first, last, flags, state)| {
                Performative::Disposition(Disposition {
                    role,
                    first,
                    last,
                    settled: flags[0],
                    state,
                    batchable: flags[1],
                })
            }
        ),
        (any::<u32>(), any::<bool>(), error()).prop_map(|(handle, closed, error)| Performative::Detach(Detach {
            handle,
            closed,
            error
        })),
        error().prop_map(|error| Performative::End(End { error })),
        error().prop_map(|error| Performative::Close(Close { error })),
    ]
    .boxed()
}

fn sasl() -> BoxedStrategy<SaslFrame> {
    prop_oneof![
        symbols().prop_map(SaslFrame::Mechanisms),
        (symbol(), option(bytes()), option(text())).prop_map(|(mechanism, initial_response, hostname)| {
            SaslFrame::Init { mechanism, initial_response, hostname }
        }),
        bytes().prop_map(SaslFrame::Challenge),
        bytes().prop_map(SaslFrame::Response),
        Just(SaslFrame::Outcome(SaslCode::Ok)),
        Just(SaslFrame::Outcome(SaslCode::SystemTemporary)),
    ]
    .boxed()
}

fn frame() -> BoxedStrategy<Frame> {
    prop_oneof![
        1 => Just(Frame::Empty),
        2 => sasl().prop_map(Frame::Sasl),
        8 => (any::<u16>(), performative(), bytes())
            .prop_map(|(channel, performative, payload)| Frame::Amqp { channel, performative, payload }),
    ]
    .boxed()
}

fn message() -> BoxedStrategy<AnnotatedMessage> {
    let id = || {
        option(prop_oneof![
            any::<u64>().prop_map(MessageId::Ulong),
            any::<[u8; 16]>().prop_map(MessageId::Uuid),
            bytes().prop_map(MessageId::Binary),
            text().prop_map(MessageId::String),
        ])
    };
    let properties = (id(), option(bytes()), option(text()), id(), option(symbol()), option(any::<i64>())).prop_map(
        |(message_id, user_id, to, correlation_id, content_type, time)| Properties {
            message_id,
            user_id,
            to: to.clone(),
            subject: to.clone(),
            reply_to: to.clone(),
            correlation_id,
            content_type: content_type.clone(),
            content_encoding: content_type,
            absolute_expiry_time: time,
            creation_time: time,
            group_id: to.clone(),
            group_sequence: time.map(|_| 7),
            reply_to_group_id: to,
        },
    );
    let header = (any::<bool>(), any::<u8>(), option(any::<u32>()), any::<u32>()).prop_map(
        |(durable, priority, ttl, delivery_count)| Header {
            durable,
            priority,
            ttl,
            first_acquirer: durable,
            delivery_count,
        },
    );
    let body = prop_oneof![
        Just(Body::Empty),
        proptest::collection::vec(bytes(), 1..3).prop_map(Body::Data),
        proptest::collection::vec(proptest::collection::vec(scalar(), 0..3), 1..3).prop_map(Body::Sequence),
        any_value().prop_map(Body::Value),
    ];
    (option(header), [map(), map(), map(), map()], properties, body)
        .prop_map(|(header, maps, properties, body)| {
            let [delivery_annotations, message_annotations, application_properties, footer] = maps;
            AnnotatedMessage {
                header,
                delivery_annotations,
                message_annotations,
                properties,
                application_properties,
                body,
                footer,
            }
        })
        .boxed()
}

proptest! {
    #[test]
    fn values_survive(value in any_value()) {
        let mut buffer = BytesMut::new();
        put_value(&mut buffer, &value);
        let mut reader = Reader::new(buffer.freeze());
        prop_assert_eq!(reader.value(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn messages_survive(message in message()) {
        prop_assert_eq!(AnnotatedMessage::decode(message.to_bytes()), Ok(message));
    }

    #[test]
    fn frames_survive_a_stream_that_is_cut_anywhere(frames in proptest::collection::vec(frame(), 1..4), step in 1_usize..200) {
        let mut stream = BytesMut::new();
        for frame in &frames {
            encode(frame, &mut stream);
        }
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decode(&mut buffer, LIMIT).expect("frames") {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Reader::new(bytes.clone().into()).value();
        let _ = AnnotatedMessage::decode(bytes.clone().into());
        let _ = decode(&mut BytesMut::from(&bytes[..]), LIMIT);
        let _ = ProtocolHeader::decode(&mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn frames_with_wrong_bytes_are_read_or_refused(frame in frame(), at in any::<proptest::sample::Index>(), byte: u8) {
        let mut bytes = written(&frame);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&mut bytes, LIMIT);
    }

    #[test]
    fn messages_with_wrong_bytes_are_read_or_refused(
        message in message(), at in any::<proptest::sample::Index>(), byte: u8,
    ) {
        let mut bytes = BytesMut::from(&message.to_bytes()[..]);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = AnnotatedMessage::decode(bytes.freeze());
    }
}
