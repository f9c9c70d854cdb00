//! Registries that are in trouble for a moment, or for good: `edgectl build` that pushes to them and takes bases from them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};

use crate::binary::{edgectl, names, refused};
use crate::build::solution;
use crate::device::{signal, wait_until};
use crate::images::{C, PYTHON, result};
use crate::registry::{at, based, debian_registry, skopeo};
use crate::terminal::{Running, Terminal};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this.
    Answer(String),
    /// The connection is closed before it is read.
    Close,
    /// The connection is closed in the middle of what it sends, or else of what it is sent.
    BreakOff,
}

/// How often what was asked for: a method and a path, for an upload with the digest.
pub type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

/// An answer with a status and a header, and with nothing in it.
pub fn answer(status: &str, header: &str) -> Fault {
    Fault::Answer(format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// Passes requests on to a server, but those that something goes wrong with: `plan` says so, given what is asked for, and
/// how often it was before.
pub fn faulty(to: &str, plan: impl Fn(&str, usize) -> Option<Fault> + Send + Sync + 'static) -> (String, Asked) {
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", front.local_addr().unwrap().port());
    let (asked, plan, to) = (Asked::default(), Arc::new(plan), to.replace("localhost", "127.0.0.1"));
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in front.incoming() {
            let (asked, plan, to) = (Arc::clone(&kept), Arc::clone(&plan), to.clone());
            // Whoever is there no longer has what it wants.
            std::thread::spawn(move || drop(pass_on(stream.unwrap(), &to, &asked, plan.as_ref())));
        }
    });
    (address, asked)
}

/// What a request is known by: the places of uploads are others each time.
fn key(line: &str) -> String {
    let target = line.trim_end().trim_end_matches(" HTTP/1.1");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path.split_once("/uploads/") {
        Some((path, _)) => format!("{path}/uploads/{}", query.split("digest=").nth(1).unwrap_or_default()),
        None => path.to_owned(),
    }
}

/// Handles the one request of a connection.
fn pass_on(
    client: TcpStream,
    to: &str,
    asked: &Asked,
    plan: &dyn Fn(&str, usize) -> Option<Fault>,
) -> std::io::Result<()> {
    let (mut reader, mut client) = (BufReader::new(client.try_clone()?), client);
    let (mut line, mut head, mut length) = (String::new(), String::new(), 0_u64);
    reader.read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(told) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        head.push_str(&header);
    }
    let key = key(&line);
    let before = {
        let mut asked = asked.lock().unwrap();
        let count = asked.entry(key.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let fault = plan(&key, before);
    match &fault {
        Some(Fault::Answer(text)) => {
            // Whoever is still sending does not hear an answer.
            std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
            return client.write_all(text.as_bytes());
        }
        Some(Fault::Close) => return Ok(()),
        Some(Fault::BreakOff) | None => {}
    }
    let mut server = TcpStream::connect(to)?;
    server.write_all(format!("{line}{head}Connection: close\r\n\r\n").as_bytes())?;
    let is_broken = fault.is_some();
    if is_broken && length > 0 {
        std::io::copy(&mut reader.take(length / 2), &mut server)?;
        return Ok(());
    }
    std::io::copy(&mut reader.take(length), &mut server)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let end = answer.len() - usize::from(is_broken);
    client.write_all(&answer[..end])
}

fn count(asked: &Asked, words: &str) -> usize {
    asked.lock().unwrap().iter().filter(|(key, _)| key.starts_with(words)).map(|(_, count)| count).sum()
}

#[test]
fn what_passes_is_tried_again_until_it_works() {
    let registry = debian_registry(false);
    // Everything goes wrong three times: whoever is told to wait does so, and what broke off begins anew.
    let (address, asked) = faulty(&registry.address, |key, before| match before {
        0 => Some(answer("503 Service Unavailable", "Retry-After: 0")),
        1 => Some(answer("429 Too Many Requests", "Retry-After: Fri, 02 Jan 2026 03:04:05 GMT")),
        2 if key.starts_with("PUT ") || key.starts_with("GET ") => Some(Fault::BreakOff),
        2 => Some(Fault::Close),
        _ => None,
    });
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &address);
    let pushed = result(place.path(), &["--push"]);
    assert_eq!(pushed["pushed"][0]["sent"], 2, "{pushed}");
    let image = format!("{}/cee:1-amd64", registry.address);
    let manifest = skopeo(&format!("docker://{image}"));
    for digest in [&manifest["config"]["digest"], &manifest["layers"][0]["digest"]] {
        assert_eq!(count(&asked, &format!("PUT /v2/cee/blobs/uploads/{}", digest.as_str().unwrap())), 4, "{asked:?}");
    }

    let snake = solution(&[("snake", "python", PYTHON)]);
    based(snake.path(), "snake", &format!("{address}/cee:1-amd64"));
    assert_eq!(result(snake.path(), &["--image"])["modules"][0]["status"], "built");
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(count(&asked, &format!("GET /v2/cee/blobs/{layer}")), 4, "{asked:?}");
}

