//! Requests to a registry: who asks, what went wrong, and what is worth another try.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edgectl_simulator::runtime::docker::credentials;
use edgectl_simulator::runtime::module_runtime::RegistryCredential;
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::login::{Challenge, challenge};
use super::reference::Reference;
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
            RegistryError::Denied { registry, .. } => Self::new(ErrorKind::Denied, message)
                .hint(format!("`docker login {registry}` anew, or put credentials into the manifest; tokens expire.")),
            RegistryError::NotFound { .. } | RegistryError::Refused { .. } => Self::failed(message),
            RegistryError::Image(error) => error.into(),
        }
    }
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
    async fn find(&self, reference: &Reference) -> Option<RegistryCredential> {
        if let Some(settings) = &self.settings
            && let Some(found) = credentials::find(settings, reference.login()).await
        {
            return Some(found);
        }
        self.manifest.iter().find(|known| known.address == reference.registry).cloned()
    }
}

/// A registry, and who asks it.
#[derive(Debug)]
pub struct Registry {
    http: Client,
    name: String,
    address: String,
    credential: Option<RegistryCredential>,
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
        Ok(Self {
            http,
            name: reference.registry.clone(),
            address: reference.address(),
            credential: logins.find(reference).await,
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
        let scope = format!("repository:{repository}:{actions}");
        let (mut tries, mut has_asked, mut pause) = (0, false, FIRST_PAUSE);
        loop {
            tries += 1;
            let header = self.headers().get(&scope).cloned();
            let request = match &header {
                Some(header) => request().header("authorization", header),
                None => request(),
            };
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) if tries < TRIES && !error.is_builder() && !is_absent(&error) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            let status = answer.status();
            if status == StatusCode::UNAUTHORIZED && !has_asked {
                has_asked = true;
                let header = self.log_in(&answer, &scope, what).await?;
                self.headers().insert(scope.clone(), header);
                continue;
            }
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(self.denied(what));
            }
            let is_passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if is_passing && tries < TRIES {
                let told = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                tokio::time::sleep(told.map_or(pause, Duration::from_secs).min(LONGEST_PAUSE)).await;
                pause *= 2;
                continue;
            }
            return Ok(answer);
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
        let message: String = message.unwrap_or(text.trim()).chars().take(TOLD).collect();
        RegistryError::Refused { registry: self.name.clone(), status: status.as_u16(), what: what.to_owned(), message }
    }

    /// The registry went away in the middle.
    pub fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        RegistryError::Unreachable { registry: self.name.clone(), reason: chain(error) }
    }

    fn denied(&self, what: &str) -> RegistryError {
        let who = match &self.credential {
            Some(credential) => credential.username.clone(),
            None => "somebody who has not logged in".to_owned(),
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
                // What it asks for may be less than what comes next.
                let scopes: Vec<&str> =
                    asked.as_deref().filter(|asked| *asked != scope).into_iter().chain([scope]).collect();
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
        let service = service.unwrap_or_default();
        // Helpers give a token in the place of a password under this name.
        let refresh = self.credential.as_ref().filter(|credential| credential.username == "<token>");
        let request = match refresh {
            Some(credential) => {
                self.http.post(realm).header("content-type", "application/x-www-form-urlencoded").body(format!(
                    "grant_type=refresh_token&client_id=edgectl&service={}&scope={}&refresh_token={}",
                    encode(service),
                    encode(&scopes.join(" ")),
                    encode(&credential.password)
                ))
            }
            None => {
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
        };
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
            return Err(self.denied(what));
        }
        if !answer.status().is_success() {
            return Err(self.refused(answer, "a request for a token").await);
        }
        let told: Value = answer.json().await.map_err(|error| self.unreachable(&error))?;
        let token = ["token", "access_token"].iter().find_map(|name| told.get(name)?.as_str());
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| self.denied(what))
    }

    fn headers(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
