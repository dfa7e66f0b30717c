//! The images that a build starts from and copies from, each looked up once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mica_oci::Platform;
use mica_task::{Chore, Reporter};

use crate::chore::chore;
use crate::error::StepError;
use crate::layers::Layers;
use crate::once::Once;
use crate::ports::{BaseImage, Images};

/// An image as it is asked for: its name and platform.
type ImageName = (String, Option<String>);

/// The images of a build, for all its platforms.
pub(crate) struct Bases<'a> {
    images: &'a dyn Images,
    resolved: Mutex<BTreeMap<ImageName, Arc<Once<BaseImage>>>>,
}

impl<'a> Bases<'a> {
    /// None looked up yet.
    pub(crate) fn new(images: &'a dyn Images) -> Self {
        Self {
            images,
            resolved: Mutex::default(),
        }
    }

    /// An image, looked up unless it was already.
    pub(crate) fn get(
        &self,
        name: &str,
        platform: Option<&Platform>,
        layers: &Layers<'_>,
        reporter: &Reporter,
    ) -> Result<BaseImage, StepError> {
        let asked = (name.to_owned(), platform.map(Platform::to_string));
        let image = {
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.entry(asked).or_default().clone()
        };
        let image = image.get(layers.cancel, || {
            let lookup = Chore::Image {
                name: name.to_owned(),
            };
            chore(reporter, &lookup, || {
                let found = self.images.resolve(name, platform, layers.lease, layers.cancel);
                // what was broken off fails with errors of its own
                layers.cancel.check()?;
                found.map_err(StepError::Image)
            })
        })?;
        Ok(BaseImage::clone(&image))
    }
}
