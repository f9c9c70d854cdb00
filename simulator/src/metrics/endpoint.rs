//! Metrics over HTTP, for a scraper on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use edgectl_hub::metrics::text;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::device_metrics::DeviceMetrics;

/// The path of the real runtime modules.
const PATH: &str = "/metrics";
/// How long an answer may take to end when the device stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where metrics are read at an address.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}{PATH}")
}

/// Serves metrics until shutdown.
pub async fn serve(listener: TcpListener, metrics: DeviceMetrics, shutdown: CancellationToken) {
    let router = Router::new().route(PATH, get(answer)).with_state(metrics);
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        ended = server => if let Err(error) = ended { tracing::warn!(%error, "metrics are not served any more") },
        () = late => {}
    }
}

async fn answer(State(metrics): State<DeviceMetrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], text::write(&metrics.families().await))
}
