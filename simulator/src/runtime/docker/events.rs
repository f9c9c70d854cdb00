//! What happens to a device's containers, as the engine tells it, over the engine's own end and return.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::runtime::docker::body::DEVICE_LABEL;
use crate::runtime::docker::engine::Engine;

/// Between two looks whether an engine is there again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Those who wait for something to happen.
#[derive(Debug, Clone)]
pub struct Watchers {
    /// Counts the ends of containers.
    pub exits: watch::Sender<u64>,
    /// Counts starts, ends and removals.
    pub changes: watch::Sender<u64>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { exits: watch::Sender::new(0), changes: watch::Sender::new(0) }
    }
}

impl Watchers {
    fn note(&self, is_exit: bool) {
        if is_exit {
            self.exits.send_modify(|count| *count += 1);
        }
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Listens until shutdown. An engine that went away is waited for; what ended with it is looked at when it is back.
pub async fn listen(engine: Engine, device: String, watchers: Watchers, shutdown: CancellationToken) {
    let work = async {
        loop {
            let since = jiff::Timestamp::now().as_second().to_string();
            follow(&engine, &device, since, &watchers).await;
            tracing::warn!("the container engine does not tell any more what happens");
            // Whoever shows the modules is to say so.
            watchers.note(true);
            loop {
                tokio::time::sleep(RETRY_DELAY).await;
                if engine.docker().ping().await.is_ok() {
                    break;
                }
            }
            tracing::info!("the container engine is there again");
            watchers.note(true);
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn follow(engine: &Engine, device: &str, since: String, watchers: &Watchers) {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let filters = HashMap::from([
        ("type".to_owned(), words(&["container"])),
        ("label".to_owned(), vec![format!("{DEVICE_LABEL}={device}")]),
        ("event".to_owned(), words(&["start", "die", "destroy"])),
    ]);
    let options = EventsOptions { since: Some(since), filters: Some(filters), ..EventsOptions::default() };
    let mut events = engine.docker().events(Some(options));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => watchers.note(event.action.as_deref() == Some("die")),
            Err(error) => {
                tracing::debug!(%error, "the engine's events ended");
                return;
            }
        }
    }
}
