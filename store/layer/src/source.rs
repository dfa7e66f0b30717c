//! Where the bytes of a changed file come from.

use std::sync::Arc;

use mica_oci::Digest;

use crate::error::Error;
use crate::path::ImagePath;
use crate::view::{Content, LayerView};

/// Where the bytes of a changed file come from; nothing is opened before it is asked for.
#[derive(Clone)]
pub enum Source {
    /// No bytes: not a regular file, or an empty one.
    Empty,
    /// Bytes at hand.
    Content(Content),
    /// A file of a layer.
    Layer(Arc<dyn LayerView>, ImagePath),
}

impl Source {
    /// Opens the bytes.
    pub fn open(&self) -> Result<Content, Error> {
        match self {
            Self::Empty => Ok(Content::Bytes(Arc::new([]))),
            Self::Content(content) => Ok(content.clone()),
            Self::Layer(view, path) => view.open(path),
        }
    }

    /// Tells that all bytes were read, and what their digest is if it was taken; see [`LayerView::was_read`].
    pub fn was_read(&self, digest: Option<&Digest>) -> Result<(), Error> {
        match self {
            Self::Layer(view, path) => view.was_read(path, digest),
            _ => Ok(()),
        }
    }
}
