//! Making one form of a layer from another; what is made must hash to the diff id.

use std::path::PathBuf;

use mica_oci::DiffId;

use crate::blobs::Blob;
use crate::error::Error;
use crate::lease::Lease;
use crate::store::Store;

/// The length of a blob's content once inflated, which must hash to `claimed`.
pub(crate) fn inflated_size(blob: &Blob, claimed: &DiffId) -> Result<u64, Error> {
    Err(Error::corrupt(claimed, format!("{} is compressed", blob.digest)))
}

impl Store {
    /// The layer as a directory that overlayfs can stack; kept by the lease.
    pub fn tree(&self, lease: &Lease, diff_id: &DiffId) -> Result<PathBuf, Error> {
        match self.layer_record(lease, diff_id)? {
            Some(record) if record.tree => Ok(self.inner.paths.tree(diff_id)),
            Some(_) => Err(Error::corrupt(diff_id, "it has no tree")),
            None => Err(Error::MissingLayer { diff_id: *diff_id }),
        }
    }

    /// The layer as its uncompressed tar; kept by the lease.
    pub fn tar(&self, lease: &Lease, diff_id: &DiffId) -> Result<Blob, Error> {
        match self.layer_record(lease, diff_id)? {
            Some(record) if record.tar => self
                .blob(lease, diff_id.digest())?
                .ok_or_else(|| Error::corrupt(diff_id, "its tar is gone")),
            Some(_) => Err(Error::corrupt(diff_id, "it has no tar")),
            None => Err(Error::MissingLayer { diff_id: *diff_id }),
        }
    }
}
