//! Modules as real processes of `/bin/sh`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::runtime::group_record::sweep_leftovers;
use crate::runtime::launcher;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, LogStream, ModuleRuntime, ModuleSpec, ModuleStatus, RuntimeError,
};
use crate::runtime::process::{ProcessImage, ProcessRuntime, ProcessRuntimeOptions};
use crate::runtime::process_group;

/// Long enough for a stop that is expected to come at once.
const LONG: Duration = Duration::from_mins(1);

/// A runtime whose images are shell scripts: the reference is the script.
fn open(folder: &Path, launcher: Vec<OsString>) -> ProcessRuntime {
    let home = folder.to_owned();
    let images = move |image: &str| {
        let built = home.join("built");
        let script =
            if image == "built" { std::fs::read_to_string(built).ok()? } else { image.strip_prefix("sh ")?.to_owned() };
        Some(ProcessImage {
            argv: ["/bin/sh", "-c", &script, "sh"].map(OsString::from).to_vec(),
            folder: home.clone(),
            env: [("FROM_IMAGE", "1"), ("FROM_BOTH", "image")].map(|(k, v)| (k.into(), v.into())).into(),
            description: "a script".to_owned(),
            hash: None,
            architecture: None,
        })
    };
    let base = [("PATH", "/usr/bin:/bin"), ("SECRET", "x")].map(|(k, v)| (k.into(), v.into()));
    ProcessRuntime::open(ProcessRuntimeOptions {
        images: Arc::new(images),
        launcher,
        base_environment: base.into(),
        log_folder: folder.join("logs"),
        max_log_bytes: 1 << 20,
        group_record: folder.join("groups.json"),
    })
    .unwrap()
}

fn module(script: &str) -> ModuleSpec {
    ModuleSpec {
        name: "m".to_owned(),
        kind: "docker".to_owned(),
        image: format!("sh {script}"),
        create_options: Map::new(),
        env: [("FROM_BOTH", "deployment")].map(|(k, v)| (k.into(), v.into())).into(),
    }
}

