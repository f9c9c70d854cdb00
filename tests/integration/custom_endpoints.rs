//! Endpoints of the cloud hub beside the built-in one.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use predicates::prelude::PredicateBooleanExt as _;
use serde_json::{Value, json};

use crate::device::{Solution, wait_until};

fn solution(hub: &str) -> Solution {
    let solution = Solution::with(json!({}));
    let file = solution.root().join("edgectl.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + hub).unwrap();
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] = routes;
    fs::write(&path, template.to_string()).unwrap();
    solution
}

impl Solution {
    fn sends(&self, bodies: &[&str]) {
        for body in bodies {
            self.edgectl(&["message", "send", "--leaf", "meter", body]).assert().success();
        }
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.root().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An HTTP service that refuses the first requests and keeps what later ones bring.
fn service(refuses: usize) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&taken);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = if number < refuses { "503 Busy" } else { "204 Fine" };
            if number >= refuses {
                kept.lock().unwrap().extend(serde_json::from_slice::<Vec<Value>>(&body).unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, taken)
}

#[test]
fn routes_bring_messages_to_files_and_addresses_and_go_on_after_a_restart() {
    let (url, taken) = service(2);
    let solution = solution(&format!(
        r#"
hub:
  endpoints:
    hot: {{ file: out/hot.jsonl }}
    twins: {{ file: out/twins.jsonl }}
    web: {{ url: "{url}" }}
  routes:
    hot: {{ condition: "$body.temperature > 30", endpoint: hot }}
    all: {{ endpoint: web }}
    off: {{ endpoint: twins, isEnabled: false }}
    twins: {{ source: TwinChangeEvents, endpoint: twins }}
"#
    ));
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["leaf", "add", "meter"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let bodies = [r#"{"temperature": 20}"#, r#"{"temperature": 31}"#, r#"{"temperature": 40}"#];
    solution.sends(&bodies[..2]);
    wait_until("the hot one is in the file", || solution.lines("out/hot.jsonl").len() == 1);
    assert_eq!(solution.lines("out/hot.jsonl")[0]["body"]["temperature"], 31);
    wait_until("the service has both, after it refused", || taken.lock().unwrap().len() >= 2);
    wait_until("a twin changed", || !solution.lines("out/twins.jsonl").is_empty());
    assert!(solution.lines("out/twins.jsonl").iter().all(|line| line["source"] == "twinChangeEvents"));

    solution.edgectl(&["sim", "down"]).assert().success();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.sends(&bodies[2..]);
    wait_until("it goes on where it was", || solution.lines("out/hot.jsonl").len() == 2);
    wait_until("the service has all", || {
        let bodies: Vec<Value> =
            taken.lock().unwrap().iter().map(|event| event["body"]["temperature"].clone()).collect();
        bodies == [20, 31, 40]
    });
    let events = solution.edgectl(&["events", "--json"]).output().unwrap();
    let all = String::from_utf8(events.stdout).unwrap();
    assert_eq!(all.lines().count(), 3, "the built-in endpoint has them too");
}

#[test]
fn routes_that_cannot_be_are_told_with_their_place() {
    let wrong = |hub: &str, text: &str| {
        let solution = solution(hub);
        let told = solution.edgectl(&["validate", "edgectl.yaml"]).assert().code(3);
        told.stdout(predicates::str::contains(text).and(predicates::str::contains("edgectl.yaml:")));
    };
    wrong("hub: { routes: { a: { endpoint: nowhere } } }\n", "there is no endpoint \"nowhere\"");
    wrong("hub: { endpoints: { a: { file: x, stdout: true } } }\n", "one of file, url and stdout");
    wrong("hub: { endpoints: { a: { url: \"ftp://x\" } } }\n", "is not an HTTP address");
    let condition =
        "hub: { endpoints: { a: { file: x } }, routes: { r: { endpoint: a, condition: \"$body. = \" } } }\n";
    wrong(condition, "EDGE0110");
}
