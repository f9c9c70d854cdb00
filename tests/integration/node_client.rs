//! Clients of the unmodified Node SDK: processes that do what they are told, a line of JSON at a time.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::network::Loopback;

/// For a client to say what came of something.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The clients with the SDK beside them, from the registry at hand; once for all tests.
fn clients() -> &'static Path {
    static CLIENTS: OnceLock<PathBuf> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-clients");
        fs::create_dir_all(&place).unwrap();
        let lock = "package-lock.json";
        let installed = fs::read(place.join(lock)).ok();
        let is_installed = installed == fs::read(source.join(lock)).ok() && place.join("node_modules").is_dir();
        for file in ["client.js", "identity.js", "package.json", lock] {
            fs::copy(source.join(file), place.join(file)).unwrap();
        }
        if !is_installed {
            let npm =
                Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&place).status();
            assert!(npm.expect("npm").success(), "the Node SDK could not be installed");
        }
        place
    })
}

/// A client.
pub struct NodeClient {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl NodeClient {
    /// Starts a client of a solution's device and waits until it is connected. It is registered if it is not. The facts
    /// are its `identity`, its `transport`, and what else `client.js` wants to know.
    pub fn open(network: &Loopback, solution: &Path, mut facts: Value) -> Self {
        facts["state"] = json!(solution.join(".edgectl/device"));
        let mut command = network.program("node", clients());
        command.arg("client.js").arg(facts.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut client = Self { child, input, lines, seen: Vec::new() };
        let opened = client.wait("did", "open");
        assert_eq!(opened.get("error"), None, "{opened}");
        client
    }

    /// Has the client do something, and waits until it has.
    pub fn run(&mut self, what: &str, arguments: Value) -> Value {
        let answer = self.attempt(what, arguments);
        assert_eq!(answer.get("error"), None, "{answer}");
        answer
    }

    /// The same, where it may fail.
    pub fn attempt(&mut self, what: &str, mut command: Value) -> Value {
        command["do"] = json!(what);
        writeln!(self.input, "{command}").unwrap();
        self.wait("did", what)
    }

    /// Waits until the client tells that it saw something of a kind.
    pub fn saw(&mut self, kind: &str) -> Value {
        self.wait("saw", kind)
    }

    fn wait(&mut self, key: &str, value: &str) -> Value {
        if let Some(at) = self.seen.iter().position(|event| event[key] == value) {
            return self.seen.remove(at);
        }
        loop {
            let event = self.lines.recv_timeout(TIMEOUT).unwrap_or_else(|error| {
                panic!("waiting for {key} {value}: {error}; seen: {:?}", self.seen);
            });
            if event[key] == value {
                return event;
            }
            self.seen.push(event);
        }
    }
}

impl Drop for NodeClient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
