//! The maps that say which stretches of a sparse file a tar holds (GNU tar manual, "Storing Sparse Files").

use std::io::Read;
use std::sync::Arc;

use super::BLOCK;
use super::header::number;
use super::limits;
use super::pax::decimal;
use crate::view::Segment;

/// The entries of a map, offset and length in turns.
pub(super) type Pairs = Vec<(u64, u64)>;

/// The pairs of one header block or extension of the old GNU format; `true` if an extension block follows.
pub(super) fn old_pairs(entries: &[u8], extended: u8, pairs: &mut Pairs) -> Result<bool, &'static str> {
    for entry in entries.as_chunks::<24>().0 {
        if entry[0] == 0 {
            break;
        }
        let value = |field: &[u8]| number(field).and_then(|n| u64::try_from(n).ok());
        let pair = value(&entry[..12]).zip(value(&entry[12..]));
        pairs.push(pair.ok_or("a number of the sparse map is malformed")?);
        if pairs.len() > limits::SEGMENTS {
            return Err("the sparse map is too long");
        }
    }
    Ok(extended != 0)
}

/// The pairs of a map that lists offset and length in turns.
pub(super) fn paired(numbers: &[u64]) -> Result<Pairs, &'static str> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > limits::SEGMENTS {
        return Err("the sparse map is incomplete or too long");
    }
    Ok(pairs.iter().map(|[offset, len]| (*offset, *len)).collect())
}

/// Reads a map of version 1.0 off the beginning of the data: decimal lines, the first with the number of pairs, filled
/// up to whole blocks. `left` is how much data there is.
pub(super) fn read_map(input: &mut impl Read, left: u64) -> std::io::Result<Result<Pairs, &'static str>> {
    let mut numbers = Vec::new();
    let mut count = None;
    let mut line = Vec::new();
    let mut block = [0; BLOCK];
    let mut blocks = left / BLOCK as u64;
    while count.is_none_or(|count| numbers.len() < count) {
        if blocks == 0 {
            return Ok(Err("the sparse map is incomplete"));
        }
        blocks -= 1;
        input.read_exact(&mut block)?;
        for b in block {
            if b != b'\n' {
                line.push(b);
                if line.len() > 20 {
                    return Ok(Err("a line of the sparse map is too long"));
                }
                continue;
            }
            let value = match decimal(&line) {
                Ok(value) => value,
                Err(reason) => return Ok(Err(reason)),
            };
            line.clear();
            match count {
                None if value > limits::SEGMENTS as u64 => return Ok(Err("the sparse map is too long")),
                // at most the limit
                None => count = Some(value as usize * 2),
                Some(_) => numbers.push(value),
            }
            if count.is_some_and(|count| numbers.len() == count) {
                break;
            }
        }
    }
    Ok(paired(&numbers))
}

/// Checks that a map goes up, stays within the file and accounts for all stored bytes; gives its stretches, the first
/// of which lies at `from` in the tar.
pub(super) fn segments(
    pairs: &Pairs,
    size: u64,
    stored: u64,
    from: u64,
) -> Result<Arc<[Segment]>, &'static str> {
    let (mut end, mut taken) = (0u64, 0u64);
    let mut segments = Vec::with_capacity(pairs.len());
    for (offset, len) in pairs {
        if *offset < end {
            return Err("the sparse map does not go up");
        }
        end = offset
            .checked_add(*len)
            .filter(|end| *end <= size)
            .ok_or("the sparse map leaves the file")?;
        if *len > 0 {
            segments.push(Segment {
                offset: *offset,
                from: from
                    .checked_add(taken)
                    .ok_or("the sparse map leaves the archive")?,
                len: *len,
            });
        }
        // no more than the file's size
        taken += len;
    }
    if taken != stored {
        return Err("the sparse map does not match the data");
    }
    Ok(segments.into())
}
