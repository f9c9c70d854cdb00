//! What a support bundle holds, what it does not, and how it gets to others.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::binary::refused;
use crate::device::{Solution, module, wait_until};

/// A secret of the user's that stands in the deployment.
const PASSWORD: &str = "hunter2-of-the-registry";
const API_KEY: &str = "k-0123456789";

/// All files of an archive, read by another program than wrote it.
fn unpacked(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempdir().unwrap();
    let done = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(folder.path()).status().unwrap();
    assert!(done.success());
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn document(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(files.get(name).unwrap_or_else(|| panic!("{name} in {:?}", files.keys()))).unwrap()
}

/// A running device with secrets of all kinds: in a module's environment, in the deployment, in what a module printed.
fn started() -> (Solution, Vec<String>) {
    let mut filter = module("edgectl-filter:1.0");
    filter["env"]["API_KEY"] = json!({ "value": API_KEY });
    let solution = Solution::with(json!({ "filter": filter }));
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let agent = &mut template["modulesContent"]["$edgeAgent"]["properties.desired"];
    agent["runtime"]["settings"]["registryCredentials"] =
        json!({ "one": { "address": "registry.example", "username": "me", "password": PASSWORD } });
    fs::write(&path, template.to_string()).unwrap();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let leaf = solution.json(&["leaf", "add", "thermometer"]);
    solution.edgectl(&["deploy"]).assert().success();
    let state = solution.root().join(".edgectl/device");
    let service: Value = serde_json::from_slice(&fs::read(state.join("service.json")).unwrap()).unwrap();
    let mut secrets = vec![PASSWORD.to_owned(), API_KEY.to_owned()];
    secrets.push(service["sharedAccessKey"].as_str().unwrap().to_owned());
    let connection = leaf.to_string();
    secrets
        .push(connection.split("SharedAccessKey=").nth(1).unwrap().split(['"', ';', '\\']).next().unwrap().to_owned());
    // What a careless module prints.
    let log = state.join("modules/filter.log");
    wait_until("the module has printed its own", || fs::read_to_string(&log).unwrap().contains("connected"));
    let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
    writeln!(log, "2026-01-31T08:00:00Z stdout the key is {} and {PASSWORD}", secrets[2]).unwrap();
    writeln!(log, "2026-01-31T08:00:00Z stdout SharedAccessSignature sr=h&sig=c2lnbmF0dXJl&se=1").unwrap();
    secrets.push("c2lnbmF0dXJl".to_owned());
    (solution, secrets)
}

fn assert_no_secret(files: &BTreeMap<String, Vec<u8>>, secrets: &[String]) {
    for (name, contents) in files {
        let text = String::from_utf8_lossy(contents);
        for secret in secrets {
            assert!(secret.len() >= 8 && !text.contains(secret.as_str()), "{secret} in {name}");
        }
        assert!(!text.contains("PRIVATE KEY"), "{name}");
    }
}

#[test]
fn a_bundle_holds_all_that_is_known_but_no_secret() {
    let (solution, secrets) = started();
    let written = solution.json(&["support-bundle", "-o", "b.zip"]);
    let path = solution.root().join("b.zip");
    assert_eq!(written["file"], json!(path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let files = unpacked(&path);
    assert_no_secret(&files, &secrets);
    assert_eq!(document(&files, "device.json")["modules"][0]["name"], "filter");
    assert_eq!(document(&files, "inspect/filter.json")["env"]["API_KEY"], "***");
    assert_eq!(document(&files, "twins/filter.json")["desired"]["TemperatureThreshold"], 0);
    let credentials = "/desired/runtime/settings/registryCredentials/one";
    let credentials = document(&files, "twins/edgeAgent.json").pointer(credentials).cloned();
    assert_eq!(credentials, Some(json!({ "address": "registry.example", "username": "me", "password": "***" })));
    let checks = document(&files, "check.json");
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == "deployment").unwrap().clone();
    assert_eq!(check["is_ok"], true, "{check}");
    assert!(String::from_utf8_lossy(&files["metrics.txt"]).contains("# TYPE edgehub_"));
    let log = String::from_utf8_lossy(&files["logs/filter_log.txt"]).into_owned();
    assert!(log.contains("the key is *** and ***") && log.contains("SharedAccessSignature ***"), "{log}");
    assert!(files.contains_key("logs/device.log") && files.contains_key("about.json"));

    // A file that is there is kept, unless it is to go.
    fs::write(&path, "mine").unwrap();
    refused(solution.edgectl(&["support-bundle", "-o", "b.zip"]).assert(), 2, "is there already");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    solution
        .edgectl(&["support-bundle", "-o", "b.zip", "--force", "--since", "2026-06-01T00:00:00Z"])
        .assert()
        .success();
    let recent = unpacked(&path);
    assert!(!String::from_utf8_lossy(&recent["logs/filter_log.txt"]).contains("the key is"));
    // The runtime alone, to standard output.
    let printed = solution.edgectl(&["support-bundle", "-o", "-", "-e"]).assert().success().get_output().stdout.clone();
    fs::write(&path, printed).unwrap();
    let runtime = unpacked(&path);
    assert!(runtime.contains_key("twins/edgeHub.json"));
    for (name, text) in &runtime {
        let text = String::from_utf8_lossy(text);
        assert!(!name.contains("filter") && !text.contains("filter"), "{name}: {text}");
    }
    solution.edgectl(&["sim", "down"]).assert().success();
    refused(solution.edgectl(&["support-bundle"]).assert(), 1, "no simulated device is running");
}

/// Takes one request of HTTP, answers that a blob was created, and returns the request line and the body.
fn take_one_blob(listener: &TcpListener) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (first, body)
}

#[test]
fn the_agent_uploads_a_bundle_and_logs_and_says_how_far_it_is() {
    let (solution, secrets) = started();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/store/logs?sv=1&sig=never-seen-anywhere", listener.local_addr().unwrap());
    let invoke = |method: &str, request: Value| {
        let answer = solution.json(&["method", "invoke", "$edgeAgent", method, &request.to_string()]);
        assert_eq!(answer["status"], 200, "{answer}");
        answer["payload"].clone()
    };
    let completed = |task: &Value| {
        let request = json!({ "schemaVersion": "1.0", "correlationId": task["correlationId"] });
        wait_until("the task is completed", || {
            let status = invoke("GetTaskStatus", request.clone());
            assert_ne!(status["status"], "Failed", "{status}");
            status["status"] == "Completed"
        });
    };
    let task = invoke("UploadSupportBundle", json!({ "schemaVersion": "1.0", "sasUrl": url }));
    assert_eq!(task["status"], "Running");
    let (first, body) = take_one_blob(&listener);
    assert!(first.starts_with("PUT /store/logs/") && first.contains("/plant/support-bundle-"), "{first}");
    completed(&task);
    let path = solution.root().join("uploaded.zip");
    fs::write(&path, body).unwrap();
    let files = unpacked(&path);
    assert_eq!(document(&files, "device.json")["modules"][0]["name"], "filter");
    assert_no_secret(&files, &secrets);

    let items = json!([{ "id": "filter", "filter": { "tail": 1 } }]);
    let task = invoke("UploadModuleLogs", json!({ "schemaVersion": "1.0", "sasUrl": url, "items": items }));
    let (first, body) = take_one_blob(&listener);
    assert!(first.contains("/plant/filter-") && first.contains(".log?sv=1&sig="), "{first}");
    assert!(String::from_utf8_lossy(&body).starts_with("SharedAccessSignature"));
    completed(&task);
    // The signature of the URL is in nothing that the device wrote.
    let found =
        Command::new("grep").args(["-rl", "never-seen-anywhere"]).arg(solution.root().join(".edgectl")).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
}
