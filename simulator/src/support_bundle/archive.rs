//! A ZIP archive in memory, as much of the format as files of moderate size need: names in UTF-8, deflated contents.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use jiff::civil::DateTime;

/// "Version needed to extract" 2.0: folders and deflated contents.
const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
const DEFLATED: u16 = 8;
/// What made it: version 2.0 of the format, on Unix.
const MADE_BY: u16 = 3 << 8 | VERSION;
/// A plain file that its owner alone may read and write, in the upper half as Unix has it.
const ATTRIBUTES: u32 = 0o100_600 << 16;

/// An archive that is being written.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
    /// The time of all files, in the format's two halves.
    time: (u16, u16),
}

impl Archive {
    /// An empty archive, whose files are all of one time.
    pub fn new(at: DateTime) -> Self {
        Self { bytes: Vec::new(), directory: Vec::new(), entries: 0, time: dos_time(at) }
    }

    /// Adds a file. Fails where the archive would be larger than the format allows.
    pub fn add(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(contents)?;
        let packed = encoder.finish()?;
        let offset = size(self.bytes.len())?;
        let entries = self.entries.checked_add(1).ok_or_else(too_large)?;
        let mut head = Vec::new();
        for number in [VERSION, FLAGS, DEFLATED, self.time.1, self.time.0] {
            head.extend(number.to_le_bytes());
        }
        for number in [crc32fast::hash(contents), size(packed.len())?, size(contents.len())?] {
            head.extend(number.to_le_bytes());
        }
        head.extend(u16::try_from(name.len()).map_err(|_| too_large())?.to_le_bytes());
        // No extra fields.
        head.extend(0_u16.to_le_bytes());
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&head);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(packed);
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&head);
        // No comment, the first disk, nothing known of the contents.
        self.directory.extend([0; 6]);
        self.directory.extend(ATTRIBUTES.to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries = entries;
        Ok(())
    }

    /// The whole archive.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        let (offset, length) = (size(self.bytes.len())?, size(self.directory.len())?);
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06");
        // One disk.
        self.bytes.extend([0; 4]);
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        // No comment.
        self.bytes.extend([0; 2]);
        Ok(self.bytes)
    }
}

fn size(length: usize) -> io::Result<u32> {
    // The largest number means that the size stands elsewhere.
    u32::try_from(length).ok().filter(|size| *size < u32::MAX).ok_or_else(too_large)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the archive is too large")
}

/// Date and time in steps of two seconds since 1980.
fn dos_time(at: DateTime) -> (u16, u16) {
    let part = |number: i8| u16::from(number.unsigned_abs());
    let year = u16::try_from(i32::from(at.year()) - 1980).unwrap_or_default().min(127);
    let date = year << 9 | part(at.month()) << 5 | part(at.day());
    let time = part(at.hour()) << 11 | part(at.minute()) << 5 | part(at.second()) / 2;
    (date, time)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn another_program_reads_what_was_written() {
        let mut archive = Archive::new(jiff::civil::date(2026, 1, 31).at(8, 30, 58, 0));
        let long = "line\n".repeat(10_000);
        archive.add("a/b.txt", long.as_bytes()).unwrap();
        archive.add("ü.json", b"").unwrap();
        let bytes = archive.finish().unwrap();
        assert!(bytes.len() < 1000);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        let program = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
                       print([(i.filename, i.file_size, i.date_time) for i in z.infolist()])";
        let Ok(output) = Command::new("python3").args(["-X", "utf8", "-c", program]).arg(&path).output() else {
            return println!("passed over: no python3");
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let expected = "[('a/b.txt', 50000, (2026, 1, 31, 8, 30, 58)), ('ü.json', 0, (2026, 1, 31, 8, 30, 58))]\n";
        assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
