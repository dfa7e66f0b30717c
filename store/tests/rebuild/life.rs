//! The store that is wrecked, and what it must be afterwards.
// each test file uses some of it
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use mica_oci::{Compression, Descriptor, DiffId, Digest, ImageId, Reference};
use mica_store::{Level, Rebuilt, Store, rebuild};
use tempfile::TempDir;

use crate::support::checks::{blob_in, find_nothing};
use crate::support::{
    Entry, config, descriptor, fast_folder, gzip, index, layer, manifest, name, noise, pull, tar, tree,
};

/// What must be the same after as before.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Seen {
    pub(crate) id: ImageId,
    pub(crate) names: Vec<Reference>,
    pub(crate) manifest: Descriptor,
    pub(crate) documents: Vec<Digest>,
    pub(crate) parent: Option<ImageId>,
    pub(crate) tagged: bool,
}

pub(crate) fn seen(store: &Store) -> Vec<Seen> {
    let lease = store.lease();
    let mut all: Vec<Seen> = store
        .images()
        .unwrap()
        .into_iter()
        .map(|image| Seen {
            id: image.id,
            manifest: image.manifest.clone(),
            documents: store.documents(&lease, &image.id).unwrap(),
            parent: image.parent,
            tagged: image.tagged_at.is_some(),
            names: image.references,
        })
        .collect();
    all.sort_by_key(|image| image.id);
    all
}

pub(crate) struct Life {
    pub(crate) folder: TempDir,
    pub(crate) before: Vec<Seen>,
    pub(crate) tar: DiffId,
    pub(crate) tree: DiffId,
    pub(crate) asleep: ImageId,
    pub(crate) asleep_blob: Digest,
    pub(crate) awake: DiffId,
    pub(crate) built: ImageId,
    pub(crate) unnamed: ImageId,
}

impl Life {
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root().join("mica/db.sqlite")
    }

    /// The bytes of the layer that is only a tar.
    pub(crate) fn tar_bytes(&self) -> Vec<u8> {
        made_bytes()
    }

    /// Has all of the database in its one file.
    pub(crate) fn merge_log(&self) {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        database.pragma_update(None, "journal_mode", "DELETE").unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        blob_in(self.root(), digest)
    }

    /// Makes the database again, opens the store and looks whether all is as it was.
    pub(crate) fn is_as_before(&self) -> Rebuilt {
        let rebuilt = again(self.root());
        let store = Store::open(self.root()).unwrap();
        assert_eq!(seen(&store), self.before);
        find_nothing(&store, Level::Trees);
        assert_eq!(rebuilt.images, self.before.len() as u64);
        assert!(
            rebuilt.lost.is_empty() && rebuilt.harmed.is_empty() && rebuilt.bad.is_empty(),
            "{rebuilt:?}"
        );
        self.goes_on(&store);
        rebuilt
    }

    /// Every layer can be used, and another image made.
    pub(crate) fn goes_on(&self, store: &Store) {
        let lease = store.lease();
        for image in store.images().unwrap() {
            for diff_id in &image.config.rootfs.diff_ids {
                store.tree(&lease, diff_id).unwrap();
                store.tar(&lease, diff_id).unwrap();
            }
        }
        let more = layer(store, &lease, &tar(&[Entry::File("more", b"more")]));
        let image = store
            .commit_image(&lease, &config("more", &[self.tar, more]), None, &[name("more")])
            .unwrap()
            .image;
        find_nothing(store, Level::Full);
        drop(lease);
        store.untag(&name("more")).unwrap();
        store.remove_image(&image.id).unwrap();
        store.collect().unwrap();
        find_nothing(store, Level::Full);
    }
}

pub(crate) fn again(root: &Path) -> Rebuilt {
    rebuild(root, &mut |_| ()).unwrap()
}

fn made_bytes() -> Vec<u8> {
    tar(&[Entry::File("made", &noise(1, 9000))])
}

/// A store with layers of every form, images with and without names, and what only the cache has.
pub(crate) fn life() -> Life {
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    let lease = store.lease();
    let [made, ran] = [layer(&store, &lease, &made_bytes()), tree(&store, &lease, "ran")];
    let base = store
        .commit_image(&lease, &config("base", &[made]), None, &[name("base")])
        .unwrap()
        .image;
    let all = [name("app:1"), name("app:2"), name("example.com/other/app")];
    let built = store
        .commit_image(&lease, &config("app", &[made, ran]), None, &all)
        .unwrap()
        .image;
    store.set_parent(&built.id, Some(&base.id)).unwrap();
    let unnamed = store
        .commit_image(&lease, &config("no name", &[made]), None, &[])
        .unwrap()
        .image;

    // one that nobody looked into; one whose layer is there in all forms
    let plain = |text: &str| tar(&[Entry::File("pulled", text.as_bytes())]);
    let id = |text: &str| DiffId(Digest::of(&plain(text)));
    let asleep = pull(&store, &lease, "asleep", id("asleep"), &gzip(&plain("asleep")));
    let awake = pull(&store, &lease, "awake", id("awake"), &gzip(&plain("awake")));
    let diff_id = awake.config.rootfs.diff_ids[0];
    store.tree(&lease, &diff_id).unwrap();
    store.tar(&lease, &diff_id).unwrap();

    // several platforms of one index
    let platforms = ["amd64", "arm64"].map(|platform| {
        let blob = store.put_blob(&lease, &gzip(&plain(platform))).unwrap();
        store
            .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &id(platform))
            .unwrap();
        let config = config(platform, &[id(platform)]);
        let own = manifest(&config, &[&blob]);
        (config, own)
    });
    let index = index(platforms.iter().map(|(_, own)| descriptor(own)).collect());
    for (config, own) in &platforms {
        let by_digest: Reference = format!("many@{}", own.digest()).parse().unwrap();
        let tag = name(&format!("many:{}", config.author));
        store
            .commit_pulled(
                &lease,
                config,
                own,
                std::slice::from_ref(&index),
                &[tag, by_digest],
            )
            .unwrap();
    }
    let before = seen(&store);
    Life {
        before,
        awake: diff_id,
        tar: made,
        tree: ran,
        asleep: asleep.id,
        asleep_blob: Digest::of(&gzip(&plain("asleep"))),
        built: built.id,
        unnamed: unnamed.id,
        folder,
    }
}
