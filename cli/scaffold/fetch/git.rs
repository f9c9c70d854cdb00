//! Reading a template from a repository with the program `git`: nothing is checked out, so that no filter, no hook and
//! no link of the repository does anything here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::tree::{self, Files, refused};

/// The modes of plain files.
const PLAIN: [&str; 2] = ["100644", "100755"];

/// Fetches a commit into the directory `scratch`, which is made and removed again. Returns the commit and its files.
pub fn read(
    git: &Path,
    address: &str,
    reference: Option<&str>,
    scratch: &Path,
) -> Result<(String, Files), ScaffoldError> {
    let place = Scratch::new(scratch)?;
    let git = Git { program: git, directory: &place.0 };
    git.run(&["init", "--quiet", "--bare"])?;
    let wanted = reference.unwrap_or("HEAD");
    // A commit that no branch or tag names is not given out by every server alone, but with all the others.
    if git.run(&["fetch", "--quiet", "--depth=1", "--no-tags", "--end-of-options", address, wanted]).is_err() {
        git.run(&["fetch", "--quiet", "--end-of-options", address, "+refs/*:refs/fetched/*"])?;
        let found = ["", "refs/fetched/heads/", "refs/fetched/tags/"].iter().find_map(|prefix| {
            let name = format!("{prefix}{wanted}^{{commit}}");
            git.run(&["rev-parse", "--quiet", "--verify", "--end-of-options", &name]).ok()
        });
        let found = found.ok_or_else(|| refused(format!("it has no branch, tag or commit {wanted:?}")))?;
        return Ok((last_line(&found), git.files(&last_line(&found))?));
    }
    let commit = last_line(&git.run(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"])?);
    let files = git.files(&commit)?;
    Ok((commit, files))
}

fn last_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().last().unwrap_or_default().to_owned()
}

struct Git<'a> {
    program: &'a Path,
    directory: &'a Path,
}

impl Git<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        // No transport that is a program of the address's choosing, and no hook of a template of repositories.
        command
            .args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null", "-c", "init.templateDir="])
            .args(arguments)
            .current_dir(self.directory)
            .env("GIT_DIR", self.directory)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE");
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, ScaffoldError> {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|source| ScaffoldError::Io { path: self.program.to_owned(), source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().find(|line| line.starts_with("fatal:")).or(said.lines().last()).unwrap_or_default();
        Err(refused(format!("git: {}", reason.trim_start_matches("fatal: "))))
    }

    /// The files of a commit, as they are kept in it.
    fn files(&self, commit: &str) -> Result<Files, ScaffoldError> {
        let listing = self.run(&["ls-tree", "-r", "-z", "--full-tree", commit])?;
        let mut wanted = Vec::new();
        for entry in listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let entry = std::str::from_utf8(entry).map_err(|_| refused("the name of a file is not UTF-8"))?;
            let (facts, path) = entry.split_once('\t').ok_or_else(|| refused("git lists it in an unknown form"))?;
            let mut facts = facts.split(' ');
            let (mode, object) = (facts.next().unwrap_or_default(), facts.nth(1).unwrap_or_default());
            if !PLAIN.contains(&mode) {
                return Err(refused(format!("{path} is a link or no file, and a template has files alone")));
            }
            wanted.push((path.to_owned(), object.to_owned()));
        }
        self.contents(&wanted)
    }

    fn contents(&self, wanted: &[(String, String)]) -> Result<Files, ScaffoldError> {
        let failed = |source| ScaffoldError::Io { path: self.program.to_owned(), source };
        let mut child = self
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(refused("git cannot be spoken to"));
        };
        let mut output = BufReader::new(output);
        let mut read = || -> Result<Files, ScaffoldError> {
            let mut files = Files::new();
            for (path, object) in wanted {
                writeln!(input, "{object}").map_err(failed)?;
                let mut header = String::new();
                output.read_line(&mut header).map_err(failed)?;
                let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
                let size = size.ok_or_else(|| refused(format!("git does not have {path}")))?;
                if size >= tree::room(&files) {
                    return Err(refused(format!("{path} is too large")));
                }
                let mut content = Vec::new();
                // The content ends with a line end that is none of its own.
                output.by_ref().take(size + 1).read_to_end(&mut content).map_err(failed)?;
                content.pop();
                tree::add(&mut files, path, content)?;
            }
            Ok(files)
        };
        let files = read();
        // It ends when its input does; what it did not say by now is not wanted.
        drop(input);
        let _ = child.kill();
        let _ = child.wait();
        files
    }
}

/// A directory that is gone when this is dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(path: &Path) -> Result<Self, ScaffoldError> {
        let path = path.to_owned();
        let failed = |source| ScaffoldError::Io { path: path.clone(), source };
        // What another process of that number left behind is nobody's any more.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell where that fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
