//! How much memory the changes of one layer may take while they are collected, and whether they are still wanted.

use std::io;

use crate::entry::{Kind, Meta};
use crate::error::Error;
use crate::path::ImagePath;

/// How much the changes of one layer may take in memory, in bytes: those of a COPY, what a RUN leaves, and what the tree of
/// a layer is read as. Paths, targets of links and attributes count, each path with 256 more.
pub const CHANGES_BYTES: u64 = 512 << 20;

/// What a changed path takes in memory beside its name, in bytes, roughly.
const PATH_COST: u64 = 256;

/// What a name takes in memory while the directory it is in is being read, beside its bytes, roughly. Less than a path, so
/// that reading a directory never takes more than what is read from it.
const NAME_COST: u64 = 64;

/// What an extended attribute takes in memory beside name and value, in bytes, roughly.
const XATTR_COST: u64 = 64;

/// Fails when the work is not wanted any more.
pub type GoOn<'a> = &'a dyn Fn() -> io::Result<()>;

/// What the changes of one layer may still take in memory.
#[derive(Debug)]
pub struct Allowance {
    limit: u64,
    left: u64,
}

impl Default for Allowance {
    /// All of [`CHANGES_BYTES`].
    fn default() -> Self {
        Self::of(CHANGES_BYTES)
    }
}

impl Allowance {
    /// So many bytes.
    pub fn of(bytes: u64) -> Self {
        Self {
            limit: bytes,
            left: bytes,
        }
    }

    /// Takes what a file at `path` costs.
    ///
    /// # Errors
    /// [`Error::Changes`] if there is not enough left.
    pub fn take(&mut self, path: &ImagePath, meta: &Meta) -> Result<(), Error> {
        let target = match &meta.kind {
            Kind::Symlink { target } => target.len(),
            _ => 0,
        };
        let xattrs = meta.xattrs.iter();
        let xattrs = xattrs.map(|(name, value)| name.len() as u64 + value.len() as u64 + XATTR_COST);
        self.take_bytes(path, PATH_COST + target as u64 + xattrs.sum::<u64>())
    }

    /// Takes what it costs that `path` vanishes; fails as [`take`](Self::take) does.
    pub fn take_whiteout(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.take_bytes(path, PATH_COST)
    }

    fn take_bytes(&mut self, path: &ImagePath, beside: u64) -> Result<(), Error> {
        let cost = path.as_bytes().len() as u64 + beside;
        let left = self
            .left
            .checked_sub(cost)
            .ok_or_else(|| self.spent(path.clone()))?;
        self.left = left;
        Ok(())
    }

    /// Takes what a `name` costs while the directory `dir` is being read; fails as [`take`](Self::take) does.
    pub(crate) fn borrow(&mut self, dir: &ImagePath, name: &[u8]) -> Result<(), Error> {
        let left = self.left.checked_sub(name.len() as u64 + NAME_COST);
        self.left = left.ok_or_else(|| self.spent(dir.join(name)))?;
        Ok(())
    }

    /// Takes back what a `name` cost.
    pub(crate) fn give_back(&mut self, name: &[u8]) {
        self.left += name.len() as u64 + NAME_COST;
    }

    fn spent(&self, path: ImagePath) -> Error {
        Error::Changes {
            path,
            limit: self.limit,
        }
    }
}

/// Fails when the changes of a tree are not wanted any more.
pub(crate) fn wanted(go_on: GoOn<'_>) -> Result<(), Error> {
    go_on().map_err(Error::io("look for changes"))
}
