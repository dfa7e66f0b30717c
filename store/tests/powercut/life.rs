//! What a store goes through: builds, pulls, loads, names that move, images that go, caches and collections.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mica_layer::{
    Allowance, Policy, Root, TimePolicy, TreeWriter, XattrPolicy, apply, changes_of_tree, pack,
};
use mica_oci::{BuildId, CacheKey, Compression, ContentDigest, DiffId, Digest, ImageId, Reference};
use mica_store::archive::{load, save};
use mica_store::{CacheMount, CacheRecord, Error, Growth, Sharing, Store};

use crate::journal::Journal;
use crate::promise::Promise;
use crate::support::{Entry, cache_record, config, descriptor, gzip, index, manifest, name, noise, tar};

/// How many names each kind of step has: those of earlier rounds are moved.
const NAMES: usize = 3;

/// One thing that is done.
type Step = fn(&mut Life) -> Result<(), Error>;

/// The steps of one round, in order.
pub(crate) const STEPS: [(&str, Step); 11] = [
    ("build a tar", Life::build_tar),
    ("build a tree", Life::build_tree),
    ("pull", Life::pull),
    ("unpack", Life::unpack),
    ("compress", Life::compress),
    ("save and load", Life::load),
    ("cache", Life::cache),
    ("mount", Life::mount),
    ("move a name", Life::retag),
    ("remove", Life::remove),
    ("collect", Life::collect),
];

/// A store and what it was told.
pub(crate) struct Life {
    pub(crate) store: Store,
    journal: Arc<Journal>,
    round: usize,
    base: Option<DiffId>,
    built: Option<(Reference, ImageId, DiffId)>,
    pulled: Option<(Reference, ImageId, DiffId)>,
    /// An image that was saved and is not loaded yet.
    saved: Option<Vec<u8>>,
}

impl Life {
    /// Opens the store.
    pub(crate) fn begin(root: &Path, journal: Arc<Journal>) -> Result<Self, Error> {
        Ok(Self {
            store: Store::open(root)?,
            journal,
            round: 0,
            base: None,
            built: None,
            pulled: None,
            saved: None,
        })
    }

    /// Waits until all that was removed is gone, or it would be left to the next who opens the store.
    pub(crate) fn settle(&self) {
        assert!(self.store.wait_for_room(Duration::from_secs(60)));
    }

    /// Closes the store and opens it again.
    pub(crate) fn open_again(self, root: &Path) -> Result<Self, Error> {
        self.settle();
        drop(self.store);
        Ok(Self {
            store: Store::open(root)?,
            ..self
        })
    }

    /// What comes next is another round: other content, other names.
    pub(crate) fn enter(&mut self, round: usize) {
        self.round = round;
    }

    fn name(&self, kind: &str) -> Reference {
        name(&format!("{kind}{}", self.round % NAMES))
    }

    fn text(&self, kind: &str) -> String {
        format!("{kind} of round {}", self.round)
    }

    fn moving(&self, name: &Reference, to: Option<ImageId>) {
        self.journal.promise(Promise::Moving(name.clone(), to));
    }

    fn leads(&self, name: &Reference, to: Option<ImageId>) {
        if let Some(id) = to {
            self.journal.promise(Promise::Has(id));
        }
        self.journal.promise(Promise::Leads(name.clone(), to));
    }

    fn commit(&self, kind: &str, layers: &[DiffId]) -> Result<(Reference, ImageId), Error> {
        let (name, config) = (self.name(kind), config(&self.text(kind), layers));
        let id = ImageId(config.digest());
        self.moving(&name, Some(id));
        let lease = self.store.lease();
        self.store
            .commit_image(&lease, &config, None, std::slice::from_ref(&name))?;
        self.leads(&name, Some(id));
        Ok((name, id))
    }

    /// COPY: a tar that is packed here, and an image of it.
    pub(crate) fn build_tar(&mut self) -> Result<(), Error> {
        let lease = self.store.lease();
        let bytes = tar(&[
            Entry::Folder("etc/"),
            Entry::File("etc/motd", self.text("copied").as_bytes()),
            Entry::File("etc/noise", &noise(self.round as u64, 9000)),
        ]);
        let packed = mica_layer::Packed {
            diff_id: DiffId(Digest::of(&bytes)),
            size: bytes.len() as u64,
            content: ContentDigest(Digest::of(&bytes)),
        };
        let mut ingest = self.store.ingest_packed(&lease)?;
        let write = |source| Error::Io {
            action: "write a blob",
            source,
        };
        for piece in bytes.chunks(4096) {
            ingest.write_all(piece).map_err(write)?;
        }
        self.store.add_layer_tar(&lease, ingest, &packed)?;
        self.base = Some(packed.diff_id);
        self.commit("copied", &[packed.diff_id]).map(drop)
    }

