//! A network of its own, with nothing but a loopback interface: what works in it needs no network.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::Command as Tried;

/// A namespace that lasts until this is dropped.
pub struct Loopback {
    holder: Child,
}

impl Loopback {
    /// Makes the namespace; as an ordinary user in a user namespace of its own.
    pub fn new() -> Self {
        let script = "ip link set lo up && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "ip, of iproute2, in a namespace of an ordinary user");
        Self { holder }
    }

    /// The command line that goes before a command, so that it runs in here.
    fn enter(&self) -> [String; 6] {
        let holder = self.holder.id().to_string();
        ["nsenter", "--target", &holder, "--user", "--net", "--preserve-credentials"].map(str::to_owned)
    }

    /// `edgectl`, working in a directory.
    pub fn edgectl(&self, directory: &Path) -> Tried {
        Tried::from_std(self.command(directory))
    }

    /// `edgectl`, to be started and left running.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = self.program(assert_cmd::cargo::cargo_bin!("edgectl"), directory);
        command.env("NO_COLOR", "1").env_remove("CARGO_TARGET_DIR").env_remove("DEFAULT_PLATFORM");
        command
    }

    /// Any program, working in a directory.
    pub fn program(&self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        let [enter, arguments @ ..] = self.enter();
        let mut command = Command::new(enter);
        command.args(arguments).arg(program).current_dir(directory);
        command
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // It may be gone already; there is nothing to do about it here.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
