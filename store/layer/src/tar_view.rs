//! A layer or build context read out of its tar.

use std::sync::Arc;

use fs_err::File;

use crate::error::Error;
use crate::index::TarIndex;
use crate::path::ImagePath;
use crate::view::{Content, Finding, LayerView, Name};

/// A layer or build context read out of its tar.
#[derive(Clone)]
pub struct TarView {
    file: Arc<File>,
    index: Arc<TarIndex>,
    base: u64,
}

impl TarView {
    /// The tar that begins at byte `base` of `file` and has the index `index`.
    pub fn new(file: Arc<File>, index: Arc<TarIndex>, base: u64) -> Self {
        Self { file, index, base }
    }

    /// What is in the tar.
    pub fn index(&self) -> &Arc<TarIndex> {
        &self.index
    }
}

impl LayerView for TarView {
    fn find(&self, path: &ImagePath) -> Result<Finding, Error> {
        Ok(self.index.find(path))
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, Error> {
        Ok(self.index.names(path))
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        let record = self.index.record(path);
        let Some((record, size)) = record.and_then(|record| Some((record, record.file_size()?))) else {
            return Err(Error::Path {
                path: path.clone(),
                reason: "not a regular file of this archive".to_owned(),
            });
        };
        let file = self.file.clone();
        Ok(match record.sparse() {
            Some(segments) => Content::Sparse {
                file,
                base: self.base,
                segments: segments.clone(),
                len: size,
            },
            None => Content::Range {
                file,
                offset: self.base + record.data,
                len: size,
            },
        })
    }
}
