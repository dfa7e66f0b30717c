//! Layers are compressed to the same bytes by any number of threads, and back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Read, Write};

use mica_layer::{Error, Format, compress, decompress};
use mica_oci::{Compression, Digest};
use proptest::prelude::*;

/// Reads from a slice, never more at once than the next of `pieces`, over and over; fails after `good` bytes.
struct Dripping<'a> {
    data: &'a [u8],
    pieces: Vec<usize>,
    turn: usize,
    good: usize,
}

impl<'a> Dripping<'a> {
    fn new(data: &'a [u8], pieces: &[usize]) -> Self {
        Self {
            data,
            pieces: pieces.to_vec(),
            turn: 0,
            good: usize::MAX,
        }
    }
}

impl Read for Dripping<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.good == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        let piece = self.pieces[self.turn % self.pieces.len()];
        self.turn += 1;
        if piece == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = piece.min(buf.len()).min(self.good);
        let read = self.data.read(&mut buf[..most])?;
        self.good -= read;
        Ok(read)
    }
}

/// Takes `room` bytes and fails then.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken = buf.len().min(self.room);
        self.room -= taken;
        match taken {
            0 => Err(io::ErrorKind::StorageFull.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stretches of noise, of text and of one byte, of the lengths in KiB.
fn mixed(stretches: &[(u8, usize, u64)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (kind, kib, seed) in stretches {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let end = data.len() + (kib << 10) + (*seed % 1000) as usize;
        while data.len() < end {
            match kind % 3 {
                0 => data.extend(next().to_le_bytes()),
                1 => data.extend(format!("file_{} = {};\n", next() % 97, next() % 1000).bytes()),
                _ => data.extend([*seed as u8; 512]),
            }
        }
    }
    data
}

fn compressed(input: &mut dyn Read, how: Compression, threads: usize) -> (Vec<u8>, Digest, u64) {
    let mut out = Vec::new();
    let told = compress(input, &mut out, how, threads).unwrap();
    assert_eq!(told.size, out.len() as u64);
    (out, told.diff, told.plain_size)
}

fn undone(data: &[u8]) -> (Vec<u8>, Format) {
    let (mut reader, format) = decompress(data).unwrap();
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).unwrap();
    (plain, format)
}

fn check(data: &[u8], pieces: &[usize], threads: usize, how: Compression, format: Format) {
    let (alone, diff, size) = compressed(&mut &*data, how, 1);
    assert_eq!((diff, size), (Digest::of(data), data.len() as u64));
    let together = compressed(&mut Dripping::new(data, pieces), how, threads);
    assert!(
        together == (alone.clone(), diff, size),
        "{how:?} by {threads} threads"
    );
    assert!(undone(&alone) == (data.to_vec(), format), "{how:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_threads_and_any_reader_give_the_same_bytes(
        stretches in proptest::collection::vec((any::<u8>(), 0_usize..700, any::<u64>()), 0..8),
        pieces in proptest::collection::vec(0_usize..200_000, 0..4),
        threads in 1_usize..=16,
    ) {
        let pieces = [&pieces[..], &[70_001]].concat();
        check(&mixed(&stretches), &pieces, threads, Compression::Gzip, Format::Gzip);
    }

    #[test]
    fn any_threads_and_any_reader_give_the_same_zstd(
        stretches in proptest::collection::vec((any::<u8>(), 0_usize..3000, any::<u64>()), 0..8),
        pieces in proptest::collection::vec(0_usize..200_000, 0..4),
        threads in 1_usize..=16,
    ) {
        let pieces = [&pieces[..], &[70_001]].concat();
        check(&mixed(&stretches), &pieces, threads, Compression::Zstd, Format::Zstd);
    }

    #[test]
    fn any_few_bytes_come_back(data in proptest::collection::vec(any::<u8>(), 0..3000)) {
        for (how, format) in [(Compression::Gzip, Format::Gzip), (Compression::Zstd, Format::Zstd)] {
            check(&data, &[1, 7], 3, how, format);
        }
    }
}

#[test]
fn whole_blocks_and_nothing_come_back() {
    for (how, format, block) in [
        (Compression::Gzip, Format::Gzip, 1 << 20),
        (Compression::Zstd, Format::Zstd, 4 << 20),
    ] {
        for size in [0, 1, block - 1, block, block + 1, 3 * block] {
            check(&mixed(&[(1, 12 << 10, 5)])[..size], &[1 << 18], 4, how, format);
        }
    }
    assert_eq!(compressed(&mut io::empty(), Compression::Gzip, 0).0.len(), 33);
}

#[test]
fn without_compression_nothing_changes() {
    let data = mixed(&[(1, 800, 3)]);
    let (out, diff, size) = compressed(&mut &data[..], Compression::None, 8);
    assert_eq!((diff, size), (Digest::of(&data), data.len() as u64));
    assert!(out == data);
}

#[test]
fn a_zstd_frame_tells_its_size_and_has_a_checksum() {
    let (out, ..) = compressed(&mut &mixed(&[(1, 9000, 3)])[..], Compression::Zstd, 2);
    let size = zstd::zstd_safe::get_frame_content_size(&out);
    assert_eq!(size.ok().flatten(), Some(4 << 20));
    // Frame_Header_Descriptor of RFC 8878, 3.1.1.1.1
    assert_eq!(out[4] & 0b100, 0b100);
}

#[test]
fn a_reader_or_writer_that_fails_ends_it() {
    let data = mixed(&[(0, 3000, 1), (1, 20_000, 9)]);
    for how in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for threads in [1, 2, 16] {
            for good in [0, 1, 1 << 20, 9_000_000, data.len()] {
                let mut input = Dripping::new(&data, &[1 << 16]);
                input.good = good;
                let error = compress(&mut input, &mut io::sink(), how, threads).unwrap_err();
                assert_io(error, "reading what is to be compressed");
            }
            for room in [0, 1, 1 << 20, 3 << 20] {
                let error = compress(&mut &data[..], &mut Full { room }, how, threads).unwrap_err();
                assert_io(error, "writing compressed data");
            }
        }
    }
}

fn assert_io(error: Error, expected: &str) {
    match error {
        Error::Io { action, .. } => assert_eq!(action, expected),
        other => panic!("{other}"),
    }
}
