//! The network between a device and the hub above it, with faults in user space: no privilege and no kernel emulation is
//! needed, and a test on a paused clock passes hours in a moment.
//!
//! A link carries byte streams. Loss is therefore what loss looks like above TCP: the lost piece comes later, after one
//! retransmission time-out or several, and everything behind it waits. Faults that are no matter of a network, such as a hub
//! that answers wrongly, do not belong here.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use edgectl_hub::clock::{Alarm, Clock, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes of one read, and so of one piece that may be lost.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes under way in one direction; more wait at the sender, as with a full send buffer.
const WINDOW_BYTES: usize = 256 * 1024;
/// The first retransmission time-out; each further loss of the same piece doubles it.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Losses of one piece in a row that are counted; a piece comes through in the end.
const MAX_LOSSES: u32 = 6;

/// What one direction does to what passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Faults {
    /// How long everything takes, in milliseconds.
    pub latency_ms: u64,
    /// How much longer or shorter it may take, in milliseconds. Order is kept.
    pub jitter_ms: u64,
    /// The share of pieces that are lost and sent again, from 0 to below 1.
    pub loss: f64,
    /// Bits in a second, for all connections of the device together.
    pub bandwidth: Option<u64>,
    /// Bytes are accepted, and nothing arrives, until this is lifted.
    pub half_open: bool,
}

/// The state of a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// Whether there is a network at all. Without one, connections end and none can be made.
    pub online: bool,
    /// From the device to the hub.
    pub up: Faults,
    /// From the hub to the device.
    pub down: Faults,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { online: true, up: Faults::default(), down: Faults::default() }
    }
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Conditions {
    fn faults(&self, direction: Direction) -> &Faults {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// What all connections of a device share.
struct Wires {
    random: fastrand::Rng,
    /// When each direction has sent all that it was given.
    free_at: [Instant; 2],
}

/// The network of a device. Changes hold at once, for connections there are and those to come.
#[derive(Clone)]
pub struct Link {
    conditions: watch::Sender<Conditions>,
    clock: Arc<dyn Clock>,
    wires: Arc<Mutex<Wires>>,
}

impl Default for Link {
    /// A link without faults, by the machine's clock.
    fn default() -> Self {
        Self::new(0, Arc::new(SystemClock))
    }
}

impl Link {
    /// A link without faults. What it does by chance follows from the seed.
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        let wires = Wires { random: fastrand::Rng::with_seed(seed), free_at: [clock.now(); 2] };
        Self { conditions: watch::Sender::new(Conditions::default()), clock, wires: Arc::new(Mutex::new(wires)) }
    }

    /// The clock by which things take their time on the link, and by which those wait who use it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What it is like now.
    pub fn conditions(&self) -> Conditions {
        self.conditions.borrow().clone()
    }

    /// Changes what it is like.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// Changes of its conditions.
    pub fn watch(&self) -> watch::Receiver<Conditions> {
        self.conditions.subscribe()
    }

    /// Connects through the link.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<DuplexStream> {
        self.pass().await?;
        let stream = TcpStream::connect(address).await?;
        // Small packets must not wait for each other.
        stream.set_nodelay(true)?;
        Ok(self.carry(stream))
    }

    /// Carries a stream to the hub: what is written to the result goes up, what is read from it came down. Needs a runtime of
    /// tokio.
    pub fn carry<S: AsyncRead + AsyncWrite + Send + 'static>(&self, stream: S) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIECE_BYTES);
        let (from_device, to_device) = tokio::io::split(far);
        let (from_hub, to_hub) = tokio::io::split(stream);
        let (up, down) = (self.lane(Direction::Up), self.lane(Direction::Down));
        tokio::spawn(async move {
            // A direction that ends in order lets the other one finish; a cut or broken one ends both.
            tokio::select! {
                () = async { tokio::join!(up.pump(from_device, to_hub), down.pump(from_hub, to_device)); } => {}
            }
        });
        near
    }

    /// Waits as long as a request and its answer take; fails where there is no network. For what is not carried as a stream.
    pub async fn pass(&self) -> io::Result<()> {
        let (up, down) = (self.lane(Direction::Up), self.lane(Direction::Down));
        for mut lane in [up, down] {
            let (_, due) = lane.send(0);
            tokio::select! {
                () = self.clock.sleep_until(due) => {}
                () = lane.offline() => {}
            }
            lane.open().await?;
        }
        Ok(())
    }

    fn lane(&self, direction: Direction) -> Lane {
        let now = self.clock.now();
        Lane {
            direction,
            conditions: self.conditions.subscribe(),
            clock: Arc::clone(&self.clock),
            wires: Arc::clone(&self.wires),
            free_at: now,
            last_due: now,
        }
    }
}

