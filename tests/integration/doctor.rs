//! `edgectl doctor` on real trees, with what can be provoked without harming the machine.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::address::DeviceAddress;
use edgectl_simulator::authority::Authority;
use edgectl_simulator::state::StateDirectory;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::device;

/// A solution with a module in Python.
struct Tree {
    place: TempDir,
}

impl Tree {
    fn new() -> Self {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", "plant", "--module", "filter", "--lang", "python"]).assert().success();
        Self { place }
    }

    fn root(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("plant")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Changes the template.
    fn template(&self, change: impl FnOnce(&mut Value)) {
        let path = self.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut template["modulesContent"]["$edgeAgent"]["properties.desired"]);
        fs::write(path, template.to_string()).unwrap();
    }

    fn state(&self) -> StateDirectory {
        StateDirectory::new(&self.root().join(".edgectl"))
    }

    fn doctor(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = edgectl(&self.root());
        command.args(["doctor", "--json"]).args(arguments);
        command
    }

    /// What a check finds.
    fn look(&self, code: &str) -> Value {
        look(self.doctor(&[code]), code)
    }

    /// What is found by a check after mending.
    fn fixed(&self, code: &str) -> Value {
        look(self.doctor(&["--fix", code]), code)
    }
}

/// Runs the command for one check. The exit status is that of its verdict.
fn look(mut command: assert_cmd::Command, code: &str) -> Value {
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = document["checks"].as_array().unwrap().iter().find(|check| check["code"] == code).unwrap().clone();
    assert_eq!(output.status.code(), Some(if check["verdict"] == "error" { 3 } else { 0 }), "{document}");
    check
}

fn expect(check: &Value, verdict: &str, words: &str) {
    assert_eq!(check["verdict"], verdict, "{check}");
    let found = check["found"].as_str().unwrap();
    assert!(found.contains(words), "it says {words:?}: {check}");
    if ["warning", "error"].contains(&verdict) {
        assert!(check["mend"].is_string(), "it says what mends it: {check}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn outside_a_solution_the_machine_alone_is_examined() {
    let place = tempdir().unwrap();
    let output =
        edgectl(place.path()).args(["doctor", "DOC304", "doc5"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("No solution here: the machine alone is examined.\n"), "{text}");
    assert!(text.contains("ok       DOC304  the clock is right: 20"), "{text}");
    assert!(text.contains("skipped  DOC505"), "{text}");
    let output =
        edgectl(place.path()).args(["doctor", "--json", "DOC3"]).assert().success().get_output().stdout.clone();
    let document: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&document["solution"], &document["errors"]), (&Value::Null, &json!(0)));
}

#[test]
fn checks_are_listed_and_chosen_by_their_codes() {
    let place = tempdir().unwrap();
    let output =
        edgectl(place.path()).args(["doctor", "--list", "--json"]).assert().success().get_output().stdout.clone();
    let list: Value = serde_json::from_slice(&output).unwrap();
    assert!(list["checks"].as_array().unwrap().len() >= 25);
    edgectl(place.path())
        .args(["doctor", "--list", "doc20"])
        .assert()
        .success()
        .stdout(predicates::str::contains("DOC206"));
    refused(edgectl(place.path()).args(["doctor", "DOC999"]).assert(), 2, "there is no check \"DOC999\"");
}

#[test]
fn a_new_solution_is_healthy() {
    let tree = Tree::new();
    let output = tree.doctor(&["DOC5", "DOC6"]).assert().success().get_output().stdout.clone();
    let document: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&document["errors"], &document["warnings"]), (&json!(0), &json!(0)), "{document}");
    assert_eq!(document["solution"], json!(tree.root()));
}

