//! How much of everything is accepted from a tar that somebody else wrote.

/// Bytes of a path or of a link's target, more than any system opens (`PATH_MAX` is 4 KiB on Linux).
pub const PATH_BYTES: u64 = 64 << 10;

/// Names in one path or hard link's target, one in the other: no path that a kernel takes (`PATH_MAX`) is deeper, and every
/// directory above a path costs its whole length.
pub const PATH_DEPTH: u64 = 2048;

/// Bytes of one extended header, which holds all attributes of an entry (Go's `archive/tar` has the same).
pub const PAX_BYTES: u64 = 1 << 20;

/// Headers of one archive, those included that only describe the next.
pub const HEADERS: u64 = 1 << 24;

/// Stretches of data in one sparse file.
pub const SEGMENTS: usize = 1 << 18;

/// Bytes of holes in all sparse files of one archive, which cost nothing in the archive but are written out.
pub const HOLE_BYTES: u64 = 16 << 30;

/// Bytes that names, link targets, attributes and sparse maps of one index may take together, and what is remembered of the
/// directories and whiteouts of one layer while it is unpacked.
pub const INDEX_BYTES: u64 = 256 << 20;

/// Paths of one index, implied directories included.
pub const INDEX_PATHS: u64 = 1 << 22;
