//! Fleets: many devices behind one cloud hub, and roll-outs over them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::binary::refused;
use crate::device::{Solution, wait_until};
use crate::docker_engine;

/// A fleet, which ends with its solution.
struct Fleet {
    solution: Solution,
}

impl Fleet {
    fn up(arguments: &[&str]) -> Self {
        let fleet = Self { solution: Solution::new() };
        fleet.start(arguments);
        fleet
    }

    fn start(&self, arguments: &[&str]) {
        let up = [&["fleet", "up", "-d", "--interval", "0.2"], arguments].concat();
        self.solution.edgectl(&up).assert().success();
    }

    fn status(&self) -> Value {
        self.solution.json(&["fleet", "status"])
    }

    fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        self.solution.edgectl(&[&["--device", "fleet"], arguments].concat())
    }

    /// Deploys to all, and waits for the end.
    fn rehearse(&self) -> Value {
        self.deploy(&["base", "--target-condition", "*"]);
        let report = self.solution.json(&["fleet", "report", "--wait", "--timeout", "120"]);
        assert_eq!(report["settled"], true);
        report
    }

    fn query(&self, query: &str) -> Value {
        self.solution.json(&["--device", "fleet", "query", query])
    }

    fn deploy(&self, arguments: &[&str]) {
        self.edgectl(&[&["deploy", "--no-wait", "--configuration"], arguments].concat()).assert().success();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.solution.edgectl(&["fleet", "down"]).output();
    }
}

