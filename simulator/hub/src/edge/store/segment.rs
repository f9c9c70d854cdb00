//! One segment of the log: the names of its files, its index, and going through its records.
//!
//! A segment is named for the first offset it may hold, `00000000000000000042.log`. When the next one is begun, what is
//! left in it goes into an index beside it, so that the log is opened without reading segments:
//!
//! ```text
//! index := length u64 · count u32 · share* · crc32 u32      little endian, crc over all before it
//! share := queue · left u64 · expires_ms u64
//! ```

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};

use super::files::{Appendable, Files};
use super::record::{QueueKey, Read, Record, put_queue, record_length, take_queue};

/// Bytes read at once.
pub const BLOCK_BYTES: usize = 256 * 1024;
/// Behind the names of files whose end could not be read.
const ASIDE: &str = "damaged";

/// The messages of one queue in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The queue.
    pub queue: QueueKey,
    /// How many of its messages are not done.
    pub left: u64,
    /// When the last of them expires, milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Bytes of its records.
    pub length: u64,
    /// What is left in it.
    pub shares: Vec<Share>,
}

/// The name of the file with a segment's records.
pub fn log_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The name of the file with its index.
pub fn index_name(base: u64) -> String {
    format!("{base:020}.index")
}

/// The segments there are, in order.
pub fn bases(files: &dyn Files) -> io::Result<Vec<u64>> {
    let names = files.names()?;
    let mut bases: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Reads the bytes of a file at a place, as many as are there.
pub fn read_block(file: &dyn Appendable, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut block = vec![0; length];
    let read = file.read_at(&mut block, position)?;
    block.truncate(read);
    Ok(block)
}

/// Hands every record of a segment to `visit`, up to the first that is not whole, and returns how many bytes they take.
pub fn scan(file: &dyn Appendable, mut visit: impl FnMut(Record)) -> io::Result<u64> {
    let mut position = 0;
    let mut wanted = BLOCK_BYTES;
    loop {
        let block = read_block(file, position, wanted)?;
        let mut at = 0;
        while let Read::Record(record, length) = Record::decode(&block[at..]) {
            visit(record);
            at += length;
        }
        position += at as u64;
        if at == 0 {
            // Either the record is longer than the block, or this is where the good ones end.
            match record_length(&block).filter(|length| *length > wanted && block.len() == wanted) {
                Some(length) => wanted = length,
                None => return Ok(position),
            }
        } else {
            wanted = BLOCK_BYTES;
        }
    }
}

/// Cuts a segment off behind its good records. What stood there is put aside and not thrown away: a write that was torn
/// is nobody's loss, but anything else is for someone to look at. Zeros are room that was made in advance.
pub fn cut(files: &dyn Files, base: u64, file: &dyn Appendable, length: u64) -> io::Result<()> {
    let rest = file.length()?.saturating_sub(length);
    let mut rest = read_block(file, length, rest as usize)?;
    rest.truncate(rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    if rest.is_empty() {
        return Ok(());
    }
    tracing::warn!(segment = log_name(base), position = length, bytes = rest.len(), "the end of the log is cut off");
    let aside = files.open(&format!("{}.{ASIDE}", log_name(base)))?;
    aside.truncate(0)?;
    aside.append(&rest, 0)?;
    file.truncate(length)
}

/// Removes the files of a segment.
pub fn remove(files: &dyn Files, base: u64) -> io::Result<()> {
    files.remove(&log_name(base))?;
    match files.remove(&index_name(base)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Index {
    /// Writes the index of a segment.
    pub fn write(&self, files: &dyn Files, base: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.put_u64_le(self.length);
        bytes.put_u32_le(self.shares.len() as u32);
        for share in &self.shares {
            put_queue(&mut bytes, &share.queue);
            bytes.put_u64_le(share.left);
            bytes.put_u64_le(share.expires_ms);
        }
        bytes.put_u32_le(crc32fast::hash(&bytes));
        let file = files.open(&index_name(base))?;
        file.truncate(0)?;
        file.append(&bytes, 0)
    }

    /// Reads the index of a segment; none if it is not there or not good.
    pub fn read(files: &dyn Files, base: u64) -> io::Result<Option<Self>> {
        let file = files.open(&index_name(base))?;
        let bytes = read_block(file.as_ref(), 0, file.length()? as usize)?;
        Ok(Self::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut bytes, mut crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        (crc.get_u32_le() == crc32fast::hash(bytes)).then_some(())?;
        let length = bytes.try_get_u64_le().ok()?;
        let count = bytes.try_get_u32_le().ok()?;
        let shares = (0..count)
            .map(|_| {
                let queue = take_queue(&mut bytes)?;
                Some(Share { queue, left: bytes.try_get_u64_le().ok()?, expires_ms: bytes.try_get_u64_le().ok()? })
            })
            .collect::<Option<_>>()?;
        Some(Self { length, shares })
    }

    /// Makes the index of a segment anew from its records. They count as left, whatever was done with them.
    pub fn rebuild(files: &dyn Files, base: u64) -> io::Result<Self> {
        tracing::warn!(segment = log_name(base), "the index of a segment is made anew");
        let file = files.open(&log_name(base))?;
        let mut index = Self::default();
        index.length = scan(file.as_ref(), |record| {
            if let Record::Message(stored) = record {
                for target in stored.targets {
                    index.add(target.queue, target.expires_ms);
                }
            }
        })?;
        cut(files, base, file.as_ref(), index.length)?;
        index.write(files, base)?;
        Ok(index)
    }

    fn add(&mut self, queue: QueueKey, expires_ms: u64) {
        match self.shares.iter_mut().find(|share| share.queue == queue) {
            Some(share) => (share.left, share.expires_ms) = (share.left + 1, share.expires_ms.max(expires_ms)),
            None => self.shares.push(Share { queue, left: 1, expires_ms }),
        }
    }
}

/// A file of a segment, opened for reading back.
pub fn open(files: &dyn Files, base: u64) -> io::Result<Arc<dyn Appendable>> {
    files.open(&log_name(base))
}
