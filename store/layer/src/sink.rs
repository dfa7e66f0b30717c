//! Where the files of a layer go to when they become a tree.

use std::io::Read;

use crate::entry::Meta;
use crate::error::Error;
use crate::path::ImagePath;

/// A tree in the making. What comes later replaces what is there, as a later entry of a tar does.
pub trait TreeSink {
    /// Makes the file `path`. `content` yields the `meta.size()` bytes of a regular file and nothing for all else.
    fn put(&mut self, path: &ImagePath, meta: &Meta, content: &mut dyn Read) -> Result<(), Error>;

    /// Makes `path` one more name of `target`, which was put before.
    fn put_hardlink(&mut self, path: &ImagePath, target: &ImagePath) -> Result<(), Error>;

    /// Says that `path` of the layers below is gone.
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Error>;

    /// Says that nothing of the directory `path` of the layers below shows through; the directory was put before.
    fn opaque(&mut self, path: &ImagePath) -> Result<(), Error>;
}
