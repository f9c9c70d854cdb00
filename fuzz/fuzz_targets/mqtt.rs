//! Packets from a peer.
#![no_main]

use bytes::BytesMut;
use edgectl_wire::mqtt::codec::{decode, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(packet)) = decode(&mut buffer, 300_000) {
        let mut written = BytesMut::new();
        encode(&packet, &mut written);
        assert_eq!(decode(&mut written, 300_000), Ok(Some(packet)));
    }
});
