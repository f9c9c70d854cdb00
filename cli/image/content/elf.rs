//! Looking at a compiled program: what it runs on, and whether it needs anything beside itself.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::image::error::ImageError;
use crate::image::platform::Platform;

/// The program header of the interpreter, which is the dynamic linker.
const INTERPRETER: u32 = 3;
/// Machines by their numbers in the format's specification, and in Go's words.
const MACHINES: [(u16, &str); 6] =
    [(3, "386"), (40, "arm"), (62, "amd64"), (183, "arm64"), (243, "riscv64"), (21, "ppc64le")];

/// What a program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The processor, in Go's words.
    pub architecture: Option<&'static str>,
    /// The dynamic linker it asks for, as a path; none for a program that is whole.
    pub interpreter: Option<String>,
    /// Whether it can be started, and is no library or object.
    pub is_executable: bool,
}

/// Reads the head of a program; none if the file is no such program.
pub fn read(path: &Path) -> io::Result<Option<Program>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head)?;
    if head.len() < 52 || head[..4] != *b"\x7fELF" || head[5] != 1 {
        return Ok(None);
    }
    let is_wide = head[4] == 2;
    if is_wide && head.len() < 64 {
        return Ok(None);
    }
    let (kind, machine) = (half(&head, 16), half(&head, 18));
    let (table, size, count) = if is_wide {
        (wide(&head, 32), half(&head, 54), half(&head, 56))
    } else {
        (u64::from(word(&head, 28)), half(&head, 42), half(&head, 44))
    };
    let mut headers = Vec::new();
    file.seek(SeekFrom::Start(table))?;
    file.by_ref().take(u64::from(size) * u64::from(count)).read_to_end(&mut headers)?;
    let mut interpreter = None;
    let least = if is_wide { 56 } else { 32 };
    for header in headers.chunks_exact(usize::from(size).max(1)).filter(|header| header.len() >= least) {
        if word(header, 0) == INTERPRETER {
            let (place, length) = if is_wide {
                (wide(header, 8), wide(header, 32))
            } else {
                (u64::from(word(header, 4)), u64::from(word(header, 16)))
            };
            let mut name = Vec::new();
            file.seek(SeekFrom::Start(place))?;
            file.by_ref().take(length.min(4096)).read_to_end(&mut name)?;
            interpreter = Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned());
        }
    }
    let architecture = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    // Static programs that can be loaded anywhere are of the kind of libraries; those have an entry point of zero.
    let entry = if is_wide { wide(&head, 24) } else { u64::from(word(&head, 24)) };
    Ok(Some(Program { architecture, interpreter, is_executable: kind == 2 || kind == 3 && entry != 0 }))
}

/// Refuses a program that could not run in its image.
pub fn check(path: &Path, platform: &Platform, has_base: bool) -> Result<(), ImageError> {
    let Some(program) = read(path).map_err(ImageError::io(path))? else {
        return Err(ImageError::Unbuildable {
            reason: format!("{} is no program for Linux", path.display()),
            hint: "Name the program with `\"edgectl\": { \"program\": … }` in module.json.".to_owned(),
        });
    };
    if program.architecture != Some(platform.architecture.as_str()) {
        return Err(ImageError::Unbuildable {
            reason: format!(
                "{} was built for {}, and the image is for {platform}",
                path.display(),
                program.architecture.unwrap_or("another processor")
            ),
            hint: "See that the build uses the compiler that it is given: `CC` in a Makefile.".to_owned(),
        });
    }
    match program.interpreter {
        Some(interpreter) if !has_base => Err(ImageError::Unbuildable {
            reason: format!("{} needs {interpreter}, and its image has nothing but the program", path.display()),
            hint: "Link it statically, or give it a base image: `\"edgectl\": { \"base\": … }` in module.json."
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|part| part.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_program_is_one_for_this_machine() {
        let own = std::env::current_exe().unwrap();
        let found = read(&own).unwrap().unwrap();
        assert_eq!(found.architecture, Some(Platform::of_machine().architecture.as_str()));
        assert!(found.is_executable);
        assert_eq!(read(Path::new("/etc/passwd")).unwrap(), None);
        let other: Platform = "linux/s390x".parse().unwrap();
        assert!(check(&own, &other, true).unwrap_err().to_string().contains("the image is for linux/s390x"));
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_is_read(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("program");
            std::fs::write(&path, [&b"\x7fELF\x02\x01"[..], &rest].concat()).unwrap();
            // A place behind the end of any file cannot be gone to; nothing else can go wrong.
            let _ = read(&path);
        }
    }
}
