//! What Linux tells of the machine. Elsewhere nothing is known but the disk.

use std::fs;
use std::path::Path;

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What there is.
    pub total: u64,
    /// What is neither free nor can be made so at once.
    pub used: u64,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The device.
    pub name: String,
    /// The kind of its file system.
    pub filesystem: String,
    /// Bytes it has.
    pub total: u64,
    /// Bytes that are left for ordinary users.
    pub available: u64,
}

/// Time of all processors since the machine was started, in ticks of the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    /// All of it.
    pub total: u64,
    /// What something was done in.
    pub busy: u64,
}

/// Seconds since the machine was started.
pub fn uptime_seconds() -> Option<f64> {
    fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()
}

/// The machine's memory.
pub fn memory() -> Option<Memory> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(text: &str) -> Option<Memory> {
    let (total, available) = (kibibytes(text, "MemTotal")?, kibibytes(text, "MemAvailable")?);
    Some(Memory { total: total * 1024, used: total.saturating_sub(available) * 1024 })
}

/// The number in a line `name: number kB`.
pub(super) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The time of all processors.
pub fn processor_time() -> Option<ProcessorTime> {
    processor_time_of(&fs::read_to_string("/proc/stat").ok()?)
}

fn processor_time_of(text: &str) -> Option<ProcessorTime> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; what comes behind is part of user and nice.
    let times: Vec<u64> = line.split_whitespace().take(8).map(|time| time.parse().unwrap_or_default()).collect();
    let total = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    Some(ProcessorTime { total, busy: total - idle })
}

/// The disk on which a folder lies.
pub fn disk(folder: &Path) -> Option<Disk> {
    let space = rustix::fs::statvfs(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (name, filesystem) = mount_of(&mounts, &folder.canonicalize().ok()?).unwrap_or_default();
    let (total, available) = (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize);
    Some(Disk { name, filesystem, total, available })
}

/// The device that is mounted where a folder lies, and the kind of its file system.
fn mount_of(mounts: &str, folder: &Path) -> Option<(String, String)> {
    let mounts = mounts.lines().filter_map(|line| {
        // number parent device root point options [optional …] - filesystem name …
        let (place, what) = line.split_once(" - ")?;
        let point = unescaped(place.split(' ').nth(4)?);
        let mut what = what.split(' ');
        let (filesystem, name) = (what.next()?.to_owned(), unescaped(what.next()?));
        folder.starts_with(&point).then_some((point.len(), name, filesystem))
    });
    // What was mounted last at a place hides what was mounted there before.
    mounts.max_by_key(|(length, ..)| *length).map(|(_, name, filesystem)| (name, filesystem))
}

/// Spaces and the like stand as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                whole.push(char::from(code));
                whole.push_str(&part[3..]);
            }
            None => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processors_are_read() {
        let text = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n";
        assert_eq!(memory_of(text), Some(Memory { total: 1_024_000, used: 614_400 }));
        assert_eq!(memory_of("MemTotal: 7"), None);
        let text = "cpu  10 1 5 70 4 1 2 7 9 9\ncpu0 1 2 3\n";
        assert_eq!(processor_time_of(text), Some(ProcessorTime { total: 100, busy: 26 }));
    }

    #[test]
    fn the_disk_is_that_of_the_innermost_mount() {
        let mounts = "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      30 27 0:27 / /my\\040data rw - xfs /dev/disk\\0401 rw\n\
                      31 27 0:28 / /my rw - tmpfs tmp rw\n";
        let of = |folder: &str| mount_of(mounts, Path::new(folder)).map(|(name, _)| name);
        assert_eq!(of("/my data/x").as_deref(), Some("/dev/disk 1"));
        assert_eq!(of("/my/x").as_deref(), Some("tmp"));
        assert_eq!(of("/mystery").as_deref(), Some("/dev/vda"));
        assert_eq!(mount_of("", Path::new("/")), None);
    }
}
