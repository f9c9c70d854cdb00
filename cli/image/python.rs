//! Building a module with a virtual environment of Python.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::python_code;
use crate::image::records::digest;
use crate::image::tool::{self, Ended};
use crate::output::progress::Line;
use crate::solution::sources;

const ENTRY: &str = "main.py";
const REQUIREMENTS: &str = "requirements.txt";
/// Compiles a module's files in memory: what an import from `main.py` finds in its folder, and in packages below.
const COMPILE: &str = "\
import os, sys, traceback
failed = False
for folder, below, files in os.walk('.'):
    below[:] = sorted(name for name in below if os.path.isfile(os.path.join(folder, name, '__init__.py')))
    for name in sorted(name for name in files if name.endswith('.py')):
        path = os.path.normpath(os.path.join(folder, name))
        try:
            with open(path, 'rb') as source:
                compile(source.read(), path, 'exec', dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            failed = True
            sys.stderr.write(''.join(traceback.format_exception_only(type(error), error)))
sys.exit(failed)
";

/// Prepares the module in `directory` of the solution at `root`, with `workspace` for its virtual environment.
pub fn build(
    root: &Path,
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    if !directory.join(ENTRY).is_file() {
        return Err(ImageError::Unbuildable {
            reason: format!("{} has no {ENTRY}", directory.display()),
            hint: format!("A module in Python starts with {ENTRY}."),
        });
    }
    let python = find_python(environment)?;
    let stamp = stamp(&python, directory)?;
    let venv = workspace.join("venv");
    let stamp_file = workspace.join("venv.stamp");
    let venv_python = venv.join("bin").join("python");
    let cached = venv_python.exists() && fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp);
    if !cached {
        // The stamp is written last: an environment without one was left half-made.
        remove(&stamp_file, fs::remove_file(&stamp_file))?;
        remove(&venv, fs::remove_dir_all(&venv))?;
        make_venv(&python, &venv, line)?;
        install(&venv_python, directory, line)?;
        fs::write(&stamp_file, &stamp).map_err(ImageError::io(&stamp_file))?;
    }
    let mut hash = Sha256::new();
    hash.update(&stamp);
    let code = python_code::keep(directory, &workspace.join("code"), |copy| {
        compile(&venv_python, copy, line)?;
        hash_sources(root, directory, copy, &mut hash)?;
        Ok(digest(hash))
    })?;
    let entry = code.folder.join(ENTRY);
    Ok(Built {
        argv: [venv_python.as_path(), Path::new("-u"), &entry].map(|word| word.to_string_lossy().into_owned()).to_vec(),
        cwd: directory.to_owned(),
        env: BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]),
        digest: code.digest,
        cached,
    })
}

/// Finds Python.
pub fn find_python(environment: &BTreeMap<String, String>) -> Result<PathBuf, ImageError> {
    ["python3", "python"].iter().find_map(|name| tool::find(environment, name)).ok_or_else(|| ImageError::Missing {
        what: "python3, which modules in Python need, was not found".to_owned(),
        hint: "Install it; on Debian and Ubuntu: `apt-get install python3 python3-venv`.".to_owned(),
    })
}

/// What a virtual environment is made of: the interpreter and the requirements.
fn stamp(python: &Path, directory: &Path) -> Result<String, ImageError> {
    let mut version = String::new();
    let ended =
        tool::run(Command::new(python).args(["-c", "import sys; print(sys.executable, sys.version)"]), |text| {
            version.push_str(text);
        })?;
    if !ended.success {
        return Err(ImageError::Missing {
            what: format!("{} does not run: {}", python.display(), last_word(&ended)),
            hint: "Install Python 3 and see that `python3 --version` works.".to_owned(),
        });
    }
    let requirements = directory.join(REQUIREMENTS);
    let text = if requirements.exists() {
        fs::read(&requirements).map_err(ImageError::io(&requirements))?
    } else {
        Vec::new()
    };
    let mut hash = Sha256::new();
    hash.update(version.as_bytes());
    hash.update([0]);
    hash.update(&text);
    Ok(digest(hash))
}

fn make_venv(python: &Path, venv: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    line.update("making a virtual environment");
    let ended = tool::run(Command::new(python).args(["-m", "venv"]).arg(venv), |text| line.update(text))?;
    if ended.success {
        return Ok(());
    }
    let said = ended.last_lines.join("\n");
    if said.contains("ensurepip") || said.contains("No module named venv") {
        return Err(ImageError::Missing {
            what: format!("{} cannot make virtual environments: its module venv is missing", python.display()),
            hint: "Install it; on Debian and Ubuntu: `apt-get install python3-venv`.".to_owned(),
        });
    }
    Err(ImageError::Failed { tool: "python -m venv", reason: Some(last_word(&ended)) })
}

fn install(venv_python: &Path, directory: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    if !directory.join(REQUIREMENTS).exists() {
        return Ok(());
    }
    let mut command = Command::new(venv_python);
    command
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", REQUIREMENTS])
        .current_dir(directory);
    let ended = tool::run(&mut command, |text| line.update(text))?;
    if ended.success {
        return Ok(());
    }
    let reasons: Vec<&str> =
        ended.last_lines.iter().map(String::as_str).filter(|text| text.trim_start().starts_with("ERROR")).collect();
    line.say(&if reasons.is_empty() { ended.last_lines.join("\n") } else { reasons.join("\n") });
    Err(ImageError::Failed { tool: "pip install", reason: None })
}

/// Refuses sources that the interpreter would refuse: a module that cannot start is not built.
fn compile(python: &Path, directory: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    let mut command = Command::new(python);
    // Isolated, so that no file of the module takes the place of one of the standard library.
    command.args(["-I", "-c", COMPILE]).current_dir(directory);
    let ended = tool::run(&mut command, |_| {})?;
    if ended.success {
        return Ok(());
    }
    line.say(&ended.last_lines.join("\n"));
    Err(ImageError::Failed { tool: "python", reason: None })
}

fn last_word(ended: &Ended) -> String {
    ended.last_lines.iter().rev().find(|line| !line.is_empty()).cloned().unwrap_or_else(|| "it said nothing".to_owned())
}

fn remove(path: &Path, result: std::io::Result<()>) -> Result<(), ImageError> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Takes in the names and contents of all sources of a module, in order, as they are in a copy of it.
fn hash_sources(root: &Path, directory: &Path, copy: &Path, hash: &mut Sha256) -> Result<(), ImageError> {
    for entry in sources::walk(root, directory) {
        let path = entry.path();
        let Some(name) =
            path.strip_prefix(directory).ok().filter(|_| entry.file_type().is_some_and(|kind| kind.is_file()))
        else {
            continue;
        };
        let copied = copy.join(name);
        let content = match fs::read(&copied) {
            // It came, or went, while the copy was made.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            content => content.map_err(ImageError::io(&copied))?,
        };
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(())
}
