//! `edgectl sim up --watch`: files of a solution change while its device runs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{NO_ENGINE, refused};
use crate::device::{Solution, module, signal, sleepers, wait_until};

/// A module that says a word and stays.
fn program(word: &str) -> String {
    format!("import time\nprint('{word}', flush=True)\ntime.sleep(1e9)\n")
}

/// A solution of modules in Python that need nothing from a registry.
fn solution(modules: &[&str]) -> Solution {
    let entries = modules.iter().map(|name| ((*name).to_owned(), module(&format!("${{MODULES.{name}}}"))));
    let solution = Solution::with(Value::Object(entries.collect()));
    for name in modules {
        let directory = solution.root().join("modules").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("requirements.txt"), "").unwrap();
        fs::write(directory.join("main.py"), program("one")).unwrap();
        let file = json!({
            "language": "python",
            "image": { "repository": name, "tag": { "version": "1", "platforms": { "amd64": "Dockerfile" } } },
        });
        fs::write(directory.join("module.json"), file.to_string()).unwrap();
    }
    solution
}

/// The running command, and all that it said on standard error.
struct Watching {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Watching {
    fn start(solution: &Solution, path: Option<&Path>) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("edgectl"));
        command.args(["sim", "up", "--watch"]).current_dir(solution.root()).env("NO_COLOR", "1");
        command.env("DOCKER_HOST", NO_ENGINE).env_remove("DEFAULT_PLATFORM");
        if let Some(path) = path {
            command.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (out, heard) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// How often it said this.
    fn count(&self, words: &str) -> usize {
        self.said().matches(words).count()
    }

    fn wait_for(&self, words: &str, times: usize) {
        wait_until(&format!("it says {words:?} {times} times: {}", self.said()), || self.count(words) >= times);
    }

    fn stop(mut self) {
        signal(&self.child, "-INT");
        assert_eq!(self.child.wait().unwrap().code(), Some(130), "{}", self.said());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // A test that failed leaves it; nothing can be done if it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn process(solution: &Solution, name: &str) -> u64 {
    let status = solution.json(&["status"]);
    let module = status["modules"].as_array().unwrap().iter().find(|module| module["name"] == name);
    module.unwrap()["process"].as_u64().unwrap()
}

fn source(solution: &Solution, name: &str) -> PathBuf {
    solution.root().join("modules").join(name).join("main.py")
}

/// A directory with a `python3` that waits while the file `hold` stands beside it.
fn patient_python() -> TempDir {
    let place = tempdir().unwrap();
    let python = place.path().join("python3");
    let hold = place.path().join("hold");
    let script =
        format!("#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.02; done\nexec /usr/bin/python3 \"$@\"\n", hold.display());
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn only_the_module_that_changed_is_restarted_and_only_with_a_build_that_works() {
    let solution = solution(&["a", "b"]);
    let watching = Watching::start(&solution, None);
    watching.wait_for("watch | following", 1);
    assert_eq!(watching.count("deployed deployment.template.json"), 1, "{}", watching.said());
    let (first, other) = (process(&solution, "a"), process(&solution, "b"));

    fs::write(source(&solution, "a"), program("two")).unwrap();
    watching.wait_for("restarted a", 1);
    let second = process(&solution, "a");
    assert_ne!(second, first);
    assert!(watching.said().contains("changed: modules/a/main.py"), "{}", watching.said());
    let log = || {
        let log = solution.edgectl(&["logs", "a"]).assert().success().get_output().stdout.clone();
        String::from_utf8(log).unwrap()
    };
    wait_until("the new build speaks", || log().ends_with("two\n"));

    fs::write(source(&solution, "a"), "def broken(:\n").unwrap();
    watching.wait_for("module a was not built; the build before it stays", 1);
    assert_eq!(watching.count("a | SyntaxError"), 1, "{}", watching.said());
    assert!(watching.said().contains("File \"main.py\", line 1"), "{}", watching.said());
    assert_eq!(process(&solution, "a"), second);
    // Whoever starts it again gets the build that works.
    solution.edgectl(&["restart", "a"]).assert().success();
    let second = process(&solution, "a");
    wait_until("the build before speaks again", || log().ends_with("two\ntwo\n"));

    fs::write(source(&solution, "a"), program("three")).unwrap();
    watching.wait_for("restarted a", 2);
    assert_ne!(process(&solution, "a"), second);
    assert_eq!(process(&solution, "b"), other);

    // What is not written by hand builds nothing: the change of the other module is the next thing that is built.
    let builds = watching.count("a | building");
    assert_eq!(builds, 4, "{}", watching.said());
    fs::write(solution.root().join(".gitignore"), "*.db\n").unwrap();
    for ignored in
        ["modules/a/state.db", "modules/a/__pycache__/main.pyc", "modules/a/main.py~", "modules/a/target/x", "a.log"]
    {
        let path = solution.root().join(ignored);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::write(source(&solution, "b"), program("two")).unwrap();
    watching.wait_for("restarted b", 1);
    assert_eq!(watching.count("a | building"), builds, "{}", watching.said());
    assert_eq!(watching.count("restarted a"), 2, "{}", watching.said());

    fs::write(source(&solution, "b"), "raise SystemExit(3)\n").unwrap();
    watching.wait_for("module b does not stay up", 1);
    watching.stop();
}

#[test]
fn a_changed_template_is_deployed_unless_it_is_wrong() {
    let solution = Solution::new();
    let path = solution.root().join("deployment.template.json");
    let good = fs::read_to_string(&path).unwrap();
    let watching = Watching::start(&solution, None);
    watching.wait_for("deployed deployment.template.json", 1);
    let routes = || solution.json(&["status"])["hub"]["routes"].clone();
    let filter = process(&solution, "filter");
    assert!(routes()["filterToCloud"].is_string());

    fs::write(&path, good.replace("FROM /messages/modules/filter", "FRUM /messages/modules/filter")).unwrap();
    watching.wait_for("the deployment stays as it is", 1);
    assert!(watching.said().contains("deployment.template.json:1:"), "{}", watching.said());
    assert_eq!(watching.count("deployed deployment.template.json"), 1, "{}", watching.said());

    fs::write(&path, good.replace("filterToCloud", "${ROUTE}")).unwrap();
    watching.wait_for("the deployment stays as it is", 2);
    fs::write(solution.root().join(".env"), "ROUTE=upward\n").unwrap();
    watching.wait_for("deployed deployment.template.json", 2);
    assert!(routes()["upward"].is_string() && routes()["filterToCloud"].is_null(), "{}", routes());
    assert_eq!(process(&solution, "filter"), filter);
    watching.stop();
}

#[test]
fn what_changes_during_a_build_is_built_once_more() {
    let solution = solution(&["a", "b"]);
    let tools = patient_python();
    let hold = tools.path().join("hold");
    let watching = Watching::start(&solution, Some(tools.path()));
    watching.wait_for("watch | following", 1);

    fs::write(&hold, "").unwrap();
    fs::write(source(&solution, "a"), program("two")).unwrap();
    watching.wait_for("a | building", 2);
    for word in ["three", "four", "five"] {
        fs::write(source(&solution, "a"), program(word)).unwrap();
    }
    fs::remove_file(&hold).unwrap();
    watching.wait_for("a | building", 3);
    fs::write(source(&solution, "b"), program("two")).unwrap();
    watching.wait_for("restarted b", 1);
    assert_eq!(watching.count("a | building"), 3, "{}", watching.said());
    watching.stop();
}

#[test]
fn ctrl_c_during_a_build_leaves_no_process_behind() {
    let solution = solution(&["slow"]);
    let tools = tempdir().unwrap();
    let seconds = format!("8{}", std::process::id());
    let python = tools.path().join("python3");
    fs::write(&python, format!("#!/bin/sh\nsleep {seconds}\n")).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let watching = Watching::start(&solution, Some(tools.path()));
    wait_until("the tool runs", || !sleepers(&seconds).is_empty());
    watching.stop();
    wait_until("the tool is gone", || sleepers(&seconds).is_empty());
}

#[test]
fn a_module_that_was_never_built_is_deployed_when_it_is() {
    let solution = solution(&["a"]);
    fs::write(source(&solution, "a"), "(").unwrap();
    let watching = Watching::start(&solution, None);
    watching.wait_for("deployment.template.json is deployed when a is built", 1);
    assert_eq!(watching.count("module a was not built: "), 1, "{}", watching.said());
    fs::write(source(&solution, "a"), program("one")).unwrap();
    watching.wait_for("deployed deployment.template.json", 1);
    assert!(process(&solution, "a") > 0);
    watching.stop();
}

#[test]
fn the_background_and_containers_are_not_watched() {
    let solution = Solution::new();
    let detached = solution.edgectl(&["sim", "up", "-d", "--watch"]).assert();
    refused(detached, 2, "'--detach' cannot be used with '--watch'");
    let containers = solution.edgectl(&["sim", "up", "--watch", "--runtime", "docker"]).assert();
    refused(containers, 2, "builds modules as processes");
}

#[test]
fn a_module_that_writes_into_its_folder_is_not_restarted_for_ever() {
    let solution = solution(&["a"]);
    let writing = "import time\nopen('data.csv', 'a').write('x')\ntime.sleep(1e9)\n";
    fs::write(source(&solution, "a"), writing).unwrap();
    let watching = Watching::start(&solution, None);
    watching.wait_for("modules/a/data.csv changes after every build and is passed over", 1);
    fs::write(source(&solution, "a"), program("two")).unwrap();
    watching.wait_for("watch | changed: modules/a/main.py", 1);
    watching.stop();
}
