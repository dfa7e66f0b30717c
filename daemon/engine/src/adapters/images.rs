//! Base images out of the store.

use mica_builder::ports::{BaseImage, Images, PortError};
use mica_oci::Platform;
use mica_store::Lease;

use crate::engine::Engine;
use crate::error::Error;

/// Finds base images among those that are in the store.
pub(crate) struct StoredImages<'a>(pub(crate) &'a Engine);

impl Images for StoredImages<'_> {
    fn resolve(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
    ) -> Result<BaseImage, PortError> {
        let found = self.0.image_for(name, platform).and_then(|image| {
            let held = self.0.store().hold_image(lease, &image.id)?;
            held.ok_or_else(|| Error::NoSuchImage {
                name: name.to_owned(),
            })
        });
        match found {
            Ok(image) => {
                let config = image.config.value().clone();
                Ok(BaseImage {
                    id: image.id,
                    layers: config.rootfs.diff_ids.clone(),
                    config,
                })
            }
            Err(Error::NoSuchImage { name }) => Err(Error::NoBase { name }.into()),
            Err(other) => Err(other.into()),
        }
    }
}
