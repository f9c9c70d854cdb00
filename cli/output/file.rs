//! Results that are files.

use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file so that nobody ever sees a part of it; missing directories are made.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let partial = directory.join(name);
    let written = std::fs::File::create(&partial).and_then(|mut file| file.write_all(bytes));
    let done = written.and_then(|()| std::fs::rename(&partial, path));
    if done.is_err() {
        // The first failure is the one to report.
        let _ = std::fs::remove_file(&partial);
    }
    done
}
