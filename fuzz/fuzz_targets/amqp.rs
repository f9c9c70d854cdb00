//! Frames and messages from a peer.
#![no_main]

use bytes::BytesMut;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader, decode, encode};
use edgectl_wire::amqp::message::AnnotatedMessage;

const LIMIT: usize = 65_536;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    let _ = ProtocolHeader::decode(&mut buffer);
    while let Ok(Some(frame)) = decode(&mut buffer, LIMIT) {
        let mut written = BytesMut::new();
        encode(&frame, &mut written);
        // Our own form is longer than some.
        let again = decode(&mut written, LIMIT * 16).expect("what was written is read").expect("all of it");
        // Not the same: numbers that are none are not even like themselves.
        assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&frame));
        if let Frame::Amqp { payload, .. } = frame
            && let Ok(message) = AnnotatedMessage::decode(payload)
        {
            AnnotatedMessage::decode(message.to_bytes()).expect("what was written is read");
        }
    }
});