#[test]
fn what_is_wrong_with_documents_is_found() {
    let tree = Tree::new();
    tree.template(|agent| {
        agent["runtime"]["settings"]["registryCredentials"] =
            json!({ "mine": { "address": "registry.example.com", "username": "me", "password": "${PLANT_PASSWORD}" } });
    });
    expect(&tree.look("DOC110"), "error", "not set: PLANT_PASSWORD");
    expect(&tree.look("DOC504"), "error", "not set: PLANT_PASSWORD");
    let env = fs::read_to_string(tree.root().join(".env")).unwrap();
    tree.write(".env", &format!("{env}\nPLANT_PASSWORD=x\n"));
    expect(&tree.look("DOC110"), "ok", "one");
    expect(&tree.look("DOC504"), "ok", "");
    tree.template(|agent| agent["runtime"]["settings"]["registryCredentials"]["mine"]["username"] = json!(""));
    expect(&tree.look("DOC110"), "error", "username of mine");

    tree.template(|agent| agent["modules"]["filter"]["restartPolicy"] = json!("sometimes"));
    expect(&tree.look("DOC503"), "error", "errors: ");
    fs::write(tree.root().join("modules/filter/module.json"), "{\"image\": {}}").unwrap();
    expect(&tree.look("DOC506"), "error", "image.repository");
    fs::remove_dir_all(tree.root().join("modules/filter")).unwrap();
    expect(&tree.look("DOC505"), "error", "\"filter\"");
    fs::remove_file(tree.root().join("deployment.template.json")).unwrap();
    expect(&tree.look("DOC502"), "error", "deployment.template.json");
    tree.write("edgectl.yaml", "divice: x\n");
    expect(&tree.look("DOC501"), "error", "divice");
}

#[test]
fn a_dockerfile_that_is_missing_is_found() {
    let tree = Tree::new();
    fs::remove_file(tree.root().join("modules/filter/Dockerfile.arm64v8")).unwrap();
    expect(&tree.look("DOC506"), "warning", "arm64v8");
}

#[test]
fn secrets_that_others_may_read_are_made_private() {
    let tree = Tree::new();
    let path = tree.root().join(".env");
    fs::write(&path, "REGISTRY_PASSWORD=x\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let found = tree.look("DOC507");
    expect(&found, "warning", "REGISTRY_PASSWORD");
    assert_eq!((&found["fixable"], mode(&path)), (&json!(true), 0o644));
    let fixed = tree.fixed("DOC507");
    expect(&fixed, "ok", "mode 600");
    assert!(fixed["mended"].is_string());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), "REGISTRY_PASSWORD=x\n");
}

#[test]
fn git_is_told_to_keep_state_out() {
    let tree = Tree::new();
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(tree.root()).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "--quiet"]) {
        println!("passed over: git is not at hand");
        return;
    }
    tree.write(".gitignore", "*.pyc");
    expect(&tree.look("DOC508"), "warning", ".edgectl/, .env");
    expect(&tree.fixed("DOC508"), "ok", "");
    assert_eq!(fs::read_to_string(tree.root().join(".gitignore")).unwrap(), "*.pyc\n.edgectl/\n.env\n");
}

#[test]
fn what_was_built_and_is_gone_is_found() {
    let tree = Tree::new();
    expect(&tree.look("DOC509"), "note", "not built yet: filter");
    // As `edgectl build` leaves it.
    let record = |image: &str| json!({ "image": image, "module": "filter", "argv": ["/nowhere/python"], "cwd": "/", "env": {}, "digest": "" });
    let output = edgectl(&tree.root()).args(["render", "-o", "-"]).assert().success().get_output().stdout.clone();
    let manifest: Value = serde_json::from_slice(&output).unwrap();
    let image =
        manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["filter"]["settings"]["image"]
            .as_str()
            .unwrap()
            .to_owned();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(image.as_bytes());
    let name = format!("{:032x}", u128::from_be_bytes(digest[..16].try_into().unwrap()));
    tree.write(&format!(".edgectl/images/{name}.json"), &record(&image).to_string());
    expect(&tree.look("DOC509"), "error", "what was built of filter is gone");
    tree.write(".edgectl/build/filter/venv.stamp", "");
    expect(&tree.look("DOC403"), "error", "lacks it");
    tree.write("modules/filter/requirements.txt", "requests\n");
    expect(&tree.look("DOC403"), "warning", "does not name azure-iot-device");
}

#[test]
fn a_device_that_was_killed_is_cleaned_up_after() {
    let solution = device::Solution::new();
    let look = |arguments: &[&str], code: &str| {
        let mut command = solution.edgectl(&["doctor", "--json", code]);
        command.args(arguments);
        look(command, code)
    };
    let mut device = solution.up();
    expect(&look(&[], "DOC603"), "ok", &device.id().to_string());
    expect(&look(&[], "DOC602"), "ok", "runs");
    expect(&look(&[], "DOC202"), "ok", "the running device");
    expect(&look(&[], "DOC606"), "ok", "until 20");
    expect(&look(&[], "DOC601"), "ok", "");
    device.kill().unwrap();
    device.wait().unwrap();

    expect(&look(&[], "DOC602"), "note", &device.id().to_string());
    expect(&look(&["--fix"], "DOC602"), "ok", "good order");
    let state = solution.root().join(".edgectl");
    let service = state.join("device/service.json");
    for path in [&state, &service] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    expect(&look(&[], "DOC601"), "warning", ".edgectl, .edgectl/device/service.json");
    expect(&look(&["--fix"], "DOC601"), "ok", "");
    assert_eq!((mode(&state), mode(&service)), (0o700, 0o600));
    fs::write(state.join("device/endpoints.json"), "{").unwrap();
    expect(&look(&[], "DOC605"), "error", "endpoints.json: damaged");
    expect(&look(&["--fix"], "DOC605"), "ok", "");
    fs::write(state.join("device/engine"), "unix:///nowhere").unwrap();
    expect(&look(&[], "DOC607"), "note", "unix:///nowhere");
    // The device starts from what is left.
    solution.up().kill().unwrap();
}

