//! The tar format: reading what others wrote, and writing it so that the same files always give the same bytes.

mod header;
mod input;
pub mod limits;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use header::is_tar;
pub use reader::{TarEntry, TarReader};
pub use writer::{OPAQUE_MARKER, TarWriter, WHITEOUT_PREFIX};

/// The unit of a tar in bytes (POSIX.1-2024 pax, "ustar Interchange Format").
pub const BLOCK: usize = 512;

/// How many bytes fill up the last block of `len` bytes.
pub(crate) const fn padding(len: u64) -> u64 {
    let block = BLOCK as u64;
    (block - len % block) % block
}
