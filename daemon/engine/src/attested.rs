//! What was said of images when they were built, kept for a while for clients that push what they built by another request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mica_oci::{Attestation, ImageId};

use crate::engine::Engine;
use crate::error::Error;

/// Of how many images it is kept: a build for many platforms has to find its own.
const IMAGES: usize = 64;
/// How many bytes of it are kept.
const BYTES: usize = 64 << 20;

/// What was said, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<VecDeque<(ImageId, Arc<[Attestation]>)>>);

impl Kept {
    /// Keeps what was said of an image last.
    fn keep(&self, image: ImageId, said: Arc<[Attestation]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != image);
        kept.push_back((image, said));
        let bytes = |said: &[Attestation]| said.iter().map(|one| one.predicate().len()).sum::<usize>();
        // the last is kept whatever its size, which the builder bounds
        while kept.len() > 1
            && (kept.len() > IMAGES || kept.iter().map(|(_, said)| bytes(said)).sum::<usize>() > BYTES)
        {
            kept.pop_front();
        }
    }

    fn find(&self, image: &ImageId) -> Option<Arc<[Attestation]>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(known, _)| known == image);
        found.map(|(_, said)| said.clone())
    }
}

impl Engine {
    /// What was said of an image when this process built it last.
    ///
    /// # Errors
    /// If nothing was, or it is not kept any more.
    pub fn attestations(&self, image: &ImageId) -> Result<Arc<[Attestation]>, Error> {
        let found = self.kept_attestations().find(image);
        found.ok_or_else(|| Error::NoAttestations { image: *image })
    }

    /// Keeps what was said of an image.
    pub(crate) fn keep_attestations(&self, image: ImageId, said: &Arc<[Attestation]>) {
        if !said.is_empty() {
            self.kept_attestations().keep(image, said.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;

    fn said(bytes: usize) -> Arc<[Attestation]> {
        let text = "x".repeat(bytes);
        [Attestation::new("t", "f", &text).unwrap()].into()
    }

    fn image(number: usize) -> ImageId {
        ImageId(Digest::of(&number.to_le_bytes()))
    }

    #[test]
    fn the_last_is_kept_and_not_too_much() {
        let kept = Kept::default();
        for number in 0..=IMAGES {
            kept.keep(image(number), said(1));
        }
        assert_eq!(kept.find(&image(0)), None, "the oldest of too many");
        assert_eq!(kept.find(&image(1)), Some(said(1)));
        kept.keep(image(1), said(2));
        assert_eq!(kept.find(&image(1)), Some(said(2)), "the last word on an image");
        kept.keep(image(99), said(BYTES));
        assert_eq!(kept.find(&image(1)), None);
        assert!(kept.find(&image(99)).is_some());
    }
}
