//! Compresses blocks into gzip members.

use libdeflater::{CompressionLvl, Compressor, crc32};

use crate::blocks::BlockEncoder;
use crate::error::Error;
use crate::member::{HEADER, TRAILER, header};

/// The lowest level whose result is nowhere larger than that of Go's compress/gzip at its default level, which is
/// what Docker pushes, for what compresses well: texts.
const LEVEL: i32 = 6;

/// The same for what does not compress well: programs and libraries, which gain little from a higher level. A third faster.
const DENSE_LEVEL: i32 = 4;

/// What a sample must be left with, in parts of a hundred, for its block to count as one that does not compress well.
const DENSE: usize = 35;

/// The level that shows whether there is anything to gain.
const TRY_LEVEL: i32 = 1;

/// The level that stores what cannot be compressed.
const STORE_LEVEL: i32 = 0;

/// How many pieces of a block are looked at to tell whether it can be compressed.
const PIECES: usize = 4;

/// How long each of them is, in bytes.
const PIECE: usize = 16 << 10;

/// Compresses a block into a gzip member.
pub(crate) struct GzipEncoder {
    compress: Compressor,
    dense: Compressor,
    attempt: Compressor,
    store: Compressor,
    /// The pieces of the block that is looked at.
    sample: Vec<u8>,
    /// Where they are compressed to.
    tried: Vec<u8>,
}

impl GzipEncoder {
    /// Has what it takes to compress; 1 MiB or so.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            compress: compressor(LEVEL)?,
            dense: compressor(DENSE_LEVEL)?,
            attempt: compressor(TRY_LEVEL)?,
            store: compressor(STORE_LEVEL)?,
            sample: Vec::with_capacity(PIECES * PIECE),
            tried: Vec::new(),
        })
    }

    /// What kind of block it is, guessed from some of it.
    fn look_at(&mut self, plain: &[u8]) -> Result<Kind, Error> {
        if plain.len() < 2 * PIECES * PIECE {
            return Ok(Kind::Text);
        }
        self.sample.clear();
        for piece in 0..PIECES {
            let at = (plain.len() - PIECE) * piece / (PIECES - 1);
            self.sample.extend_from_slice(&plain[at..at + PIECE]);
        }
        self.tried.clear();
        deflate(&mut self.attempt, &self.sample, &mut self.tried)?;
        let (all, left) = (self.sample.len(), self.tried.len());
        Ok(match left * 100 > all * DENSE {
            true if left + all / 128 > all && is_even(&self.sample) => Kind::Random,
            true => Kind::Dense,
            false => Kind::Text,
        })
    }
}

/// What is to be done with a block. A function of its bytes alone, so that the result is the same everywhere.
enum Kind {
    /// It compresses well, and better with more effort.
    Text,
    /// It compresses less.
    Dense,
    /// Compressing it is in vain, and takes longer than anything else.
    Random,
}

impl BlockEncoder for GzipEncoder {
    fn encode(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
        packed.extend_from_slice(&header(0));
        let compressor = match self.look_at(plain)? {
            Kind::Random => &mut self.store,
            Kind::Dense => &mut self.dense,
            Kind::Text => &mut self.compress,
        };
        deflate(compressor, plain, packed)?;
        packed.extend_from_slice(&crc32(plain).to_le_bytes());
        // the length modulo 2^32, as RFC 1952 has it
        packed.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        let size = u32::try_from(packed.len()).map_err(|_| failed())?;
        packed[..HEADER].copy_from_slice(&header(size));
        Ok(())
    }
}

fn compressor(level: i32) -> Result<Compressor, Error> {
    CompressionLvl::new(level)
        .map(Compressor::new)
        .map_err(|_| failed())
}

/// Appends `plain`, compressed, to `packed`.
fn deflate(compressor: &mut Compressor, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
    let start = packed.len();
    let most = compressor.deflate_compress_bound(plain.len());
    packed.resize(start + most + TRAILER, 0);
    let size = compressor
        .deflate_compress(plain, &mut packed[start..])
        .map_err(|_| failed())?;
    packed.truncate(start + size);
    Ok(())
}

/// Whether all bytes are about as frequent, as in what is compressed or random: the sum of the squares of how often
/// each occurs is then little over its least, `n^2 / 256`. Whole numbers, so that all machines find the same.
fn is_even(bytes: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    let length = bytes.len() as u64;
    squares * 256 <= length * length * 5 / 4
}

fn failed() -> Error {
    Error::Compression("the compressor failed".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::member::{BLOCK, MAX_MEMBER, told_size};

    use super::*;

    fn random(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..length.div_ceil(8))
            .flat_map(|_| step())
            .take(length)
            .collect()
    }

    fn member(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzipEncoder::new().unwrap().encode(plain, &mut packed).unwrap();
        packed
    }

    /// Whether a member begins with a block that is only stored (RFC 1951, 3.2.3).
    fn is_stored(member: &[u8]) -> bool {
        member[HEADER] & 0b110 == 0
    }

    #[test]
    fn the_header_tells_the_size_and_nothing_else() {
        for plain in [&b""[..], b"some text", &random(BLOCK), &vec![7; BLOCK]] {
            let member = member(plain);
            assert_eq!(told_size(&member), Some(member.len()));
            // neither time nor name, as RFC 1952 numbers its bytes
            assert_eq!(member[..10], [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
        }
        assert!(member(&random(BLOCK)).len() < MAX_MEMBER);
    }

    #[test]
    fn what_does_not_shrink_is_stored_and_nothing_else() {
        let noise = random(BLOCK);
        let text: Vec<u8> = b"Some words, and more of them. ".repeat(BLOCK / 30);
        assert!(is_stored(&member(&noise)));
        assert!(member(&noise).len() < BLOCK + 200);
        let digits: Vec<u8> = noise.iter().map(|byte| b'0' + byte % 10).collect();
        let half = [&text[..BLOCK / 2], &noise[..BLOCK / 2]].concat();
        // all bytes as frequent as in noise, yet the same over and over
        let repeated = noise[..5000].repeat(BLOCK / 5000);
        for (plain, most) in [(&text, 40), (&digits, 2), (&half, 1), (&repeated, 20)] {
            let member = member(plain);
            assert!(!is_stored(&member));
            assert!(member.len() < plain.len() / most, "{}", member.len());
        }
    }

    #[test]
    fn a_member_depends_on_its_block_alone() {
        let (noise, text) = (random(BLOCK), b"text ".repeat(50_000));
        let mut used = GzipEncoder::new().unwrap();
        for plain in [&noise, &text, &noise[..99].to_vec(), &text, &noise] {
            let mut packed = Vec::new();
            used.encode(plain, &mut packed).unwrap();
            assert_eq!(packed, member(plain));
        }
    }
}
