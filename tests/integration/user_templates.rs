//! Templates of users: where they come from, what they ask for, and what they may not do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use assert_cmd::assert::Assert;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, names, refused};
use crate::device::wait_until;
use crate::terminal::{Running, Terminal};

const DESCRIPTION: &str = "\
kind: module
description: A camera
parameters:
  - { name: code, type: string, pattern: '[a-z]{3}', description: Code of the camera }
  - { name: rooms, type: integer, minimum: 1, maximum: 9, default: 2 }
  - { name: loud, type: boolean, default: false, description: Whether it makes noise }
  - { name: color, type: choice, choices: [red, green], default: green }
";
const MODULE: &str = r#"{
  "image": {
    "repository": "localhost:5000/{{ repository }}",
    "tag": { "version": "1", "platforms": { "amd64": "./Dockerfile" } }
  }
}"#;

/// A user with templates of their own.
struct User {
    place: TempDir,
}

impl User {
    fn new() -> Self {
        Self { place: tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn edgectl(&self, arguments: &[&str]) -> Assert {
        edgectl(self.path()).env("XDG_DATA_HOME", self.path().join("data")).args(arguments).assert()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let assert = self.edgectl(&[arguments, &["--json"]].concat()).success();
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    /// A template in a directory, with a file beside its description.
    fn write(&self, name: &str, file: &str, content: &str) {
        let directory = self.path().join(name);
        fs::create_dir_all(directory.join(file).parent().unwrap()).unwrap();
        if !directory.join("template.yaml").exists() {
            fs::write(directory.join("template.yaml"), DESCRIPTION).unwrap();
        }
        fs::write(directory.join(file), content).unwrap();
    }

    /// The template that most tests are about.
    fn camera(&self) {
        self.write("camera", "module.json.tera", MODULE);
        self.write("camera", "Dockerfile", "FROM scratch\n");
        let text = "{{ name }} {{ code }} {{ rooms + 1 }} {{ loud }} {{ color | json }}";
        self.write("camera", "notes/{{ code }}.txt.tera", text);
    }

    /// The names of the user's templates.
    fn kept(&self) -> Vec<String> {
        let listed = self.json(&["template", "list"]);
        let mine = listed["templates"].as_array().unwrap().iter().filter(|template| template.get("source").is_some());
        mine.map(|template| template["name"].as_str().unwrap().to_owned()).collect()
    }

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
        let output = command.current_dir(self.path().join(directory)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[test]
fn a_directory_becomes_a_template_with_parameters() {
    let user = User::new();
    user.camera();
    let preview = user.json(&["template", "add", "camera", "--dry-run"]);
    assert_eq!(preview["files"].as_array().unwrap().len(), 4);
    assert!(user.kept().is_empty());
    user.edgectl(&["template", "add", "camera"]).success();
    assert_eq!(user.kept(), ["camera"]);
    refused(user.edgectl(&["template", "add", "camera"]), 2, "a template \"camera\" already");
    refused(user.edgectl(&["template", "add", "camera", "--name", "node"]), 2, "a template \"node\" already");
    // It is what it was when it was added.
    fs::remove_dir_all(user.path().join("camera")).unwrap();
    user.edgectl(&["template", "test", "camera", "--set", "code=abc"]).success();

    user.edgectl(&["new", "s", "--no-module"]).success();
    let add = |arguments: &[&str]| {
        user.edgectl(&[&["-C", "s", "add", "module", "eye", "--lang", "camera"], arguments].concat())
    };
    refused(add(&[]), 2, "`--set code=VALUE`");
    for (set, words) in [
        ("code=abcd", "of the form [a-z]{3}"),
        ("rooms=0", "1 or more"),
        ("rooms=many", "a whole number"),
        ("loud=1", "`true` or `false`"),
        ("color=blue", "one of red, green"),
        ("size=1", "Its parameters are code, rooms, loud, color."),
        ("code", "NAME=VALUE"),
    ] {
        refused(add(&["--set", set]), 2, words);
    }
    assert!(!user.path().join("s/modules").exists());
    add(&["--set", "code=abc", "--set", "rooms=4", "--set", "loud=true"]).success();
    let notes = fs::read_to_string(user.path().join("s/modules/eye/notes/abc.txt")).unwrap();
    assert_eq!(notes, "eye abc 5 true \"green\"");
    user.edgectl(&["-C", "s", "validate", "--deny-warnings"]).success();
    refused(user.edgectl(&["new", "t", "--from", "camera"]), 3, "of another kind");

    user.edgectl(&["template", "remove", "camera"]).success();
    assert!(user.kept().is_empty());
    assert!(names(&user.path().join("data/edgectl/templates")).is_empty());
    refused(user.edgectl(&["template", "remove", "camera"]), 2, "you have no template \"camera\"");
    refused(user.edgectl(&["template", "remove", "rust"]), 2, "you have no template \"rust\"");
}

#[test]
fn a_repository_is_pinned_to_a_commit() {
    let user = User::new();
    user.camera();
    fs::create_dir(user.path().join("repo")).unwrap();
    fs::rename(user.path().join("camera"), user.path().join("repo/camera")).unwrap();
    fs::write(user.path().join("repo/README.md"), "All our templates\n").unwrap();
    user.git("repo", &["init", "-q"]);
    user.git("repo", &["add", "."]);
    user.git("repo", &["commit", "-qm", "one"]);
    user.git("repo", &["tag", "v1"]);
    let first = user.git("repo", &["rev-parse", "HEAD"]);
    fs::write(user.path().join("repo/camera/Dockerfile"), "FROM two\n").unwrap();
    user.git("repo", &["commit", "-qam", "two"]);
    let second = user.git("repo", &["rev-parse", "HEAD"]);

    let address = format!("file://{}", user.path().join("repo").display());
    let add = |name: &str, arguments: &[&str]| {
        let common = ["template", "add", &address, "--path", "camera", "--name", name];
        user.json(&[&common, arguments].concat())["template"]["source"]["commit"].clone()
    };
    assert_eq!(add("newest", &[]), second.as_str());
    assert_eq!(add("tagged", &["--ref", "v1"]), first.as_str());
    assert_eq!(add("exact", &["--ref", &first]), first.as_str());
    let dockerfile =
        |name| fs::read_to_string(user.path().join("data/edgectl/templates").join(name).join("Dockerfile")).unwrap();
    assert_eq!((dockerfile("newest"), dockerfile("tagged")), ("FROM two\n".to_owned(), "FROM scratch\n".to_owned()));

    let refuse = |arguments: &[&str], words: &str| {
        refused(user.edgectl(&[&["template", "add"], arguments].concat()), 3, words);
    };
    refuse(&[&address], "no template.yaml in it");
    refuse(&[&address, "--ref", "v9"], "no branch, tag or commit");
    refuse(&[&format!("{address}-gone")], "git:");
    symlink("/etc/passwd", user.path().join("repo/camera/secrets")).unwrap();
    user.git("repo", &["add", "."]);
    user.git("repo", &["commit", "-qm", "three"]);
    refuse(&[&address, "--path", "camera"], "is a link");
    assert_eq!(user.kept(), ["exact", "newest", "tagged"]);
    // Nothing of what was fetched is left.
    let left = names(&user.path().join("data/edgectl/templates"));
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
fn nothing_of_a_repository_is_run() {
    let user = User::new();
    user.camera();
    user.write("camera", ".gitattributes", "* filter=evil\n");
    user.git("camera", &["init", "-q"]);
    user.git("camera", &["add", "."]);
    user.git("camera", &["commit", "-qm", "one"]);
    let marker = user.path().join("ran");
    let home = user.path().join("home");
    fs::create_dir(&home).unwrap();
    let evil = format!("touch {}", marker.display());
    // A filter that the user has for files of other repositories.
    fs::write(home.join(".gitconfig"), format!("[filter \"evil\"]\n smudge = {evil}\n process = {evil}\n")).unwrap();
    let address = format!("file://{}", user.path().join("camera").display());
    edgectl(user.path())
        .env("XDG_DATA_HOME", user.path().join("data"))
        .env("HOME", &home)
        .args(["template", "add", &address])
        .assert()
        .success();
    assert!(!marker.exists());
    for address in [format!("ext::{evil}"), format!("--upload-pack={evil}")] {
        let assert = user.edgectl(&["template", "add", "--", &address]);
        refused(assert, 2, "no directory, no archive and no address");
    }
    assert!(!marker.exists());
}

#[test]
fn archives_become_templates() {
    let user = User::new();
    user.camera();
    let tar = |arguments: &[&str]| {
        assert!(Command::new("tar").args(arguments).current_dir(user.path()).status().unwrap().success());
    };
    tar(&["-czf", "whole-1.tar.gz", "camera"]);
    tar(&["-cf", "inside.tar", "-C", "camera", "."]);
    let script = "import shutil; shutil.make_archive('zipped', 'zip', '.', 'camera')";
    assert!(Command::new("python3").args(["-c", script]).current_dir(user.path()).status().unwrap().success());
    for (archive, name) in [("whole-1.tar.gz", "whole-1"), ("inside.tar", "inside"), ("zipped.zip", "zipped")] {
        user.edgectl(&["template", "add", archive]).success();
        user.edgectl(&["template", "test", name, "--set", "code=abc"]).success();
    }
    let digests: Vec<Value> = user.json(&["template", "list"])["templates"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|template| template.pointer("/source/digest").cloned())
        .collect();
    assert!(digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");

    // Archives that people made with care.
    let script = "\
import io, tarfile
def make(name, member, kind=tarfile.REGTYPE, link=''):
    with tarfile.open(name, 'w:gz') as archive:
        for path, content in (('template.yaml', b'kind: module\\ndescription: x\\n'), (member, b'x')):
            info = tarfile.TarInfo(path)
            if path == member:
                info.type, info.linkname = kind, link
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
make('climbs.tgz', '../outside')
make('absolute.tgz', '/tmp/outside')
make('git.tgz', '.git/hooks/pre-commit')
make('link.tgz', 'link', tarfile.SYMTYPE, '/etc/passwd')
make('hard.tgz', 'hard', tarfile.LNKTYPE, '/etc/passwd')
make('device.tgz', 'device', tarfile.CHRTYPE)
";
    assert!(Command::new("python3").args(["-c", script]).current_dir(user.path()).status().unwrap().success());
    for archive in ["climbs", "absolute", "git", "link", "hard", "device"] {
        let file = format!("{archive}.tgz");
        refused(user.edgectl(&["template", "add", &file]), 3, "it cannot be a template");
    }
    fs::write(user.path().join("nonsense.zip"), "PK nonsense").unwrap();
    refused(user.edgectl(&["template", "add", "nonsense.zip"]), 3, "no archive of tar or zip");
    refused(user.edgectl(&["template", "add", "nothing"]), 2, "no directory, no archive and no address");
    assert!(!user.path().join("outside").exists() && !user.path().join("data/edgectl/outside").exists());
}

#[test]
fn a_template_writes_nowhere_else() {
    let user = User::new();
    user.edgectl(&["new", "s", "--no-module"]).success();
    let before = names(&user.path().join("s"));
    for (name, place) in [
        ("climbs", "../../../outside"),
        ("absolute", "/tmp/edgectl-outside"),
        ("hooks", ".git/hooks/pre-commit"),
        ("twice", "same"),
    ] {
        let description = format!("kind: module\ndescription: x\nvalues: {{ place: {place} }}\n");
        user.write(name, "template.yaml", &description);
        user.write(name, "{{ place }}", "x");
        user.write(name, "same", "x");
        user.edgectl(&["template", "add", name]).success();
        refused(user.edgectl(&["-C", "s", "add", "module", "m", "--lang", name]), 3, &format!("the template {name}"));
        refused(user.edgectl(&["template", "test", name]), 3, &format!("the template {name}"));
    }
    symlink("/etc", user.path().join("climbs/link")).unwrap();
    refused(user.edgectl(&["template", "add", "climbs", "--name", "linked"]), 3, "is a link");
    assert_eq!(names(&user.path().join("s")), before);
    assert!(!Path::new("/tmp/edgectl-outside").exists());
}

#[test]
fn templates_with_mistakes_are_told_apart() {
    let user = User::new();
    user.write("empty", "template.yaml", "kind: module\n");
    user.write("parameter", "template.yaml", "kind: module\ndescription: x\nparameters: [{ name: A, type: string }]\n");
    for (name, words) in [("empty", "description"), ("parameter", "parameter \"A\"")] {
        refused(user.edgectl(&["template", "add", name]), 3, words);
    }
    assert!(user.kept().is_empty());
    // Rendered, it is no solution that could be deployed.
    user.write("broken", "template.yaml", "kind: solution\ndescription: x\nbase: solution/plain\n");
    user.write("broken", "deployment.template.json.tera", "{ \"name\": {{ name | json }} ");
    user.edgectl(&["template", "test", "broken"]).code(3);
    user.write("unknown", "template.yaml", "kind: module\ndescription: x\n");
    user.write("unknown", "a.tera", "{{ nothing }}");
    refused(user.edgectl(&["template", "test", "unknown"]), 3, "nothing");
}

#[test]
fn a_solution_can_be_a_use_case_of_ones_own() {
    let user = User::new();
    let description = r#"
kind: solution
description: A greenhouse
base: base/scenario
parameters:
  - { name: limit, type: integer, default: 30 }
values:
  story: It gets hot.
  sensor:
    { start: "2026-01-01T00:00:00Z", stepMilliseconds: 1000, count: 5, speed: 1, key: bed,
      sources: [{ name: a, fields: { t: { base: 20, changes: [{ after: 2, until: 5, add: 20 }] } } }] }
  detector: { kind: consecutive, name: hot, by: bed, field: t, operator: ">", value: 30, count: 2 }
  expected: [{ alert: hot, bed: a, at: "2026-01-01T00:00:04.000Z", value: 40 }]
"#;
    user.write("greenhouse", "template.yaml", description);
    user.write("greenhouse", "LIMIT.tera", "{{ limit }}");
    user.edgectl(&["template", "add", "greenhouse"]).success();
    user.edgectl(&["new", "garden", "--from", "greenhouse", "--set", "limit=7"]).success();
    let garden = user.path().join("garden");
    assert_eq!(fs::read_to_string(garden.join("LIMIT")).unwrap(), "7");
    user.edgectl(&["-C", "garden", "validate", "--deny-warnings"]).success();
    let tested = Command::new("python3").arg("test_scenario.py").current_dir(&garden).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}

#[test]
fn in_a_terminal_everything_is_asked_for() {
    let user = User::new();
    user.camera();
    user.edgectl(&["template", "add", "camera"]).success();
    let mut terminal = Terminal::new(100, 30);
    let mut command = terminal.edgectl(user.path(), &["new", "--lang", "camera"]);
    let mut child = Running(command.env("XDG_DATA_HOME", user.path().join("data")).spawn().unwrap());
    for (question, answer) in [
        ("Name of the solution", "plant\r"),
        // What is wrong is said, and asked for again.
        ("Code of the camera", "abcd\r"),
        ("of the form [a-z]{3}", "abc\r"),
        ("rooms", "\r"),
        ("Whether it makes noise", "y"),
        ("color", "\r"),
    ] {
        wait_until(&format!("it asks: {question}"), || terminal.written().contains(question));
        terminal.press(answer);
    }
    assert!(child.0.wait().unwrap().success(), "{}", terminal.written());
    let notes = fs::read_to_string(user.path().join("plant/modules/filter/notes/abc.txt")).unwrap();
    assert_eq!(notes, "filter abc 3 true \"green\"");
}

#[test]
fn a_person_chooses_what_to_start_from() {
    let user = User::new();
    let mut terminal = Terminal::new(120, 40);
    let mut command = terminal.edgectl(user.path(), &["new"]);
    let mut child = Running(command.env("XDG_DATA_HOME", user.path().join("data")).spawn().unwrap());
    for (question, answer) in [
        ("Name of the solution", "plant\r"),
        // The one above what is offered: industrial, as its name comes before plain.
        ("What to start from", "\u{1b}[A\r"),
    ] {
        wait_until(&format!("it asks: {question}"), || terminal.written().contains(question));
        terminal.press(answer);
    }
    assert!(child.0.wait().unwrap().success(), "{}", terminal.written());
    assert!(user.path().join("plant/expected-alerts.json").is_file());
}

#[test]
fn a_person_who_gives_up_leaves_nothing() {
    let user = User::new();
    user.camera();
    user.edgectl(&["template", "add", "camera"]).success();
    for key in ["\u{3}", "\u{1b}"] {
        let mut terminal = Terminal::new(100, 30);
        let mut command = terminal.edgectl(
            user.path(),
            &["new", "plant", "--lang", "camera", "--set", "code=abc", "--set", "rooms=1", "--set", "loud=no"],
        );
        let mut child = Running(command.env("XDG_DATA_HOME", user.path().join("data")).spawn().unwrap());
        wait_until("it asks for the color", || terminal.written().contains("color"));
        terminal.press(key);
        let ended = child.0.wait().unwrap();
        assert_eq!(ended.code(), Some(130), "{ended}: {}", terminal.written());
        // The question hid the cursor; whoever types next wants to see it.
        let cursor = || (terminal.written().rfind("\u{1b}[?25l"), terminal.written().rfind("\u{1b}[?25h"));
        wait_until("the cursor is shown", || cursor().0.is_some() && cursor().1 > cursor().0);
        assert_eq!(names(user.path()), ["camera", "data"]);
    }
}
