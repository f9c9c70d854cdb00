//! The tools of the machine that builds are done with.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ImageError::io(&program))?;
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
    let status = child.wait().map_err(ImageError::io(&program))?;
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
