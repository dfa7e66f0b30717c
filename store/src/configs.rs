//! Image configs in memory, so that a listing reads each of them from disk only once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mica_oci::config::ImageConfig;
use mica_oci::{ImageId, Raw};

use crate::locks::lock;

/// Configs kept take this many bytes of JSON at most (parsed they take a few times as much).
const LIMIT: usize = 32 << 20;

/// The configs read so far.
#[derive(Default)]
pub(crate) struct Configs(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<ImageId, Arc<Raw<ImageConfig>>>,
    bytes: usize,
}

impl Configs {
    pub(crate) fn get(&self, id: &ImageId) -> Option<Arc<Raw<ImageConfig>>> {
        lock(&self.0).by_id.get(id).cloned()
    }

    /// Keeps a config, unless there are too many already.
    pub(crate) fn put(&self, config: &Arc<Raw<ImageConfig>>) {
        let mut kept = lock(&self.0);
        let size = config.bytes().len();
        if kept.bytes + size > LIMIT {
            return;
        }
        if kept
            .by_id
            .insert(ImageId(config.digest()), config.clone())
            .is_none()
        {
            kept.bytes += size;
        }
    }

    pub(crate) fn forget(&self, id: &ImageId) {
        let mut kept = lock(&self.0);
        if let Some(config) = kept.by_id.remove(id) {
            kept.bytes -= config.bytes().len();
        }
    }
}
