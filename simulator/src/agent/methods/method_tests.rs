//! The methods against modules that only print, and a storage service that only remembers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::method::{AgentIdentity, MethodAnswer, MethodError, Methods, find};
use super::tasks::BackgroundTasks;
use super::uploads::Uploads;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, LogStream, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential,
    RuntimeError,
};

/// A module whose restart never ends.
const SLOW: &str = "slow";

/// Modules with these names, each of which printed two lines.
struct Printing(Vec<String>);

#[async_trait]
impl ModuleRuntime for Printing {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        let state = |name: &String| ModuleState {
            name: name.clone(),
            image: "i".into(),
            image_description: None,
            image_hash: None,
            status: ModuleStatus::Running,
            description: String::new(),
            exit_code: None,
            started_at: None,
            exited_at: None,
            pid: None,
            limits: None,
            limits_unenforced: None,
        };
        Ok(self.0.iter().map(state).collect())
    }

    async fn prepare(&self, _: &str, _: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn create(&self, _: ModuleSpec) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        match self.0.iter().any(|known| known == name) {
            true if name == SLOW => std::future::pending().await,
            true => Ok(()),
            false => Err(RuntimeError::NotFound(name.to_owned())),
        }
    }

    async fn stop(&self, _: &str, _: Duration) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn logs(&self, name: &str, _: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        let (lines, receiver) = mpsc::channel(2);
        for text in [format!("hello of {name}"), "<3> 2019-02-14 16:15:35.243 -08:00 bad".to_owned()] {
            lines.try_send(LogLine { at: Timestamp::UNIX_EPOCH, stream: LogStream::Stdout, text }).unwrap();
        }
        Ok(receiver)
    }

    fn exits(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

fn methods(modules: &[&str]) -> Methods {
    let runtime = Arc::new(Printing(modules.iter().map(|name| (*name).to_owned()).collect()));
    let tasks = BackgroundTasks::new(TaskTracker::new(), CancellationToken::new());
    let identity = AgentIdentity { hub: "hub.example".into(), device: "d".into() };
    let bundle: super::uploads::BundleMaker =
        Arc::new(|wanted| Box::pin(async move { Ok(format!("{}", wanted.is_runtime_only).into_bytes()) }));
    let uploads = Uploads { delays: vec![Duration::ZERO], ..Uploads::new(identity, runtime, tasks, bundle) };
    Methods { uploads, stop_timeout: Duration::ZERO }
}

fn status_of(expected: &Value) -> i32 {
    match expected["error"].as_str() {
        None => 200,
        Some("argument") => 400,
        Some(_) => 500,
    }
}

#[tokio::test]
async fn methods_answer_as_the_vectors_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/agent.json");
    let Ok(text) = std::fs::read(file) else { return println!("passed over: no behaviour vectors") };
    let document: Value = serde_json::from_slice(&text).unwrap();
    let mut checked = BTreeMap::new();
    for vector in document["vectors"].as_array().unwrap() {
        let (input, expected) = (&vector["input"], &vector["expected"]);
        let payload = |payload: &Value| match (input["payloadText"].as_str(), payload) {
            (Some(text), _) => text.to_owned(),
            (None, Value::Null) => String::new(),
            (None, payload) => payload.to_string(),
        };
        let operation = vector["op"].as_str().unwrap();
        match operation {
            "agent_restart_module" => {
                let modules: Vec<&str> =
                    input["modules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let answer = methods(&modules).handle("RestartModule", payload(&input["payload"]).as_bytes()).await;
                assert_eq!(answer.status, status_of(expected), "{vector}");
            }
            "agent_task_status" => {
                let answer = methods(&[]).handle("GetTaskStatus", payload(input).as_bytes()).await;
                assert_eq!(answer.status, status_of(expected), "{vector}");
            }
            "agent_method_dispatch" => {
                // The names of the real agent's tests are none of ours; the rule that finds them is the same.
                let registered: Vec<&str> =
                    input["registered"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let is_known = find(&registered, input["name"].as_str().unwrap_or_default()).is_some();
                let answer = methods(&[]).handle(if is_known { "PiNg" } else { "other" }, b"").await;
                assert_eq!(json!(answer.status), expected["status"], "{vector}");
                assert_eq!(json!(answer.payload.is_some()), expected["hasMessage"], "{vector}");
            }
            "agent_method_error" => {
                let error = match input.as_str().unwrap() {
                    "ArgumentException" => MethodError::Argument(String::new()),
                    "cancelled after timeout" => MethodError::TimedOut,
                    _ => MethodError::Failed(String::new()),
                };
                assert_eq!(json!(error.status()), expected["status"], "{vector}");
            }
            "log_stream" => {
                let stream = LogStream::of_number(u8::try_from(input.as_u64().unwrap()).unwrap());
                assert_eq!(json!(stream.map(LogStream::as_str)), *expected, "{vector}");
            }
            _ => continue,
        }
        *checked.entry(operation).or_insert(0) += 1;
    }
    assert_eq!(checked.len(), 5, "{checked:?}");
}

#[tokio::test(start_paused = true)]
async fn names_are_taken_in_any_case_and_what_takes_too_long_is_given_up() {
    let methods = methods(&["a", SLOW]);
    assert_eq!(methods.handle("PING", b"").await, MethodAnswer { status: 200, payload: None });
    assert_eq!(methods.handle("restartmodule", br#"{"SchemaVersion":"1.0","ID":"a"}"#).await.status, 200);
    let message = |answer: MethodAnswer| answer.payload.unwrap()["message"].as_str().unwrap().to_owned();
    let unknown = methods.handle("reboot", b"").await;
    assert_eq!(unknown.status, 400);
    assert!(message(unknown).contains("UploadModuleLogs"));
    let slow = methods.handle("RestartModule", br#"{"schemaVersion":"1.0","id":"slow"}"#).await;
    assert_eq!(slow.status, 500);
    assert!(message(slow).contains("600 seconds"));
}

type Put = (Uri, HeaderMap, Bytes);

/// A storage service on loopback that answers with each status in turn, and with the last one from then on.
async fn storage(statuses: &[u16]) -> (String, Arc<Mutex<Vec<Put>>>) {
    let puts: Arc<Mutex<Vec<Put>>> = Arc::default();
    let (seen, statuses) = (Arc::clone(&puts), statuses.to_vec());
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        assert_eq!(method, Method::PUT);
        let mut seen = seen.lock().unwrap();
        let status = statuses[seen.len().min(statuses.len() - 1)];
        seen.push((uri, headers, body));
        let answer = (StatusCode::from_u16(status).unwrap(), [("x-ms-error-code", "AuthenticationFailed")]);
        std::future::ready(answer)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/account/logs?sv=1&sig=s3cr%2Fet", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    (url, puts)
}

/// Calls an upload and waits for its end: `{status, message, correlationId}`.
async fn uploaded(methods: &Methods, name: &str, request: Value) -> Value {
    let started = methods.handle(name, request.to_string().as_bytes()).await;
    let started = started.payload.unwrap();
    assert_eq!((&started["status"], &started["message"]), (&json!("Running"), &json!("")), "{started}");
    let ask = json!({ "schemaVersion": "1.0", "correlationId": started["correlationId"] }).to_string();
    loop {
        let status = methods.handle("GetTaskStatus", ask.as_bytes()).await.payload.unwrap();
        if status["status"] != "Running" {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn logs_become_blobs_with_the_real_agents_names_and_headers() {
    let methods = methods(&["edgeHub", "filter"]);
    let (url, puts) = storage(&[201]).await;
    let items = json!([{ "id": "filter", "filter": { "loglevel": 3 } }]);
    let request =
        json!({ "schemaVersion": "1.0", "sasUrl": url, "items": items, "encoding": "gzip", "contentType": "json" });
    let done = uploaded(&methods, "UploadModuleLogs", request).await;
    assert_eq!((&done["status"], &done["message"]), (&json!("Completed"), &json!("")), "{done}");
    let request = json!({ "schemaVersion": "1.0", "sasUrl": url, "items": [{ "id": "all" }] });
    assert_eq!(uploaded(&methods, "UploadModuleLogs", request).await["status"], "Completed");
    let puts = puts.lock().unwrap();
    let (uri, headers, body) = &puts[0];
    let name = uri.path().strip_prefix("/account/logs/hub.example/d/filter-").unwrap();
    assert!(name.ends_with(".json.gz") && name.len() == "2026-01-31--08-00-00.json.gz".len(), "{name}");
    assert_eq!(uri.query(), Some("sv=1&sig=s3cr%2Fet"));
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("x-ms-blob-type"), "BlockBlob");
    assert_eq!(header("x-ms-blob-content-type"), "application/json");
    assert_eq!(header("x-ms-blob-content-encoding"), "gzip");
    assert_eq!(header("content-length"), body.len().to_string());
    assert!(headers.contains_key("x-ms-version") && header("x-ms-date").ends_with(" GMT"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    let lines: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((lines.as_array().unwrap().len(), &lines[0]["text"]), (1, &json!("bad")));
    let mut rest: Vec<(&str, &[u8])> = puts[1..].iter().map(|(uri, _, body)| (uri.path(), &body[..])).collect();
    rest.sort_unstable();
    assert!(
        rest[0].0.contains("/edgeHub-") && rest[0].0.rsplit_once('.').is_some_and(|(_, ending)| ending == "log"),
        "{rest:?}"
    );
    assert!(rest[1].1.starts_with(b"hello of filter\n<3> "));
}

#[tokio::test]
async fn what_may_be_better_the_next_time_is_tried_again_and_the_rest_fails_without_telling_the_signature() {
    let methods = methods(&["a"]);
    let bundle = |url: &str| json!({ "schemaVersion": "1.0", "sasUrl": url, "since": "1d", "edgeRuntimeOnly": true });
    let (url, puts) = storage(&[503, 201]).await;
    assert_eq!(uploaded(&methods, "UploadSupportBundle", bundle(&url)).await["status"], "Completed");
    {
        let puts = puts.lock().unwrap();
        assert_eq!(puts.len(), 2);
        let (uri, headers, body) = &puts[1];
        assert!(
            uri.path().contains("/hub.example/d/support-bundle-")
                && uri.path().rsplit_once('.').is_some_and(|(_, ending)| ending == "zip"),
            "{uri}"
        );
        assert_eq!(headers["x-ms-blob-content-type"], "application/zip");
        assert_eq!(&body[..], b"true");
    }
    let (url, puts) = storage(&[403]).await;
    let failed = uploaded(&methods, "UploadSupportBundle", bundle(&url)).await;
    assert_eq!(failed["status"], "Failed");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("403: AuthenticationFailed") && !message.contains("s3cr"), "{message}");
    assert_eq!(puts.lock().unwrap().len(), 1);
    let nobody = "http://127.0.0.1:9/account/logs?sig=s3cret";
    let failed = uploaded(&methods, "UploadSupportBundle", bundle(nobody)).await;
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("cannot be reached") && !message.contains("s3cr"), "{message}");
}

#[tokio::test]
async fn a_request_that_cannot_be_carried_out_is_refused_before_a_task_is_started() {
    let methods = methods(&["a"]);
    let url = "https://h/c?sig=s3cret";
    for (name, request) in [
        ("UploadModuleLogs", json!({ "schemaVersion": "1.0", "items": [{ "id": "a" }] })),
        ("UploadModuleLogs", json!({ "schemaVersion": "1.0", "sasUrl": url })),
        ("UploadModuleLogs", json!({ "schemaVersion": "1.0", "sasUrl": url, "items": [{ "id": "(" }] })),
        (
            "UploadModuleLogs",
            json!({ "schemaVersion": "1.0", "sasUrl": "http://h/c?sig=s3cret", "items": [{ "id": "a" }] }),
        ),
        ("UploadSupportBundle", json!({ "schemaVersion": "1.0", "sasUrl": url, "since": "yesterday" })),
        ("UploadSupportBundle", json!({ "sasUrl": url })),
        ("UploadSupportBundle", Value::Null),
    ] {
        let answer = methods.handle(name, request.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "{request}");
        assert!(!answer.payload.unwrap().to_string().contains("s3cr"), "{request}");
    }
    let newer = json!({ "schemaVersion": "2.0", "sasUrl": url, "items": [{ "id": "a" }] });
    assert_eq!(methods.handle("UploadModuleLogs", newer.to_string().as_bytes()).await.status, 500);
    let unknown = methods.handle("GetTaskStatus", br#"{"schemaVersion":"1.0","correlationId":"x"}"#).await;
    assert_eq!(unknown.payload.unwrap()["status"], "Unknown");
}