#[test]
fn a_registry_that_never_works_is_told_after_four_tries() {
    let registry = debian_registry(false);
    let cases = [
        (answer("503 Service Unavailable", "Retry-After: 0"), "answered 503 to push"),
        (answer("429 Too Many Requests", "Retry-After: 0"), "answered 429 to push"),
        (Fault::Close, "cannot be reached"),
    ];
    let place = solution(&[("cee", "c", C)]);
    let snake = solution(&[("snake", "python", PYTHON)]);
    for (fault, words) in cases {
        let (address, asked) = faulty(&registry.address, move |_, _| Some(fault.clone()));
        at(place.path(), &["cee"], &address);
        refused(edgectl(place.path()).args(["build", "--push", "-q"]).assert(), 1, words);
        assert_eq!(count(&asked, ""), 4, "{asked:?}");
        based(snake.path(), "snake", &format!("{address}/cee:1-amd64"));
        let words = format!("cannot be fetched: the registry {address}");
        refused(edgectl(snake.path()).args(["build", "--image", "-q"]).assert(), 5, &words);
        assert_eq!(count(&asked, ""), 8, "{asked:?}");
    }
}

#[test]
fn a_layer_that_always_breaks_off_is_told_and_not_kept() {
    let registry = debian_registry(false);
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    result(place.path(), &["--push"]);
    let (address, _) =
        faulty(&registry.address, |key, _| key.starts_with("GET /v2/cee/blobs/").then_some(Fault::BreakOff));
    let snake = solution(&[("snake", "python", PYTHON)]);
    based(snake.path(), "snake", &format!("{address}/cee:1-amd64"));
    let assert = edgectl(snake.path()).args(["build", "--image", "-q"]).assert();
    refused(assert, 5, "broke off in the middle of sha256:");
    let left = names(&snake.path().join(".edgectl/oci/blobs/sha256"));
    // The manifest is there, perhaps the configuration, and nothing that is half there.
    let layer = skopeo(&format!("docker://{}/cee:1-amd64", registry.address))["layers"][0]["digest"].clone();
    assert!(left.iter().all(|name| name.len() == 64 && !layer.as_str().unwrap().ends_with(name)), "{left:?}");
}

#[test]
fn ctrl_c_ends_what_a_registry_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", silent.local_addr().unwrap().port());
    let place = solution(&[("cee", "c", C), ("snake", "python", PYTHON)]);
    at(place.path(), &["cee"], &address);
    based(place.path(), "snake", &format!("{address}/base:1"));
    for arguments in [["build", "-q", "cee", "--push"], ["build", "-q", "snake", "--image"]] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("edgectl"));
        let mut child = Running(command.args(arguments).current_dir(place.path()).spawn().unwrap());
        let _connection = silent.accept().unwrap();
        signal(&child.0, "-INT");
        assert_eq!(child.0.wait().unwrap().code(), Some(130), "{arguments:?}");
    }
}

/// A way to a registry on which blobs wait until what is returned is dropped.
fn waiting(registry: &str) -> (String, mpsc::Sender<()>) {
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let (address, _) = faulty(registry, move |key, _| {
        if key.starts_with("PUT /v2/cee/blobs/") || key.starts_with("GET /v2/cee/blobs/") {
            wait.lock().unwrap().recv().unwrap_err();
        }
        None
    });
    (address, go_on)
}

#[test]
fn how_much_was_sent_and_received_is_shown_on_a_terminal() {
    let registry = debian_registry(false);
    let shown = |place: &Path, arguments: &[&str], doing: &str, go_on: mpsc::Sender<()>| {
        let terminal = Terminal::new(120, 30);
        let mut child = Running(terminal.edgectl(place, arguments).spawn().unwrap());
        let is_shown = || terminal.written().split(doing).skip(1).any(|rest| rest.contains("B of "));
        wait_until(&format!("it shows how much of {doing:?}"), is_shown);
        drop(go_on);
        assert!(child.0.wait().unwrap().success(), "{}", terminal.written());
    };
    let cee = solution(&[("cee", "c", C)]);
    let (address, go_on) = waiting(&registry.address);
    at(cee.path(), &["cee"], &address);
    shown(cee.path(), &["build", "--push"], &format!("{address}/cee:1-amd64  pushing, "), go_on);
    let snake = solution(&[("snake", "python", PYTHON)]);
    let (address, go_on) = waiting(&registry.address);
    based(snake.path(), "snake", &format!("{address}/cee:1-amd64"));
    shown(snake.path(), &["build", "--image"], &format!("fetching {address}/cee:1-amd64, "), go_on);

    // Elsewhere there are the same lines as ever.
    std::fs::remove_dir_all(snake.path().join(".edgectl")).unwrap();
    let assert = edgectl(snake.path()).args(["build", "--image"]).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let lines: Vec<&str> = text.lines().map(|line| line.split(" in ").next().unwrap()).collect();
    assert_eq!(lines, ["snake | building", "snake | built"]);
}
