//! Mending what a check found, one thing after the other, while everything else goes on.
//!
//! What can be made again from what else is here is; of what cannot, it is told what is to be fetched and where from. What
//! nobody has is given up: the damaged file is set aside, and no row says any more that the form is there. Nothing that is
//! sound is touched, and whatever takes a damaged file's place is hashed and durable first.

mod documents;
mod errands;
mod forms;
mod layers;
mod rest;

use std::io;
use std::path::PathBuf;

use mica_oci::{Descriptor, DiffId, Digest, Repository};

use crate::check::finding::{Finding, Thing};
use crate::error::Error;
use crate::lease::Lease;
use crate::repair::forms::Mender;
use crate::store::Store;

/// Fails when the repair is not wanted any more.
pub(crate) type GoOn<'a> = &'a (dyn Fn() -> io::Result<()> + Sync);

/// What came of trying to mend a thing with what is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mending {
    /// It is well.
    Done(Cure),
    /// It has to be fetched; any of these will do. Where there are none, nobody is known to have it.
    Fetch(Vec<Errand>),
    /// It cannot be mended, and nothing was changed.
    Left(String),
}

/// How a thing became well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// It was by itself: somebody else mended it, or what it belonged to is gone.
    ByItself,
    /// It was made again, to the last byte, from what else is here.
    MadeAgain,
    /// It cannot be had again, and another one was made that serves as well.
    Replaced,
    /// Nothing needs it: it is gone.
    Dropped,
}

/// Something that is to be fetched, and where it is known to have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// What.
    pub goods: Goods,
    /// Where from, the likeliest first; not empty.
    pub from: Vec<Repository>,
}

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goods {
    /// A manifest or index.
    Document(Digest),
    /// The config of an image.
    Config(Descriptor),
    /// A compressed blob, and the layer it is said to hold.
    Layer(Descriptor, DiffId),
}

/// What became of a thing that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenUp {
    /// It could be done without after all.
    Done(Cure),
    /// What it belongs to cannot be used whole.
    Lost {
        /// Where the damaged file was moved, if there was one.
        aside: Option<PathBuf>,
    },
}

impl Store {
    /// Mends what was found, as far as that can be done with what is here.
    ///
    /// # Errors
    /// If `go_on` fails, or the disk or the database does.
    pub fn mend(&self, finding: &Finding, go_on: GoOn<'_>) -> Result<Mending, Error> {
        go_on().map_err(Error::io("mend the store"))?;
        let lease = self.lease();
        let mender = self.mender(&lease, go_on);
        match &finding.thing {
            Thing::Database => Ok(Mending::Left(
                "the database cannot be mended while it is in use".to_owned(),
            )),
            Thing::Config(image) => self.mend_config(&lease, image),
            Thing::Manifest(image, digest) => self.mend_manifest(&lease, image, digest),
            Thing::Document(digest) => self.mend_document(digest),
            Thing::LayerList(image) => self.mend_layer_list(image),
            Thing::Layer(diff_id) => mender.mend_layer(diff_id),
            Thing::Compressed(diff_id, blob) => mender.mend_compressed(diff_id, blob, &finding.fault),
            Thing::Tar(diff_id) => mender.mend_tar(diff_id),
            Thing::Tree(diff_id) => mender.mend_tree(diff_id),
            Thing::Name(name) => self.mend_name(name),
            Thing::CacheRecord(key, _) => self.mend_cache_record(key),
            Thing::Derived => self.mend_derived(&finding.place, go_on),
            Thing::Stray => self.mend_stray(&finding.place),
        }
    }

    /// Gives up what could neither be made again nor fetched: what is damaged is moved out of the way, and what counts on it
    /// learns that it is not there.
    ///
    /// # Errors
    /// If `go_on` fails, or the disk or the database does.
    pub fn give_up(&self, finding: &Finding, go_on: GoOn<'_>) -> Result<GivenUp, Error> {
        let lease = self.lease();
        match &finding.thing {
            Thing::Config(image) => self.give_up_document(image.digest()),
            Thing::Manifest(image, digest) => self.give_up_manifest(&lease, image, digest),
            Thing::Document(digest) => self.drop_document(digest),
            Thing::Compressed(diff_id, blob) => self.mender(&lease, go_on).give_up_compressed(diff_id, blob),
            Thing::Tar(diff_id) => self.give_up_tar(diff_id),
            Thing::Tree(diff_id) => self.give_up_tree(diff_id),
            _ => Ok(GivenUp::Lost { aside: None }),
        }
    }

    fn mender<'a>(&'a self, lease: &'a Lease, go_on: GoOn<'a>) -> Mender<'a> {
        Mender {
            store: self,
            lease,
            go_on,
        }
    }

    /// Takes note that a blob that was fetched is said to hold a layer.
    pub fn add_fetched_layer(
        &self,
        lease: &Lease,
        blob: &Digest,
        compression: mica_oci::Compression,
        diff_id: &DiffId,
    ) -> Result<(), Error> {
        let Some(blob) = self.blob(lease, blob)? else {
            return Err(Error::corrupt(blob, "it was fetched and is gone"));
        };
        self.add_layer_blob_unchecked(lease, &blob, compression, diff_id)?;
        Ok(())
    }
}
