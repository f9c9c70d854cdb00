//! `edgectl build --push` to real registries, with and without a login, and `edgectl registry serve` with a real engine.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::build::solution;
use crate::docker_engine;
use crate::images::{C, PYTHON, digests, result};

/// A registry that is running, and is no more when this is dropped.
pub struct Running {
    child: Child,
    /// Its host and port.
    pub address: String,
    _place: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own_registry() -> Running {
    let place = tempdir().unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("edgectl"))
        .args(["registry", "serve", "--port", "0", "--json", "--directory"])
        .arg(place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let address = told["address"].as_str().unwrap().replace("127.0.0.1", "localhost");
    Running { child, address, _place: place }
}

/// Debian's registry; with a user `me` whose password is `secret`, if that is asked for.
pub fn debian_registry(with_login: bool) -> Running {
    debian_registry_with(|place| {
        if !with_login {
            return String::new();
        }
        // The password's hash, made with bcrypt at its least cost.
        let users = place.join("users");
        fs::write(&users, "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n").unwrap();
        format!("auth: {{ htpasswd: {{ realm: tests, path: {} }} }}\n", users.display())
    })
}

/// Debian's registry, with more in its configuration; files for that are put into the folder that is given.
pub fn debian_registry_with(more: impl FnOnce(&Path) -> String) -> Running {
    let place = tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = place.path().join("data");
    let mut config = format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n",
        root.display()
    );
    config.push_str(&more(place.path()));
    let file = place.path().join("config.yml");
    fs::write(&file, config).unwrap();
    let child =
        Command::new("docker-registry").arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running { child: child.unwrap(), address: format!("localhost:{port}"), _place: place };
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    running
}

/// Sends the modules' images to a registry instead.
pub fn at(place: &Path, modules: &[&str], registry: &str) {
    for module in modules {
        let path = place.join("modules").join(module).join("module.json");
        let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        file["image"]["repository"] = json!(format!("{registry}/{module}"));
        fs::write(path, file.to_string()).unwrap();
    }
}

