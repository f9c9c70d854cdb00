//! What the hub does for a client, in the order in which it was asked, while the connection goes on reading.
//!
//! Nothing here waits by itself: the connection polls the lanes along with its stream, and what it does not wait for is
//! kept.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use edgectl_hub::gateway::{Client, Gateway, Refusal};
use edgectl_hub::message::Message;

/// Messages of a client that the hub has not taken yet; more wait in the network.
const WINDOW: usize = 256;
/// Bytes of them: sixteen of the largest messages.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Batches that the hub may keep at the same time: while one is on its way to the disk, the next is written behind it.
const BATCHES: usize = 4;
/// Requests of a client that may wait for each other.
const REQUESTS: usize = 32;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Messages on their way to the hub. Those that wait together go together, so that what it costs to keep them is paid
/// once; each is acknowledged when the hub has it, and in the order of sending, as MQTT demands in its section 4.6.
///
/// `A` names a message to the client in its protocol's way.
pub struct MessageLane<A> {
    gateway: Arc<dyn Gateway>,
    client: Client,
    waiting: VecDeque<Sent<A>>,
    underway: VecDeque<Batch<A>>,
    /// Messages and bytes that wait or are under way.
    held: (usize, usize),
}

/// What a client sent.
struct Sent<A> {
    /// None where it is not for the hub, and only the acknowledgement has to wait its turn.
    message: Option<Message>,
    acknowledgement: Option<A>,
}

struct Batch<A> {
    acknowledgements: Vec<A>,
    size: (usize, usize),
    work: Work<Result<(), Refusal>>,
    result: Option<Result<(), Refusal>>,
}

impl<A> MessageLane<A> {
    /// A lane from a client to its hub.
    pub fn new(gateway: Arc<dyn Gateway>, client: Client) -> Self {
        Self { gateway, client, waiting: VecDeque::new(), underway: VecDeque::new(), held: (0, 0) }
    }

    /// Whether another message may be taken.
    pub fn has_room(&self) -> bool {
        self.held.0 < WINDOW && self.has_room_for_bytes()
    }

    /// The same where something else limits how many messages there are.
    pub fn has_room_for_bytes(&self) -> bool {
        self.held.1 < WINDOW_BYTES
    }

    /// Whether everything is done.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.underway.is_empty()
    }

    /// Takes what a client sent: a message, if it is one for the hub, and what is to be acknowledged after it.
    pub fn push(&mut self, message: Option<Message>, acknowledgement: Option<A>) {
        self.held.0 += 1;
        self.held.1 += message.as_ref().map_or(0, |message| message.body.len());
        self.waiting.push_back(Sent { message, acknowledgement });
    }

    /// Waits until the hub has taken a batch or refused it, and returns what is to be acknowledged. Never returns while
    /// nothing waits. May be dropped and called again.
    pub async fn done(&mut self) -> (Vec<A>, Result<(), Refusal>) {
        poll_fn(|context| self.poll_done(context)).await
    }

    fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<(Vec<A>, Result<(), Refusal>)> {
        if !self.waiting.is_empty() && self.underway.len() < BATCHES {
            let batch = self.next_batch();
            self.underway.push_back(batch);
        }
        // In order: so the hub writes an older batch before a younger one.
        for batch in self.underway.iter_mut().filter(|batch| batch.result.is_none()) {
            if let Poll::Ready(result) = batch.work.as_mut().poll(context) {
                batch.result = Some(result);
            }
        }
        let Some(result) = self.underway.front_mut().and_then(|batch| batch.result.take()) else {
            return Poll::Pending;
        };
        let (acknowledgements, size) =
            self.underway.pop_front().map(|batch| (batch.acknowledgements, batch.size)).unwrap_or_default();
        self.held = (self.held.0 - size.0, self.held.1 - size.1);
        Poll::Ready((acknowledgements, result))
    }

    fn next_batch(&mut self) -> Batch<A> {
        let (mut messages, mut acknowledgements, mut size) = (Vec::new(), Vec::new(), (self.waiting.len(), 0));
        for sent in self.waiting.drain(..) {
            size.1 += sent.message.as_ref().map_or(0, |message| message.body.len());
            messages.extend(sent.message);
            acknowledgements.extend(sent.acknowledgement);
        }
        let (gateway, client) = (Arc::clone(&self.gateway), self.client.clone());
        let work =
            Box::pin(async move { if messages.is_empty() { Ok(()) } else { gateway.send(&client, messages).await } });
        Batch { acknowledgements, size, work, result: None }
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
