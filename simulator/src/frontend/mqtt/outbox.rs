//! Packets for one client, as bytes, until its connection writes them: all that wait go in one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use edgectl_wire::mqtt::codec::encode;
use edgectl_wire::mqtt::packet::Packet;
use tokio::sync::Notify;

/// Who can wait does so while more bytes than this do. What cannot wait is bounded by whoever puts it here: the hub has
/// only so many messages under way to a client, and the session only so many requests.
const PATIENT_BYTES: usize = 256 * 1024;

/// The packets that wait.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Mutex<BytesMut>,
    filled: Notify,
    emptied: Notify,
}

impl Outbox {
    /// Adds packets. One that has no bytes in MQTT is dropped.
    pub fn put<'a>(&self, packets: impl IntoIterator<Item = &'a Packet> + Clone) {
        {
            let mut bytes = self.lock();
            bytes.reserve(packets.clone().into_iter().map(size).sum());
            for packet in packets {
                if let Err(error) = encode(packet, &mut bytes) {
                    tracing::warn!(%error, "a packet is dropped");
                }
            }
        }
        self.filled.notify_one();
    }

    /// Adds a packet when not too many wait.
    pub async fn put_patiently(&self, packet: &Packet) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().len() <= PATIENT_BYTES {
                break;
            }
            emptied.await;
        }
        self.put([packet]);
    }

    /// Waits until packets are added.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all that wait.
    pub fn take(&self) -> BytesMut {
        let taken = std::mem::take(&mut *self.lock());
        if !taken.is_empty() {
            self.emptied.notify_waiters();
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a packet takes, or a little more.
fn size(packet: &Packet) -> usize {
    match packet {
        Packet::Publish(publish) => publish.topic.len() + publish.payload.len() + 9,
        _ => 4,
    }
}
