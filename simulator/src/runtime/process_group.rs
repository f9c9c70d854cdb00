//! Process groups, and what the kernel tells of them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Sends a signal to every process of a group. A group that is gone already is no error.
pub(super) fn signal(leader: u32, signal: Signal) -> io::Result<()> {
    let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a process number"));
    };
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessFacts {
    /// Whether it ended and its parent has not noticed. So looks, for a moment, a process whose second thread starts
    /// another program, too.
    pub(super) ended: bool,
    /// Its group.
    pub(super) group: u32,
    /// Its session.
    pub(super) session: u32,
    /// When it was started, in clock ticks since the machine was.
    pub(super) started: u64,
}

/// Looks a process up. None if it is gone, or where the kernel has no `/proc`.
pub(super) fn facts(pid: u32) -> Option<ProcessFacts> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, brackets and spaces too.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(ProcessFacts {
        ended: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The processes of a group that have not ended.
pub(super) fn members(group: u32) -> Vec<ProcessFacts> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(facts).filter(|process| process.group == group && !process.ended).collect()
}

/// Kills every process of this user whose environment has a variable with this value, and tells how many those were: also
/// those that left their group and session. Where the kernel has no `/proc` there are none.
pub(super) fn kill_marked(variable: &str, value: &OsStr) -> usize {
    let wanted = [variable.as_bytes(), b"=", value.as_bytes()].concat();
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let own = std::process::id();
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |number: &u32| {
        let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
        *number != own && environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    };
    let mut killed = 0;
    for number in numbers.filter(is_marked) {
        let process = i32::try_from(number).ok().and_then(Pid::from_raw);
        killed += usize::from(process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok()));
    }
    killed
}

/// A text that is another one after the machine was started again. Empty where the kernel has none.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_its_group() {
        let facts = facts(std::process::id()).unwrap();
        assert!(members(facts.group).contains(&facts));
        assert!(!boot_id().is_empty());
    }
}
