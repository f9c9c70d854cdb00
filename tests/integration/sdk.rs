//! The real Python SDK, and a leaf device that uses it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::network::Loopback;

/// The version whose behaviour is relied on.
const PACKAGE: &str = "azure-iot-device==2.14.0";

const TIMEOUT: Duration = Duration::from_mins(1);

/// A Python that has the SDK; it is made once.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| python_with("python-sdk", &[PACKAGE], "azure.iot.device"))
}

/// A Python that has the SDKs of services; it is made once.
pub fn service_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/service.txt");
        let wanted = ["-r", list.to_str().unwrap()];
        python_with("python-service", &wanted, "azure.iot.hub, azure.eventhub, azure.storage.blob, websocket, six")
    })
}

/// A Python in a folder of that name, with packages from the registry at hand.
pub fn python_with(name: &str, wanted: &[&str], modules: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = place.join("bin/python");
    let has_modules = || {
        let mut command = Command::new(&python);
        command.args(["-c", &format!("import {modules}")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has_modules() {
        let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place).status().unwrap();
        assert!(made.success(), "python3 with venv");
        let pip = Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(wanted).status().unwrap();
        assert!(pip.success() && has_modules(), "{wanted:?} from the registry at hand");
    }
    python
}

/// A leaf device, connected.
pub struct Leaf {
    process: Child,
    commands: ChildStdin,
    events: Receiver<Value>,
}

impl Leaf {
    /// Connects with what `edgectl leaf add --json` printed. Returns the twin that it read, too.
    pub fn connect(network: &Loopback, added: &Value) -> (Self, Value) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/leaf.py");
        let mut process = network
            .program(python(), Path::new("/"))
            .arg(script)
            .env("CONNECTION_STRING", added["connectionString"].as_str().unwrap())
            .env("TRUST_BUNDLE", added["trustBundle"].as_str().unwrap())
            .env("CERTIFICATE", added["certificate"].as_str().unwrap_or_default())
            .env("PRIVATE_KEY", added["privateKey"].as_str().unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (tell, events) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in lines {
                // The test may have ended.
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        let leaf = Self { process, commands, events };
        let twin = leaf.event("twin");
        (leaf, twin["twin"].clone())
    }

    /// Has it do something, and waits until it is done.
    pub fn command(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
        self.event("done");
    }

    /// What happens next of a kind.
    pub fn event(&self, kind: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(TIMEOUT);
            let event = event.unwrap_or_else(|error| panic!("the leaf device, waiting for {kind}: {error}"));
            if event.get(kind).is_some() {
                return event;
            }
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