    /// RUN: a tree that becomes a layer, and an image of it and of the tar.
    fn build_tree(&mut self) -> Result<(), Error> {
        let lease = self.store.lease();
        let work = self.store.work(&lease)?;
        let dir = work.path().join("upper");
        // as the sandbox makes it
        mica_layer::disk::make_folder(&dir, 0o755).map_err(|source| Error::Io {
            action: "make scratch space",
            source,
        })?;
        let wrong = |source| Error::Layer {
            action: "make",
            diff_id: DiffId(Digest::of(b"")),
            source,
        };
        let what = tar(&[
            Entry::Folder("run/"),
            Entry::File("run/a", self.text("ran").as_bytes()),
            Entry::File("run/b", &noise(self.round as u64 + 500, 5000)),
            Entry::Hardlink("run/c", "run/a"),
            Entry::Symlink("run/d", "a"),
            Entry::File(".wh.gone", b""),
        ]);
        let tree = TreeWriter::new(Root::open(&dir).map_err(wrong)?);
        apply(&what[..], tree).map_err(wrong)?;
        let policy = Policy {
            xattrs: XattrPolicy::CapabilityOnly,
            times: TimePolicy::Seconds,
            clamp: None,
        };
        let changes =
            changes_of_tree(&dir, policy.xattrs, Allowance::default(), &|| Ok(())).map_err(wrong)?;
        let packed = pack(&changes, &policy, &mut std::io::sink(), None).map_err(wrong)?;
        self.store.add_layer_tree(&lease, &dir, &packed)?;
        let base = self.base.into_iter().collect::<Vec<_>>();
        let layers = [&base[..], &[packed.diff_id]].concat();
        let (name, id) = self.commit("ran", &layers)?;
        self.built = Some((name, id, packed.diff_id));
        Ok(())
    }