#[test]
fn a_rollout_reaches_those_it_is_for_and_tells_of_those_that_fail() {
    let tag = "site=berlin:60%,paris:40%";
    let fleet = Fleet::up(&["--devices", "40", "--tag", tag, "--failing", "10%", "--offline", "10%"]);
    let count = |site: &str| {
        let query = format!("SELECT COUNT() AS n FROM devices WHERE tags.site = '{site}'");
        fleet.query(&query)[0]["n"].as_u64().unwrap()
    };
    let (berlin, paris) = (count("berlin"), count("paris"));
    assert!(berlin + paris == 40 && (15..33).contains(&berlin), "{berlin} {paris}");
    let online = fleet.status()["connected"].as_u64().unwrap();
    assert!((32..40).contains(&online), "{online}");

    fleet.deploy(&["base", "--target-condition", "*"]);
    let layer = fleet.solution.root().join("layer.json");
    let content = json!({ "$edgeHub": { "properties.desired.routes.more": "FROM /messages/* INTO $upstream" } });
    fs::write(&layer, json!({ "modulesContent": content }).to_string()).unwrap();
    fleet.deploy(&["layer", "-f", "layer.json", "--target-condition", "tags.site = 'berlin'", "--priority", "5"]);
    let succeeded = |status: &Value, id: &str| {
        status["configurations"][id]["counts"]["reportedSuccessfulCount"].as_u64().unwrap_or_default()
    };
    wait_until("all that are online have it", || succeeded(&fleet.status(), "base") == online);
    let status = fleet.status();
    assert_eq!(status["configurations"]["base"]["counts"]["targetedCount"], 40);
    assert_eq!(status["configurations"]["base"]["counts"]["appliedCount"], 40);
    assert_eq!(status["configurations"]["layer"]["counts"]["appliedCount"], berlin);
    let failing = status["failing"].as_object().unwrap();
    assert!((1..12).contains(&failing.len()), "{failing:?}");
    assert!(failing.values().all(|why| why[0].as_str().unwrap().contains("exited with code 1")), "{failing:?}");
    wait_until("messages come", || fleet.status()["receivedByCloud"].as_u64() > Some(100));

    // A device that moves gets what is for where it is now.
    let applied = |device: &str| {
        let query = format!(
            "SELECT configurations FROM devices.modules WHERE deviceId = '{device}' AND moduleId = '$edgeAgent'"
        );
        let rows = fleet.query(&query);
        rows[0]["configurations"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let moves = fleet.query("SELECT TOP 1 deviceId FROM devices WHERE tags.site = 'paris'");
    let device = moves[0]["deviceId"].as_str().unwrap();
    assert_eq!(applied(device), ["base"]);
    fleet.edgectl(&["twin", "patch", "--leaf", device, "--tags", r#"{"site": "berlin"}"#]).assert().success();
    assert_eq!(applied(device), ["base", "layer"]);

    let list = fleet.solution.edgectl(&["sim", "list"]).assert().success();
    list.stdout(predicates::str::contains("fleet of 40"));
    let nobody = ["deploy", "--configuration", "nobody", "--target-condition", "tags.site = 'rome'"];
    fleet.edgectl(&nobody).assert().success().stderr(predicates::str::contains("true of no edge device now"));
    refused(fleet.edgectl(&["status"]).assert(), 1, "fleet is a fleet");
    refused(fleet.edgectl(&["deploy"]).assert(), 2, "fleet is a fleet");
    fleet.solution.edgectl(&["fleet", "down"]).assert().success();
    refused(fleet.solution.edgectl(&["fleet", "status"]).assert(), 1, "no fleet is running");
}

#[test]
fn the_same_seed_gives_the_same_fleet_and_another_one_another() {
    let failing = |seed: &str| {
        let fleet = Fleet::up(&["--devices", "30", "--seed", seed, "--failing", "20%", "--tag", "a=b:50%"]);
        fleet.deploy(&["base", "--target-condition", "*"]);
        wait_until("all have it", || {
            fleet.status()["configurations"]["base"]["counts"]["reportedSuccessfulCount"] == 30
        });
        let mut names = Vec::new();
        wait_until("failures are told", || {
            let before = std::mem::replace(
                &mut names,
                fleet.status()["failing"].as_object().unwrap().keys().cloned().collect::<Vec<_>>(),
            );
            !names.is_empty() && before == names
        });
        (names, fleet.query("SELECT deviceId FROM devices WHERE tags.a = 'b'"))
    };
    let first = failing("1");
    assert_eq!(failing("1"), first);
    assert_ne!(failing("2"), first);
}

#[test]
fn a_fleet_comes_back_smaller_with_tags_it_lacked_and_without_the_others() {
    let fleet = Fleet::up(&["--devices", "5"]);
    let patch = |device, tags| fleet.edgectl(&["twin", "patch", "--leaf", device, "--tags", tags]).assert().success();
    patch("device-0001", r#"{"place": {"site": "rome"}}"#);
    patch("device-0002", r#"{"place": {"floor": 3}}"#);
    refused(fleet.solution.edgectl(&["fleet", "up", "--devices", "5", "-d"]).assert(), 1, "running already");
    fleet.solution.edgectl(&["fleet", "down"]).assert().success();
    fleet.start(&["--devices", "3", "--tag", "place.site=berlin"]);
    assert_eq!(fleet.status()["devices"], 3);
    let mut devices = fleet.query("SELECT deviceId, tags FROM devices");
    devices.as_array_mut().unwrap().sort_by_key(|device| device["deviceId"].to_string());
    let expected = json!([
        { "deviceId": "device-0001", "tags": { "place": { "site": "rome" } } },
        { "deviceId": "device-0002", "tags": { "place": { "floor": 3, "site": "berlin" } } },
        { "deviceId": "device-0003", "tags": { "place": { "site": "berlin" } } },
    ]);
    assert_eq!(devices, expected);
    let up = |arguments: &[&str]| fleet.solution.edgectl(&[&["fleet", "up"], arguments].concat()).assert();
    refused(up(&["--devices", "0"]), 2, "0");
    refused(up(&["--devices", "2", "--failing", "200%"]), 2, "not a share");
    refused(up(&["--devices", "2", "--tag", "a=b:60%,c:60%"]), 2, "more than 100 %");
    refused(up(&["--devices", "2", "--prefix", "a b"]), 2, "--prefix");
}

/// The processes that run shards of fleets below a directory.
fn shards(of: &Fleet) -> Vec<u32> {
    let parent = fs::read_to_string(of.solution.root().join(".edgectl/device-fleet/lock")).unwrap();
    let parent: u32 = parent.trim().parse().unwrap();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    children.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

#[test]
fn shards_come_to_the_same_end_as_one_process() {
    let chance = ["--devices", "30", "--seed", "5", "--failing", "20%", "--offline", "10%", "--tag", "a=b:50%"];
    let arguments = [&chance[..], &["--messages", "4"]].concat();
    let one = Fleet::up(&arguments).rehearse();
    assert!(one["messages"].as_u64() > Some(50) && one["failing"].as_u64() > Some(0), "{one}");
    let sharded = Fleet::up(&[&arguments[..], &["--shards", "3"]].concat());
    assert_eq!(shards(&sharded).len(), 3);
    assert_eq!(sharded.rehearse(), one);

    // What is left of a shard that is killed comes back.
    let before = sharded.status()["connected"].clone();
    let killed = shards(&sharded)[0];
    kill(killed);
    wait_until("its devices are gone", || sharded.status()["connected"] != before);
    wait_until("its devices come back", || sharded.status()["connected"] == before);
    assert!(!shards(&sharded).contains(&killed));
    assert_eq!(sharded.solution.json(&["fleet", "report", "--wait"]), one);

    let left = shards(&sharded);
    sharded.solution.edgectl(&["fleet", "down"]).assert().success();
    assert!(left.iter().all(|process| !Path::new(&format!("/proc/{process}")).exists()));

    // Another seed is another fleet.
    let other = [&["--devices", "30", "--seed", "6", "--failing", "20%", "--messages", "4"][..]].concat();
    assert_ne!(Fleet::up(&other).rehearse()["digest"], one["digest"]);
}

#[test]
fn shards_end_with_a_fleet_that_is_killed() {
    let fleet = Fleet::up(&["--devices", "4", "--shards", "2"]);
    let left = shards(&fleet);
    let lock = fs::read_to_string(fleet.solution.root().join(".edgectl/device-fleet/lock")).unwrap();
    kill(lock.trim().parse().unwrap());
    wait_until("the shards end", || left.iter().all(|process| !Path::new(&format!("/proc/{process}")).exists()));
    fleet.start(&["--devices", "4", "--shards", "2"]);
    assert_eq!(fleet.status()["connected"], 4);
}

#[test]
fn what_a_fleet_cannot_be_is_told() {
    let solution = Solution::new();
    let fleet = |arguments: &[&str]| solution.edgectl(&[&["fleet"], arguments].concat()).assert();
    refused(fleet(&["report"]), 1, "no fleet is running");
    refused(fleet(&["up", "--devices", "2", "--listen", "127.0.0.1"]), 2, "--listen is for shards in a swarm");
    refused(fleet(&["up", "--devices", "2", "--shards", "0"]), 2, "0");
    refused(fleet(&["image"]), 2, "--push");
    let swarm = |host: &str| {
        let mut command = solution.edgectl(&["fleet", "up", "--devices", "2", "--engine", "swarm"]);
        command.env("DOCKER_HOST", host).assert()
    };
    refused(swarm("unix:///nowhere.sock"), 6, "there is no container engine");
    refused(swarm(docker_engine::host()), 6, "docker swarm init");
}

#[test]
fn the_image_of_edgectl_runs_where_there_is_nothing_else() {
    let solution = Solution::new();
    let mut make = solution.edgectl(&["--json", "fleet", "image", "--load"]);
    let made = make.env("DOCKER_HOST", docker_engine::host()).assert().success().get_output().stdout.clone();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let image = made["image"].as_str().unwrap();
    let said =
        docker_engine::docker(&["run", "--rm", "--network=none", "--read-only", "--user=65532", image, "version"]);
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    docker_engine::docker(&["rmi", image]);
}
