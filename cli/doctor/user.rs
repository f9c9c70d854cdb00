//! The user's own places, and the tools that a solution is kept with.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::ask::{ask, dotted, version};
use super::check::{Check, Finding, Scope};
use super::fix::Fix;
use super::patient::Patient;

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC306", title: "temporary files can be made", scope: Scope::Machine, examine: temporary },
    Check {
        code: "DOC307",
        title: "the user's state folder can be written",
        scope: Scope::Machine,
        examine: state_folder,
    },
    Check {
        code: "DOC308",
        title: "the user's runtime folder is there",
        scope: Scope::Machine,
        examine: runtime_folder,
    },
    Check { code: "DOC309", title: "git is there", scope: Scope::Machine, examine: git },
];

/// Whether this user may make files in a directory.
pub fn is_writable(directory: &Path) -> bool {
    directory.is_dir() && access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn temporary(patient: &Patient<'_>) -> Finding {
    let named = patient.variable("TMPDIR").map(PathBuf::from);
    // Sockets whose path would be too long lie in /tmp, whatever the variable says.
    let wrong = named.iter().map(PathBuf::as_path).chain([Path::new("/tmp")]).find(|folder| !is_writable(folder));
    match wrong {
        None => Finding::ok(named.map_or_else(|| "/tmp".to_owned(), |folder| folder.display().to_string())),
        Some(folder) if named.as_deref() == Some(folder) => {
            Finding::error(format!("TMPDIR is {}, where this user cannot make files", folder.display()))
                .cause("Builds of modules, and many modules, need it.")
                .mend("unset TMPDIR")
        }
        Some(folder) => Finding::error(format!("this user cannot make files in {}", folder.display()))
            .cause("Sockets of devices whose directory has a long path lie there.")
            .mend("sudo chmod 1777 /tmp"),
    }
}

fn state_folder(patient: &Patient<'_>) -> Finding {
    let Some(folder) = &patient.settings.device_index else {
        return Finding::warning("neither HOME nor XDG_STATE_HOME is set")
            .cause("`edgectl sim list` does not know devices of other solutions.")
            .mend("export HOME=~");
    };
    if let Some(relative) = patient.variable("XDG_STATE_HOME").filter(|path| !path.starts_with('/')) {
        return Finding::warning(format!("XDG_STATE_HOME is {relative:?}, which is not absolute"))
            .cause("It names another folder in each directory.")
            .mend("export XDG_STATE_HOME=$HOME/.local/state");
    }
    let nearest = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if is_writable(nearest) {
        return Finding::ok(folder.display().to_string());
    }
    Finding::warning(format!("this user cannot write to {}", nearest.display()))
        .cause("`edgectl sim list` does not know devices of other solutions.")
        .mend(format!("sudo chown -R $(id -u) {}", nearest.display()))
}

fn runtime_folder(patient: &Patient<'_>) -> Finding {
    match patient.variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
        None => Finding::skipped("XDG_RUNTIME_DIR is not set"),
        Some(folder) if is_writable(&folder) => Finding::ok(folder.display().to_string()),
        Some(folder) => {
            let finding =
                Finding::note(format!("XDG_RUNTIME_DIR is {}, where this user cannot make files", folder.display()))
                    .cause("Engines that run without root keep their sockets there.")
                    .mend("loginctl enable-linger, and log in again");
            let parent = folder.parent().is_some_and(is_writable) && !folder.exists();
            if parent { finding.fix(Fix::MakeDirectory(folder)) } else { finding }
        }
    }
}

fn git(patient: &Patient<'_>) -> Finding {
    let Some(git) = patient.program("git") else {
        return Finding::note("it is not on the search path")
            .cause("Solutions are kept with it, and cargo may fetch dependencies with it.")
            .mend("sudo apt-get install git");
    };
    match ask(&git, &["--version"], &patient.settings.directory) {
        Ok(answer) if answer.success => {
            Finding::ok(version(&answer.text).map_or(answer.text, |numbers| dotted(&numbers)))
        }
        Ok(answer) => {
            Finding::warning(format!("it does not run: {}", answer.text)).mend("sudo apt-get install --reinstall git")
        }
        Err(error) => Finding::warning(error).mend("sudo apt-get install --reinstall git"),
    }
}
