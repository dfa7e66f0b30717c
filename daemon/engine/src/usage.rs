//! How much of the disk is used by what; from what the store counted, never from a look at the disk.

use mica_store::LayerUsage;

use crate::engine::Engine;
use crate::error::Error;
use crate::select::{Listed, Selection};

/// What images take.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The images of a list, newest first.
    pub images: Vec<Listed>,
    /// For each of them, the bytes of layers that other images have too.
    pub shared: Vec<u64>,
    /// What the layers of all images take on disk.
    pub layers: LayerUsage,
}

impl Engine {
    /// What images take.
    pub fn image_usage(&self) -> Result<ImageUsage, Error> {
        let images = self.list(&Selection::default())?;
        Ok(ImageUsage {
            shared: self.shared_sizes(&images)?,
            layers: self.store().layer_usage()?,
            images,
        })
    }
}
