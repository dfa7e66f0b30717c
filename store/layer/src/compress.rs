//! Compresses layers for where they go to.

use std::io::{Read, Write};

use mica_oci::{Compression, Digest};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::blocks::{BlockEncoder, encode_blocks};
use crate::error::Error;
use crate::gzip::GzipEncoder;
use crate::member::BLOCK;

/// The zstd level: zstd's own default. Level 2 is a quarter faster or more, and its result 4 to 9 % larger.
const ZSTD_LEVEL: i32 = 3;

/// How much of the input goes into one zstd frame, in bytes: twice the window of the level. Half as much makes the
/// result up to 3 % larger, twice as much up to 2 % smaller.
const ZSTD_BLOCK: usize = 4 << 20;

/// How much is passed on at once where nothing is compressed, in bytes.
const PLAIN_BLOCK: usize = 256 << 10;

/// The most threads that compress.
const MAX_THREADS: usize = 64;

/// What is known of a stream once it is compressed. Who needs the digest of what was written wraps the writer in
/// [`mica_oci::Hashing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// The digest of the uncompressed bytes: of a layer's tar, its diff id.
    pub diff: Digest,
    /// How many uncompressed bytes there are.
    pub plain_size: u64,
    /// How many bytes were written.
    pub size: u64,
}

/// Compresses all of `input` into `out`; the bytes are the same for any number of threads.
///
/// gzip (RFC 1952) is a sequence of members and zstd (RFC 8878) one of frames, which readers take for one stream.
/// `threads` compress (at least one, at most 64) and one more hashes; one thread alone, or input of no more than one
/// member or frame, needs none but the caller's. In memory are at most `2 * threads + 2` pieces of 1 MiB (gzip) or
/// 4 MiB (zstd) at once, before and after.
///
/// The first error of `input` or `out` ends it within the time that one piece takes; what was written by then is of
/// no use.
pub fn compress(
    input: &mut dyn Read,
    out: &mut dyn Write,
    compression: Compression,
    threads: usize,
) -> Result<Compressed, Error> {
    let threads = threads.clamp(1, MAX_THREADS);
    let passed = match compression {
        Compression::None => encode_blocks(input, out, PLAIN_BLOCK, 1, || Ok(PlainEncoder))?,
        Compression::Gzip => encode_blocks(input, out, BLOCK, threads, GzipEncoder::new)?,
        Compression::Zstd => encode_blocks(input, out, ZSTD_BLOCK, threads, ZstdEncoder::new)?,
    };
    Ok(Compressed {
        diff: passed.digest,
        plain_size: passed.read,
        size: passed.written,
    })
}

/// Leaves blocks as they are.
struct PlainEncoder;

impl BlockEncoder for PlainEncoder {
    fn encode(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
        packed.extend_from_slice(plain);
        Ok(())
    }
}

/// Compresses a block into a zstd frame that tells its size and has a checksum.
struct ZstdEncoder(Compressor<'static>);

impl ZstdEncoder {
    fn new() -> Result<Self, Error> {
        let mut compressor = Compressor::new(ZSTD_LEVEL).map_err(failed)?;
        for parameter in [CParameter::ContentSizeFlag(true), CParameter::ChecksumFlag(true)] {
            compressor.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Self(compressor))
    }
}

impl BlockEncoder for ZstdEncoder {
    fn encode(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
        packed.reserve(compress_bound(plain.len()));
        self.0.compress_to_buffer(plain, packed).map_err(failed)?;
        Ok(())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Compression(error.to_string())
}
