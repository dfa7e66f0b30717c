//! Hands over what an archive of images would hold, blob by blob.

use std::collections::HashSet;
use std::io::{self, Write};

use mica_oci::{Attested, Descriptor, Digest, Reference};

use super::save::{Selected, select};
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

/// What the archive of one image calls it: its manifest there, which names the uncompressed layers; an index if something is
/// said of it.
///
/// # Errors
/// If something of the image is missing.
pub fn describe(
    store: &Store,
    lease: &Lease,
    image: &(Image, Vec<Reference>),
    attested: &Attested,
) -> Result<Option<Descriptor>, Error> {
    let selection = select(store, lease, std::slice::from_ref(image), attested)?;
    Ok(selection.first().map(Selected::describe))
}

/// Hands over all blobs of these images, each once and before those that name it.
///
/// # Errors
/// If something of the images is missing, or the blobs are not taken.
pub fn blobs(
    store: &Store,
    lease: &Lease,
    (images, attested): (&[(Image, Vec<Reference>)], &Attested),
    to: &mut dyn BlobSink,
) -> Result<(), Error> {
    let mut done = HashSet::new();
    for image in &select(store, lease, images, attested)? {
        for layer in &image.layers {
            let digest = layer.diff_id.digest();
            if done.insert(*digest) && to.begin(digest, layer.size).map_err(unsent)? {
                store.copy_tar(lease, &layer.diff_id, &mut *to)?;
                to.end().map_err(unsent)?;
            }
        }
        let mut documents = vec![
            (*image.image.id.digest(), image.image.config.bytes()),
            (image.manifest.digest(), image.manifest.bytes()),
        ];
        if let Some((said, index)) = &image.said {
            let blobs = said.blobs.iter();
            documents.extend(blobs.map(|(blob, bytes)| (blob.digest, bytes.as_slice())));
            documents.push((said.manifest.digest(), said.manifest.bytes()));
            documents.push((index.digest(), index.bytes()));
        }
        for (digest, bytes) in documents {
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
