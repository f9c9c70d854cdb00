//! The workload API as modules meet it, over its socket.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgectl_hub::clock::SystemClock;
use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::runtime::process::{ProcessRuntime, ProcessRuntimeOptions};
use crate::workload::keys::KeyRing;
use crate::workload::socket::{MAX_PATH_BYTES, SocketError, WorkloadFacts, WorkloadSocket};

const JSON: &str = "Content-Type: application/json\r\n";

struct Served {
    _folder: tempfile::TempDir,
    path: PathBuf,
    authority: Arc<Authority>,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

fn serve() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceId::new("edge1").unwrap();
    let authority = Arc::new(Authority::open(&folder.path().join("ca"), &device, Timestamp::now()).unwrap());
    let runtime = ProcessRuntime::open(ProcessRuntimeOptions {
        images: Arc::new(|_| None),
        launcher: Vec::new(),
        base_environment: BTreeMap::new(),
        log_folder: folder.path().join("logs"),
        max_log_bytes: 1 << 20,
        group_record: folder.path().join("groups.json"),
    })
    .unwrap();
    let keys = KeyRing::default();
    keys.insert("mod1", "g1", SharedKey::from_bytes(*b"key"));
    let facts = WorkloadFacts {
        authority: Arc::clone(&authority),
        keys,
        runtime: Arc::new(runtime),
        hub_host: "hub.local".to_owned(),
        device,
        clock: Arc::new(SystemClock),
    };
    let path = folder.path().join("run/mod1.sock");
    let socket = WorkloadSocket::open(&path).unwrap();
    assert_eq!(socket.uri(), format!("unix://{}", path.display()));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(socket.serve(Arc::new(facts), "mod1".into(), shutdown.clone().cancelled_owned()));
    Served { _folder: folder, path, authority, shutdown, task }
}

impl Served {
    async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", &format!("{path}?api-version=2018-06-28"), JSON, &body.to_string()).await
    }
}

#[tokio::test]
async fn a_module_starts_as_the_libraries_do() {
    let served = serve();
    let (status, bundle) = served.ask("GET", "/trust-bundle?api-version=2022-08-03", "", "").await;
    assert_eq!((status, bundle), (200, json!({"certificate": served.authority.trust_bundle()})));
    let body = json!({"keyId": "primary", "algo": "HMACSHA256", "data": "ZGF0YQ=="}).to_string();
    let target = "/modules/mod1/genid/g1/sign?api-version=2018-06-28";
    // Once with a content type, once as Python's library does it.
    for headers in [JSON, "", "Content-Type: application/json; charset=utf-8\r\n"] {
        let (status, answer) = served.ask("POST", target, headers, &body).await;
        assert_eq!((status, answer), (200, json!({"digest": "UDH+PZicbRU3oBP6bnOdojRj/a7DtwE32Cjjas4iG9A="})));
    }
}

#[tokio::test]
async fn what_breaks_a_rule_gets_its_status() {
    let served = serve();
    let sign = "/modules/mod1/genid/g1/sign?api-version=2018-06-28";
    let good = r#"{"algo":"HMACSHA256","data":"ZGF0YQ=="}"#;
    let cases = [
        (400, "GET", "/trust-bundle", "", ""),
        (400, "GET", "/trust-bundle?api-version=2021-05-11", "", ""),
        (404, "GET", "/trust-bundle/?api-version=2018-06-28", "", ""),
        (400, "DELETE", "/trust-bundle?api-version=2018-06-28", "", ""),
        (400, "GET", sign, "", ""),
        (415, "POST", sign, "Content-Type: text/plain\r\n", good),
        (422, "POST", sign, JSON, "{"),
        (422, "POST", sign, JSON, "[]"),
        (422, "POST", sign, JSON, r#"{"algo":"HMACSHA256"}"#),
        (400, "POST", sign, JSON, ""),
        (400, "POST", sign, JSON, r#"{"algo":"HMACSHA256","data":"%"}"#),
        (400, "POST", sign, JSON, r#"{"algo":"MD5","data":"ZGF0YQ=="}"#),
        (403, "POST", "/modules/mod2/genid/g1/sign?api-version=2018-06-28", JSON, good),
        (404, "POST", "/modules/mod1/genid/g2/sign?api-version=2018-06-28", JSON, good),
        (200, "POST", "/modules/$mod1/genid/g1/sign?api-version=2018-06-28", JSON, good),
    ];
    for (expected, method, target, headers, body) in cases {
        let (status, answer) = served.ask(method, target, headers, body).await;
        assert_eq!(status, expected, "{method} {target} {body}: {answer}");
        assert!(status == 200 || answer["message"].is_string());
    }
}

#[tokio::test]
async fn what_is_encrypted_is_decrypted_with_the_same_vector_alone() {
    let served = serve();
    let (_, answer) = served
        .post("/modules/mod1/genid/g1/encrypt", &json!({"plaintext": "ZGF0YQ==", "initializationVector": "aXY="}))
        .await;
    let mut request = json!({"ciphertext": answer["ciphertext"], "initializationVector": "aXY="});
    let decrypt = "/modules/mod1/genid/g1/decrypt";
    assert_eq!(served.post(decrypt, &request).await, (200, json!({"plaintext": "ZGF0YQ=="})));
    request["initializationVector"] = json!("dml=");
    assert_eq!(served.post(decrypt, &request).await.0, 400);
    request["initializationVector"] = json!("dmk=");
    assert_eq!(served.post(decrypt, &request).await.0, 500);
}

#[tokio::test]
async fn certificates_come_with_key_and_chain() {
    let served = serve();
    for (path, body) in [
        ("/modules/mod1/genid/g1/certificate/server", json!({"commonName": "edge1.local", "expiration": "ignored"})),
        ("/modules/mod1/certificate/identity", json!({})),
    ] {
        let (status, answer) = served.post(path, &body).await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(answer["privateKey"]["type"], "key");
        assert!(answer["privateKey"]["bytes"].as_str().unwrap().contains("PRIVATE KEY"));
        assert_eq!(answer["certificate"].as_str().unwrap().matches("BEGIN CERTIFICATE").count(), 2);
        assert!(answer["expiration"].as_str().unwrap().parse::<Timestamp>().unwrap() > Timestamp::now());
    }
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_its_server() {
    let served = serve();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&served.path), mode(served.path.parent().unwrap())), (0o666, 0o700));
    // A socket that was left is replaced, and another file is not.
    served.shutdown.cancel();
    served.task.await.unwrap().unwrap();
    assert!(!served.path.exists());
    std::mem::forget(std::os::unix::net::UnixListener::bind(&served.path).unwrap());
    drop(WorkloadSocket::open(&served.path).unwrap());
    std::fs::write(&served.path, "precious").unwrap();
    assert!(matches!(WorkloadSocket::open(&served.path), Err(SocketError::Io { .. })));
    let long = served.path.with_file_name("x".repeat(MAX_PATH_BYTES));
    assert!(matches!(WorkloadSocket::open(&long), Err(SocketError::PathTooLong { .. })));
}
