//! Accepting connections: TCP, TLS, a limit, and an orderly end. What a connection says is for its front end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::certificate::ClientCertificate;
use edgectl_hub::clock::within;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::listener_at;
use crate::tls::ServerTls;

/// Connections of one listener at once; more wait.
const MAX_CONNECTIONS: usize = 20_000;
/// For the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// After a connection that could not be accepted.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// How long connections may take to end when the listener does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// An address cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error("{address} is in use{}", by.as_ref().map_or_else(String::new, |by| format!(" by {by}")))]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Who, as far as it can be found out.
        by: Option<String>,
    },
    /// The port needs a privilege.
    #[error("{0} needs a privilege")]
    Denied(SocketAddr),
    /// The system failed.
    #[error("{address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

/// Listens at an address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, by: listener_at(address) },
        io::ErrorKind::PermissionDenied => BindError::Denied(address),
        _ => BindError::Io { address, source },
    })
}

/// What a client presented in the handshake, if it did.
pub type Certificate = Option<ClientCertificate>;

/// Accepts TLS connections until shutdown and gives each to `serve`; returns when all have ended.
pub async fn accept<F, W>(listener: TcpListener, tls: Arc<ServerTls>, shutdown: CancellationToken, serve: F)
where
    F: Fn(TlsStream<TcpStream>, Certificate, CancellationToken) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let (stream, place) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = async { (listener.accept().await, place.await) } => match accepted {
                (Ok((stream, _)), Ok(place)) => (stream, place),
                (Err(error), _) => {
                    // Out of file descriptors, say: those who are connected may end, so it goes on.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tls.clock.sleep(ACCEPT_DELAY).await;
                    continue;
                }
                (_, Err(_)) => break,
            },
        };
        let (acceptor, tls) = (acceptor.clone(), Arc::clone(&tls));
        let (serve, shutdown) = (serve.clone(), shutdown.clone());
        connections.spawn(async move {
            // Small packets must not wait for each other.
            let _ = stream.set_nodelay(true);
            let shaken = tokio::select! {
                () = shutdown.cancelled() => return,
                shaken = within(tls.clock.as_ref(), HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
            };
            match shaken {
                Some(Ok(stream)) => {
                    let certificate = tls.clients.read(stream.get_ref().1.peer_certificates().unwrap_or_default());
                    serve(stream, certificate, shutdown).await;
                }
                Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                None => tracing::debug!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }
    connections.close();
    // Who does not end by then is dropped with the runtime.
    within(tls.clock.as_ref(), CLOSE_TIMEOUT, connections.wait()).await;
}
