//! What is small as it travels and large when it is there.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::{Beast, hex, sized};
use crate::raw_tar::RawTar;

const MEMORY: &str = "memory takes everything";
/// How large a file of zeros becomes at most, in bytes.
const LARGEST: u64 = 4 << 30;
/// What bzip2, xz and zstd make of it is smaller: they take longer.
const SMALLER: u64 = 48 << 20;
/// How many entries the swarm has.
const SWARM: u32 = 60_000;

pub(super) fn all() -> Vec<Beast> {
    let out = GzEncoder::new(Vec::new(), Compression::fast());
    let (out, diff) = zeros(out, LARGEST).expect(MEMORY);
    let zeros = (out.finish().expect(MEMORY), diff);
    let packed = [
        ("bzip2, 48 MiB of zeros", "bzip2"),
        ("xz, 48 MiB of zeros", "xz"),
        ("zstd, 48 MiB of zeros", "zstd"),
    ];
    let packed = packed
        .into_iter()
        .filter_map(|(name, program)| Some((name, packed_by(program)?)));
    [
        ("gzip, 4 GiB of zeros", zeros),
        ("sixty thousand entries", swarm(SWARM)),
    ]
    .into_iter()
    .chain(packed)
    .map(|(name, (bytes, diff))| Beast { name, bytes, diff })
    .collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).expect(MEMORY);
    out.finish().expect(MEMORY)
}

/// A tar of one file of zeros; with the sha256 of all that was written.
fn zeros<W: Write>(out: W, size: u64) -> io::Result<(W, String)> {
    let mut tar = RawTar(Hashed(out, Sha256::new()));
    tar.put(sized(b"zeros", size), b"")?;
    let block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        tar.0.write_all(&block)?;
    }
    done(tar)
}

/// A tar of empty files, a thousand in each folder, gzipped; with its sha256 before that.
pub(crate) fn swarm(count: u32) -> (Vec<u8>, String) {
    let out = GzEncoder::new(Vec::new(), Compression::fast());
    let mut tar = RawTar(Hashed(out, Sha256::new()));
    for at in 0..count {
        let name = format!("s{}/{at}", at >> 10);
        tar.put(sized(name.as_bytes(), 0), b"").expect(MEMORY);
    }
    let (out, diff) = done(tar).expect(MEMORY);
    (out.finish().expect(MEMORY), diff)
}

fn done<W: Write>(mut tar: RawTar<Hashed<W>>) -> io::Result<(W, String)> {
    tar.0.write_all(&[0; 1024])?;
    let Hashed(out, hash) = tar.0;
    Ok((out, hex(hash)))
}

/// Hashes what it passes on.
struct Hashed<W>(W, Sha256);

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A file of zeros, packed by a program of this machine; nothing if it is not there.
fn packed_by(program: &str) -> Option<(Vec<u8>, String)> {
    let mut child = Command::new(program)
        .args(["-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let input = child.stdin.take()?;
    let feeding = std::thread::spawn(move || Some(zeros(input, SMALLER).ok()?.1));
    let out = child.wait_with_output().ok()?;
    Some((out.stdout, feeding.join().ok()??))
}
