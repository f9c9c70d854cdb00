//! HTTP/1.1 over a connection.

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Serves one connection to its end.
pub async fn serve<S>(stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
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
}