#[test]
fn certificates_have_their_time() {
    let tree = Tree::new();
    let state = tree.state();
    state.create().unwrap();
    expect(&tree.look("DOC606"), "skipped", "");
    let years = |years: i64| Timestamp::now() + SignedDuration::from_hours(24 * 365 * years);
    let device = DeviceId::new("plant").unwrap();
    for (made, verdict, words) in
        [(years(1), "error", "to come"), (years(-21), "error", "ended on"), (years(0), "ok", "until")]
    {
        let _ = fs::remove_dir_all(state.authority());
        Authority::open(&state.authority(), &device, made).unwrap();
        expect(&tree.look("DOC606"), verdict, words);
    }
    fs::remove_file(state.authority().join("trust-bundle.pem")).unwrap();
    expect(&tree.look("DOC606"), "error", "trust-bundle.pem");
    fs::write(state.authority().join("root-ca.pem"), "x").unwrap();
    expect(&tree.look("DOC606"), "error", "root-ca.pem");
}

#[test]
fn a_port_in_use_is_told_with_who_uses_it() {
    let tree = Tree::new();
    let address = DeviceAddress::preferred(&tree.root()).gateway();
    let Ok(_listener) = TcpListener::bind((address, 8883)) else {
        println!("passed over: a device of another test has this address");
        return;
    };
    let found = tree.look("DOC202");
    expect(&found, "warning", &format!("listens at {address}:8883"));
    assert_eq!(found["mend"], format!("kill {}", std::process::id()));
}

/// Answers everything as an engine of a version does.
fn engine(path: &Path, version: &str, interface: &str) {
    let listener = UnixListener::bind(path).unwrap();
    let body =
        json!({ "Version": version, "ApiVersion": interface, "MinAPIVersion": "1.12", "Arch": "amd64", "Os": "linux" });
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let answer = answer.clone();
            // Who only looks whether somebody listens sends nothing.
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
}

#[test]
fn an_engine_that_is_needed_must_be_there_and_new_enough() {
    let tree = Tree::new();
    expect(&tree.look("DOC102"), "note", "there is no container engine at /nowhere/docker.sock");
    tree.write("edgectl.yaml", "runtime: docker\n");
    expect(&tree.look("DOC102"), "error", "there is no container engine");
    let with = |path: &Path, code: &str| {
        let mut command = tree.doctor(&[code]);
        command.env("DOCKER_HOST", format!("unix://{}", path.display()));
        look(command, code)
    };
    let idle = tree.root().join("idle.sock");
    drop(UnixListener::bind(&idle).unwrap());
    expect(&with(&idle, "DOC102"), "error", "is not running");
    let (old, new) = (tree.root().join("old.sock"), tree.root().join("new.sock"));
    engine(&old, "19.03.1", "1.40");
    engine(&new, "28.1.0", "1.48");
    expect(&with(&old, "DOC103"), "error", "Docker 19.3.1 is older than 20.10");
    expect(&with(&new, "DOC103"), "ok", "28.1.0");
    expect(&with(&new, "DOC102"), "ok", "Docker 28.1.0");
    let mut command = tree.doctor(&["DOC101"]);
    command.env("DOCKER_HOST", "ssh://somewhere");
    expect(&look(command, "DOC101"), "error", "ssh://somewhere");
}

#[test]
fn a_socket_that_this_user_may_not_use_is_told() {
    use std::os::unix::process::CommandExt as _;
    let place = tempdir().unwrap();
    let socket = place.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    // Root may use every socket: somebody else looks, with a copy where everybody may run it.
    let copy = place.path().join("edgectl");
    fs::copy(assert_cmd::cargo::cargo_bin!("edgectl"), &copy).unwrap();
    let mut command = std::process::Command::new(&copy);
    command.args(["doctor", "--json", "DOC102"]).current_dir(place.path());
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let check = look(assert_cmd::Command::from_std(command), "DOC102");
    expect(&check, "note", "this user may not use the container engine");
    assert!(check["mend"].as_str().unwrap().contains("usermod -aG"), "{check}");
}

