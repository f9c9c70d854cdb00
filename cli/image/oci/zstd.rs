//! Layers that others compressed with zstd. They are kept compressed with gzip, which every engine reads; what they are before
//! compression, and so what an image says of them, stays the same.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::document::{Descriptor, LAYER};
use super::layer;
use super::store::Store;
use crate::image::error::ImageError;

/// A layer compressed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Most memory that a stream may ask for, in bytes: what `zstd --ultra` asks for. It is said in the stream.
const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// The same layer compressed with gzip, in the store; any other as it is.
pub fn in_gzip(store: &Store, layer: &Descriptor) -> Result<Descriptor, ImageError> {
    if layer.media_type != LAYER_ZSTD {
        return Ok(layer.clone());
    }
    let path = store.path(&layer.digest);
    let file = std::fs::File::open(&path).map_err(ImageError::io(&path))?;
    let plain = store.put_reader(LAYER, Frames::new(BufReader::new(file)))?;
    let compressed = layer::compress(store, &plain)?;
    store.remove(&plain.digest);
    Ok(compressed)
}

/// What is in the frames of a stream, one after the other.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, is_within: false }
    }

    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                // Some tools keep a table of contents of their own in such a frame.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.is_within = true;
            }
            if self.decoder.can_collect() > 0 || buffer.is_empty() {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.is_within = false;
            } else {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, blocks).map_err(|error| damaged(&error))?;
            }
        }
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("what is compressed with zstd cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printf 'hello, ' | zstd`, a frame to skip, and `printf 'world' | zstd`.
    const TWO: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x07, 0x39, 0x00, 0x00, b'h', b'e', b'l', b'l', b'o', b',', b' ', //
        0x50, 0x2a, 0x4d, 0x18, 0x03, 0x00, 0x00, 0x00, 1, 2, 3, //
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x29, 0x00, 0x00, b'w', b'o', b'r', b'l', b'd',
    ];

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Frames::new(bytes).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_passed_over() {
        assert_eq!(read(TWO).unwrap(), b"hello, world");
        assert_eq!(read(b"").unwrap(), b"");
        assert!(read(&TWO[..12]).is_err(), "it ends within a frame");
        assert!(read(b"no zstd at all").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_to_its_end(at in 0..TWO.len(), byte: u8) {
            let mut bytes = TWO.to_vec();
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
