//! Requests to the service API: paths, bodies and errors of the public REST API, version 2021-04-12.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas;
use edgectl_simulator::frontend::http::device_messages::BodyMessage;
use edgectl_simulator::message::Message;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::error::{CommandError, ErrorKind, chain};
use crate::service::access::HubAccess;

const API_VERSION: &str = "2021-04-12";
/// A token is made for each request and need not hold for long.
const TOKEN_SECONDS: u64 = 300;
/// For a hub to answer what needs no device.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Changes what exists, whatever it is.
const ANY_ETAG: Option<&str> = Some("\"*\"");

/// A client of one hub.
pub struct ServiceClient {
    access: HubAccess,
    http: reqwest::Client,
}

impl ServiceClient {
    /// Makes a client; nothing is connected yet.
    pub fn new(access: HubAccess) -> Result<Self, CommandError> {
        let mut builder = reqwest::Client::builder().user_agent(concat!("edgectl/", env!("CARGO_PKG_VERSION")));
        if let Some(bundle) = &access.trust_bundle {
            let tls = edgectl_simulator::tls::client_config(bundle)
                .map_err(|error| CommandError::failed(format!("the trust bundle: {error}")))?;
            // A proxy for the internet cannot know this machine's loopback addresses.
            builder = builder.no_proxy().tls_backend_preconfigured((*tls).clone());
        }
        let http = builder.build().map_err(|error| CommandError::failed(chain(&error)))?;
        Ok(Self { access, http })
    }

    /// The twin of a device or module.
    pub async fn twin(&self, identity: &Identity) -> Result<Value, CommandError> {
        self.request(Method::GET, &twin_path(identity), None, TIMEOUT).await
    }

    /// Merges a patch into a twin: `{"properties": {"desired": …}, "tags": …}`.
    pub async fn patch_twin(&self, identity: &Identity, patch: &Value) -> Result<Value, CommandError> {
        self.request(Method::PATCH, &twin_path(identity), Some(patch), TIMEOUT).await
    }

