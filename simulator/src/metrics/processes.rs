//! What Linux tells of the processes of modules. Elsewhere nothing is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::machine::kibibytes;

/// What all processes of a module come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory.
    pub memory: u64,
    /// Time of processors since they were started, in ticks of the kernel.
    pub ticks: u64,
    /// Processes and threads.
    pub threads: u64,
    /// Bytes read from disks; none where that may not be looked at.
    pub read: Option<u64>,
    /// Bytes written to disks; none where that may not be looked at.
    pub written: Option<u64>,
}

/// A process as `/proc/{number}/stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    number: u32,
    parent: u32,
    group: u32,
    session: u32,
    ticks: u64,
    threads: u64,
}

/// All processes of the machine at one moment.
#[derive(Debug, Default)]
pub struct Processes {
    all: BTreeMap<u32, Process>,
}

impl Processes {
    /// Looks at all there are.
    pub fn now() -> Self {
        let Ok(folders) = fs::read_dir("/proc") else { return Self::default() };
        let numbers = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse().ok());
        let stats = numbers.filter_map(|number: u32| {
            let process = Process::parse(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?)?;
            Some((number, process))
        });
        Self { all: stats.collect() }
    }

    /// What a module uses whose first process has this number. None if that is gone, or is not of this machine.
    pub fn usage(&self, first: u32) -> Option<Usage> {
        self.all.get(&first)?;
        let mut usage = Usage { read: Some(0), written: Some(0), ..Usage::default() };
        for process in self.of(first).iter().filter_map(|number| self.all.get(number)) {
            usage.ticks += process.ticks;
            usage.threads += process.threads;
            let file = |name| fs::read_to_string(format!("/proc/{}/{name}", process.number)).ok();
            let memory = file("status").and_then(|text| kibibytes(&text, "VmRSS"));
            usage.memory += memory.unwrap_or_default() * 1024;
            let io = file("io");
            let bytes = |name| kibibytes(io.as_deref()?, name);
            usage.read = usage.read.zip(bytes("read_bytes")).map(|(sum, more)| sum + more);
            usage.written = usage.written.zip(bytes("write_bytes")).map(|(sum, more)| sum + more);
        }
        Some(usage)
    }

    /// The processes that the first one, or one that it started, has started, or that are still in its group or session.
    fn of(&self, first: u32) -> BTreeSet<u32> {
        let is_member = |process: &&Process| [process.number, process.group, process.session].contains(&first);
        let mut found: BTreeSet<u32> = self.all.values().filter(is_member).map(|process| process.number).collect();
        loop {
            let children = self.all.values().filter(|process| found.contains(&process.parent));
            let children: Vec<u32> = children.map(|process| process.number).collect();
            let before = found.len();
            found.extend(children);
            if found.len() == before {
                return found;
            }
        }
    }
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        let number = stat.split_whitespace().next()?.parse().ok()?;
        // The second field is the program's name in brackets and may hold anything, brackets and spaces too.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let small = |index| field(index).and_then(|value| u32::try_from(value).ok());
        Some(Self {
            number,
            parent: small(1)?,
            group: small(2)?,
            session: small(3)?,
            ticks: field(11)? + field(12)?,
            threads: field(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) b (c) S 1 5 6 0 -1 4194560 1 2 3 4 10 20 0 0 20 0 3 0 100 1 2";
        let process = Process::parse(stat).unwrap();
        assert_eq!(process, Process { number: 7, parent: 1, group: 5, session: 6, ticks: 30, threads: 3 });
        assert_eq!(Process::parse("7 (a"), None);
    }

    #[test]
    fn a_modules_processes_are_its_group_and_all_that_come_from_it() {
        let process = |number, parent, group| Process { number, parent, group, session: 1, ticks: 1, threads: 1 };
        let all = [process(7, 2, 7), process(8, 7, 8), process(9, 8, 8), process(10, 1, 7), process(11, 1, 11)];
        let processes = Processes { all: all.into_iter().map(|process| (process.number, process)).collect() };
        assert_eq!(processes.of(7), BTreeSet::from([7, 8, 9, 10]));
        assert_eq!(processes.usage(12), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_something() {
        let usage = Processes::now().usage(std::process::id()).unwrap();
        assert!(usage.memory > 0 && usage.threads > 0, "{usage:?}");
    }
}
