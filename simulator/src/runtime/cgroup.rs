//! Control groups: what a module's processes may use, held by the kernel, and all of them ended at once.
//!
//! A group is made below the simulator's own, or below the nearest group above it where this user may, since a group that
//! has processes of its own cannot give controllers to groups below it. Both versions of control groups are known; on
//! machines that mix them the first has the controllers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::runtime::limits::{CPU_PERIOD, Limits};

const ROOT: &str = "/sys/fs/cgroup";
/// Every group of ours is called so.
const PREFIX: &str = "edgectl-";
/// The file through which processes come into a group and are listed.
const PROCESSES: &str = "cgroup.procs";

/// The group of one module: one folder, or one for each controller.
#[derive(Debug)]
pub(super) struct ControlGroup {
    folders: Vec<PathBuf>,
}

impl ControlGroup {
    /// Makes a group for a module with its limits. The error says what the machine does not permit.
    pub(super) fn make(module: &str, limits: &Limits) -> io::Result<Self> {
        let name = format!("{PREFIX}{}-{module}", std::process::id());
        let mut group = Self { folders: Vec::new() };
        for (controller, is_wanted) in
            [("memory", limits.memory.is_some()), ("cpu", limits.cpu.is_some()), ("pids", limits.pids.is_some())]
        {
            if is_wanted {
                let folder = group.folder_with(controller, &name)?;
                set(&folder, controller, limits).map_err(|error| told(error, &folder))?;
            }
        }
        Ok(group)
    }

    /// The files to which a process writes its number to come into the group.
    pub(super) fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.join(PROCESSES))
    }

    /// The folder of the group that has a controller.
    fn folder_with(&mut self, controller: &str, name: &str) -> io::Result<PathBuf> {
        let lines = fs::read_to_string("/proc/self/cgroup")?;
        let (root, own, is_second) = own_group(&lines, controller)
            .ok_or_else(|| io::Error::other(format!("this machine has no control groups for {controller}")))?;
        let mut refused = None;
        for ancestor in own.ancestors() {
            let parent = root.join(ancestor.strip_prefix("/").unwrap_or(ancestor));
            let folder = parent.join(name);
            if self.folders.contains(&folder) && (!is_second || has_controller(&folder, controller)) {
                return Ok(folder);
            }
            match make(&parent, &folder, controller, is_second) {
                Ok(()) => {
                    self.folders.push(folder.clone());
                    return Ok(folder);
                }
                Err(error) => refused = refused.or(Some(told(error, &folder))),
            }
        }
        Err(refused.unwrap_or_else(|| io::Error::other("there is no control group for this process")))
    }
}

impl Drop for ControlGroup {
    /// Ends what is left in the group, and removes it. A process takes a moment to leave its group.
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::write(folder.join("cgroup.kill"), "1");
            for _ in 0..100 {
                for process in processes(folder) {
                    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
                }
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Where the groups of a controller are, the simulator's own among them, and whether they are of the second version.
fn own_group(lines: &str, controller: &str) -> Option<(PathBuf, PathBuf, bool)> {
    for line in lines.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, own) = (fields.next()?, fields.next()?);
        if controllers.split(',').any(|known| known == controller) {
            let root = [controllers, controller].into_iter().map(|name| Path::new(ROOT).join(name));
            return root.into_iter().find(|root| root.is_dir()).map(|root| (root, PathBuf::from(own), false));
        }
    }
    let own = lines.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = PathBuf::from(ROOT);
    root.join("cgroup.controllers").is_file().then(|| (root, PathBuf::from(own), true))
}

fn make(parent: &Path, folder: &Path, controller: &str, is_second: bool) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    if !is_second || has_controller(folder, controller) {
        return Ok(());
    }
    // Given to all groups below the parent, where it may be.
    let given = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    if given.is_ok() && has_controller(folder, controller) {
        return Ok(());
    }
    let _ = fs::remove_dir(folder);
    Err(given.err().unwrap_or_else(|| io::Error::other(format!("{controller} is not delegated to this user"))))
}

fn has_controller(folder: &Path, controller: &str) -> bool {
    let known = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    known.split_whitespace().any(|known| known == controller)
}

fn set(folder: &Path, controller: &str, limits: &Limits) -> io::Result<()> {
    let put = |file: &str, value: String| fs::write(folder.join(file), value);
    let is_second = folder.join("cgroup.controllers").is_file();
    match (controller, is_second) {
        ("memory", true) => put("memory.max", limits.memory.unwrap_or_default().to_string()),
        ("memory", false) => put("memory.limit_in_bytes", limits.memory.unwrap_or_default().to_string()),
        ("cpu", true) => put("cpu.max", format!("{} {CPU_PERIOD}", limits.cpu.unwrap_or_default())),
        ("cpu", false) => put("cpu.cfs_quota_us", limits.cpu.unwrap_or_default().to_string()),
        _ => put("pids.max", limits.pids.unwrap_or_default().to_string()),
    }
}

fn processes(folder: &Path) -> Vec<rustix::process::Pid> {
    let list = fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default();
    list.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)).collect()
}

fn told(error: io::Error, folder: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
}

/// Removes groups that a simulator left which runs no more.
pub(super) fn sweep() {
    let Ok(lines) = fs::read_to_string("/proc/self/cgroup") else { return };
    for (root, own, _) in ["memory", "cpu", "pids"].iter().filter_map(|controller| own_group(&lines, controller)) {
        for ancestor in own.ancestors() {
            let Ok(entries) = fs::read_dir(root.join(ancestor.strip_prefix("/").unwrap_or(ancestor))) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let owner =
                    name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
                if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
                    drop(ControlGroup { folders: vec![entry.path()] });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart() {
        let mixed = "4:memory:/a/b\n1:cpu:/\n0::/\n";
        let own = |lines: &str, controller| own_group(lines, controller).map(|(_, own, _)| own);
        if Path::new(ROOT).join("memory").is_dir() {
            assert_eq!(own(mixed, "memory"), Some(PathBuf::from("/a/b")));
        }
        if Path::new(ROOT).join("cgroup.controllers").is_file() {
            assert_eq!(own_group("0::/user.slice/x", "memory").map(|(.., is_second)| is_second), Some(true));
        }
        assert_eq!(own("", "memory"), None);
    }
}
