//! A disk on which one rename fails.

use std::path::{Path, PathBuf};

use mica_layer::disk::recorded::{Act, Recorder};
use rustix::io::Errno;

/// Whatever is renamed to this path fails so.
pub(crate) struct RenameFails {
    pub(crate) to: PathBuf,
    pub(crate) with: Errno,
}

impl Recorder for RenameFails {
    fn change(
        &self,
        _: &Path,
        act: &Act<'_>,
        make: &mut dyn FnMut(usize) -> Option<usize>,
    ) -> Result<(), Errno> {
        if matches!(act, Act::Rename(to) if to.path() == self.to) {
            return Err(self.with);
        }
        make(usize::MAX);
        Ok(())
    }
}
