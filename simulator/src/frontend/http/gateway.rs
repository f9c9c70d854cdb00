//! Calls from module to module through the edge hub.
//!
//! The caller names itself in `x-ms-edge-moduleId: {device}/{module}` and proves it with its token. One SDK sends no
//! `api-version`. A plus sign in the path is one: identifiers have no blanks that it could stand for.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use edgectl_hub::gateway::{Credential, Gateway, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::InvalidToken;
use serde_json::json;

use super::access::credential;
use super::method::{read_request, response};
use super::serve::PeerCertificate;

/// A payload of 128 KiB and what is around it.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A hub, and the device whose modules may call.
#[derive(Clone)]
struct Calls {
    gateway: Arc<dyn Gateway>,
    device: DeviceId,
}

/// The paths for calls.
pub fn router(gateway: Arc<dyn Gateway>, device: DeviceId) -> Router {
    Router::new()
        .route("/twins/{device}/methods", post(call_device))
        .route("/twins/{device}/modules/{module}/methods", post(call_module))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Calls { gateway, device })
}

async fn call_device(
    State(calls): State<Calls>,
    Path(device): Path<String>,
    certificate: Option<Extension<PeerCertificate>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let credential = credential(certificate, &headers);
    call(&calls, &device, credential, &headers, &body).await
}

async fn call_module(
    State(calls): State<Calls>,
    Path((device, module)): Path<(String, String)>,
    certificate: Option<Extension<PeerCertificate>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let credential = credential(certificate, &headers);
    call(&calls, &format!("{device}/{module}"), credential, &headers, &body).await
}

