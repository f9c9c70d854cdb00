//! `edgectl build` of modules with Dockerfiles, on a real engine.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::build::{Files, solution};
use crate::device::wait_until;
use crate::docker_engine;
use crate::images::{document, statuses, unpacked};

const FILES: Files = &[
    ("Dockerfile.amd64", "FROM scratch\nARG WORD=none\nLABEL word=$WORD\nCOPY kept /kept\n"),
    ("Dockerfile.arm64v8", "FROM scratch\nARG TARGETARCH\nLABEL word=$TARGETARCH\nCOPY kept /kept\n"),
    (".dockerignore", "ignored\n"),
    ("kept", "x"),
    ("ignored", "x"),
];

fn build(place: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = edgectl(place);
    command.args(["build", "--json"]).args(arguments).env("DOCKER_HOST", docker_engine::host()).assert()
}

fn result(place: &Path, arguments: &[&str]) -> Value {
    serde_json::from_slice(&build(place, arguments).success().get_output().stdout).unwrap()
}

fn with(place: &Path, change: impl FnOnce(&mut Value)) {
    let path = place.join("modules/filed/module.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["image"]["repository"] = json!("edgectl-tests/filed");
    change(&mut file);
    fs::write(path, file.to_string()).unwrap();
}

#[test]
fn a_dockerfile_is_built_for_its_platforms_with_arguments_and_without_what_is_ignored() {
    let place = solution(&[("filed", "csharp", FILES)]);
    with(place.path(), |file| file["image"]["buildOptions"] = json!(["--build-arg WORD=given"]));
    let arguments = ["-P", "amd64,arm64v8", "--output", "oci:out"];
    let first = result(place.path(), &arguments);
    assert_eq!(statuses(&first), ["built", "built"]);
    let out = place.path().join("out");
    for (index, (word, architecture)) in [("given", "amd64"), ("arm64", "arm64")].iter().enumerate() {
        let manifest = document(&out, &first["modules"][index]["digest"]);
        let config = document(&out, &manifest["config"]["digest"]);
        assert_eq!(config["config"]["Labels"]["word"], *word);
        assert_eq!(config["architecture"], *architecture);
    }
    assert_eq!(statuses(&result(place.path(), &arguments)), ["cached", "cached"]);
    fs::write(place.path().join("modules/filed/ignored"), "changed").unwrap();
    assert_eq!(statuses(&result(place.path(), &arguments)), ["cached", "cached"]);
    fs::write(place.path().join("modules/filed/kept"), "changed").unwrap();
    let changed = result(place.path(), &["--image"]);
    assert!(changed["modules"][0]["reasons"][0].as_str().unwrap().ends_with("kept changed"), "{changed}");
    assert_eq!(docker_engine::docker(&["ps", "-aq", "--filter", "ancestor=edgectl-tests/filed:1-amd64"]), "");
}

#[test]
fn what_an_engine_cannot_build_is_told() {
    let place = solution(&[("filed", "csharp", FILES)]);
    with(place.path(), |_| {});
    let dockerfile = place.path().join("modules/filed/Dockerfile.amd64");
    fs::write(place.path().join("modules/filed/large"), vec![0; (500 << 10) + 1]).unwrap();
    fs::write(&dockerfile, "FROM scratch\nCOPY nothing /x\n").unwrap();
    let assert = edgectl(place.path()).args(["build", "--image"]).env("DOCKER_HOST", docker_engine::host()).assert();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    refused(assert, 5, "module filed was not built");
    assert!(text.contains("filed | ") && text.contains("nothing"), "{text}");

    let none = || edgectl(place.path()).args(["build", "--image"]).assert();
    refused(none(), 6, "a Dockerfile is built by a container engine");
    for (options, told) in [
        ("--ulimit nofile=1", "\"--ulimit nofile=1\" is not supported"),
        ("--secret id=key,src=nothing", "nothing: No such file"),
        ("--secret id=key,src=modules/filed/large", "the secret key has more than 500 KiB"),
        ("--ssh default=modules/filed/kept", "kept: is no socket of an SSH agent"),
    ] {
        with(place.path(), |file| file["image"]["buildOptions"] = json!([options]));
        refused(none(), 5, told);
    }
    for (options, told) in
        [("--secret id=key,env=NONE", "variable NONE, which is not set"), ("--ssh default", "none is running")]
    {
        with(place.path(), |file| file["image"]["buildOptions"] = json!([options]));
        refused(none(), 6, told);
    }
    with(place.path(), |file| file["image"]["buildOptions"] = json!([]));
    fs::remove_file(dockerfile).unwrap();
    with(place.path(), |file| file["edgectl"] = json!({ "builder": "dockerfile" }));
    refused(none(), 5, "there is no");
}

/// An SSH agent with a key of its own, which ends with it.
struct Agent {
    place: TempDir,
    process: Child,
}

impl Agent {
    fn start() -> Self {
        let place = tempdir().unwrap();
        let socket = place.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the agent listens", || socket.exists());
        let agent = Self { place, process };
        let key = agent.place.path().join("key");
        assert!(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status()
                .unwrap()
                .success()
        );
        assert!(agent.add().args(["-q".as_ref(), key.as_os_str()]).status().unwrap().success());
        agent
    }

    fn socket(&self) -> String {
        self.place.path().join("agent").display().to_string()
    }

    fn add(&self) -> Command {
        let mut command = Command::new("ssh-add");
        command.env("SSH_AUTH_SOCK", self.socket());
        command
    }

    /// What it says of its keys.
    fn keys(&self) -> String {
        String::from_utf8(self.add().arg("-l").output().unwrap().stdout).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_a_step_says_in_pieces_is_shown_in_lines() {
    let base = docker_engine::shell_image();
    let place = solution(&[("filed", "csharp", FILES)]);
    with(place.path(), |file| file["image"]["buildOptions"] = json!(["--network none"]));
    let dockerfile =
        format!("FROM {base}\nRUN printf 'no'; sleep 0.3; printf ' room\\nat'; sleep 0.3; printf ' all'; exit 3\n");
    fs::write(place.path().join("modules/filed/Dockerfile.amd64"), dockerfile).unwrap();
    let assert = edgectl(place.path()).args(["build", "--image"]).env("DOCKER_HOST", docker_engine::host()).assert();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    refused(assert, 5, "module filed was not built");
    assert!(text.contains("filed | no room\nfiled | at all\n"), "{text}");
}

#[test]
fn steps_use_secrets_and_an_agent_that_do_not_become_part_of_the_image() {
    let agent = Agent::start();
    let base = docker_engine::shell_image();
    let dockerfile = format!(
        "FROM {base} AS made
RUN mkdir -p /root /out
RUN --mount=type=secret,id=file sha256sum </run/secrets/file >/out/file
RUN --mount=type=secret,id=word sha256sum </run/secrets/word >/out/word
RUN --mount=type=secret,id=TOKEN,dst=/token sha256sum </token >/out/token
RUN --mount=type=secret,id=absent [ ! -e /run/secrets/absent ]
RUN --mount=type=ssh ssh-add -l >/out/keys
FROM scratch
COPY --from=made /out /out
"
    );
    let place = solution(&[("filed", "csharp", FILES)]);
    fs::write(place.path().join("modules/filed/Dockerfile.amd64"), dockerfile).unwrap();
    fs::write(place.path().join("key.txt"), "from a file").unwrap();
    fs::write(place.path().join(".env"), "WORD=\"from a variable\"\n").unwrap();
    let options = ["--secret id=file,src=key.txt", "--secret id=word,env=WORD", "--secret id=TOKEN", "--ssh default"];
    // The engine of the tests has no other network.
    with(place.path(), |file| {
        file["image"]["buildOptions"] = json!([options.as_slice(), &["--network none"]].concat());
    });
    let result = edgectl(place.path())
        .args(["build", "--json", "--output", "oci:out"])
        .env("DOCKER_HOST", docker_engine::host())
        .envs([("TOKEN", "by its name"), ("SSH_AUTH_SOCK", &agent.socket())])
        .assert()
        .success();
    let result: Value = serde_json::from_slice(&result.get_output().stdout).unwrap();
    assert_eq!(statuses(&result), ["built"]);
    let out = place.path().join("out");
    let manifest = document(&out, &result["modules"][0]["digest"]);
    let image = unpacked(&out, &manifest);
    let found = |name: &str| fs::read_to_string(image.path().join("out").join(name)).unwrap();
    assert_eq!(found("keys"), agent.keys());
    for (name, secret) in [("file", "from a file"), ("word", "from a variable"), ("token", "by its name")] {
        let mut tool = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        tool.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        assert_eq!(found(name).into_bytes(), tool.wait_with_output().unwrap().stdout, "{name}");
    }
}
