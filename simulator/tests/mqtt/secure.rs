//! A listener with a certificate, and whom to trust.

use std::net::SocketAddr;
use std::sync::Arc;

use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::authority::Authority;
use edgectl_simulator::frontend::mqtt::connection::serve;
use edgectl_simulator::listen::{Certificate, accept, bind};
use edgectl_simulator::tls::{ServerTls, client_config};
use jiff::Timestamp;
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::memory_hub::MemoryHub;

/// A listener on a port of the loopback address.
pub struct Listening {
    pub address: SocketAddr,
    pub tls: Arc<ClientConfig>,
    pub authority: Arc<Authority>,
    pub shutdown: CancellationToken,
    pub accepting: JoinHandle<()>,
    _folder: TempDir,
}

impl Listening {
    /// Gives each connection to `serve`.
    pub async fn start<F, W>(serve: F) -> Self
    where
        F: Fn(TlsStream<TcpStream>, Certificate, CancellationToken) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().expect("a folder");
        let device = DeviceId::new("edge").expect("an identifier");
        let authority = Authority::open(folder.path(), &device, Timestamp::now()).expect("an authority");
        let authority = Arc::new(authority);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tls = ServerTls::new(&authority, &["127.0.0.1"], &clock).expect("a configuration");
        let accepting = tokio::spawn(accept(listener, tls, shutdown.clone(), serve));
        let tls = client_config(authority.trust_bundle()).expect("a configuration");
        Self { address, tls, authority, shutdown, accepting, _folder: folder }
    }

    /// Serves MQTT to a hub.
    pub async fn mqtt(hub: &Arc<MemoryHub>) -> Self {
        let hub = Arc::clone(hub);
        Self::start(move |stream, certificate, shutdown| {
            serve(stream, certificate, Arc::clone(&hub) as _, Arc::new(SystemClock), shutdown)
        })
        .await
    }
}
