//! How long a layer seems to be, told from its compressed blob without inflating it.

use std::io::Read;
use std::os::unix::fs::FileExt;

use mica_oci::Compression;

use crate::blobs::Blob;
use crate::error::Error;

/// The bytes of a zstd frame's header that tell the content's size (RFC 8878, section 3.1.1.1).
const ZSTD_HEADER: usize = 18;
/// As much as any tar grows when it is inflated, in a guess.
const MOST: u64 = 1000;

/// What a blob seems to hold, from what its format says of it; at least its own length.
pub(crate) fn guess(blob: &Blob, compression: Compression) -> Result<u64, Error> {
    let read = |source| Error::io("look at a layer")(source);
    let file = blob.open()?;
    let told = match compression {
        Compression::Gzip if blob.size > 18 => {
            // the length of the last member, modulo 2^32 (RFC 1952, section 2.3.1)
            let mut trailer = [0; 4];
            file.file()
                .read_exact_at(&mut trailer, blob.size - 4)
                .map_err(read)?;
            Some(u64::from(u32::from_le_bytes(trailer)))
        }
        Compression::Zstd => {
            let mut header = Vec::new();
            file.take(ZSTD_HEADER as u64)
                .read_to_end(&mut header)
                .map_err(read)?;
            frame_content_size(&header)
        }
        _ => None,
    };
    let plausible = blob.size..=blob.size.saturating_mul(MOST);
    Ok(told.filter(|told| plausible.contains(told)).unwrap_or(blob.size))
}

/// The content's size that a zstd frame's header tells, if it does.
fn frame_content_size(header: &[u8]) -> Option<u64> {
    let descriptor = *header
        .get(4)
        .filter(|_| header.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]))?;
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let at = 5 + usize::from(!single) + dictionary;
    let field = |length: usize| {
        let bytes = header.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    match descriptor >> 6 {
        0 if single => field(1),
        0 => None,
        1 => field(2).map(|size| size + 256),
        2 => field(4),
        _ => field(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_frames_tell_their_size() {
        for length in [0_usize, 5, 255, 256, 70_000, 1 << 20] {
            let frame = zstd_of(length);
            assert_eq!(
                frame_content_size(&frame[..frame.len().min(ZSTD_HEADER)]),
                Some(length as u64)
            );
        }
        assert_eq!(frame_content_size(b"\x1f\x8b"), None);
        assert_eq!(frame_content_size(&[0x28, 0xb5, 0x2f, 0xfd]), None);
    }

    /// A frame's header as the format has it, for a content of this length in one segment.
    fn zstd_of(length: usize) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
        match length {
            0..=255 => frame.extend([0x20, length as u8]),
            256..=65_791 => {
                frame.push(0x60);
                frame.extend(((length - 256) as u16).to_le_bytes());
            }
            _ => {
                frame.push(0xa0);
                frame.extend((length as u32).to_le_bytes());
            }
        }
        frame
    }
}
