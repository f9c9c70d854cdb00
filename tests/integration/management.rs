//! The management API as tools of the real daemon use it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::device::{Solution, build_image, module, wait_until};

const VERSION: &str = "api-version=2022-08-03";

struct Api {
    socket: PathBuf,
}

impl Api {
    fn of(solution: &Solution) -> Self {
        let status = solution.json(&["status"]);
        let uri = status["endpoints"]["managementUri"].as_str().unwrap().to_owned();
        Self { socket: PathBuf::from(uri.strip_prefix("unix://").unwrap()) }
    }

    /// One request; the answer's status and its body as it is.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
        stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer[end + 4..].to_vec();
        (status, if head.to_lowercase().contains("transfer-encoding: chunked") { unchunked(&body) } else { body })
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let text = body.map(Value::to_string).unwrap_or_default();
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}{VERSION}");
        let (status, answer) = self.send(method, &path, "Content-Type: application/json\r\n", &text);
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
        if length == 0 {
            break;
        }
    }
    whole
}

fn names(modules: &Value) -> Vec<&str> {
    modules["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect()
}

#[test]
fn modules_are_shown_and_changed_as_the_real_daemon_does() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let api = Api::of(&solution);
    assert_eq!(std::fs::metadata(&api.socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, modules) = api.call("GET", "/modules", None);
    assert_eq!((status, names(&modules)), (200, vec!["SimulatedTemperatureSensor", "edgeAgent", "edgeHub", "filter"]));
    let (status, filter) = api.call("GET", "/modules/filter", None);
    assert_eq!((status, &filter["type"]), (200, &json!("docker")));
    assert_eq!(filter["status"]["runtimeStatus"]["status"], "running");
    assert_eq!(filter["config"]["settings"]["image"], "edgectl-filter:1.0");
    assert_eq!(api.call("GET", "/modules/nobody", None).0, 404);
    // What a module printed comes in frames.
    wait_until("the filter has printed", || {
        !api.send("GET", &format!("/modules/filter/logs?{VERSION}"), "", "").1.is_empty()
    });
    let (status, frames) = api.send("GET", &format!("/modules/filter/logs?tail=1&timestamps=true&{VERSION}"), "", "");
    assert_eq!(status, 200);
    assert!(matches!(frames[0], 1 | 2) && frames[1..4] == [0, 0, 0], "{frames:?}");
    let length = u32::from_be_bytes(frames[4..8].try_into().unwrap()) as usize;
    assert_eq!(frames.len(), 8 + length);
    assert!(frames.ends_with(b"\n") && frames[8..].starts_with(b"20"));
    assert_eq!(api.call("GET", "/modules/filter/logs?tail=many", None).0, 400);
    // Actions.
    let started = |module: &Value| module["status"]["startTime"].clone();
    assert_eq!(api.call("POST", "/modules/filter/restart", None).0, 204);
    assert_ne!(started(&api.call("GET", "/modules/filter", None).1), started(&filter));
    assert_eq!(api.call("POST", "/modules/nobody/start", None).0, 404);
    assert_eq!(api.call("POST", "/modules/edgeHub/stop", None).0, 500);
    // A module beside the deployment, until the agent sees that nobody wants it.
    let wanted = json!({
        "name": "extra", "type": "docker",
        "config": { "settings": { "image": "edgectl-filter:1.0" }, "env": [{ "key": "A", "value": "b" }] },
    });
    let (status, made) = api.call("POST", "/modules", Some(&wanted));
    assert_eq!(
        (status, &made["name"], &made["status"]["runtimeStatus"]["status"]),
        (201, &json!("extra"), &json!("stopped"))
    );
    assert_eq!(api.call("POST", "/modules/extra/prepareupdate", Some(&wanted)).0, 204);
    assert_eq!(api.call("PUT", "/modules/other?start=true", Some(&wanted)).0, 400);
    wait_until("the agent has removed it", || api.call("GET", "/modules/extra", None).0 == 404);
    let mut unknown = wanted.clone();
    unknown["config"]["settings"]["image"] = json!("nowhere/nothing:1");
    assert_eq!(api.call("POST", "/modules", Some(&unknown)).0, 500);
    unknown["name"] = json!(" ");
    assert_eq!(api.call("POST", "/modules", Some(&unknown)).0, 400);
    assert_eq!(api.call("DELETE", "/modules/nobody", None).0, 404);
    // Deleted, and made again by the agent.
    assert_eq!(api.call("DELETE", "/modules/filter", None).0, 204);
    wait_until("the agent has made it again", || api.call("GET", "/modules/filter", None).0 == 200);
}

#[test]
fn identities_the_machine_and_the_device_are_told() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let api = Api::of(&solution);
    let ids = |answer: &Value| -> Vec<String> {
        let identities = answer["identities"].as_array().unwrap();
        identities.iter().map(|identity| identity["moduleId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&api.call("GET", "/identities", None).1), ["$edgeAgent", "$edgeHub"]);
    let (status, made) = api.call("POST", "/identities", Some(&json!({ "moduleId": "mine", "managedBy": "me" })));
    assert_eq!((status, &made["managedBy"], &made["authType"]), (200, &json!("me"), &json!("sas")));
    assert!(!made["generationId"].as_str().unwrap().is_empty());
    let body = json!({ "generationId": made["generationId"], "managedBy": "you" });
    assert_eq!(api.call("PUT", "/identities/mine", Some(&body)).1["managedBy"], "you");
    let listed = api.call("GET", "/identities", None).1;
    assert!(
        listed["identities"].as_array().unwrap().iter().any(|identity| {
            identity["moduleId"] == "mine"
                && identity["managedBy"] == "you"
                && identity["generationId"] == made["generationId"]
        }),
        "{listed}"
    );
    assert_eq!(api.call("DELETE", "/identities/mine", None).0, 204);
    assert_eq!(api.call("DELETE", "/identities/mine", None).0, 404);
    assert_eq!(api.call("POST", "/identities", Some(&json!({}))).0, 422);

    let info = api.call("GET", "/systeminfo", None).1;
    assert_eq!(info["osType"], "linux");
    assert_eq!(info["provisioning"]["dynamicReprovisioning"], false);
    let resources = api.call("GET", "/systeminfo/resources", None).1;
    assert!(resources["total_ram"].as_u64().unwrap() > 0 && resources["docker_stats"] == "[]", "{resources}");
    let (status, archive) = api.send("GET", &format!("/systeminfo/supportbundle?since=1h&{VERSION}"), "", "");
    assert!(status == 200 && archive.starts_with(b"PK"));
    assert_eq!(api.call("POST", "/device/reprovision", None).0, 200);
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_the_real_daemon_does() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let api = Api::of(&solution);
    let json = "Content-Type: application/json\r\n";
    for (method, path, headers, body, expected, message) in [
        ("GET", "/modules", "", "", 400, "api-version not specified"),
        ("GET", "/modules?api-version=2021-05-11", "", "", 400, "invalid api-version \"2021-05-11\""),
        ("GET", "/nothing?api-version=2018-06-28", "", "", 404, "not found"),
        ("GET", "/modules/?api-version=2018-06-28", "", "", 404, "not found"),
        // What came with a later version.
        ("POST", "/device/reprovision?api-version=2019-01-30", "", "", 404, "not found"),
        ("POST", "/modules/filter/prepareupdate?api-version=2018-06-28", json, "{}", 404, "not found"),
        ("GET", "/systeminfo/supportbundle?api-version=2019-11-05", "", "", 404, "not found"),
        ("DELETE", "/modules?api-version=2018-06-28", "", "", 400, "method not allowed"),
        ("POST", "/identities?api-version=2018-06-28", "Content-Type: text/plain\r\n", "{}", 415, "application/json"),
        ("POST", "/identities?api-version=2018-06-28", json, "{", 422, ""),
        ("POST", "/identities?api-version=2018-06-28", json, "", 400, "missing request body"),
        ("POST", "/modules?api-version=2018-06-28", json, "{}", 422, "missing field"),
    ] {
        let (status, answer) = api.send(method, path, headers, body);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{method} {path}: {answer}");
    }
}

#[test]
fn a_module_may_look_but_not_change_anything() {
    let program = r#"
import http.client, os, socket, sys, time
class Api(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SOCKET"])
for method, path in [("GET", "/modules"), ("POST", "/modules/curious/restart"), ("DELETE", "/modules/filter"), ("POST", "/device/reprovision")]:
    api = Api("localhost")
    api.request(method, path + "?api-version=2022-08-03")
    answer = api.getresponse()
    print(method, path, answer.status, answer.read() if answer.status != 200 else "", flush=True)
time.sleep(1000)
"#;
    let solution = Solution::with(json!({ "curious": module("${MODULES.curious}") }));
    build_image(solution.root().as_path(), "curious", program);
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let api = Api::of(&solution);
    let path = solution.root().join("deployment.template.json");
    let template = std::fs::read_to_string(&path).unwrap();
    let env = format!("\"env\":{{\"SOCKET\":{{\"value\":{}}},", json!(api.socket));
    std::fs::write(&path, template.replacen("\"env\":{", &env, 1)).unwrap();
    solution.edgectl(&["deploy"]).assert().success();
    let log = || String::from_utf8(solution.edgectl(&["logs", "curious"]).output().unwrap().stdout).unwrap();
    wait_until("the module has asked for everything", || log().contains("reprovision"));
    let log = log();
    assert!(log.contains("GET /modules 200"), "{log}");
    for refused in ["POST /modules/curious/restart 403", "DELETE /modules/filter 403", "POST /device/reprovision 403"] {
        assert!(log.contains(refused), "{log}");
    }
    assert!(log.contains("forbidden"), "{log}");
    assert_eq!(solution.json(&["inspect", "curious"])["restarts"], 0);
}
