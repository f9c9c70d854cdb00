//! Reading a template from an archive: tar, plain or compressed with gzip, or zip. An entry that is a link, a device or
//! anything else but a file or a directory is refused, and so is one that climbs out.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use zip::ZipArchive;

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::tree::{self, Files, refused};

/// How archives begin that were compressed with gzip, and those of zip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZIP: [u8; 2] = *b"PK";

/// Reads an archive, whatever its name.
pub fn read(path: &Path) -> Result<Files, ScaffoldError> {
    let failed = |source| ScaffoldError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = [0; 2];
    let is_short = file.read_exact(&mut start).is_err();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let file = BufReader::new(file);
    match start {
        _ if is_short => Err(refused("it is no archive")),
        GZIP => read_tar(MultiGzDecoder::new(file)),
        ZIP => read_zip(file),
        _ => read_tar(file),
    }
}

fn broken(error: impl std::fmt::Display) -> ScaffoldError {
    refused(format!("it is no archive of tar or zip that can be read: {error}"))
}

fn read_tar(reader: impl Read) -> Result<Files, ScaffoldError> {
    let mut files = Files::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8(path).map_err(|_| refused("the name of a file is not UTF-8"))?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let content = content(&mut entry, &path, &files)?;
                tree::add(&mut files, path.trim_start_matches("./"), content)?;
            }
            // What git writes first, about the commit.
            EntryType::Directory | EntryType::XGlobalHeader => {}
            _ => return Err(refused(format!("{path} is a link or no file, and a template has files alone"))),
        }
    }
    Ok(files)
}

fn read_zip(reader: impl Read + Seek) -> Result<Files, ScaffoldError> {
    let mut files = Files::new();
    let mut archive = ZipArchive::new(reader).map_err(broken)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let path = entry.name().map_err(broken)?.into_owned();
        if entry.is_dir() {
            continue;
        }
        if !entry.is_file() {
            return Err(refused(format!("{path} is a link or no file, and a template has files alone")));
        }
        let content = content(&mut entry, &path, &files)?;
        tree::add(&mut files, &path, content)?;
    }
    Ok(files)
}

/// Reads an entry, but no more than there is room for, whatever size it claims.
fn content(entry: &mut impl Read, path: &str, files: &Files) -> Result<Vec<u8>, ScaffoldError> {
    let mut content = Vec::new();
    let most = tree::room(files);
    let length = entry.take(most).read_to_end(&mut content).map_err(|error: io::Error| broken(error))?;
    if length as u64 == most {
        return Err(refused(format!("{path} is too large")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar_with(kind: EntryType, path: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(kind);
        header.set_size(1);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b"x"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn entries_that_are_no_files_inside_are_refused() {
        assert_eq!(read_tar(&tar_with(EntryType::Regular, b"./a/b")[..]).unwrap()["a/b"], b"x");
        for path in [&b"../a"[..], b"/etc/passwd", b"a/../../b", b".git/hooks/pre-commit"] {
            assert!(read_tar(&tar_with(EntryType::Regular, path)[..]).is_err(), "{}", String::from_utf8_lossy(path));
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo] {
            assert!(read_tar(&tar_with(kind, b"a")[..]).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn entries_of_zip_are_judged_alike() {
        let zip = |path: &str| {
            let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
            writer.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"x").unwrap();
            writer.finish().unwrap()
        };
        assert_eq!(read_zip(zip("a/b")).unwrap()["a/b"], b"x");
        for path in ["../a", "/etc/passwd", "a\\..\\b"] {
            assert!(read_zip(zip(path)).is_err(), "{path}");
        }
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.add_symlink("a", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        assert!(read_zip(writer.finish().unwrap()).is_err());
    }

    #[test]
    fn what_expands_without_end_is_not_read() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut header = tar::Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(64 * 1024 * 1024);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        encoder.write_all(&vec![0; 64 * 1024 * 1024]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(read_tar(MultiGzDecoder::new(&bomb[..])).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b"nonsense"[..], b"PKnonsense", &[0x1f, 0x8b, 0, 1, 2]] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert!(read(file.path()).is_err(), "{bytes:?}");
        }
    }
}
