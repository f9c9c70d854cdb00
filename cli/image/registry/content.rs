//! Content on its way between a store and a registry.

use std::io::{SeekFrom, Write as _};
use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, unfold};
use reqwest::Response;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::client::{Registry, RegistryError};
use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::Descriptor;
use crate::image::oci::store::Store;
use crate::output::progress::Part;

/// What is read at once.
const CHUNK: usize = 256 * 1024;

/// A file from some byte on as a stream; it ends with an error where the file cannot be read.
pub async fn stream(path: &Path, start: u64) -> Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, ImageError> {
    let mut file = File::open(path).await.map_err(ImageError::io(path))?;
    file.seek(SeekFrom::Start(start)).await.map_err(ImageError::io(path))?;
    Ok(unfold(Some(file), |file| async {
        let mut file = file?;
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Takes what a registry sends into the store, if it is what was asked for.
pub async fn receive(
    registry: &Registry,
    store: &Store,
    wanted: &Descriptor,
    answer: Response,
    mut part: Part,
) -> Result<(), RegistryError> {
    let mut incoming = store.receive()?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| registry.broken_off(wanted.digest.as_str(), &error))?;
        size += chunk.len() as u64;
        part.add(chunk.len());
        if size > wanted.size {
            break;
        }
        hash.update(&chunk);
        incoming.write_all(&chunk).map_err(ImageError::io(incoming.path().to_owned()))?;
    }
    let digest = Digest::of_hash(hash);
    if digest != wanted.digest || size != wanted.size {
        let reason = format!("the registry {} sent {size} bytes that are not it", registry.name());
        return Err(ImageError::NoImage { what: wanted.digest.to_string(), reason }.into());
    }
    Ok(incoming.keep(&digest)?)
}
