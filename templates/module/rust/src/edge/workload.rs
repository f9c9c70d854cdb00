//! The workload API of the device: signs with the module's key, and says whom to trust.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Error;
use super::environment::Environment;
use super::topic::encode;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The certificates, in PEM, of the authorities that the hub's certificate may come from.
pub async fn trust_bundle(environment: &Environment) -> Result<String, Error> {
    let path = format!("/trust-bundle?api-version={}", environment.api_version);
    text(
        environment,
        call(environment, "GET", &path, None).await?,
        "certificate",
    )
}

/// A token with which the module connects, valid for `time_to_live` from now.
pub async fn token(environment: &Environment, time_to_live: Duration) -> Result<String, Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let expiry = (now + time_to_live).as_secs();
    let resource = encode(&environment.audience());
    let path = format!(
        "/modules/{}/genid/{}/sign?api-version={}",
        encode(&environment.module),
        encode(&environment.generation),
        environment.api_version
    );
    let data = STANDARD.encode(format!("{resource}\n{expiry}"));
    let body = json!({ "keyId": "primary", "algo": "HMACSHA256", "data": data });
    let digest = text(
        environment,
        call(environment, "POST", &path, Some(body)).await?,
        "digest",
    )?;
    Ok(format!(
        "SharedAccessSignature sr={resource}&sig={}&se={expiry}",
        encode(&digest)
    ))
}

fn text(environment: &Environment, answer: Value, member: &str) -> Result<String, Error> {
    let value = answer.get(member).and_then(Value::as_str);
    value
        .map(str::to_owned)
        .ok_or_else(|| failed(environment, format!("its answer has no {member}")))
}

fn failed(environment: &Environment, reason: impl ToString) -> Error {
    Error::Workload {
        uri: environment.workload_uri.clone(),
        reason: reason.to_string(),
    }
}

async fn call(
    environment: &Environment,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Error> {
    let uri = environment.workload_uri.as_str();
    let answer = async {
        if let Some(socket) = uri.strip_prefix("unix://") {
            let stream = UnixStream::connect(Path::new(socket))
                .await
                .map_err(|error| failed(environment, error))?;
            exchange(environment, stream, "localhost", method, path, body).await
        } else if let Some(host) = uri.strip_prefix("http://") {
            let host = host.trim_end_matches('/');
            let stream = TcpStream::connect(host)
                .await
                .map_err(|error| failed(environment, error))?;
            exchange(environment, stream, host, method, path, body).await
        } else {
            Err(failed(
                environment,
                "its address must start with unix:// or http://",
            ))
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .map_err(|_| failed(environment, "no answer in time"))?
}

async fn exchange<S>(
    environment: &Environment,
    stream: S,
    host: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| failed(environment, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(
            body.map(|body| body.to_string()).unwrap_or_default(),
        )))
        .map_err(|error| self::failed(environment, error))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(failed)?
        .to_bytes();
    connection.abort();
    if !status.is_success() {
        return Err(self::failed(
            environment,
            format!("status {status}: {}", String::from_utf8_lossy(&bytes)),
        ));
    }
    serde_json::from_slice(&bytes).map_err(|error| self::failed(environment, error))
}
