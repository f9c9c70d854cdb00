//! Starting a module so that it does not outlive the simulator.
//!
//! A module is started through the simulator's own binary, which asks the kernel to kill it when its parent dies and
//! then becomes the module. The kernel's parent is a thread and not a process, so every module is started by one
//! thread that lives as long as the runtime does.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Starts that may wait for the thread; more wait at the sender.
const QUEUE: usize = 16;

/// Becomes a module: the child's half of [`Launcher::command`], for a hidden command of the binary. Takes what comes
/// after the launcher's own arguments: the parent's process number, the number of control groups and a file of each, the
/// module's program and its arguments.
///
/// Returns only if it did not work: the parent is gone already, or the program cannot be started.
pub fn exec_module(arguments: &[OsString]) -> io::Error {
    let needed = || io::Error::new(io::ErrorKind::InvalidInput, "a parent, control groups and a program are needed");
    let [parent, count, rest @ ..] = arguments else { return needed() };
    let count = count.to_str().and_then(|count| count.parse().ok()).filter(|count| *count < rest.len());
    let Some((doors, [program, arguments @ ..])) = count.map(|count: usize| rest.split_at(count)) else {
        return needed();
    };
    let enter = || doors.iter().try_for_each(|door| std::fs::write(door, std::process::id().to_string()));
    match die_with(parent).and_then(|()| enter()) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn die_with(parent: &OsStr) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the kernel was asked.
    let now = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    match parent.to_str().and_then(|text| text.parse::<i32>().ok()) {
        Some(parent) if now == parent => Ok(()),
        _ => Err(io::Error::other("the simulator is gone")),
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: &OsStr) -> io::Result<()> {
    Ok(())
}

struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts modules. It ends, and with it what it started, when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Launcher {
    requests: mpsc::Sender<Request>,
    prefix: Vec<OsString>,
}

impl Launcher {
    /// Starts the thread. The prefix is the command line of the launcher; with an empty one modules are started as they
    /// are, and outlive a simulator that is killed. Needs a runtime of tokio.
    pub(super) fn new(prefix: Vec<OsString>) -> io::Result<Self> {
        let (requests, mut queue) = mpsc::channel::<Request>(QUEUE);
        let handle = Handle::current();
        let run = move || {
            let _runtime = handle.enter();
            while let Some(Request { command, reply }) = queue.blocking_recv() {
                let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
                if reply.send(child).is_err() {
                    tracing::debug!("nobody waits for the module that was started");
                }
            }
        };
        std::thread::Builder::new().name("module-launcher".to_owned()).spawn(run)?;
        Ok(Self { requests, prefix })
    }

    /// Whether what it starts can be put into control groups.
    pub(super) fn can_limit(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The command that starts a program with its arguments, in control groups by their files.
    pub(super) fn command(&self, argv: &[OsString], doors: Vec<OsString>) -> Command {
        let own = [std::process::id().to_string().into(), doors.len().to_string().into()];
        let mut words = self.prefix.iter().cloned();
        let (program, rest) = match words.next() {
            Some(launcher) => {
                (launcher, words.chain(own).chain(doors).chain(argv.iter().cloned()).collect::<Vec<OsString>>())
            }
            None => (argv.first().cloned().unwrap_or_default(), argv.iter().skip(1).cloned().collect()),
        };
        let mut command = Command::new(program);
        command.args(rest);
        command
    }

    /// Starts a command in the launcher's thread.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the launcher's thread ended");
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { command, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