#[test]
fn podman_that_nobody_looks_for_is_found() {
    let place = tempdir().unwrap();
    let socket = place.path().join("podman/podman.sock");
    fs::create_dir(socket.parent().unwrap()).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = edgectl(place.path());
    command.args(["doctor", "--json", "DOC104"]).env("XDG_RUNTIME_DIR", place.path());
    let check = look(command, "DOC104");
    expect(&check, "warning", "podman listens at");
    assert_eq!(check["mend"], format!("export DOCKER_HOST=unix://{}", socket.display()));
}

#[test]
fn the_environment_is_examined() {
    let tree = Tree::new();
    let with = |name: &str, value: &str, code: &str| {
        let mut command = tree.doctor(&[code]);
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(proxy).env_remove(proxy.to_ascii_lowercase());
        }
        command.env(name, value);
        look(command, code)
    };
    let address = DeviceAddress::preferred(&tree.root()).gateway().to_string();
    expect(&with("OTHER", "", "DOC205"), "ok", "");
    expect(&with("https_proxy", "http://proxy:8080", "DOC205"), "warning", &address);
    expect(&with("TMPDIR", "/nowhere", "DOC306"), "error", "/nowhere");
    expect(&with("XDG_STATE_HOME", "relative", "DOC307"), "warning", "relative");
    expect(&with("HOME", "", "DOC307"), "warning", "HOME");

    let config = tree.root().join("engine");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("config.json"), r#"{"credsStore": "nobody"}"#).unwrap();
    let config = config.display().to_string();
    expect(&with("DOCKER_CONFIG", &config, "DOC109"), "warning", "docker-credential-nobody");

    let tools = tempdir().unwrap();
    program(tools.path(), "python3", "echo Python 3.6.9");
    program(tools.path(), "node", "exit 1");
    let tools = tools.path().display().to_string();
    expect(&with("PATH", &tools, "DOC401"), "error", "python3 3.6.9 is older than 3.8");
    expect(&with("PATH", "/nowhere", "DOC401"), "error", "python3 is not on the search path");
    expect(&with("PATH", &tools, "DOC404"), "note", "does not run");
    for (code, words) in [("DOC406", "cargo"), ("DOC407", "C compiler"), ("DOC309", "search path")] {
        expect(&with("PATH", &tools, code), "note", words);
    }
}

#[test]
fn limits_of_the_process_are_examined() {
    let place = tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin!("edgectl");
    for (limit, verdict) in [("256", "warning"), ("100", "error")] {
        let script = format!("ulimit -Sn {limit} && exec \"$0\" doctor --json DOC301");
        let mut command = assert_cmd::Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg(program)
            .current_dir(place.path())
            .env("DOCKER_HOST", crate::binary::NO_ENGINE);
        expect(&look(command, "DOC301"), verdict, &format!("only {limit}"));
    }
}

#[test]
fn what_an_engine_must_pull_is_named() {
    let tree = Tree::new();
    tree.template(|agent| agent["modules"]["own"] = device::module("registry.example.com/own:1.0"));
    expect(&tree.look("DOC102"), "error", "there is no container engine");
    expect(&tree.look("DOC111"), "note", "registry.example.com");
    let home = tree.root().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("config.json"), r#"{"auths": {"registry.example.com": {}}}"#).unwrap();
    let mut command = tree.doctor(&["DOC111"]);
    command.env("DOCKER_CONFIG", home);
    expect(&look(command, "DOC111"), "ok", "registry.example.com");
}

#[test]
fn a_clock_that_is_behind_its_files_is_noticed() {
    let tree = Tree::new();
    let file = fs::File::options().append(true).open(tree.root().join("edgectl.yaml")).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_hours(48)).unwrap();
    expect(&tree.look("DOC304"), "warning", "edgectl.yaml was written later");
}

#[test]
fn a_path_that_is_too_long_for_sockets_is_told() {
    let tree = Tree::new();
    let deep = tree.root().join("d".repeat(80));
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("edgectl.yaml"), "").unwrap();
    let mut command = edgectl(&deep);
    command.args(["doctor", "--json", "DOC604"]);
    expect(&look(command, "DOC604"), "note", "/tmp/edgectl-");
}
