//! Making a store's database again, while nobody has the store open.

use std::path::Path;

use mica_store::{RebuildProgress, Rebuilt};

use crate::error::Error;

/// Makes the database of the store at `root` again from the files, and tells how far it has got.
///
/// # Errors
/// If the store is in use or none that is understood, or the disk fails. Until it succeeds the store cannot be opened; then this may
/// be tried again.
pub fn rebuild(root: &Path, tell: &mut dyn FnMut(RebuildProgress)) -> Result<Rebuilt, Error> {
    Ok(mica_store::rebuild(root, tell)?)
}
