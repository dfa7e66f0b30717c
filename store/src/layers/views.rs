//! Layers as trees to read, whatever form they lie in.

use std::sync::Arc;

use mica_layer::{DirView, LayerView};
use mica_oci::DiffId;

use crate::error::Error;
use crate::lease::Lease;
use crate::store::Store;

/// The indexes of tars that were read last.
#[derive(Default)]
pub(crate) struct Indexes;

impl Indexes {
    pub(crate) fn forget(&self, _diff_id: &DiffId) {}
}

impl Store {
    /// The layer as a tree to read; kept by the lease.
    pub fn view(&self, lease: &Lease, diff_id: &DiffId) -> Result<Arc<dyn LayerView>, Error> {
        let path = self.tree(lease, diff_id)?;
        let view = DirView::open(&path).map_err(Error::layer("read", *diff_id))?;
        Ok(Arc::new(view))
    }
}