async fn call(
    calls: &Calls,
    target: &str,
    credential: Result<Credential, Refusal>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    match try_call(calls, target, credential, headers, body).await {
        Ok(answer) => answer,
        // What breaks a rule is told in plain words, all else as a message.
        Err((StatusCode::BAD_REQUEST, message)) => (StatusCode::BAD_REQUEST, message).into_response(),
        Err((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
    }
}

async fn try_call(
    calls: &Calls,
    target: &str,
    credential: Result<Credential, Refusal>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, (StatusCode, String)> {
    let caller = headers.get("x-ms-edge-moduleId").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad_request = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let caller = Identity::parse(caller)
        .ok()
        .filter(|caller| caller.module.is_some())
        .ok_or_else(|| bad_request("Request header does not contain ModuleId"))?;
    if caller.device != calls.device {
        return Err((StatusCode::UNAUTHORIZED, format!("Module {caller} is not on the same device")));
    }
    let credential = credential.map_err(|refusal| unproved(&caller, refusal))?;
    let client =
        calls.gateway.authenticate(&caller, &credential).await.map_err(|refusal| unproved(&caller, refusal))?;
    let target = Identity::parse(target).map_err(|error| bad_request(&error.to_string()))?;
    let body = serde_json::from_slice(body).map_err(|error| bad_request(&format!("the body is not JSON: {error}")))?;
    let request = read_request(&body).map_err(|text| bad_request(&text))?;
    let answer = calls.gateway.invoke(&client, &target, request).await.map_err(refused)?;
    Ok(response(&answer))
}

/// What a caller is told who is not who it says, in the runtime's words.
fn unproved(caller: &Identity, refusal: Refusal) -> (StatusCode, String) {
    match &refusal {
        Refusal::Unauthorized(reason) if *reason == InvalidToken::Format.to_string() => {
            (StatusCode::UNAUTHORIZED, unreadable("The specified SAS token has an invalid format"))
        }
        Refusal::Unauthorized(reason) if *reason == InvalidToken::Expired.to_string() => {
            (StatusCode::UNAUTHORIZED, unreadable("The specified SAS token is expired"))
        }
        Refusal::Unauthorized(_) => {
            (StatusCode::UNAUTHORIZED, format!("Unable to authenticate device with Id {caller}"))
        }
        _ => refused(refusal),
    }
}

fn unreadable(reason: &str) -> String {
    format!("Cannot parse SharedAccessSignature because of the following error - {reason}")
}

fn refused(refusal: Refusal) -> (StatusCode, String) {
    let status = match &refusal {
        Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refusal::NotFound(_) | Refusal::NotConnected(_) => StatusCode::NOT_FOUND,
        Refusal::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
        Refusal::TooLarge { .. } | Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Detached | Refusal::Unavailable(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match &refusal {
        Refusal::NotConnected(identity) => format!("Client {identity} not found"),
        other => other.to_string(),
    };
    (status, message)
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use async_trait::async_trait;
    use axum::body::{Body, to_bytes};
    use edgectl_hub::gateway::{Attachment, Client, ClientLink, Feature, SessionKind};
    use edgectl_hub::message::Message;
    use edgectl_hub::method::{MethodRequest, MethodResponse};
    use hyper::Request;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;

    use super::*;

    /// A hub whose clients all answer the same.
    struct Answering(Result<MethodResponse, Refusal>);

    #[async_trait]
    impl Gateway for Answering {
        async fn authenticate(&self, identity: &Identity, _: &Credential) -> Result<Client, Refusal> {
            Ok(Client { identity: identity.clone(), expires_at: None })
        }
        async fn attach(&self, _: &Client, _: SessionKind, _: Arc<dyn ClientLink>) -> Result<Attachment, Refusal> {
            Err(Refusal::Detached)
        }
        async fn detach(&self, _: &Attachment) {}
        async fn send(&self, _: &Client, _: Vec<Message>) -> Result<(), Refusal> {
            Err(Refusal::Detached)
        }
        async fn twin(&self, _: &Client) -> Result<Value, Refusal> {
            Err(Refusal::Detached)
        }
        async fn report(&self, _: &Client, _: Value) -> Result<Option<u64>, Refusal> {
            Err(Refusal::Detached)
        }
        async fn subscribe(&self, _: &Attachment, _: Feature) -> Result<(), Refusal> {
            Err(Refusal::Detached)
        }
        async fn unsubscribe(&self, _: &Attachment, _: Feature) -> Result<(), Refusal> {
            Err(Refusal::Detached)
        }
        async fn invoke(&self, _: &Client, _: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
            self.0.clone()
        }
    }

    /// Calls a method of a target as the caller that a header names.
    async fn ask(
        device: &str,
        caller: Option<&str>,
        target: &str,
        answer: Result<MethodResponse, Refusal>,
    ) -> (u16, String) {
        let router = router(Arc::new(Answering(answer)), DeviceId::new(device).unwrap());
        let path = match target.split_once('/') {
            None => format!("/twins/{target}/methods"),
            Some((device, module)) => format!("/twins/{device}/modules/{module}/methods"),
        };
        let mut request = Request::builder().method("POST").uri(path).header("Authorization", "a token");
        if let Some(caller) = caller {
            request = request.header("x-ms-edge-moduleId", caller);
        }
        let request = request.body(Body::from(r#"{"methodName":"poke","payload":{}}"#)).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn failures_have_their_codes() {
        let target = Identity::parse("edge/m").unwrap();
        let call = async |refusal| ask("edge", Some("edge/a"), "edge/m", Err(refusal)).await;
        let (status, body) = call(Refusal::NotConnected(target.clone())).await;
        assert_eq!((status, body.as_str()), (404, r#"{"message":"Client edge/m not found"}"#));
        let (status, body) = call(Refusal::NoAnswer(target)).await;
        assert!(status == 504 && body.starts_with(r#"{"message":"#), "{body}");
        let (status, body) = ask("edge", None, "edge/m", Err(Refusal::Detached)).await;
        assert!(status == 400 && !body.starts_with('{'), "{body}");
    }

    #[tokio::test]
    async fn the_public_vectors_hold() {
        let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/methods.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        let mut count = 0;
        for vector in vectors.iter().filter(|vector| vector["op"] == "http_invoke") {
            let (input, expected) = (&vector["input"], &vector["expected"]);
            let text = |name: &str| input[name].as_str();
            let answer = MethodResponse {
                status: i32::try_from(input["deviceStatus"].as_i64().unwrap()).unwrap(),
                payload: text("devicePayload").unwrap().to_owned().into(),
            };
            let edge = text("edgeDevice").unwrap();
            let (status, body) = ask(edge, text("header"), text("target").unwrap(), Ok(answer)).await;
            assert_eq!(json!(status), expected["status"], "{vector} {body}");
            if let Some(wanted) = expected["body"].as_str() {
                assert_eq!(body, wanted, "{vector}");
            }
            count += 1;
        }
        assert!(count > 0);
    }
}
