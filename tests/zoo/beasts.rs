//! The tars of the zoo: what escapes, what bursts, what contradicts itself.

mod bombs;
mod broken;
mod escapes;
mod names;
mod numbers;
mod odd_files;
mod sparse;

pub(crate) use bombs::swarm;

use sha2::{Digest, Sha256};

use crate::raw_tar::{Header, RawTar, octal};

/// One tar.
pub(crate) struct Beast {
    pub(crate) name: &'static str,
    /// As it travels, compressed or not.
    pub(crate) bytes: Vec<u8>,
    /// The sha256 of the tar itself, in hex.
    pub(crate) diff: String,
}

/// All of them.
pub(crate) fn all() -> Vec<Beast> {
    [
        escapes::all(),
        odd_files::all(),
        numbers::all(),
        names::all(),
        sparse::all(),
        broken::all(),
        bombs::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The sha256 of bytes, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar that travels as it is.
fn plain(name: &'static str, bytes: Vec<u8>) -> Beast {
    let diff = sha256(&bytes);
    Beast { name, bytes, diff }
}

/// Tars that are whole.
fn whole<const N: usize>(tars: [(&'static str, RawTar); N]) -> Vec<Beast> {
    tars.map(|(name, tar)| plain(name, tar.end())).into()
}

fn tar() -> RawTar {
    RawTar(Vec::new())
}

/// The header of a file of this size.
fn sized(name: &[u8], size: u64) -> Header<'_> {
    Header {
        name,
        size: octal(size),
        ..Header::default()
    }
}
