//! The task behind a [`DeviceClient`](super::device_client::DeviceClient): one connection after the other.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::device_client::{ClientError, ClientEvent, ClientOptions, OnRefusal, Outgoing, Request, Status};
use super::handshake::{Failure, connect};
use super::pending::Pending;
use super::session::{End, Session};
use crate::link::Link;

/// Waits between tries grow from the first to the last of these.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];

/// The ends of a client's channels that its task holds.
pub(super) struct Channels {
    /// What the owner asks.
    pub requests: mpsc::Receiver<Request>,
    /// What the owner sends. It waits here for a connection and a place in the window.
    pub messages: mpsc::Receiver<Outgoing>,
    /// What the owner is told.
    pub events: mpsc::Sender<ClientEvent>,
    /// Where the connection stands.
    pub status: watch::Sender<Status>,
    /// The owner will not wait for a connection any more.
    pub closing: CancellationToken,
}

/// Runs until the owner closes the client, or the hub refuses it for good.
pub(super) async fn run(options: ClientOptions, mut channels: Channels) {
    let mut pending = Pending::default();
    let mut delay = RETRY_DELAYS[0];
    loop {
        let connected = tokio::select! {
            connected = connect(&options) => connected,
            () = channels.closing.cancelled() => break,
        };
        match connected {
            Ok(connected) => {
                channels.status.send_replace(Status::Connected);
                let session_present = connected.session_present;
                // The owner may have stopped listening; it is told when it asks for something.
                let _ = channels.events.send(ClientEvent::Connected { session_present }).await;
                let since = options.link.clock().now();
                let end = Session::new(&options, &mut pending, &mut channels, &connected).run(connected).await;
                pending.disconnected();
                // A hub that takes a client only to drop it is not asked again at once for ever.
                if options.link.clock().now() - since >= RETRY_DELAYS[1] {
                    delay = RETRY_DELAYS[0];
                }
                match end {
                    End::Closed => break,
                    End::Renewal => continue,
                    End::Lost(reason) => channels.lost(reason).await,
                }
            }
            Err(Failure::Unauthorized(reason)) => {
                channels.status.send_replace(Status::Unauthorized(reason.clone()));
                let _ = channels.events.send(ClientEvent::Unauthorized { reason }).await;
                if options.refusal == OnRefusal::End {
                    break;
                }
            }
            Err(Failure::Other(reason)) => {
                tracing::debug!(identity = %options.identity, reason, "not connected");
                channels.lost(reason).await;
            }
        }
        if channels.wait_offline(&mut pending, delay, &options.link).await.is_err() {
            break;
        }
        delay = (delay * 2).min(RETRY_DELAYS[1]);
    }
    pending.close();
}

impl Channels {
    /// Tells, once, that there is no connection any more.
    async fn lost(&self, reason: String) {
        let was_connected = self.status.send_if_modified(|status| {
            let was_connected = *status == Status::Connected;
            if was_connected {
                *status = Status::Disconnected;
            }
            was_connected
        });
        if was_connected {
            let _ = self.events.send(ClientEvent::Disconnected { reason }).await;
        }
    }

    /// Answers requests without a connection for a while, or until the network is back. An error means that the client was
    /// closed.
    async fn wait_offline(&mut self, pending: &mut Pending, delay: Duration, link: &Link) -> Result<(), ()> {
        let (mut over, mut network) = (link.clock().sleep(delay), link.watch());
        loop {
            let request = tokio::select! {
                () = &mut over => return Ok(()),
                Ok(()) = network.changed() => {
                    if network.borrow().online {
                        return Ok(());
                    }
                    continue;
                }
                request = self.requests.recv() => request.ok_or(())?,
            };
            match request {
                // These answer to a connection, and there is none.
                Request::Twin { answer } => drop(answer.send(Err(ClientError::Offline))),
                Request::Report { answer, .. } => drop(answer.send(Err(ClientError::Offline))),
                Request::Subscribe { feature, wanted, done } => {
                    pending.remember(feature, wanted);
                    let _ = done.send(Ok(()));
                }
                Request::Close { done } => {
                    let _ = done.send(());
                    return Err(());
                }
            }
        }
    }
}
