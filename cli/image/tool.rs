//! The tools of the machine that builds are done with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::image::error::ImageError;

/// How much of what a tool says is kept for telling why it failed, in lines.
const LINES_KEPT: usize = 40;

/// Finds a program on the search path of `environment`.
pub fn find(environment: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let path = environment.get("PATH")?;
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The process groups of the tools that are running; none may start any more once they were stopped.
static RUNNING: Mutex<Option<BTreeSet<u32>>> = Mutex::new(Some(BTreeSet::new()));

fn running() -> MutexGuard<'static, Option<BTreeSet<u32>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all running tools with what they started, and lets no other start: the command is being interrupted.
pub fn stop_all() {
    for group in running().take().into_iter().flatten() {
        if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Starts a tool in a process group of its own, so that it can be stopped with all it starts.
fn start(command: &mut Command) -> io::Result<Child> {
    let mut running = running();
    let Some(groups) = running.as_mut() else { return Err(io::Error::from(io::ErrorKind::Interrupted)) };
    let child = command.process_group(0).spawn()?;
    groups.insert(child.id());
    Ok(child)
}

/// How a tool ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it did what it was asked.
    pub success: bool,
    /// The last lines that it wrote, of both its outputs.
    pub last_lines: Vec<String>,
}

/// Runs a tool to its end without input. Each line that it writes is handed on as it comes.
pub fn run(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<Ended, ImageError> {
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(command).map_err(ImageError::io(&program))?;
    // Each output is read by a thread of its own, so that neither fills up while the other is waited for.
    let (sender, lines) = std::sync::mpsc::sync_channel::<String>(LINES_KEPT);
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|output| Box::new(output) as _),
        child.stderr.take().map(|output| Box::new(output) as _),
    ];
    let mut last_lines = std::collections::VecDeque::new();
    std::thread::scope(|scope| {
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            scope.spawn(move || read_lines(output, &sender));
        }
        drop(sender);
        for line in lines {
            on_line(&line);
            last_lines.push_back(line);
            if last_lines.len() > LINES_KEPT {
                last_lines.pop_front();
            }
        }
    });
    let status = child.wait();
    if let Some(groups) = running().as_mut() {
        groups.remove(&child.id());
    }
    let status = status.map_err(ImageError::io(&program))?;
    Ok(Ended { success: status.success(), last_lines: last_lines.into() })
}

fn read_lines(output: impl Read, sender: &std::sync::mpsc::SyncSender<String>) {
    let mut reader = BufReader::new(output);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if sender.send(line).is_err() {
            return;
        }
        bytes.clear();
    }
}