/// One direction of one connection.
struct Lane {
    direction: Direction,
    conditions: watch::Receiver<Conditions>,
    clock: Arc<dyn Clock>,
    wires: Arc<Mutex<Wires>>,
    /// When the wire has sent what this connection gave it last. It gets no more before, so that those who share the wire
    /// take turns.
    free_at: Instant,
    /// When the last piece arrives; none overtakes it.
    last_due: Instant,
}

impl Lane {
    /// Moves bytes until either side ends or the network is cut.
    async fn pump<R, W>(mut self, mut from: R, mut to: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut under_way: VecDeque<(Instant, Bytes)> = VecDeque::new();
        let mut bytes_under_way = 0;
        let mut is_ended = false;
        let (mut turn, mut arrival) = (Alarm::new(Arc::clone(&self.clock)), Alarm::new(Arc::clone(&self.clock)));
        let mut buffer = BytesMut::new();
        loop {
            if is_ended && under_way.is_empty() {
                // What came is all there; the other side is told that no more will.
                let _ = to.shutdown().await;
                return;
            }
            let due = under_way.front().map(|(due, _)| *due);
            let free_at = (self.free_at > self.clock.now()).then_some((self.free_at, ()));
            let has_room = !is_ended && bytes_under_way < WINDOW_BYTES;
            buffer.reserve(PIECE_BYTES);
            tokio::select! {
                biased;
                () = Self::offline_of(self.conditions.clone()) => return,
                () = Self::arrival(&mut arrival, due, self.conditions.clone(), self.direction) => {
                    let Some((_, piece)) = under_way.pop_front() else { continue };
                    bytes_under_way -= piece.len();
                    if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                        return;
                    }
                }
                () = turn.wait(free_at), if has_room && free_at.is_some() => {}
                read = from.read_buf(&mut buffer), if has_room && free_at.is_none() => match read {
                    Ok(0) | Err(_) => is_ended = true,
                    Ok(length) => {
                        bytes_under_way += length;
                        let (free_at, due) = self.send(length);
                        self.free_at = free_at;
                        under_way.push_back((due, buffer.split().freeze()));
                    }
                },
            }
        }
    }

    /// Sends so many bytes behind all that is on its way already: when they have left, and when they arrive.
    fn send(&mut self, length: usize) -> (Instant, Instant) {
        let now = self.clock.now();
        let conditions = self.conditions.borrow();
        let faults = conditions.faults(self.direction);
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        let Wires { random, free_at } = &mut *wires;
        let free_at = &mut free_at[self.direction as usize];
        let sent = match faults.bandwidth {
            Some(bits) if bits > 0 => (*free_at).max(now) + Duration::from_nanos(length as u64 * 8_000_000_000 / bits),
            _ => now,
        };
        *free_at = sent;
        let jitter = match faults.jitter_ms {
            0 => 0,
            most => random.u64(0..=most.saturating_mul(2)),
        };
        let takes = faults.latency_ms.saturating_add(jitter).saturating_sub(faults.jitter_ms);
        let losses = (0..MAX_LOSSES).take_while(|_| faults.loss > 0.0 && random.f64() < faults.loss).count() as u32;
        // 200 ms, and 400 more, and so on.
        let again = RETRANSMISSION * (2_u32.pow(losses) - 1);
        let due = (sent + Duration::from_millis(takes) + again).max(self.last_due);
        self.last_due = due;
        (sent, due)
    }

    async fn arrival(
        alarm: &mut Alarm,
        due: Option<Instant>,
        mut conditions: watch::Receiver<Conditions>,
        direction: Direction,
    ) {
        alarm.wait(due.map(|due| (due, ()))).await;
        // A link that is gone lets nothing arrive any more, which its owner finds out.
        if conditions.wait_for(|now| !now.faults(direction).half_open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn offline(&self) {
        Self::offline_of(self.conditions.clone()).await;
    }

    async fn offline_of(mut conditions: watch::Receiver<Conditions>) {
        // No sender means that the device ends, and the stream with it.
        let _ = conditions.wait_for(|now| !now.online).await;
    }

    /// Waits until something can pass.
    async fn open(&mut self) -> io::Result<()> {
        let direction = self.direction;
        let now = self.conditions.wait_for(|now| !now.online || !now.faults(direction).half_open).await;
        match now {
            Ok(now) if now.online => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "the device is offline")),
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
