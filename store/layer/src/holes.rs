//! A file written from its start to its end that has holes where only zeros are written: what inflates to gigabytes of them takes no
//! room on the disk.

use std::io::{self, Write};

use fs_err::File;

use crate::disk::Output;

/// A hole begins and ends at a multiple of this many bytes, so that ordinary files, which have zeros here and there, stay in one piece.
const PIECE: u64 = 64 << 10;

/// With fewer zeros no hole begins, in bytes: file systems have blocks of this size.
const BLOCK: usize = 4 << 10;

static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];

/// Writes into a file that was empty. What was written can be read once it was flushed.
#[derive(Debug)]
pub struct Holes {
    file: Output,
    /// How much was written, in bytes.
    at: u64,
    /// The length of the file.
    length: u64,
}

impl Holes {
    /// Writes into `file`, which is empty.
    pub fn new(file: Output) -> Self {
        Self {
            file,
            at: 0,
            length: 0,
        }
    }

    /// The file, all of it written.
    pub fn finish(mut self) -> io::Result<Output> {
        self.flush()?;
        Ok(self.file)
    }

    /// The open file, to be read.
    pub fn file(&self) -> &File {
        self.file.file()
    }
}

impl Write for Holes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (count, is_hole) = self.next(rest);
            let end = self.at + count as u64;
            if !is_hole {
                self.file.write_all_at(&rest[..count], self.at)?;
                self.length = end;
            }
            self.at = end;
            rest = &rest[count..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.length < self.at {
            self.file.cut(self.at)?;
            self.length = self.at;
        }
        Ok(())
    }
}

impl Holes {
    /// How many of the bytes that come next are to be written as one, and whether they are a hole.
    fn next(&self, bytes: &[u8]) -> (usize, bool) {
        let mut data = 0;
        while data < bytes.len() {
            let left = PIECE - (self.at + data as u64) % PIECE;
            // no more than `PIECE`
            let piece = &bytes[data..bytes.len().min(data + left as usize)];
            let goes_on = data == 0 && self.at > self.length;
            if (goes_on || piece.len() >= BLOCK) && *piece == ZEROS[..piece.len()] {
                // what is in front of it comes first
                return if data == 0 {
                    (piece.len(), true)
                } else {
                    (data, false)
                };
            }
            data += piece.len();
        }
        (data, false)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;
    use crate::disk;

    fn written(parts: &[Vec<u8>], flushes: bool) -> (Vec<u8>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut holes = Holes::new(disk::create(&path).unwrap());
        let mut length = 0;
        for part in parts {
            assert_eq!(holes.write(part).unwrap(), part.len());
            length += part.len() as u64;
            if flushes {
                holes.flush().unwrap();
                assert_eq!(holes.file().metadata().unwrap().len(), length);
            }
        }
        let blocks = holes.finish().unwrap().file().metadata().unwrap().blocks();
        (fs_err::read(path).unwrap(), blocks * 512)
    }

    #[test]
    fn zeros_take_no_room() {
        let mega = vec![0; 1 << 20];
        let text = b"text".to_vec();
        for parts in [
            vec![mega.clone(); 8],
            [vec![text.clone()], vec![mega.clone(); 8], vec![text]].concat(),
            // as a writer's buffer cuts it
            [vec![vec![0; 512]], vec![vec![0; 128 << 10]; 64]].concat(),
        ] {
            let (bytes, room) = written(&parts, false);
            assert!(bytes == parts.concat());
            assert!(room < 64 << 10, "{room}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            parts in proptest::collection::vec((0_usize..200_000, any::<bool>(), any::<bool>()), 0..12),
            flushes: bool,
        ) {
            let parts: Vec<Vec<u8>> = parts
                .into_iter()
                .map(|(length, zeros, one)| {
                    let mut part = vec![u8::from(!zeros); length];
                    if let (Some(last), true) = (part.last_mut(), one) {
                        *last = 7;
                    }
                    part
                })
                .collect();
            prop_assert!(written(&parts, flushes).0 == parts.concat());
        }
    }
}
