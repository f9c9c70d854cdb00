//! A hub that is killed again and again while messages stream through it: what it acknowledged arrives, in order.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use edgectl_hub::gateway::Feature;
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, texts};

/// Tells the killed process where to work.
const DIRECTORY: &str = "EDGECTL_TEST_DIRECTORY";
/// Tells the killed process with which number to go on.
const FIRST: &str = "EDGECTL_TEST_FIRST";
/// How often the hub is killed; for a long run.
const KILLS: &str = "EDGECTL_TEST_KILLS";

/// What a killed process said.
#[derive(Default)]
struct Life {
    kept: Vec<u64>,
    got: Vec<u64>,
}

impl Life {
    fn hear(&mut self, line: &str) {
        if let Some(number) = line.strip_prefix("kept ").and_then(|number| number.parse().ok()) {
            self.kept.push(number);
        } else if let Some(number) = line.strip_prefix("got ").and_then(|number| number.parse().ok()) {
            self.got.push(number);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_acknowledged_is_delivered() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(10);
    let directory = tempdir().unwrap();
    prepare(directory.path());
    let (mut kept, mut got, mut first) = (BTreeSet::new(), Vec::new(), 0);
    for _ in 0..kills {
        let life = live_and_be_killed(directory.path(), first);
        assert!(life.got.is_sorted_by(|a, b| a < b), "one connection gets messages in order: {:?}", life.got);
        // What was not acknowledged may have been kept all the same.
        first = life.kept.last().map_or(first, |last| last + 1) + 1;
        kept.extend(life.kept);
        got.extend(life.got);
    }
    let device = Device::reopen(directory.path(), true).await;
    let source = device.connect("edge/source", &[]).await;
    let end = first + 1;
    source.send(None, &end.to_string()).await.unwrap();
    kept.insert(end);

    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    loop {
        let number = sink.take(1).await[0].parse().unwrap();
        got.push(number);
        if number == end {
            break;
        }
    }
    let mut seen = BTreeSet::new();
    let fresh: Vec<u64> = got.iter().copied().filter(|number| seen.insert(*number)).collect();
    assert!(fresh.is_sorted(), "what comes again comes before what is new: {got:?}");
    assert_eq!(kept.difference(&seen).collect::<Vec<_>>(), Vec::<&u64>::new(), "lost on the way to a module");

    // The way to the cloud was interrupted all the time.
    let up: Vec<u64> =
        texts(&device.received(kept.len() as u64).await).iter().map(|text| text.parse().unwrap()).collect();
    assert!(up.is_sorted_by(|a, b| a < b), "{up:?}");
    let up = BTreeSet::from_iter(up);
    assert_eq!(kept.difference(&up).collect::<Vec<_>>(), Vec::<&u64>::new(), "lost on the way to the cloud");
}

/// Leaves a configured device behind.
fn prepare(directory: &Path) {
    let directory = directory.to_owned();
    let prepared = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let routes = json!({
                "up": "FROM /messages/* INTO $upstream",
                "in": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")",
            });
            let device = Device::start(&directory, routes).await;
            device.authenticate("edge/source").await.expect("a module");
        });
    });
    prepared.join().expect("a device");
}

/// Runs a process on the device and kills it at some point; it may just be writing, or not even have begun.
fn live_and_be_killed(directory: &Path, first: u64) -> Life {
    let mut child = Command::new(std::env::current_exe().expect("a process"))
        .args(["--exact", "crash::stream_until_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut life = Life::default();
    let mut lines = BufReader::new(child.stdout.take().expect("a process")).lines().map_while(Result::ok);
    let chance = SystemTime::now().duration_since(UNIX_EPOCH).expect("a process").subsec_nanos() as usize;
    for line in lines.by_ref().take(chance / 1000 % 600) {
        life.hear(&line);
    }
    child.kill().expect("a process");
    child.wait().expect("a process");
    // What stood in the pipe was said before.
    lines.for_each(|line| life.hear(&line));
    life
}

/// No test: what the killed process runs.
#[tokio::test(start_paused = true)]
#[ignore = "runs in a process of its own, until it is killed"]
async fn stream_until_killed() {
    let directory = std::env::var_os(DIRECTORY).expect("who starts this says where");
    let first = std::env::var(FIRST).ok().and_then(|first| first.parse().ok()).expect("and from where");
    let say = |what: &str, number: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "{what} {number}").and_then(|()| out.flush()).unwrap();
    };
    let device = Device::reopen(Path::new(&directory), false).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    let sending = async {
        for number in first.. {
            let number: u64 = number;
            source.send(None, &number.to_string()).await.unwrap();
            say("kept", &number.to_string());
            tokio::task::yield_now().await;
        }
    };
    let receiving = async {
        loop {
            let given = sink.given().await;
            say("got", &given.text());
            given.settle(edgectl_hub::gateway::Settlement::Complete);
        }
    };
    tokio::join!(sending, receiving);
}
