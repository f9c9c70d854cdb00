//! Requests to a registry: who asks, what went wrong, and what is worth another try.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edgectl_simulator::runtime::docker::credentials::{self, HelperError, TOKEN};
use edgectl_simulator::runtime::module_runtime::RegistryCredential;
use jiff::Timestamp;
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::login::{Challenge, challenge};
use super::reference::{self, Reference};
use crate::error::{CommandError, ErrorKind, chain};
use crate::image::error::ImageError;

/// How often something is tried that may work a moment later.
const TRIES: u32 = 4;
/// Until the second try; each later one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest that a registry may let us wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// To reach a registry at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most of what a registry says about an error that is told.
const TOLD: usize = 300;

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is not there.
    #[error("the registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        registry: String,
        /// What happened.
        reason: String,
    },
    /// It wants to know who asks, or does not let them.
    #[error("the registry {registry} does not let {who} do that: {what}")]
    Denied {
        /// Which.
        registry: String,
        /// Who asked.
        who: String,
        /// For what.
        what: String,
    },
    /// It has no such thing.
    #[error("the registry {registry} has no {what}")]
    NotFound {
        /// Which.
        registry: String,
        /// What.
        what: String,
    },
    /// It went away in the middle of what it sent.
    #[error("the registry {registry} broke off in the middle of {what}: {reason}")]
    BrokenOff {
        /// Which.
        registry: String,
        /// What it sent.
        what: String,
        /// What happened.
        reason: String,
    },
    /// It answered something else.
    #[error("the registry {registry} answered {status} to {what}: {message}")]
    Refused {
        /// Which.
        registry: String,
        /// The status of HTTP.
        status: u16,
        /// What was asked.
        what: String,
        /// In its words.
        message: String,
    },
    /// What it sent, or was sent, is not right here.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::Unreachable { .. } => Self::failed(message)
                .hint("See that its name is right and that it runs; `edgectl registry serve` is one for this machine."),
            RegistryError::Denied { registry, .. } => {
                Self::new(ErrorKind::Denied, message).hint(log_in_hint(&registry))
            }
            RegistryError::NotFound { .. } | RegistryError::BrokenOff { .. } | RegistryError::Refused { .. } => {
                Self::failed(message)
            }
            RegistryError::Image(error) => error.into(),
        }
    }
}

/// What to do where a registry wants to know who asks.
pub fn log_in_hint(registry: &str) -> String {
    format!("`docker login {registry}` anew, or put credentials into the manifest; tokens expire.")
}

/// Who the user is at registries.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// The folder with the user's settings of engines.
    pub settings: Option<PathBuf>,
    /// The credentials of a manifest, which are asked after those of the user.
    pub manifest: Vec<RegistryCredential>,
}

impl Logins {
    /// Who the user is at a registry, and why that may not be known.
    pub async fn at(&self, registry: &str) -> (Option<RegistryCredential>, Option<HelperError>) {
        let registry = reference::usual_name(registry);
        let own = match &self.settings {
            Some(settings) => credentials::find(settings, reference::login(registry)).await,
            None => Ok(None),
        };
        let of_manifest = || self.manifest.iter().find(|known| known.address == registry).cloned();
        match own {
            Ok(found) => (found.or_else(of_manifest), None),
            // Everybody may do some things, so this is told only where the registry says no.
            Err(trouble) => (of_manifest(), Some(trouble)),
        }
    }
}

/// A registry, and who asks it.
#[derive(Debug)]
pub struct Registry {
    http: Client,
    name: String,
    address: String,
    credential: Option<RegistryCredential>,
    /// Why there may be none.
    trouble: Option<HelperError>,
    /// The header that lets us in, by what it lets us do.
    headers: Mutex<HashMap<String, String>>,
}

