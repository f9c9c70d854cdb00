//! One module that runs as a host process: the task that starts it, waits for it and stops it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::runtime::cgroup::ControlGroup;
use crate::runtime::group_record::{GroupRecord, MARK};
use crate::runtime::launcher::Launcher;
use crate::runtime::limits::Limits;
use crate::runtime::log_file::LogFile;
use crate::runtime::module_runtime::{LogLine, LogStream, ModuleState, ModuleStatus};
use crate::runtime::process_group;

/// A longer line is cut.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// How long to go on reading what a module wrote after it ended, if a process that left its group keeps its pipes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) argv: Vec<OsString>,
    pub(super) folder: PathBuf,
    pub(super) env: BTreeMap<OsString, OsString>,
    /// What it may use.
    pub(super) limits: Limits,
    /// What it is, for people.
    pub(super) description: String,
    /// A digest of what is run, if there is one.
    pub(super) hash: Option<String>,
}

/// What the task of a module is asked for.
pub(super) enum Request {
    /// Start this, if nothing runs.
    Start(Program, oneshot::Sender<io::Result<()>>),
    /// Stop within a time, if it runs.
    Stop(Duration, oneshot::Sender<io::Result<()>>),
}

/// What all modules of a runtime share.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) launcher: Launcher,
    pub(super) groups: Arc<GroupRecord>,
    pub(super) exits: watch::Sender<u64>,
}

/// The task of a module. It ends when nobody can send it requests any more, and its process with it.
pub(super) struct ProcessModule {
    pub(super) name: String,
    pub(super) surroundings: Surroundings,
    pub(super) log: Arc<LogFile>,
    pub(super) state: watch::Sender<ModuleState>,
}

struct Running {
    child: Child,
    leader: u32,
    readers: JoinSet<()>,
    /// What its processes have in their environment and no others.
    mark: Option<OsString>,
    /// Its control group, if its use is limited.
    control: Option<ControlGroup>,
}

impl ProcessModule {
    /// Runs the task.
    pub(super) async fn run(self, mut requests: mpsc::Receiver<Request>) {
        let mut running: Option<Running> = None;
        loop {
            let request = tokio::select! {
                request = requests.recv() => request,
                status = ended(&mut running) => {
                    self.finish(running.take(), status).await;
                    self.surroundings.exits.send_modify(|count| *count += 1);
                    continue;
                }
            };
            let (outcome, reply) = match request {
                Some(Request::Start(program, reply)) => (self.start(&mut running, program).await, reply),
                Some(Request::Stop(time, reply)) => (self.stop(&mut running, time).await, reply),
                None => break,
            };
            if reply.send(outcome).is_err() {
                tracing::debug!(module = self.name, "nobody waits for the answer any more");
            }
        }
        if let Err(error) = self.stop(&mut running, Duration::ZERO).await {
            tracing::warn!(module = self.name, %error, "cannot end the module's processes");
        }
    }

    async fn start(&self, running: &mut Option<Running>, program: Program) -> io::Result<()> {
        if running.is_some() {
            return Ok(());
        }
        let (control, unenforced) = self.control_group(&program.limits);
        let doors = control.iter().flat_map(ControlGroup::doors).map(PathBuf::into_os_string).collect();
        let mut command = self.surroundings.launcher.command(&program.argv, doors);
        command
            .env_clear()
            .envs(&program.env)
            .current_dir(&program.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.surroundings.launcher.spawn(command).await?;
        let leader = child.id().ok_or_else(|| io::Error::other("the process ended while it was started"))?;
        let mark = program.env.get(OsStr::new(MARK)).cloned();
        let text = mark.as_ref().and_then(|mark| mark.to_str()).map(str::to_owned);
        if let Err(error) = self.surroundings.groups.add(&self.name, leader, text) {
            tracing::warn!(module = self.name, %error, "cannot record the module's processes");
        }
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read_lines(stdout, LogStream::Stdout, Arc::clone(&self.log)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read_lines(stderr, LogStream::Stderr, Arc::clone(&self.log)));
        }
        *running = Some(Running { child, leader, readers, mark, control });
        self.state.send_modify(|state| {
            state.status = ModuleStatus::Running;
            "running".clone_into(&mut state.description);
            state.image_description = Some(program.description);
            state.image_hash = program.hash;
            state.started_at = Some(Timestamp::now());
            state.pid = Some(leader);
            state.limits = (!program.limits.is_none()).then(|| program.limits.to_string());
            state.limits_unenforced = unenforced;
        });
        Ok(())
    }

