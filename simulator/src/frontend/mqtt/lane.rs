//! What the hub does for a client, in the order in which it was asked, while the connection goes on reading.
//!
//! Nothing here waits by itself: the connection polls the lanes along with its stream, and what it does not wait for is
//! kept.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use edgectl_hub::gateway::{Client, Gateway, Refusal};
use edgectl_hub::message::Message;
use edgectl_wire::mqtt::packet::{Packet, PacketId};

/// Publishes of a client that the hub has not taken yet; more wait in the network.
const WINDOW: usize = 64;
/// Bytes of them: sixteen of the largest messages.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Requests of a client that may wait for each other.
const REQUESTS: usize = 32;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Messages on their way to the hub. Those that wait together go together, so that what it costs to keep them is paid
/// once; each is acknowledged when the hub has it, and in the order of publishing, as section 4.6 of the standard demands.
pub struct MessageLane {
    gateway: Arc<dyn Gateway>,
    client: Client,
    waiting: VecDeque<Publication>,
    underway: Option<Batch>,
    /// Publishes and bytes that wait or are under way.
    held: (usize, usize),
}

/// What is left of a publish.
struct Publication {
    /// None where the topic asks for something else, or for nothing, and only the acknowledgement has to wait its turn.
    message: Option<Message>,
    acknowledgement: Option<PacketId>,
}

struct Batch {
    acknowledgements: Vec<PacketId>,
    work: Work<Result<(), Refusal>>,
}

impl MessageLane {
    /// A lane from a client to its hub.
    pub fn new(gateway: Arc<dyn Gateway>, client: Client) -> Self {
        Self { gateway, client, waiting: VecDeque::new(), underway: None, held: (0, 0) }
    }

    /// Whether another publish may be taken.
    pub fn has_room(&self) -> bool {
        self.held.0 < WINDOW && self.held.1 < WINDOW_BYTES
    }

    /// Whether everything is done.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.underway.is_none()
    }

    /// Takes a publish: its message, if it is one for the hub, and what is to be acknowledged after it.
    pub fn push(&mut self, message: Option<Message>, acknowledgement: Option<PacketId>) {
        self.held.0 += 1;
        self.held.1 += message.as_ref().map_or(0, |message| message.body.len());
        self.waiting.push_back(Publication { message, acknowledgement });
    }

    /// Waits until the hub has taken a batch, and returns the acknowledgements. Never returns while nothing waits. May be
    /// dropped and called again.
    pub async fn done(&mut self) -> Result<Vec<Packet>, Refusal> {
        if self.underway.is_none() && !self.waiting.is_empty() {
            self.underway = Some(self.next_batch());
        }
        let Some(batch) = &mut self.underway else { return std::future::pending().await };
        let result = batch.work.as_mut().await;
        let acknowledgements = self.underway.take().map(|batch| batch.acknowledgements).unwrap_or_default();
        if self.waiting.is_empty() {
            self.held = (0, 0);
        } else {
            let bodies = self.waiting.iter().filter_map(|publication| publication.message.as_ref());
            self.held = (self.waiting.len(), bodies.map(|message| message.body.len()).sum());
        }
        result.map(|()| acknowledgements.into_iter().map(Packet::PubAck).collect())
    }

    fn next_batch(&mut self) -> Batch {
        let (mut messages, mut acknowledgements) = (Vec::new(), Vec::new());
        for publication in self.waiting.drain(..) {
            messages.extend(publication.message);
            acknowledgements.extend(publication.acknowledgement);
        }
        let (gateway, client) = (Arc::clone(&self.gateway), self.client.clone());
        let work =
            Box::pin(async move { if messages.is_empty() { Ok(()) } else { gateway.send(&client, messages).await } });
        Batch { acknowledgements, work }
    }
}

/// Requests that are done one after the other.
pub struct RequestLane<T> {
    requests: VecDeque<Work<T>>,
}

impl<T> Default for RequestLane<T> {
    fn default() -> Self {
        Self { requests: VecDeque::new() }
    }
}

impl<T> RequestLane<T> {
    /// Whether another request may be taken.
    pub fn has_room(&self) -> bool {
        self.requests.len() < REQUESTS
    }

    /// Whether everything is done.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Takes a request.
    pub fn push(&mut self, request: impl Future<Output = T> + Send + 'static) {
        self.requests.push_back(Box::pin(request));
    }

    /// Waits for the first request to be done. Never returns while there is none. May be dropped and called again.
    pub async fn done(&mut self) -> T {
        let Some(request) = self.requests.front_mut() else { return std::future::pending().await };
        let result = request.await;
        self.requests.pop_front();
        result
    }
}
