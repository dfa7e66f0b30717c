//! Hands over what an archive of images would hold, blob by blob.

use std::collections::HashSet;
use std::io::{self, Write};

use mica_oci::{Descriptor, Digest, Reference};

use super::save::select;
use crate::error::Error;
use crate::images::Image;
use crate::lease::Lease;
use crate::store::Store;

/// Takes blobs. What is written after [`begin`](Self::begin) and before [`end`](Self::end) is the blob's.
pub trait BlobSink: Write {
    /// A blob begins; says whether its bytes are wanted. It has not ended then.
    ///
    /// # Errors
    /// If none is taken any more.
    fn begin(&mut self, digest: &Digest, size: u64) -> io::Result<bool>;

    /// The blob is whole.
    ///
    /// # Errors
    /// If it could not be kept.
    fn end(&mut self) -> io::Result<()>;
}

/// What the archive of one image calls it: its manifest there, which names the uncompressed layers.
///
/// # Errors
/// If something of the image is missing.
pub fn describe(
    store: &Store,
    lease: &Lease,
    image: &(Image, Vec<Reference>),
) -> Result<Option<Descriptor>, Error> {
    let selection = select(store, lease, std::slice::from_ref(image))?;
    Ok(selection
        .first()
        .map(|image| crate::commit::describe(&image.manifest)))
}

/// Hands over all blobs of these images, each once and before those that name it.
///
/// # Errors
/// If something of the images is missing, or the blobs are not taken.
pub fn blobs(
    store: &Store,
    lease: &Lease,
    images: &[(Image, Vec<Reference>)],
    to: &mut dyn BlobSink,
) -> Result<(), Error> {
    let mut done = HashSet::new();
    for image in &select(store, lease, images)? {
        for layer in &image.layers {
            let digest = layer.diff_id.digest();
            if done.insert(*digest) && to.begin(digest, layer.size).map_err(unsent)? {
                store.copy_tar(lease, &layer.diff_id, &mut *to)?;
                to.end().map_err(unsent)?;
            }
        }
        for (digest, bytes) in [
            (*image.image.id.digest(), image.image.config.bytes()),
            (image.manifest.digest(), image.manifest.bytes()),
        ] {
            if done.insert(digest) && to.begin(&digest, bytes.len() as u64).map_err(unsent)? {
                to.write_all(bytes).map_err(unsent)?;
                to.end().map_err(unsent)?;
            }
        }
    }
    Ok(())
}

fn unsent(error: io::Error) -> Error {
    Error::io("hand over a blob")(error)
}