async fn started(runtime: &ProcessRuntime, script: &str) -> mpsc::Receiver<LogLine> {
    runtime.create(module(script)).await.unwrap();
    let lines = runtime.logs("m", LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    runtime.start("m").await.unwrap();
    lines
}

async fn next(lines: &mut mpsc::Receiver<LogLine>) -> String {
    lines.recv().await.unwrap().text
}

/// Returns when no process of the group runs any more.
fn wait_for_end_of_group(group: u32) {
    while !process_group::members(group).is_empty() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_module_writes_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut exits = runtime.exits();
    runtime.create(module("echo out; echo err >&2; printf last; exit 3")).await.unwrap();
    assert_eq!(runtime.list().await.unwrap()[0].status, ModuleStatus::Stopped);
    runtime.start("m").await.unwrap();
    exits.changed().await.unwrap();
    let state = runtime.list().await.unwrap().remove(0);
    assert_eq!((state.status, state.exit_code, state.pid), (ModuleStatus::Failed, Some(3), None));
    assert!(state.exited_at >= state.started_at && state.started_at.is_some());
    let mut lines = runtime.logs("m", LogQuery::default()).await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = lines.recv().await {
        seen.push((line.stream.as_str(), line.text));
    }
    seen.sort();
    let expected = [("stderr", "err"), ("stdout", "last"), ("stdout", "out")];
    assert_eq!(seen, expected.map(|(stream, text)| (stream, text.to_owned())));
    runtime.remove("m").await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("logs")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_module_gets_its_environment_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut lines = started(&runtime, "env; pwd; echo end; exec cat /dev/null").await;
    let mut env = BTreeMap::new();
    loop {
        let line = next(&mut lines).await;
        match line.split_once('=') {
            Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            None if line == "end" => break,
            None => assert_eq!(Path::new(&line), folder.path().canonicalize().unwrap()),
        }
    }
    env.retain(|name, _| !["PWD", "_", "SHLVL", "OLDPWD"].contains(&name.as_str()));
    let expected = [("PATH", "/usr/bin:/bin"), ("FROM_IMAGE", "1"), ("FROM_BOTH", "deployment")];
    assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn the_options_command_replaces_the_images_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut specification = module("echo \"$@\"");
    specification.create_options = json!({"Cmd": ["a", "b c"]}).as_object().unwrap().clone();
    runtime.create(specification).await.unwrap();
    let mut lines = runtime.logs("m", LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    runtime.start("m").await.unwrap();
    assert_eq!(next(&mut lines).await, "a b c");
    let mut specification = module("true");
    specification.create_options.insert("Cmd".into(), Value::from(1));
    assert!(matches!(runtime.create(specification).await, Err(RuntimeError::Invalid { .. })));
}

#[tokio::test]
async fn a_module_may_end_in_its_own_way_and_takes_its_children_along() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut lines =
        started(&runtime, "trap 'echo bye; exit 0' TERM; (trap '' TERM; while :; do sleep 100; done) & echo up; wait")
            .await;
    assert_eq!(next(&mut lines).await, "up");
    let leader = runtime.list().await.unwrap()[0].pid.unwrap();
    runtime.stop("m", LONG).await.unwrap();
    assert_eq!(next(&mut lines).await, "bye");
    let state = runtime.list().await.unwrap().remove(0);
    assert_eq!((state.status, state.exit_code), (ModuleStatus::Stopped, Some(0)));
    wait_for_end_of_group(leader);
}

#[tokio::test]
async fn a_module_that_will_not_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut lines = started(&runtime, "trap '' TERM; echo up; while :; do sleep 100; done").await;
    assert_eq!(next(&mut lines).await, "up");
    runtime.stop("m", Duration::from_millis(1)).await.unwrap();
    let state = runtime.list().await.unwrap().remove(0);
    assert_eq!((state.status, state.exit_code), (ModuleStatus::Failed, Some(128 + 9)));
    runtime.restart("m", LONG).await.unwrap();
    assert_eq!(next(&mut lines).await, "up");
    let leader = runtime.list().await.unwrap()[0].pid.unwrap();
    runtime.close().await;
    wait_for_end_of_group(leader);
    assert!(runtime.list().await.unwrap().is_empty());
    assert_eq!(sweep_leftovers(&folder.path().join("groups.json")).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let image = ModuleSpec { image: "mcr.microsoft.com/a:1".into(), ..module("") };
    let error = runtime.create(image).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::ImageNotAvailable { image, .. } if image == "mcr.microsoft.com/a:1"));
    for name in ["", "a/b", "../a"] {
        let specification = ModuleSpec { name: name.to_owned(), ..module("true") };
        assert!(matches!(runtime.create(specification).await, Err(RuntimeError::Invalid { .. })));
    }
    assert!(matches!(runtime.start("nobody").await, Err(RuntimeError::NotFound(_))));
    let mut specification = module("true");
    specification.create_options = json!({"Entrypoint": "/no/such/program"}).as_object().unwrap().clone();
    runtime.create(specification).await.unwrap();
    assert!(matches!(runtime.start("m").await, Err(RuntimeError::Io { .. })));
}

#[tokio::test]
async fn a_restart_runs_what_was_built_last() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let built = |script: &str| std::fs::write(folder.path().join("built"), script).unwrap();
    built("echo one; exec sleep 1000");
    runtime.create(ModuleSpec { image: "built".to_owned(), ..module("") }).await.unwrap();
    let mut lines = runtime.logs("m", LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    runtime.start("m").await.unwrap();
    assert_eq!(next(&mut lines).await, "one");
    built("echo two; exec sleep 1000");
    // What runs is not touched by a start.
    runtime.start("m").await.unwrap();
    runtime.restart("m", LONG).await.unwrap();
    assert_eq!(next(&mut lines).await, "two");
    runtime.close().await;
}