/// Puts a module's images on a base.
pub fn based(place: &Path, module: &str, base: &str) {
    let path = place.join("modules").join(module).join("module.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["edgectl"] = json!({ "base": base });
    fs::write(path, file.to_string()).unwrap();
}

pub fn skopeo(image: &str) -> Value {
    let output = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", image]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Passes requests on to a registry, and notes what they were.
fn listener(to: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", front.local_addr().unwrap().port());
    let (notes, to) = (Arc::new(Mutex::new(Vec::new())), to.replace("localhost", "127.0.0.1"));
    let kept = Arc::clone(&notes);
    std::thread::spawn(move || {
        for stream in front.incoming() {
            let (mut client, mut server) = (stream.unwrap(), std::net::TcpStream::connect(&to).unwrap());
            let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    let requests = text.lines().filter(|line| line.ends_with("HTTP/1.1"));
                    kept.lock().unwrap().extend(requests.map(str::to_owned));
                    if server.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, notes)
}

#[test]
fn an_index_for_three_platforms_is_pushed_once_and_then_asked_for_alone() {
    for registry in [debian_registry(false), own_registry()] {
        let place = solution(&[("cee", "c", C)]);
        let (address, notes) = listener(&registry.address);
        at(place.path(), &["cee"], &address);
        let arguments = ["--push", "-P", "amd64,arm64v8,arm32v7"];
        let first = result(place.path(), &arguments);
        assert_eq!(first["pushed"].as_array().unwrap().len(), 4);
        assert_eq!(first["pushed"][0]["sent"], 2);
        let index = skopeo(&format!("docker://{}/cee:1", registry.address));
        let found: Vec<&str> =
            index["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
        assert_eq!(found, digests(&first));
        let digest = first["indexes"][0]["digest"].as_str().unwrap();
        assert_eq!(skopeo(&format!("docker://{}/cee@{digest}", registry.address)), index);

        notes.lock().unwrap().clear();
        let second = result(place.path(), &arguments);
        assert!(second["pushed"].as_array().unwrap().iter().all(|sent| sent["sent"] == 0 && sent["present"] == 0));
        let asked = notes.lock().unwrap().clone();
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert!(asked.iter().all(|line| line.starts_with("HEAD ")), "{asked:?}");
    }
}

#[test]
fn a_blob_of_another_repository_is_mounted_and_not_sent() {
    let registry = debian_registry(false);
    let place = solution(&[("one", "c", C)]);
    at(place.path(), &["one"], &registry.address);
    result(place.path(), &["--push"]);
    let path = place.path().join("modules/one/module.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("/one", "/other")).unwrap();
    let pushed = result(place.path(), &["--push"])["pushed"][0].clone();
    assert_eq!((&pushed["mounted"], &pushed["sent"]), (&json!(2), &json!(0)), "{pushed}");
}

#[test]
fn who_has_logged_in_may_push_and_who_has_not_is_told() {
    let registry = debian_registry(true);
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    let config = tempdir().unwrap();
    let push = || {
        let mut command = edgectl(place.path());
        command.args(["build", "--push", "-q"]).env("DOCKER_CONFIG", config.path());
        command.assert()
    };
    refused(push(), 9, "docker login");
    let logged_in = |password: &str| {
        let auth = BASE64.encode(format!("me:{password}"));
        let auths = json!({ "auths": { registry.address.clone(): { "auth": auth } } });
        fs::write(config.path().join("config.json"), auths.to_string()).unwrap();
    };
    logged_in("expired");
    refused(push(), 9, "does not let me do that");
    logged_in("secret");
    push().success();
    fs::remove_file(config.path().join("config.json")).unwrap();
    // The manifest's own credentials are as good.
    let template = place.path().join("deployment.template.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&template).unwrap()).unwrap();
    manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["runtime"] = json!({ "settings": {
        "registryCredentials": { "r": { "address": registry.address, "username": "me", "password": "${PASSWORD}" } },
    } });
    fs::write(template, manifest.to_string()).unwrap();
    fs::write(place.path().join(".env"), "PASSWORD=secret\n").unwrap();
    push().success();
}

#[test]
fn a_registry_that_is_not_there_is_told() {
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], "localhost:1");
    refused(edgectl(place.path()).args(["build", "--push", "-q"]).assert(), 1, "cannot be reached");
}

#[test]
fn a_real_engine_pulls_from_the_own_registry_and_a_base_comes_from_it() {
    let registry = own_registry();
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    result(place.path(), &["--push", "-P", "amd64,arm64v8"]);
    let image = format!("{}/cee:1", registry.address);
    docker_engine::docker(&["pull", &image]);
    assert_eq!(docker_engine::docker(&["run", "--rm", "--network", "none", &image]), "it runs");
    let other = format!("{}/again:1", registry.address);
    docker_engine::docker(&["tag", &image, &other]);
    docker_engine::docker(&["push", &other]);
    docker_engine::docker(&["rmi", "-f", &image, &other]);

    let snake = solution(&[("snake", "python", PYTHON)]);
    based(snake.path(), "snake", &image);
    let built = result(snake.path(), &["--image", "-P", "arm64v8"]);
    assert_eq!(built["modules"][0]["status"], "built");
    based(snake.path(), "snake", &format!("{}/nothing:1", registry.address));
    refused(edgectl(snake.path()).args(["build", "--image"]).assert(), 5, "cannot be fetched");
}

#[test]
fn a_manifest_is_pinned_to_what_was_built() {
    let place = solution(&[("cee", "c", C)]);
    let render = |arguments: &[&str]| edgectl(place.path()).args(["render", "-o", "-"]).args(arguments).assert();
    refused(render(&["--pin"]), 2, "was not built as an image");
    let one = result(place.path(), &["--image"]);
    let pinned = String::from_utf8(render(&["--pin"]).success().get_output().stdout.clone()).unwrap();
    assert!(pinned.contains(&format!("\"image\": \"registry/cee@{}\"", digests(&one)[0])), "{pinned}");
    let all = result(place.path(), &["--image", "-P", "amd64,arm64v8"]);
    let pinned = String::from_utf8(render(&["--pin"]).success().get_output().stdout.clone()).unwrap();
    let digest = all["indexes"][0]["digest"].as_str().unwrap();
    assert!(pinned.contains(&format!("\"image\": \"registry/cee@{digest}\"")), "{pinned}");
}
