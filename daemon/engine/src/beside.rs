//! Files that are shown beside those of an image and are in none of its layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use mica_layer::{
    Content, Error as LayerError, Finding, ImagePath, Kind, LayerView, Meta, Mtime, Name, Node, Xattrs,
};

/// Files in the root directory by name.
pub(crate) struct Beside {
    files: BTreeMap<Vec<u8>, Arc<[u8]>>,
    /// Of each of them.
    mtime: Mtime,
}

/// The permission bits of each (BuildKit's choice).
const MODE: u32 = 0o600;

impl Beside {
    /// These files.
    pub(crate) fn new(files: BTreeMap<Vec<u8>, Arc<[u8]>>, mtime: Mtime) -> Self {
        Self { files, mtime }
    }

    fn file(&self, path: &ImagePath) -> Option<&Arc<[u8]>> {
        self.files.get(path.as_bytes())
    }
}

impl LayerView for Beside {
    fn find(&self, path: &ImagePath) -> Result<Finding, LayerError> {
        let Some(bytes) = self.file(path) else {
            return Ok(Finding::Silent);
        };
        let meta = Meta {
            kind: Kind::File {
                size: bytes.len() as u64,
            },
            mode: MODE,
            uid: 0,
            gid: 0,
            mtime: self.mtime,
            xattrs: Xattrs::new(),
        };
        Ok(Finding::Node {
            node: Node {
                meta,
                link: None,
                content: None,
            },
            opaque: false,
        })
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, LayerError> {
        let name = |name: &Vec<u8>| Name {
            name: name.clone(),
            whiteout: false,
        };
        Ok(match path.is_root() {
            true => self.files.keys().map(name).collect(),
            false => Vec::new(),
        })
    }

    fn open(&self, path: &ImagePath) -> Result<Content, LayerError> {
        let bytes = self.file(path).cloned().unwrap_or_default();
        Ok(Content::Bytes(bytes))
    }
}