#[tokio::test]
async fn a_long_line_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut lines = started(&runtime, "head -c 20000 /dev/zero | tr '\\0' a; echo; echo end").await;
    let first = next(&mut lines).await;
    assert_eq!((first.len(), next(&mut lines).await.len()), (16_384, 20_000 - 16_384));
    let end = lines.recv().await.unwrap();
    assert_eq!((end.text.as_str(), end.stream), ("end", LogStream::Stdout));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_left_the_modules_group_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), Vec::new());
    let mut specification = module("setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 100; done' & wait");
    specification.env.insert("IOTEDGE_WORKLOADURI".to_owned(), format!("unix://{}/m.sock", folder.path().display()));
    runtime.create(specification).await.unwrap();
    let mut lines = runtime.logs("m", LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    runtime.start("m").await.unwrap();
    let stray: u32 = next(&mut lines).await.parse().unwrap();
    let leader = runtime.list().await.unwrap()[0].pid.unwrap();
    assert_ne!(process_group::facts(stray).unwrap().session, process_group::facts(leader).unwrap().session);
    runtime.stop("m", LONG).await.unwrap();
    while process_group::facts(stray).is_some_and(|stray| !stray.ended) {
        std::thread::yield_now();
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_module_that_uses_too_much_is_ended_by_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(folder.path(), this_test_binary("be_the_launcher"));
    let mut exits = runtime.exits();
    // What has no line's end is kept whole.
    let mut specification = module("head -c 400000000 /dev/zero | tail -n 1 >/dev/null; exit $?");
    specification.create_options = json!({"HostConfig": {"Memory": 64 * 1024 * 1024, "MemorySwap": 64 * 1024 * 1024}})
        .as_object()
        .unwrap()
        .clone();
    runtime.create(specification).await.unwrap();
    runtime.start("m").await.unwrap();
    exits.changed().await.unwrap();
    let state = runtime.list().await.unwrap().remove(0);
    assert_eq!(state.limits.as_deref(), Some("64 MiB of memory"));
    match state.limits_unenforced {
        None => assert_eq!((state.status, state.exit_code), (ModuleStatus::Failed, Some(128 + 9))),
        Some(why) => assert!(!why.is_empty() && state.exit_code == Some(0), "{why}"),
    }
}

/// The command line that runs one of the tests below in a process of its own.
fn this_test_binary(test: &str) -> Vec<OsString> {
    let binary = std::env::current_exe().unwrap().into_os_string();
    let name = format!("runtime::process_tests::{test}");
    let arguments = [name.as_str(), "--exact", "--ignored", "--nocapture", "--"].map(OsString::from);
    [binary].into_iter().chain(arguments).collect()
}

/// What stands after the last `--` of this process's command line.
fn arguments() -> Vec<OsString> {
    let all: Vec<_> = std::env::args_os().collect();
    let start = all.iter().position(|argument| argument == "--").map_or(all.len(), |at| at + 1);
    all[start..].to_vec()
}

/// Not a test: the launcher, when it is started by one.
#[test]
#[ignore = "started by other tests"]
fn be_the_launcher() {
    let error = launcher::exec_module(&arguments());
    panic!("{error}");
}

/// Not a test: a simulator that runs a module until it is killed.
#[tokio::test]
#[ignore = "started by other tests"]
async fn be_a_simulator() {
    let folder = arguments().pop().unwrap();
    let runtime = open(Path::new(&folder), this_test_binary("be_the_launcher"));
    let mut lines = started(&runtime, "(exec sleep 1000) & echo up; wait").await;
    while next(&mut lines).await != "up" {}
    println!("\nleader {}", runtime.list().await.unwrap()[0].pid.unwrap());
    std::future::pending::<()>().await;
}

#[test]
#[cfg(target_os = "linux")]
fn modules_die_with_a_simulator_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let line = this_test_binary("be_a_simulator");
    let mut simulator = std::process::Command::new(&line[0])
        .args(&line[1..])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(simulator.stdout.take().unwrap());
    let leader: u32 =
        output.lines().find_map(|line| line.unwrap().strip_prefix("leader ")?.parse().ok()).expect("a module");
    assert!(process_group::facts(leader).is_some());
    simulator.kill().unwrap();
    simulator.wait().unwrap();
    // The kernel kills the module, and the next start what the module had started.
    while process_group::facts(leader).is_some_and(|leader| !leader.ended) {
        std::thread::yield_now();
    }
    let record = folder.path().join("groups.json");
    assert_eq!(sweep_leftovers(&record).unwrap(), ["m"]);
    wait_for_end_of_group(leader);
    assert!(!record.exists());
}