impl Registry {
    /// The registry of a reference. Nothing is connected yet.
    pub async fn of(reference: &Reference, logins: &Logins) -> Result<Self, RegistryError> {
        // It may be there already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .user_agent(concat!("edgectl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| RegistryError::Unreachable {
                registry: reference.registry.clone(),
                reason: chain(&error),
            })?;
        let (credential, trouble) = logins.at(&reference.registry).await;
        Ok(Self {
            http,
            name: reference.registry.clone(),
            address: reference.address(),
            credential,
            trouble,
            headers: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client, for making requests that `send` sends.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The address of something in a repository.
    pub fn url(&self, repository: &str, rest: &str) -> String {
        format!("{}/v2/{repository}/{rest}", self.address)
    }

    /// An address that the registry gave, which may leave its own part out.
    pub fn absolute(&self, location: &str) -> String {
        if location.starts_with('/') { format!("{}{location}", self.address) } else { location.to_owned() }
    }

    /// Sends a request, again where that may help, and lets the registry know who asks. `actions` are what it is to allow
    /// in the repository: `pull` or `pull,push`. Any answer comes back but that the user may not.
    pub async fn send(
        &self,
        repository: &str,
        actions: &str,
        what: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.send_made(repository, actions, what, async || Ok(request())).await
    }

    /// The same with a request that takes something to make, for each time that it is sent.
    pub async fn send_made(
        &self,
        repository: &str,
        actions: &str,
        what: &str,
        request: impl AsyncFn() -> Result<RequestBuilder, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let scope = format!("repository:{repository}:{actions}");
        let mut has_asked = false;
        loop {
            let header = self.headers().get(&scope).cloned();
            let allowed = async || {
                let request = request().await?;
                Ok(match &header {
                    Some(header) => request.header("authorization", header),
                    None => request,
                })
            };
            let answer = self.patiently(allowed).await?.map_err(|error| self.unreachable(&error))?;
            match answer.status() {
                StatusCode::UNAUTHORIZED if !has_asked => {
                    has_asked = true;
                    let header = self.log_in(&answer, &scope, what).await?;
                    self.headers().insert(scope.clone(), header);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied(what)),
                _ => return Ok(answer),
            }
        }
    }

    /// Sends a request, again while what hinders it may pass.
    async fn patiently(
        &self,
        request: impl AsyncFn() -> Result<RequestBuilder, RegistryError>,
    ) -> Result<reqwest::Result<Response>, RegistryError> {
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            tries += 1;
            let answer = request().await?.send().await;
            let asked = match &answer {
                _ if tries == TRIES => return Ok(answer),
                Ok(answer) if is_passing(answer.status()) => {
                    let told = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                    told.and_then(|told| retry_after(told, Timestamp::now()))
                }
                Err(error) if !error.is_builder() && !is_absent(error) => None,
                _ => return Ok(answer),
            };
            tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
    }

    /// Does something with what a registry sends, again where it broke off.
    pub async fn again<T>(work: impl AsyncFn() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            tries += 1;
            match work().await {
                Err(RegistryError::BrokenOff { .. }) if tries < TRIES => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
    }

    /// What an answer means that is none of those hoped for.
    pub async fn refused(&self, answer: Response, what: &str) -> RegistryError {
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return RegistryError::NotFound { registry: self.name.clone(), what: what.to_owned() };
        }
        let text = answer.text().await.unwrap_or_default();
        let told = serde_json::from_str::<Value>(&text).ok();
        let message = told.as_ref().and_then(|told| told.pointer("/errors/0/message")?.as_str());
        let message = message.unwrap_or(text.trim());
        let message = if message.is_empty() { status.canonical_reason().unwrap_or("nothing else") } else { message };
        let message = message.chars().take(TOLD).collect();
        RegistryError::Refused { registry: self.name.clone(), status: status.as_u16(), what: what.to_owned(), message }
    }

    fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        RegistryError::Unreachable { registry: self.name.clone(), reason: chain(error) }
    }

    /// The registry went away in the middle of what it sent.
    pub fn broken_off(&self, what: &str, error: &reqwest::Error) -> RegistryError {
        RegistryError::BrokenOff { registry: self.name.clone(), what: what.to_owned(), reason: chain(error) }
    }

    fn denied(&self, what: &str) -> RegistryError {
        let who = match (&self.credential, &self.trouble) {
            (Some(credential), _) if credential.username == TOKEN => "the holder of this token".to_owned(),
            (Some(credential), _) => credential.username.clone(),
            (None, None) => "somebody who has not logged in".to_owned(),
            (None, Some(trouble)) => format!("somebody whose login is not known ({trouble})"),
        };
        RegistryError::Denied { registry: self.name.clone(), who, what: what.to_owned() }
    }

    /// The header that answers a challenge.
    async fn log_in(&self, answer: &Response, scope: &str, what: &str) -> Result<String, RegistryError> {
        let mut asked =
            answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| challenge(value.to_str().ok()?));
        match asked.next_back() {
            Some(Challenge::Basic) => self.basic().ok_or_else(|| self.denied(what)),
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                // What it asks for may be less than what comes next, and more: another repository to take a blob from.
                let asked = asked.as_deref().unwrap_or_default().split_whitespace();
                let scopes: Vec<&str> = asked.filter(|asked| *asked != scope).chain([scope]).collect();
                self.token(&realm, service.as_deref(), &scopes, what).await
            }
            None => Err(self.denied(what)),
        }
    }

    fn basic(&self) -> Option<String> {
        use base64::Engine as _;
        let credential = self.credential.as_ref()?;
        let text = format!("{}:{}", credential.username, credential.password);
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)))
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &[&str],
        what: &str,
    ) -> Result<String, RegistryError> {
        if self.credential.is_some() && self.address.starts_with("https:") && !realm.starts_with("https:") {
            return Err(RegistryError::Refused {
                registry: self.name.clone(),
                status: StatusCode::UNAUTHORIZED.as_u16(),
                what: what.to_owned(),
                message: format!("logins are to go to {realm}, which is not encrypted, so none was sent"),
            });
        }
        let request = || self.token_request(realm, service.unwrap_or_default(), scopes);
        let gone = |error: reqwest::Error| RegistryError::Unreachable {
            registry: self.name.clone(),
            reason: format!("{realm}, which gives tokens for it, does not answer: {}", chain(&error)),
        };
        let answer = self.patiently(async || Ok(request())).await?.map_err(gone)?;
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
            return Err(self.denied(what));
        }
        if !answer.status().is_success() {
            return Err(self.refused(answer, &format!("a request for a token at {realm}")).await);
        }
        let told: Value = answer.json().await.map_err(gone)?;
        let token = ["token", "access_token"].iter().find_map(|name| told.get(name)?.as_str());
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| self.denied(what))
    }

    fn token_request(&self, realm: &str, service: &str, scopes: &[&str]) -> RequestBuilder {
        if let Some(credential) = self.credential.as_ref().filter(|credential| credential.username == TOKEN) {
            let form = self.http.post(realm).header("content-type", "application/x-www-form-urlencoded");
            return form.body(format!(
                "grant_type=refresh_token&client_id=edgectl&service={}&scope={}&refresh_token={}",
                encode(service),
                encode(&scopes.join(" ")),
                encode(&credential.password)
            ));
        }
        let mut query = format!("service={}", encode(service));
        for scope in scopes {
            query.push_str(&format!("&scope={}", encode(scope)));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let request = self.http.get(format!("{realm}{separator}{query}"));
        match self.basic() {
            Some(basic) => request.header("authorization", basic),
            None => request,
        }
    }

    fn headers(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer may be another one a moment later.
pub fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// How long a header `Retry-After` asks to wait: so many seconds, or until a time.
fn retry_after(told: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = told.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(told).ok()?;
    // A time that is over asks for nothing.
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

/// Whether nobody is there at all: then another try changes nothing.
fn is_absent(error: &reqwest::Error) -> bool {
    let text = chain(error);
    error.is_connect() && (text.contains("refused") || text.contains("dns error"))
}

/// A text as part of an address.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_read_as_seconds_and_as_a_time() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Fri, 02 Jan 2026 03:04:15 GMT", Some(10)),
            ("Fri, 02 Jan 2026 03:04:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ];
        for (told, seconds) in cases {
            assert_eq!(retry_after(told, now), seconds.map(Duration::from_secs), "{told}");
        }
    }
}
