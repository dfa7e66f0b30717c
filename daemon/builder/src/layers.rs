//! Makes the layer of a step and remembers it; or finds the one made before.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mica_layer::{
    Allowance, Changes, Packed, Policy, Root, Stack, TimePolicy, TreeWriter, XattrPolicy, diff, normalise,
    pack,
};
use mica_oci::{CacheKey, ChainId, DiffId};
use mica_store::{CacheRecord, Ingest, Lease, Store, WorkDir};
use mica_task::{Cancel, Cancelled};

use crate::error::StepError;
use crate::imports::Imports;

/// Makes layers in the store for one build.
pub(crate) struct Layers<'a> {
    /// Where they go.
    pub store: &'a Store,
    /// What holds them until the image does.
    pub lease: &'a Lease,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// SOURCE_DATE_EPOCH: no file of a new layer is younger, in seconds.
    pub epoch: Option<i64>,
    /// When the build began.
    pub begun: Timestamp,
    /// What caches elsewhere know.
    pub imports: &'a Imports<'a>,
}

/// What a new layer is wanted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A tar: nothing runs on it.
    Tar,
    /// A tree: a RUN is going to work on it.
    Tree,
}

/// The tar of a layer that is not one yet; dropped, it is gone.
pub(crate) struct Ahead {
    ingest: Ingest,
    packed: Packed,
}

/// What is known of a layer before it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// What it is made on.
    pub parent: ChainId,
    /// The instruction, for people.
    pub about: &'a str,
    /// Whether it is taken even if an equal one is there.
    pub fresh: bool,
}

impl Layers<'_> {
    /// The layer an earlier step with this key made, here or where a cache knows it from.
    pub(crate) fn find(&self, key: &CacheKey) -> Result<Option<CacheRecord>, StepError> {
        let here = self.store.cached(self.lease, key)?;
        Ok(here.or_else(|| self.imports.find(key)))
    }

    /// Sees to it that layers are here, to be looked into.
    pub(crate) fn bring(&self, layers: &[DiffId]) -> Result<(), Cancelled> {
        self.imports.bring(layers, self.store, self.lease, self.cancel)
    }

    /// The trees of layers, in their order.
    pub(crate) fn trees(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, StepError> {
        self.bring(layers)?;
        let trees = layers.iter().map(|layer| self.store.tree(self.lease, layer));
        Ok(trees.collect::<Result<_, _>>()?)
    }

    /// The layers as one tree.
    pub(crate) fn stack(&self, layers: &[DiffId]) -> Result<Stack, StepError> {
        self.bring(layers)?;
        let views = layers
            .iter()
            .map(|layer| self.store.view(self.lease, layer))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Stack::new(views))
    }

    /// Makes a layer of `changes`.
    pub(crate) fn make(
        &self,
        order: Order<'_>,
        changes: &Changes,
        form: Form,
    ) -> Result<CacheRecord, StepError> {
        match form {
            Form::Tar => self.keep(order, self.pack_tar(changes)?),
            Form::Tree => {
                let work = self.store.work(self.lease)?;
                let directory = work.path().join("tree");
                fs_err::create_dir(&directory)?;
                let mut tree = TreeWriter::new(Root::open(&directory)?);
                let packed = self.unpack(changes, &mut tree)?;
                tree.finish()?;
                self.settle(order, packed, |packed| {
                    Ok(self.store.add_layer_tree(self.lease, &directory, packed)?)
                })
            }
        }
    }

    /// Puts `changes` into a tree.
    pub(crate) fn unpack(&self, changes: &Changes, tree: &mut TreeWriter) -> Result<Packed, StepError> {
        let mut nowhere = self.cancel.guard(io::sink());
        Ok(pack(changes, &self.policy(), &mut nowhere, Some(tree))?)
    }

    /// Writes the tar of a layer before it is known whether it is there already.
    pub(crate) fn pack_tar(&self, changes: &Changes) -> Result<Ahead, StepError> {
        let mut ingest = self.store.ingest_packed(self.lease)?;
        let packed = pack(changes, &self.policy(), &mut self.cancel.guard(&mut ingest), None)?;
        Ok(Ahead { ingest, packed })
    }

    /// Makes a layer of a tar that was written ahead.
    pub(crate) fn keep(&self, order: Order<'_>, ahead: Ahead) -> Result<CacheRecord, StepError> {
        let Ahead { ingest, packed } = ahead;
        self.settle(order, packed, |packed| {
            Ok(self.store.add_layer_tar(self.lease, ingest, packed)?)
        })
    }

    /// Makes a layer of what a process left in the upper directory of an overlay.
    pub(crate) fn take_upper(
        &self,
        order: Order<'_>,
        upper: &Path,
        below: &Stack,
    ) -> Result<CacheRecord, StepError> {
        let go_on = || self.cancel.check().map_err(io::Error::other);
        let changes = diff(upper, below, Allowance::default(), &go_on)?;
        let mut nowhere = self.cancel.guard(io::sink());
        let packed = pack(&changes, &self.policy(), &mut nowhere, None)?;
        self.settle(order, packed, |packed| {
            normalise(upper, &changes, self.epoch, &go_on)?;
            Ok(self.store.add_layer_tree(self.lease, upper, packed)?)
        })
    }

    /// Remembers that `record` is what steps with this key make.
    pub(crate) fn remember(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), StepError> {
        if self.imports.keep(key, record) {
            return Ok(());
        }
        Ok(self.store.remember(self.lease, key, record)?)
    }

    /// Scratch space of the build.
    pub(crate) fn work(&self) -> Result<WorkDir, StepError> {
        Ok(self.store.work(self.lease)?)
    }

    /// Takes an older layer with the same content on the same parent where there is one: what was built on that layer
    /// then still counts, and times of files do not change for nothing.
    fn settle(
        &self,
        order: Order<'_>,
        packed: Packed,
        add: impl FnOnce(&Packed) -> Result<mica_store::Layer, StepError>,
    ) -> Result<CacheRecord, StepError> {
        // with SOURCE_DATE_EPOCH the same inputs give the same bytes, whatever was built here before
        if !order.fresh
            && self.epoch.is_none()
            // a record that cannot be read is none; only time is lost
            && let Ok(Some(record)) = self.store.same_content(self.lease, &order.parent, &packed.content)
        {
            return Ok(record);
        }
        let layer = add(&packed)?;
        Ok(CacheRecord {
            layer: layer.diff_id,
            parent: order.parent,
            content: packed.content,
            created: Timestamp::now(),
            description: order.about.to_owned(),
        })
    }

    fn policy(&self) -> Policy {
        Policy {
            xattrs: XattrPolicy::CapabilityOnly,
            times: TimePolicy::Seconds,
            clamp: self.epoch,
        }
    }
}
