//! Files on disk, whole or not there: each in one file whose name is the blob's, encoded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use edgectl_hub::clock::{Clock, within};
use edgectl_schemas::sas::encode;
use futures_util::{TryStreamExt as _, stream};
use uuid::Uuid;

/// Bytes of a blob that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Who brings a blob may be silent for so long.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest name of a file here, in bytes; longer ones are cut, with a number made from all of it.
const MAX_NAME_BYTES: usize = 200;

/// The blobs of one container.
#[derive(Clone)]
pub struct BlobStore {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl BlobStore {
    /// The blobs in a folder, which need not be there yet.
    pub fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { folder, clock }
    }

    /// Where a blob is, or would be.
    pub fn path(&self, blob: &str) -> PathBuf {
        self.folder.join(name_of(blob))
    }

    /// Writes a blob in one piece.
    pub async fn put(&self, blob: &str, body: Body) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.whole(&self.path(blob), body).await
    }

    /// A blob to be read, with its size.
    pub fn read(&self, blob: &str) -> io::Result<(Body, u64)> {
        let file = File::open(self.path(blob))?;
        let size = file.metadata()?.len();
        let pieces = stream::try_unfold(file, async |mut file| {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            io::Result::Ok((read > 0).then_some((piece, file)))
        });
        Ok((Body::from_stream(pieces), size))
    }

    /// Writes a part of a blob that is not put together yet.
    pub async fn put_block(&self, blob: &str, block: &str, body: Body) -> io::Result<()> {
        let folder = self.blocks(blob);
        fs::create_dir_all(&folder)?;
        self.whole(&folder.join(name_of(block)), body).await
    }

    /// Puts a blob together from its blocks. False if one of them is not there.
    pub fn commit(&self, blob: &str, blocks: &[String]) -> io::Result<bool> {
        let folder = self.blocks(blob);
        let paths: Vec<PathBuf> = blocks.iter().map(|block| folder.join(name_of(block))).collect();
        if !paths.iter().all(|path| path.is_file()) {
            return Ok(false);
        }
        fs::create_dir_all(&self.folder)?;
        let (temporary, mut file) = self.temporary()?;
        let written = paths.iter().try_for_each(|path| io::copy(&mut File::open(path)?, &mut file).map(drop));
        finish(written.and_then(|()| file.sync_data()), &temporary, &self.path(blob))?;
        // What is left of them does no harm.
        let _ = fs::remove_dir_all(folder);
        Ok(true)
    }

    async fn whole(&self, path: &Path, body: Body) -> io::Result<()> {
        let (temporary, mut file) = self.temporary()?;
        let mut pieces = body.into_data_stream();
        let written = async {
            loop {
                let piece = within(self.clock.as_ref(), PIECE_TIMEOUT, pieces.try_next()).await;
                match piece.ok_or(io::ErrorKind::TimedOut)?.map_err(io::Error::other)? {
                    Some(piece) => file.write_all(&piece)?,
                    None => return file.sync_data(),
                }
            }
        };
        finish(written.await, &temporary, path)
    }

    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let path = self.folder.join(format!("{}.new", Uuid::new_v4()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    fn blocks(&self, blob: &str) -> PathBuf {
        self.folder.join(format!("{}.blocks", name_of(blob)))
    }
}

/// A file that was written takes its place; one that was not is removed.
fn finish(written: io::Result<()>, temporary: &Path, path: &Path) -> io::Result<()> {
    let finished = written.and_then(|()| fs::rename(temporary, path));
    finished.inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

fn name_of(name: &str) -> String {
    let encoded = encode(name);
    match encoded.get(..MAX_NAME_BYTES) {
        Some(beginning) if encoded.len() > MAX_NAME_BYTES => {
            format!("{beginning}-{:08x}", crc32fast::hash(name.as_bytes()))
        }
        _ => encoded,
    }
}
