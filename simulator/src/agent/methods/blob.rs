//! A container of blobs, known by a URL with a shared access signature, and putting block blobs into it.
//!
//! The URL is a secret as a whole: who knows it may write. It is never logged and stands in no error.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::clock::Clock;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use rustls::crypto::ring;
use uuid::Uuid;

/// The version of the storage service's interface.
const STORAGE_VERSION: &str = "2019-12-12";
/// For the service to take a blob.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How long to wait before another try, as the real agent does for what may be better the next time.
pub const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(9)];

/// Why a URL is none of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContainer {
    /// It is no URL, or one of something else.
    #[error("\"sasUrl\" is not the https URL of a container of blobs")]
    NotAContainer,
    /// Who listens on the way would know the signature.
    #[error("\"sasUrl\" is not encrypted: http is for an address of this machine alone")]
    NotEncrypted,
}

/// Where blobs go. Shown without its signature.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobContainer(Url);

/// What is known of a blob beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobKind {
    /// Its media type.
    pub content_type: &'static str,
    /// How it is encoded, if it is.
    pub content_encoding: Option<&'static str>,
}

/// A blob was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The service does not answer.
    #[error("the storage service cannot be reached: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the storage service answered {status}{}", code.as_ref().map_or_else(String::new, |code| format!(": {code}")))]
    Refused {
        /// Of HTTP.
        status: u16,
        /// The service's word for the reason, as in `AuthenticationFailed`.
        code: Option<String>,
    },
}

impl UploadError {
    /// Whether the same may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
        }
    }
}

impl BlobContainer {
    /// Reads a URL. Without encryption it must be of this machine.
    pub fn parse(text: &str) -> Result<Self, InvalidContainer> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidContainer::NotAContainer)?;
        let is_bare = url.path().trim_matches('/').is_empty();
        match url.scheme() {
            _ if url.host().is_none() || is_bare => Err(InvalidContainer::NotAContainer),
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            "http" => Err(InvalidContainer::NotEncrypted),
            _ => Err(InvalidContainer::NotAContainer),
        }
    }

    /// Where a blob goes, whose name may have folders.
    fn blob(&self, name: &str) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(name.split('/'));
        }
        url
    }

    /// Puts a block blob, in place of one of that name. What may be better the next time is tried again after each delay.
    pub async fn put(
        &self,
        name: &str,
        kind: BlobKind,
        bytes: Bytes,
        delays: &[Duration],
        clock: &dyn Clock,
    ) -> Result<(), UploadError> {
        let mut delays = delays.iter();
        loop {
            match self.put_once(name, kind, bytes.clone(), clock).await {
                Err(error) if error.is_passing() => match delays.next() {
                    Some(delay) => {
                        tracing::debug!(blob = name, %error, "the upload is tried again");
                        clock.sleep(*delay).await;
                    }
                    None => return Err(error),
                },
                done => return done,
            }
        }
    }

    async fn put_once(&self, name: &str, kind: BlobKind, bytes: Bytes, clock: &dyn Clock) -> Result<(), UploadError> {
        let mut request = self
            .client()?
            .put(self.blob(name))
            .timeout(TIMEOUT)
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-version", STORAGE_VERSION)
            .header("x-ms-date", clock.timestamp().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .header("x-ms-client-request-id", Uuid::new_v4().to_string())
            .header("x-ms-blob-content-type", kind.content_type)
            .header("Content-Type", "application/octet-stream");
        if let Some(encoding) = kind.content_encoding {
            request = request.header("x-ms-blob-content-encoding", encoding);
        }
        // A body of a known length, without which the service refuses it.
        let response = request.body(bytes).send().await.map_err(unreachable)?;
        if response.status() == StatusCode::CREATED {
            return Ok(());
        }
        let code = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok()).map(str::to_owned);
        Err(UploadError::Refused { status: response.status().as_u16(), code })
    }

    fn client(&self) -> Result<Client, UploadError> {
        // It fails where one is installed already, which is as good.
        let _ = ring::default_provider().install_default();
        let mut builder =
            Client::builder().redirect(Policy::none()).user_agent(concat!("edgectl/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&self.0) {
            // A proxy for the internet cannot know this machine's loopback addresses.
            builder = builder.no_proxy();
        }
        builder.build().map_err(unreachable)
    }
}

impl fmt::Debug for BlobContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobContainer({}{})", self.0.host_str().unwrap_or_default(), self.0.path())
    }
}

fn unreachable(error: reqwest::Error) -> UploadError {
    // The URL holds the signature.
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    UploadError::Unreachable(reason)
}

/// Whether an address is on this machine, where no proxy has any business.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_machine_goes_without_encryption() {
        for good in [
            "https://store.blob.core.windows.net/logs?sv=1&sig=a%2Fb",
            "http://127.0.0.1:10000/devstoreaccount1/logs?sig=x",
            "http://127.0.7.2/logs",
            "http://localhost:10000/a/b",
            "http://[::1]:10000/a",
        ] {
            assert!(BlobContainer::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "logs", "https://host", "https://host/", "ftp://127.0.0.1/a", "file:///etc/passwd"] {
            assert_eq!(BlobContainer::parse(bad), Err(InvalidContainer::NotAContainer), "{bad}");
        }
        for open in ["http://store.blob.core.windows.net/logs", "http://127.0.0.1.example/logs", "http://10.0.0.1/x"] {
            assert_eq!(BlobContainer::parse(open), Err(InvalidContainer::NotEncrypted), "{open}");
        }
    }

    #[test]
    fn a_blob_lies_in_its_container_under_the_same_signature_which_is_not_shown() {
        let container = BlobContainer::parse("https://h/c/?sv=1&sig=a%2Fb%3D").unwrap();
        assert_eq!(container.blob("hub/device/a b.log").as_str(), "https://h/c/hub/device/a%20b.log?sv=1&sig=a%2Fb%3D");
        assert_eq!(format!("{container:?}"), "BlobContainer(h/c/)");
    }
}
