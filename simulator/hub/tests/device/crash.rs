//! A hub that is killed while messages stream in: what it acknowledged is there afterwards.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, texts};

/// Tells the killed process where to work.
const DIRECTORY: &str = "EDGECTL_TEST_DIRECTORY";

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_acknowledged_is_delivered() {
    let directory = tempdir().unwrap();
    prepare(directory.path());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::stream_until_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let numbers = acknowledged.by_ref().filter_map(|line| line.strip_prefix("kept ")?.parse::<usize>().ok());
    let seen = numbers.take(300).last();
    child.kill().unwrap();
    child.wait().unwrap();
    // What stood in the pipe was acknowledged as well.
    let last = acknowledged.filter_map(|line| line.strip_prefix("kept ")?.parse::<usize>().ok()).last().or(seen);
    let last = last.expect("the process streamed");
    assert!(last >= 299, "{last}");

    let device = Device::reopen(directory.path(), true).await;
    let received = texts(&device.received(last as u64 + 1).await);
    let expected: Vec<String> = (0..=last).map(|number| number.to_string()).collect();
    assert_eq!(received[..=last], expected);
}

/// Leaves a configured device behind.
fn prepare(directory: &Path) {
    let directory = directory.to_owned();
    let prepared = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let device = Device::start(&directory, json!({ "up": "FROM /messages/* INTO $upstream" })).await;
            device.authenticate("edge/source").await.expect("a module");
        });
    });
    prepared.join().expect("a device");
}

/// No test: what the killed process runs.
#[tokio::test(start_paused = true)]
#[ignore = "runs in a process of its own, until it is killed"]
async fn stream_until_killed() {
    let directory = std::env::var_os(DIRECTORY).expect("who starts this says where");
    let device = Device::reopen(Path::new(&directory), false).await;
    let source = device.connect("edge/source", &[]).await;
    for number in 0.. {
        source.send(None, &number.to_string()).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "kept {number}").and_then(|()| out.flush()).unwrap();
    }
}