    /// A pull: a blob in pieces, broken off once; nobody looks into it.
    fn pull(&mut self) -> Result<(), Error> {
        let lease = self.store.lease();
        let plain = tar(&[
            Entry::File("pulled", self.text("pulled").as_bytes()),
            Entry::File("noise", &noise(self.round as u64 + 1000, 20_000)),
        ]);
        let packed = gzip(&plain);
        let (digest, size, half) = (Digest::of(&packed), packed.len() as u64, packed.len() / 2);
        let mut partial = self.store.partial(&lease, &digest, size)?;
        partial.write_at(half as u64 + 100, &packed[half + 100..])?;
        drop(partial);
        let mut partial = self.store.partial(&lease, &digest, size)?;
        partial.write_at(0, &packed[..half])?;
        partial.write_at(half as u64, &packed[half..])?;
        let blob = partial.commit()?;
        let diff_id = DiffId(Digest::of(&plain));
        self.store
            .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &diff_id)?;
        let config = config(&self.text("pulled"), &[diff_id]);
        let own = manifest(&config, &[&blob]);
        let index = index(vec![descriptor(&own)]);
        let (name, id) = (self.name("pulled"), ImageId(config.digest()));
        self.moving(&name, Some(id));
        self.store
            .commit_pulled(&lease, &config, &own, &[index], std::slice::from_ref(&name))?;
        self.leads(&name, Some(id));
        self.store.add_sources(&[digest], &name.repository, &digest)?;
        self.pulled = Some((name, id, diff_id));
        Ok(())
    }

    fn unpack(&mut self) -> Result<(), Error> {
        let Some((_, _, diff_id)) = &self.pulled else {
            return Ok(());
        };
        self.store.tree(&self.store.lease(), diff_id).map(drop)
    }

    fn compress(&mut self) -> Result<(), Error> {
        let Some((_, _, diff_id)) = &self.built else {
            return Ok(());
        };
        let lease = self.store.lease();
        self.store
            .compress_layer(&lease, diff_id, Compression::Zstd, 1, &Growth::new())
            .map(drop)
    }

    /// An image leaves, and comes back as an archive.
    fn load(&mut self) -> Result<(), Error> {
        let Some((name, id, _)) = self.built.clone() else {
            return Ok(());
        };
        if self.saved.is_none()
            && let Some(image) = self.store.image(&id)?
        {
            let mut archive = Vec::new();
            let image = [(image, vec![name.clone()])];
            save(&self.store, &self.store.lease(), &image, &mut archive)?;
            self.saved = Some(archive);
        }
        let Some(archive) = self.saved.clone() else {
            return Ok(());
        };
        if self.store.resolve(&name)? == Some(id) {
            self.moving(&name, None);
            self.store.untag(&name)?;
            self.leads(&name, None);
        }
        if self
            .store
            .image(&id)?
            .is_some_and(|image| image.references.is_empty())
        {
            self.journal.promise(Promise::Removing(id));
            self.store.remove_image(&id)?;
            self.journal.promise(Promise::Gone(id));
        }
        self.moving(&name, Some(id));
        load(
            &self.store,
            &self.store.lease(),
            Box::new(Cursor::new(archive)),
            &mut |_| (),
        )?;
        self.leads(&name, Some(id));
        self.saved = None;
        Ok(())
    }

    /// A record of the build cache that fills a page.
    pub(crate) fn remember_much(&mut self, number: usize) -> Result<(), Error> {
        let lease = self.store.lease();
        let Some(layer) = self.base else { return Ok(()) };
        let record = cache_record(layer, &"much ".repeat(700));
        let key = CacheKey(Digest::of(format!("much {number}").as_bytes()));
        self.store.remember(&lease, &key, &record)
    }

    fn cache(&mut self) -> Result<(), Error> {
        let Some((_, _, diff_id)) = &self.built else {
            return Ok(());
        };
        let lease = self.store.lease();
        let key = CacheKey(Digest::of(self.text("key").as_bytes()));
        let record = CacheRecord {
            content: ContentDigest(Digest::of(self.text("content").as_bytes())),
            ..cache_record(*diff_id, &self.text("RUN"))
        };
        self.store.remember(&lease, &key, &record)?;
        // a layer that only the cache keeps
        let bytes = tar(&[Entry::File("cached", self.text("cached").as_bytes())]);
        let packed = mica_layer::Packed {
            diff_id: DiffId(Digest::of(&bytes)),
            size: bytes.len() as u64,
            content: ContentDigest(Digest::of(&bytes)),
        };
        let mut ingest = self.store.ingest(&lease)?;
        ingest.write_all(&bytes).map_err(|source| Error::Io {
            action: "write a blob",
            source,
        })?;
        let layer = self.store.add_layer_tar(&lease, ingest, &packed)?.diff_id;
        let key = CacheKey(Digest::of(self.text("other key").as_bytes()));
        self.store
            .remember(&lease, &key, &CacheRecord { layer, ..record })?;
        self.store.cached(&lease, &key)?;
        drop(lease);
        if self.round % 3 == 2 {
            self.store.prune_cache(&mut |entry| entry.use_count < 1)?;
        }
        Ok(())
    }

    fn mount(&mut self) -> Result<(), Error> {
        let name = format!("mount{}", self.round % NAMES);
        let mount = CacheMount {
            key: CacheKey(Digest::of(name.as_bytes())),
            name: name.clone(),
            mode: Some(0o750),
            owner: Some((1000, 1000)),
        };
        let held = self
            .store
            .cache_mount::<Error>(&mount, Sharing::Locked, None, &mut || Ok(()))?;
        drop(held);
        self.journal.promise(Promise::Mount(name));
        if self.round % 2 == 1 {
            let last = format!("mount{}", (self.round + NAMES - 1) % NAMES);
            self.journal.promise(Promise::Unmounting(last.clone()));
            self.store.prune_mounts(&mut |mount| mount.name == last)?;
        }
        self.store.create_log(&BuildId::fresh()).map(drop)
    }

    fn retag(&mut self) -> Result<(), Error> {
        let Some((_, id, _)) = &self.built else {
            return Ok(());
        };
        let name = name("latest");
        self.moving(&name, Some(*id));
        self.store.tag(&name, id)?;
        self.leads(&name, Some(*id));
        Ok(())
    }

    /// The image pulled in this round goes, in every second one; and all that lost their names.
    fn remove(&mut self) -> Result<(), Error> {
        if self.round % 2 == 1
            && let Some((name, id, _)) = self.pulled.clone()
            && self.store.resolve(&name)? == Some(id)
        {
            self.moving(&name, None);
            self.store.untag(&name)?;
            self.leads(&name, None);
        }
        for image in self.store.images()? {
            if image.references.is_empty() {
                self.journal.promise(Promise::Removing(image.id));
                self.store.remove_image(&image.id)?;
                self.journal.promise(Promise::Gone(image.id));
            }
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Error> {
        self.store.collect()?;
        self.store.disk_usage()?;
        if self.round % 2 == 1 {
            self.store.shrink_anyway()?;
        }
        if self.round % 3 == 2 {
            self.store.forget_notes()?;
        }
        Ok(())
    }
}
