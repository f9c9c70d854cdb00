//! The real SDKs through the doors that `edgectl` has no client of its own for: `WebSockets`, HTTPS, certificates.
//!
//! They come from their registries; everything after that happens in a network that has only loopback.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_simulator::authority::{Authority, Issued, self_signed_client};
use edgectl_simulator::state::{Endpoints, ServiceAccess, StateDirectory, read_json};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::edgectl;
use crate::network::Loopback;
use crate::sdk;

const TIMEOUT: Duration = Duration::from_mins(2);
const DEVICE: &str = "plant";

/// A device without modules, all of whose messages go to the cloud.
pub struct Site {
    place: TempDir,
    network: Loopback,
}

impl Site {
    pub fn start() -> Self {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", DEVICE, "--no-module"]).assert().success();
        let site = Self { place, network: Loopback::new() };
        let path = site.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        template["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"] = json!({});
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] =
            json!({ "all": "FROM /messages/* INTO $upstream" });
        fs::write(&path, template.to_string()).unwrap();
        site.edgectl(&["sim", "up", "-d"]).assert().success();
        site.edgectl(&["deploy"]).assert().success();
        site
    }

    /// Ends the device as a crash would.
    pub fn kill(&self) {
        let holder = fs::read_to_string(self.root().join(".edgectl/device/lock")).unwrap();
        let killed = Command::new("kill").args(["-9", holder.trim()]).status().unwrap();
        assert!(killed.success(), "{holder}");
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join(DEVICE)
    }

    pub fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.network.edgectl(&self.root());
        command.args(arguments).timeout(TIMEOUT);
        command
    }

    fn state(&self) -> StateDirectory {
        StateDirectory::new(&self.root().join(".edgectl"))
    }

    pub fn authority(&self) -> Authority {
        Authority::open(&self.state().authority(), &DeviceId::new(DEVICE).unwrap(), Timestamp::now()).unwrap()
    }

    /// Where everything is, for a client to read.
    pub fn facts(&self) -> Value {
        let endpoints: Endpoints = read_json(&self.state().endpoints()).unwrap().unwrap();
        let access: ServiceAccess = read_json(&self.state().service()).unwrap().unwrap();
        json!({
            "hub": endpoints.hub_host_name,
            "gateway": endpoints.gateway_host_name,
            "device": DEVICE,
            "trustBundle": endpoints.trust_bundle,
            "serviceKey": access.shared_access_key,
            "readKey": access.policy_key("registryRead"),
            "eventKey": access.policy_key("service"),
        })
    }

    /// Writes a certificate and its key where a client reads them.
    pub fn place(&self, name: &str, issued: &Issued) -> Value {
        let at = |end: &str| self.place.path().join(format!("{}.{end}", name.replace('/', "-")));
        fs::write(at("pem"), &issued.certificate_pem).unwrap();
        fs::write(at("key"), &issued.private_key_pem).unwrap();
        json!({ "certificate": at("pem"), "key": at("key"), "thumbprint": issued.thumbprints[0] })
    }

    /// Runs a client in the network.
    pub fn run(&self, program: &Path, script: &str, facts: &Value) {
        self.client(program, script, facts).assert().success();
    }

    /// A client, to be run in the network.
    pub fn client(&self, program: &Path, script: &str, facts: &Value) -> assert_cmd::Command {
        let path = self.place.path().join("place.json");
        fs::write(&path, facts.to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let mut command = assert_cmd::Command::from_std(self.network.program(program, self.place.path()));
        command.arg(script).arg(path).timeout(TIMEOUT);
        if let Some(modules) = facts["nodeModules"].as_str() {
            command.env("NODE_PATH", modules).env("NODE_EXTRA_CA_CERTS", facts["trustBundle"].as_str().unwrap());
        }
        command
    }

    /// The texts of the messages that reached the cloud, and how often, when there are so many.
    fn received(&self, count: usize) -> BTreeMap<String, usize> {
        let count = count.to_string();
        let output = self.edgectl(&["events", "-f", "--count", &count, "--json"]).assert().success();
        let mut texts = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.get_output().stdout).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            *texts.entry(event["body"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        texts
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What a failed test left.
        let _ = self.edgectl(&["sim", "down"]).output();
    }
}

/// Node, and the modules of a folder of clients, from the registry at hand.
pub fn node(name: &str) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{}", name.replace('_', "-")));
    fs::create_dir_all(&folder).unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).join("package.json");
    fs::copy(package, folder.join("package.json")).unwrap();
    let node = Command::new("sh").args(["-c", "command -v node"]).output().unwrap().stdout;
    let node = PathBuf::from(String::from_utf8_lossy(&node).trim());
    assert!(!node.as_os_str().is_empty(), "node is not there");
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    let output = install.output().expect("npm");
    assert!(output.status.success(), "{install:?}: {}", String::from_utf8_lossy(&output.stderr));
    (node, folder.join("node_modules"))
}

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

#[test]
fn the_python_sdk_comes_through_websockets_and_with_certificates() {
    let python = sdk::python();
    let site = Site::start();
    let (now, authority) = (Timestamp::now(), site.authority());
    let elsewhere = tempdir().unwrap();
    let foreign = Authority::open(elsewhere.path(), &DeviceId::new(DEVICE).unwrap(), now).unwrap();
    let mut certificates = json!({});
    for way in ["mqtt", "socket"] {
        let wrong = id(&format!("wrong-{way}"));
        let past = now - SignedDuration::from_hours(24 * 500);
        let issued = [
            (format!("vouched-{way}"), authority.issue_client(&id(&format!("vouched-{way}")), now)),
            (format!("{DEVICE}/vouched-{way}"), authority.issue_client(&id(&format!("{DEVICE}/vouched-{way}")), now)),
            (format!("known-{way}"), self_signed_client(&id("whoever"), now)),
            (format!("foreign-{way}"), foreign.issue_client(&wrong, now)),
            (format!("expired-{way}"), authority.issue_client(&wrong, past)),
        ];
        for (name, issued) in issued {
            certificates[&name] = site.place(&name, &issued.unwrap());
        }
    }
    let mut facts = site.facts();
    facts["certificates"] = certificates;
    site.run(python, "python/doors.py", &facts);

    let mut expected = BTreeMap::new();
    for way in ["mqtt", "socket"] {
        for (name, times) in [("keys", 1), ("vouched", 2), ("known", 2)] {
            expected.insert(format!("{name}-{way}"), times);
        }
        for name in ["keys", "vouched"] {
            expected.insert(format!("{DEVICE}/modules/{name}-{way}"), 1);
        }
    }
    assert_eq!(site.received(expected.values().sum()), expected);
    site.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn the_node_sdk_comes_through_websockets_and_https() {
    let (node, modules) = node("node_http");
    let site = Site::start();
    let mut facts = site.facts();
    facts["nodeModules"] = json!(modules);
    facts["vouched"] = site.place("vouched", &site.authority().issue_client(&id("vouched"), Timestamp::now()).unwrap());
    site.run(&node, "node_http/doors.js", &facts);

    let mut expected = BTreeMap::new();
    for host in ["gateway", "hub"] {
        let host = facts[host].as_str().unwrap();
        for proof in ["keys", "certificate"] {
            for message in ["mqtt", "amqp", "http"] {
                expected.insert(format!("{proof} {message} {host}"), 1);
            }
            for number in [1, 2] {
                expected.insert(format!("{proof} http {host} {number}"), 1);
            }
        }
    }
    assert_eq!(site.received(expected.values().sum()), expected);
    site.edgectl(&["sim", "down"]).assert().success();
}
