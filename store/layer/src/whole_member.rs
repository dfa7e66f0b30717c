//! Inflates in one piece the gzip members that tell their size.

use std::io::{self, BufRead};

use libdeflater::{Decompressor, crc32};

use crate::ahead::Ahead;
use crate::member::{BLOCK, HEADER, TRAILER, told_size};

/// Inflates members in one piece and gives out what they hold.
#[derive(Default)]
pub(crate) struct WholeMembers {
    decompressor: Decompressor,
    /// As long as the longest that a member may hold, once there was one.
    plain: Vec<u8>,
    /// Which part of it was not given out yet.
    at: usize,
    end: usize,
}

/// What came of a member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inflated {
    /// It is read, and what it held is there.
    Whole,
    /// It does not tell its size. Nothing was read.
    Untold,
    /// It is damaged, or not as long as it tells. Nothing was read.
    Differs,
}

impl WholeMembers {
    /// Inflates the member that comes next in `input`, once all of the one before was given out.
    pub(crate) fn inflate<R: BufRead>(&mut self, input: &mut Ahead<R>) -> io::Result<Inflated> {
        let Some(size) = told_size(input.look(HEADER)?) else {
            return Ok(Inflated::Untold);
        };
        let member = input.look(size)?;
        self.plain.resize(BLOCK, 0);
        let held = match self.decompressor.gzip_decompress(member, &mut self.plain) {
            Ok(held) if member.len() == size && ends_there(member, &self.plain[..held]) => held,
            _ => return Ok(Inflated::Differs),
        };
        input.consume(size);
        (self.at, self.end) = (0, held);
        Ok(Inflated::Whole)
    }

    /// Gives out what fits into `buf` of what the last member held.
    pub(crate) fn give(&mut self, buf: &mut [u8]) -> usize {
        let given = buf.len().min(self.end - self.at);
        buf[..given].copy_from_slice(&self.plain[self.at..self.at + given]);
        self.at += given;
        given
    }
}

/// Whether `member`, from which `plain` was inflated, ends where the bytes do. The decompressor ignores what follows
/// the trailer, which may be another member that others would read. But it has found a trailer that fits `plain`: if
/// these bytes are in no other place, it was the one at the end.
fn ends_there(member: &[u8], plain: &[u8]) -> bool {
    let trailer = u64::from(crc32(plain)) | (plain.len() as u64) << 32;
    let fits = |bytes: &[u8; TRAILER]| u64::from_le_bytes(*bytes) == trailer;
    let places = member[HEADER..].windows(TRAILER).filter_map(<[u8]>::first_chunk);
    member.last_chunk().is_some_and(fits) && places.filter(|bytes| fits(bytes)).count() == 1
}