    /// The control group for a module with limits, or why there is none.
    fn control_group(&self, limits: &Limits) -> (Option<ControlGroup>, Option<String>) {
        if limits.is_none() {
            return (None, None);
        }
        let made = if self.surroundings.launcher.can_limit() {
            ControlGroup::make(&self.name, limits)
        } else {
            Err(io::Error::other("processes are started as they are"))
        };
        match made {
            Ok(group) => (Some(group), None),
            Err(error) => {
                tracing::warn!(module = self.name, %limits, %error, "the limits of the create options are not enforced");
                (None, Some(error.to_string()))
            }
        }
    }

    /// Ends a process: asks the group to end, and kills it when the time is over.
    async fn stop(&self, running: &mut Option<Running>, time: Duration) -> io::Result<()> {
        let Some(process) = running else { return Ok(()) };
        if !time.is_zero() {
            process_group::signal(process.leader, Signal::TERM)?;
        }
        let status = if let Ok(status) = timeout(time, process.child.wait()).await {
            status
        } else {
            process_group::signal(process.leader, Signal::KILL)?;
            process.child.wait().await
        };
        self.finish(running.take(), status).await;
        Ok(())
    }

    /// Ends what the process left in its group, takes its last words and says how it ended.
    async fn finish(&self, running: Option<Running>, status: io::Result<ExitStatus>) {
        let Some(mut running) = running else { return };
        if let Err(error) = process_group::signal(running.leader, Signal::KILL) {
            tracing::warn!(module = self.name, %error, "cannot end what the module left running");
        }
        if let Some(mark) = &running.mark {
            let stray = process_group::kill_marked(MARK, mark);
            if stray > 0 {
                tracing::warn!(module = self.name, stray, "processes had left the module's group, and were killed");
            }
        }
        drop(running.control.take());
        let readers = async { while running.readers.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, readers).await.is_err() {
            tracing::debug!(module = self.name, "a process that left the module's group keeps its output open");
        }
        if let Err(error) = self.surroundings.groups.remove(&self.name) {
            tracing::warn!(module = self.name, %error, "cannot record the module's end");
        }
        let (code, description) = match status.as_ref().map(|status| (status.code(), status.signal())) {
            Ok((Some(code), _)) => (code, format!("exited with code {code}")),
            Ok((None, Some(signal))) => (128 + signal, format!("ended by signal {signal}")),
            Ok((None, None)) => (-1, "ended".to_owned()),
            Err(error) => (-1, error.to_string()),
        };
        self.state.send_modify(|state| {
            state.status = if code == 0 { ModuleStatus::Stopped } else { ModuleStatus::Failed };
            state.description = description;
            state.exit_code = Some(code);
            state.exited_at = Some(Timestamp::now());
            state.pid = None;
        });
    }
}

/// Waits for the end of a process; for ever if there is none.
async fn ended(running: &mut Option<Running>) -> io::Result<ExitStatus> {
    match running {
        Some(running) => running.child.wait().await,
        None => std::future::pending().await,
    }
}

/// Reads what a module prints. What is read at once is written at once, and not by those who run the device: a module
/// that prints without end waits for the disk, and nobody waits for the module.
async fn read_lines(source: impl AsyncRead + Unpin, stream: LogStream, log: Arc<LogFile>) {
    let mut source = BufReader::with_capacity(MAX_LINE_BYTES, source);
    let mut unfinished = Vec::new();
    let mut is_written = true;
    loop {
        let lines = match source.fill_buf().await {
            Ok(available) if !available.is_empty() => {
                let (lines, used) = (cut(&mut unfinished, available), available.len());
                source.consume(used);
                lines
            }
            _ if unfinished.is_empty() => return,
            _ => vec![text(&std::mem::take(&mut unfinished))],
        };
        if lines.is_empty() {
            continue;
        }
        let log = Arc::clone(&log);
        let at = Timestamp::now();
        // What was read at once has times in its order, so that each line can be asked for.
        let times = (0..).map(|place| at.checked_add(SignedDuration::from_nanos(place)).unwrap_or(at));
        let lines = lines.into_iter().zip(times).map(|(text, at)| LogLine { at, stream, text }).collect();
        let written = tokio::task::spawn_blocking(move || log.append(lines)).await.map_err(io::Error::other).flatten();
        // A disk that is full is told once, and not for every line.
        if let Err(error) = &written
            && is_written
        {
            tracing::warn!(%error, "cannot write a module's log");
        }
        is_written = written.is_ok();
    }
}

/// The lines that bytes complete; what is behind the last one stays for those to come.
fn cut(unfinished: &mut Vec<u8>, mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let window = &bytes[..bytes.len().min(MAX_LINE_BYTES - unfinished.len())];
        let newline = window.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(newline.map_or(window.len(), |at| at + 1));
        unfinished.extend_from_slice(line);
        if newline.is_some() || unfinished.len() == MAX_LINE_BYTES {
            lines.push(text(unfinished));
            unfinished.clear();
        }
        bytes = rest;
    }
    lines
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}
