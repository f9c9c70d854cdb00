//! Writing messages to where an endpoint has them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use edgectl_hub::cloud::events::ReceivedEvent;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use tokio::sync::mpsc;

use super::settings::Address;
use crate::agent::methods::blob::is_loopback;

/// For an HTTP address to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where an endpoint's messages go, ready to be written to.
pub enum Target {
    /// Lines of a file.
    File(std::path::PathBuf),
    /// Requests to an address.
    Url(Url, Client),
    /// Whoever prints. None where nobody does.
    Stdout(Option<mpsc::Sender<ReceivedEvent>>),
}

impl Target {
    /// The target of an address.
    pub fn of(address: Address, printed: Option<mpsc::Sender<ReceivedEvent>>) -> Result<Self, String> {
        Ok(match address {
            Address::File(path) => Self::File(path),
            Address::Url(url) => {
                // Fails only where another one was chosen already, which serves as well.
                let _ = ring::default_provider().install_default();
                let address: Url = url.parse().map_err(|_| format!("{url} is no address"))?;
                let mut client = Client::builder().timeout(TIMEOUT);
                if is_loopback(&address) {
                    client = client.no_proxy();
                }
                Self::Url(address, client.build().map_err(|error| error.to_string())?)
            }
            Address::Stdout => Self::Stdout(printed),
        })
    }

    /// Writes messages. When it returns they are where they should be; on an error some of them may be, too.
    pub async fn write(&self, events: Vec<ReceivedEvent>) -> Result<(), String> {
        match self {
            Self::File(path) => append(path, &events).map_err(|error| format!("{}: {error}", path.display())),
            Self::Url(url, client) => {
                let response =
                    client.post(url.clone()).json(&events).send().await.map_err(|error| error.to_string())?;
                let status = response.status();
                if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status}")) }
            }
            Self::Stdout(None) => Ok(()),
            Self::Stdout(Some(printed)) => {
                for event in events {
                    // When nobody prints any more the device is about to end.
                    let _ = printed.send(event).await;
                }
                Ok(())
            }
        }
    }
}

fn append(path: &Path, events: &[ReceivedEvent]) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event)?;
        lines.push(b'\n');
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    file.write_all(&lines).inspect_err(|_| {
        // Half a line must not stay before the next one.
        let _ = file.set_len(before);
    })
}
