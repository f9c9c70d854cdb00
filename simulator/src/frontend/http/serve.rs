//! HTTP/1.1 over a connection, until the client asks to go on with another protocol.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use edgectl_hub::clock::{Clock, Sleep, within};
use hyper::body::Incoming;
use hyper::rt::Timer;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::frontend::amqp::connection::Hub;
use crate::frontend::http::blobs;
use crate::frontend::websocket::{self, Accepted};
use crate::listen::Certificate;

/// The head of a request must be there within this time after the connection or the answer before it.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// And its body within this time after that.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the head: a hundred properties of some length.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a body: a deployment has at most a twin's desired properties for each of its modules.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// What is behind an HTTPS listener.
#[derive(Clone)]
pub struct Door {
    /// Answers requests.
    pub router: Router,
    /// The hub that `WebSockets` lead to.
    pub hub: Hub,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What the client of a request presented in the handshake, for handlers.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Certificate);

/// Serves one connection to its end.
pub async fn serve<S>(stream: S, certificate: Certificate, door: Door, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The connection's last request may be that for a WebSocket; what it becomes is served here and not in a task of its
    // own, so that it ends with the listener.
    let (hand_over, mut handed_over) = mpsc::channel(1);
    let router = TowerToHyperService::new(door.router);
    let service = {
        let (certificate, clock) = (certificate.clone(), Arc::clone(&door.clock));
        service_fn(move |request| {
            let (router, hand_over, clock) = (router.clone(), hand_over.clone(), Arc::clone(&clock));
            answer(request, PeerCertificate(certificate.clone()), router, hand_over, clock)
        })
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(HeadTimer(Arc::clone(&door.clock)))
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection broke");
        },
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // What is being answered is answered; that the client broke off is its own affair.
            let _ = connection.await;
        }
    }
    if let Ok(accepted) = handed_over.try_recv() {
        websocket::serve(accepted, certificate, door.hub, door.clock, shutdown).await;
    }
}

async fn answer(
    mut request: Request<Incoming>,
    certificate: PeerCertificate,
    router: TowerToHyperService<Router>,
    hand_over: mpsc::Sender<Accepted>,
    clock: Arc<dyn Clock>,
) -> Result<Response<Body>, Infallible> {
    if websocket::is_asked_for(request.headers()) {
        let (response, accepted) = websocket::accept(&mut request);
        if let Some(accepted) = accepted {
            // Nothing comes after this request, so there is room for it.
            let _ = hand_over.try_send(accepted);
        }
        return Ok(response);
    }
    let (mut parts, body) = request.into_parts();
    if blobs::is_stored(parts.uri.path()) {
        parts.extensions.insert(certificate);
        return router.call(Request::from_parts(parts, Body::new(body))).await;
    }
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Ok(given_up(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let read = to_bytes(Body::new(body), MAX_BODY_BYTES);
    let body = match within(clock.as_ref(), BODY_TIMEOUT, read).await {
        Some(Ok(body)) => body,
        // Longer than it said, or broken off, which leaves nobody to read the answer.
        Some(Err(_)) => return Ok(given_up(StatusCode::PAYLOAD_TOO_LARGE)),
        None => return Ok(given_up(StatusCode::REQUEST_TIMEOUT)),
    };
    parts.extensions.insert(certificate);
    router.call(Request::from_parts(parts, Body::from(body))).await
}

/// The answer to a request that is not read to its end, after which the connection is of no use.
fn given_up(status: StatusCode) -> Response<Body> {
    let mut response = status.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The clock, for the time that the head of a request takes.
#[derive(Clone)]
struct HeadTimer(Arc<dyn Clock>);

/// A wait on it.
struct HeadWait(Sleep);

impl Timer for HeadTimer {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadWait(self.0.sleep(time)))
    }

    fn sleep_until(&self, at: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadWait(self.0.sleep_until(Instant::from_std(at))))
    }

    fn now(&self) -> std::time::Instant {
        self.0.now().into_std()
    }
}

impl hyper::rt::Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