    /// A twin; none if there is no such identity.
    pub async fn find_twin(&self, identity: &Identity) -> Result<Option<Value>, CommandError> {
        match self.answer(Method::GET, &twin_path(identity), None, None, TIMEOUT).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, bytes) => self.read(status, &bytes).map(Some),
        }
    }

    /// Calls a direct method: `{"status", "payload"}`.
    pub async fn invoke(
        &self,
        identity: &Identity,
        method: &str,
        payload: &Value,
        connect: Duration,
        response: Duration,
    ) -> Result<Value, CommandError> {
        let body = json!({
            "methodName": method,
            // Never left out: the Node SDK takes an empty payload for bad JSON, and answers 400 in the module's place.
            "payload": payload,
            "connectTimeoutInSeconds": connect.as_secs(),
            "responseTimeoutInSeconds": response.as_secs(),
        });
        let path = format!("{}/methods", twin_path(identity));
        self.request(Method::POST, &path, Some(&body), connect + response + TIMEOUT).await
    }

    /// Applies a deployment's content to one device.
    pub async fn apply(&self, device: &str, content: &Value) -> Result<(), CommandError> {
        let path = format!("/devices/{}/applyConfigurationContent", sas::encode(device));
        self.request(Method::POST, &path, Some(content), TIMEOUT).await.map(|_| ())
    }

    /// A device's registration.
    pub async fn device(&self, device: &str) -> Result<Value, CommandError> {
        self.request(Method::GET, &format!("/devices/{}", sas::encode(device)), None, TIMEOUT).await
    }

    /// A device's registration; none if it is not registered.
    pub async fn find_device(&self, device: &str) -> Result<Option<Value>, CommandError> {
        let path = format!("/devices/{}", sas::encode(device));
        match self.answer(Method::GET, &path, None, None, TIMEOUT).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, bytes) => self.read(status, &bytes).map(Some),
        }
    }

    /// All devices' registrations.
    pub async fn devices(&self) -> Result<Vec<Value>, CommandError> {
        let found = self.request(Method::GET, "/devices", None, TIMEOUT).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// Registers a device that is not registered.
    pub async fn put_device(&self, device: &str, registration: &Value) -> Result<Value, CommandError> {
        self.request(Method::PUT, &format!("/devices/{}", sas::encode(device)), Some(registration), TIMEOUT).await
    }

    /// Changes the registration of a device.
    pub async fn change_device(&self, device: &str, registration: &Value) -> Result<Value, CommandError> {
        let path = format!("/devices/{}", sas::encode(device));
        let (status, bytes) = self.answer(Method::PUT, &path, Some(registration), ANY_ETAG, TIMEOUT).await?;
        self.read(status, &bytes)
    }

    /// Removes a device with all that is kept of it.
    pub async fn remove_device(&self, device: &str) -> Result<(), CommandError> {
        let path = format!("/devices/{}", sas::encode(device));
        let (status, bytes) = self.answer(Method::DELETE, &path, None, ANY_ETAG, TIMEOUT).await?;
        self.read(status, &bytes).map(|_| ())
    }

    /// Puts a message into the queue of a device.
    pub async fn send_to_device(&self, device: &str, message: &Message) -> Result<(), CommandError> {
        let path = format!("/devices/{}/messages/devicebound", sas::encode(device));
        let body = serde_json::to_value([BodyMessage::write(message)])
            .map_err(|error| CommandError::failed(format!("the message: {error}")))?;
        self.request(Method::POST, &path, Some(&body), TIMEOUT).await.map(|_| ())
    }

    /// Asks for something and reads the answer.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Value, CommandError> {
        let (status, bytes) = self.answer(method, path, body, None, timeout).await?;
        self.read(status, &bytes)
    }

    pub(super) async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), CommandError> {
        let header = if_match.map(|etag| ("If-Match", etag));
        let (status, _, bytes) = self.send(method, path, body, header, timeout).await?;
        Ok((status, bytes))
    }

    /// Sends a request with one more header, if there is one.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        header: Option<(&str, &str)>,
        timeout: Duration,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), CommandError> {
        let HubAccess { host, port, .. } = &self.access;
        let url = format!("https://{host}:{port}{path}?api-version={API_VERSION}");
        let mut request = self.http.request(method, &url).timeout(timeout).header("Authorization", self.token());
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, headers, bytes.to_vec()))
    }

    pub(super) fn read(&self, status: StatusCode, bytes: &[u8]) -> Result<Value, CommandError> {
        if !status.is_success() {
            return Err(refused(status, bytes, self.access.is_simulated));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(bytes)
            .map_err(|error| CommandError::failed(format!("{}: an answer that is not JSON: {error}", self.access.host)))
    }

    fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        sas::make_token(
            &self.access.key,
            &sas::encode(&self.access.host),
            now + TOKEN_SECONDS,
            Some(&self.access.policy),
        )
    }

    fn unreachable(&self, error: &reqwest::Error) -> CommandError {
        let kind = if error.is_timeout() { ErrorKind::TimedOut } else { ErrorKind::Failed };
        let HubAccess { host, port, .. } = &self.access;
        let error = CommandError::new(kind, format!("the hub at {host}:{port} cannot be reached: {}", chain(error)));
        if self.access.is_simulated {
            return error.hint("Run `edgectl status` to see whether the device is running.");
        }
        error.hint("Check the host name in the target's connection string, and the way there.")
    }
}

fn twin_path(identity: &Identity) -> String {
    let device = sas::encode(identity.device.as_str());
    match &identity.module {
        None => format!("/twins/{device}"),
        Some(module) => format!("/twins/{device}/modules/{}", sas::encode(module.as_str())),
    }
}

/// The service's own words: `{"Message": "ErrorCode:Code;text"}`, or for methods `{"errorCode", "message"}`.
fn refused(status: StatusCode, body: &[u8], is_simulated: bool) -> CommandError {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(body) => {
            let member = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
            member("Message").or_else(|| member("message")).unwrap_or_else(|| body.to_string())
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let (kind, hint) = match status {
        StatusCode::UNAUTHORIZED => {
            let hint = "Check the policy and its key in the connection string; a deployment needs the rights to write to the registry and to connect as a service.";
            (ErrorKind::Denied, (!is_simulated).then_some(hint))
        }
        StatusCode::FORBIDDEN => (
            ErrorKind::Denied,
            (!is_simulated).then_some("A limit of the hub may be reached: its devices, or its messages of the day."),
        ),
        StatusCode::NOT_FOUND if is_simulated => {
            (ErrorKind::Failed, Some("Check the name; `edgectl status` lists the modules."))
        }
        StatusCode::NOT_FOUND => (ErrorKind::Failed, Some("Check the name, and that it is registered at that hub.")),
        StatusCode::PRECONDITION_FAILED => {
            (ErrorKind::Failed, Some("Somebody else changed it meanwhile: look at what is there now, and try again."))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            (ErrorKind::Failed, Some("The hub is asked too often: wait a moment, and try again."))
        }
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => (ErrorKind::TimedOut, None),
        _ => (ErrorKind::Failed, None),
    };
    let error = CommandError::new(kind, format!("the hub answered {}: {text}", status.as_u16()));
    match hint {
        None => error,
        Some(hint) => error.hint(hint),
    }
}
