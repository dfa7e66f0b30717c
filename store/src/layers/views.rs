//! Layers as trees to read, whatever form they lie in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mica_layer::{DirView, IndexOptions, LayerView, TarIndex, TarView};
use mica_oci::DiffId;

use super::sound::CheckedTar;
use crate::error::Error;
use crate::lease::Lease;
use crate::locks::lock;
use crate::store::Store;

/// The most indexes that are kept.
const INDEXES: usize = 32;
/// The most files that all indexes kept may have together, about 200 bytes each.
const FILES: usize = 400_000;

/// The indexes of the tars that were read last, the latest at the end.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<VecDeque<(DiffId, Arc<TarIndex>)>>);

impl Indexes {
    fn get(&self, diff_id: &DiffId) -> Option<Arc<TarIndex>> {
        let mut kept = lock(&self.0);
        let at = kept.iter().position(|(id, _)| id == diff_id)?;
        let (id, index) = kept.remove(at)?;
        kept.push_back((id, index.clone()));
        Some(index)
    }

    fn put(&self, diff_id: DiffId, index: Arc<TarIndex>) {
        let mut kept = lock(&self.0);
        kept.retain(|(id, _)| *id != diff_id);
        kept.push_back((diff_id, index));
        let mut files: usize = kept.iter().map(|(_, index)| index.len()).sum();
        while kept.len() > INDEXES || files > FILES {
            match kept.pop_front() {
                Some((_, index)) => files -= index.len(),
                None => break,
            }
        }
    }

    pub(crate) fn forget(&self, diff_id: &DiffId) {
        lock(&self.0).retain(|(id, _)| id != diff_id);
    }
}

impl Store {
    /// The layer as a tree to read: its tree if it has one, else its tar, which is inflated first if need be; kept by the lease.
    pub fn view(&self, lease: &Lease, diff_id: &DiffId) -> Result<Arc<dyn LayerView>, Error> {
        let fail = || Error::layer("read", *diff_id);
        if self.known(lease, diff_id)?.tree {
            let view = DirView::open(&self.inner.paths.tree(diff_id)).map_err(fail())?;
            return Ok(Arc::new(view));
        }
        let tar = self.tar(lease, diff_id)?;
        let index = match self.inner.indexes.get(diff_id) {
            Some(index) => index,
            None => {
                let options = IndexOptions {
                    whiteouts: true,
                    ..IndexOptions::default()
                };
                let index = TarIndex::scan_seekable(tar.open()?, options).map_err(fail())?;
                let index = Arc::new(index);
                self.inner.indexes.put(*diff_id, index.clone());
                index
            }
        };
        let view = TarView::new(Arc::new(tar.open()?), index, 0);
        Ok(Arc::new(CheckedTar::new(&self.inner, tar, view)))
    }
}
