//! A process killed at any point of any write leaves a store that opens, in which every image that was committed is whole and
//! nothing lies around. The kill is real: the test starts itself as a child that aborts at the named point.
#![cfg(debug_assertions)]
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mica_layer::Packed;
use mica_oci::media::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use mica_oci::{
    CacheKey, Compression, ContentDigest, Descriptor, DiffId, Digest, ImageId, Index, Manifest, Raw,
    Reference,
};
use mica_store::{CacheMount, Error, FAILPOINTS, Growth, Lease, Seed, Sharing, Store};
use support::{
    Entry, blob_files, cache_record, config, descriptor, fast_folder, gzip, index, layer, manifest, name,
    names, noise, scratch_files, tar,
};

const ROOT: &str = "MICA_CRASH_ROOT";
const LOG: &str = "MICA_CRASH_LOG";
/// How long the trash may take to be emptied.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the child has been told is done, or is about to be undone.
struct Log(std::fs::File);

impl Log {
    fn say(&mut self, what: &str, name: &str, id: &ImageId) {
        writeln!(self.0, "{what} {name} {}", id.digest().hex()).unwrap();
    }
}

/// The child: does one of everything. Does nothing unless it was started by the test below.
#[test]
fn child() {
    let (Ok(root), Ok(log)) = (std::env::var(ROOT), std::env::var(LOG)) else {
        return;
    };
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let store = Store::open(Path::new(&root)).unwrap();
    live(&store, &mut Log(log));
    assert!(store.wait_for_room(PATIENCE));
}

fn live(store: &Store, log: &mut Log) {
    let lease = store.lease();
    store.put_blob(&lease, b"loose").unwrap();
    let base = layer(store, &lease, &tar(&[Entry::File("base", b"base")]));

    // an image of tars, with a cache record
    let a = store
        .commit_image(&lease, &config("a", &[base]), None, &[name("a")])
        .unwrap();
    log.say("has", "a", &a.image.id);
    let record = cache_record(base, "COPY");
    store
        .remember(&lease, &CacheKey(Digest::of(b"key")), &record)
        .unwrap();

    // one whose layer is a tree only
    let tree = add_tree(store, &lease);
    let b = store
        .commit_image(&lease, &config("b", &[base, tree]), None, &[name("b")])
        .unwrap();
    log.say("has", "b", &b.image.id);

    // one that was pulled: a compressed layer, unpacked afterwards
    let plain = tar(&[Entry::File("pulled", b"pulled")]);
    let (config_c, manifest, diff_id) = pulled(&plain);
    let blob = store.put_blob(&lease, &gzip(&plain)).unwrap();
    store
        .add_layer_blob(&lease, &blob, Compression::Gzip, &diff_id)
        .unwrap();
    let c = store
        .commit_image(&lease, &config_c, Some(&manifest), &[name("c"), name("d")])
        .unwrap();
    log.say("has", "c", &c.image.id);
    log.say("has", "d", &c.image.id);
    store.tree(&lease, &diff_id).unwrap();
    store.tar(&lease, &diff_id).unwrap();

    from_a_registry(store, &lease, log);

    // names move and go, images go
    log.say("loses", "d", &c.image.id);
    store.tag(&name("d"), &a.image.id).unwrap();
    log.say("has", "d", &a.image.id);
    let own = layer(store, &lease, &tar(&[Entry::File("own", b"own")]));
    let e = store
        .commit_image(&lease, &config("e", &[base, own]), None, &[name("e")])
        .unwrap();
    drop(lease);
    log.say("has", "e", &e.image.id);
    log.say("loses", "e", &e.image.id);
    store.untag(&name("e")).unwrap();
    store.remove_image(&e.image.id).unwrap();
    log.say("lacks", "e", &e.image.id);
    store.prune_cache(&mut |_| true).unwrap();
    store.collect().unwrap();
    mounts(store);
}

/// A cache mount that begins with something, one that does not, and their end.
fn mounts(store: &Store) {
    let mut fill = |place: &Path| {
        std::fs::write(place.join("half"), "half").unwrap();
        std::fs::write(place.join("whole"), "whole").unwrap();
        Ok(())
    };
    for (name, fill) in [
        ("seeded", Some(&mut fill as &mut Seed<'_, Error>)),
        ("empty", None),
    ] {
        let mount = CacheMount {
            key: CacheKey(Digest::of(name.as_bytes())),
            name: name.to_owned(),
            mode: None,
            owner: None,
        };
        store
            .cache_mount(&mount, Sharing::Locked, fill, &mut || Ok(()))
            .unwrap();
    }
    store.prune_mounts(&mut |mount| mount.name == "empty").unwrap();
}

/// Every cache mount is whole, and nothing else lies beside them.
fn check_mounts(root: &Path, store: &Store) -> Result<(), String> {
    let entries = store.mount_entries().unwrap();
    let known: BTreeSet<String> = entries.iter().map(|entry| entry.id.digest().hex()).collect();
    let folder = root.join("mica/mounts");
    let there = if folder.is_dir() {
        names(&folder)
    } else {
        BTreeSet::new()
    };
    if there != known {
        return Err(format!("cache mounts {there:?}, known are {known:?}"));
    }
    for entry in entries.iter().filter(|entry| entry.name == "seeded") {
        let inside = names(&folder.join(entry.id.digest().hex()).join("fs"));
        if inside.len() != 2 {
            return Err(format!("a cache mount holds {inside:?}"));
        }
    }
    Ok(())
}

/// A layer's tar, and what its download gives: so long that half of it is kept.
fn download() -> &'static (Vec<u8>, Vec<u8>) {
    static DOWNLOAD: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    DOWNLOAD.get_or_init(|| {
        let rest = noise(1, 9 << 18);
        let plain = tar(&[Entry::File("lazy", b"lazy"), Entry::File("rest", &rest)]);
        let packed = gzip(&plain);
        (plain, packed)
    })
}

/// An image that comes in pieces, is not looked into at first, has indexes, and is sent somewhere else.
fn from_a_registry(store: &Store, lease: &Lease, log: &mut Log) {
    let (plain, packed) = download();
    let (digest, size, half) = (Digest::of(packed), packed.len() as u64, packed.len() / 2);
    let mut partial = store.partial(lease, &digest, size).unwrap();
    let known = partial.offset() as usize;
    assert!(known <= packed.len());
    partial
        .write_at(half as u64 + 100_000, &packed[half + 100_000..])
        .unwrap();
    partial.write_at(0, &packed[..half]).unwrap();
    drop(partial);
    let mut partial = store.partial(lease, &digest, size).unwrap();
    // but for the blocks at the edges of what was missing
    assert!(partial.offset() + (64 << 10) >= half as u64);
    let missing = partial.missing();
    let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
    assert!(bytes <= 512 << 10, "{missing:?}");
    for range in missing {
        let (from, to) = (range.start as usize, range.end as usize);
        partial.write_at(range.start, &packed[from..to]).unwrap();
    }
    let blob = partial.commit().unwrap();

    let diff_id = DiffId(Digest::of(plain));
    store
        .add_layer_blob_unchecked(lease, &blob, Compression::Gzip, &diff_id)
        .unwrap();
    let config = config("lazy", &[diff_id]);
    let own = manifest(&config, &[&blob]);
    let index = index(vec![descriptor(&own)]);
    let image = store
        .commit_pulled(lease, &config, &own, &[index], &[name("lazy")])
        .unwrap()
        .image;
    log.say("has", "lazy", &image.id);
    store
        .add_sources(&[digest], &name("lazy").repository, &digest)
        .unwrap();
    // somebody lies about the same layer
    let lie = store.put_blob(lease, &gzip(b"lie")).unwrap();
    match store.add_layer_blob_unchecked(lease, &lie, Compression::Gzip, &diff_id) {
        Ok(_) => {}
        // in the second life
        Err(Error::FalseClaim { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    store.tree(lease, &diff_id).unwrap();

    let zstd = store
        .compress_layer(lease, &diff_id, Compression::Zstd, 1, &Growth::new())
        .unwrap();
    let mut pushed = own.value().clone();
    pushed.layers = vec![Descriptor::new(OCI_LAYER_ZSTD, zstd.digest, zstd.size)];
    store
        .commit_pulled(lease, &config, &Raw::of(pushed).unwrap(), &[], &[name("pushed")])
        .unwrap();
    log.say("has", "pushed", &image.id);
}

fn add_tree(store: &Store, lease: &mica_store::Lease) -> DiffId {
    let bytes = tar(&[Entry::File("tree", b"tree")]);
    let work = store.work(lease).unwrap();
    let dir = work.path().join("upper");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("tree"), b"tree").unwrap();
    let packed = Packed {
        diff_id: DiffId(Digest::of(&bytes)),
        size: bytes.len() as u64,
        content: ContentDigest(Digest::of(b"tree")),
    };
    store.add_layer_tree(lease, &dir, &packed).unwrap().diff_id
}

fn pulled(plain: &[u8]) -> (Raw<mica_oci::ImageConfig>, Raw<Manifest>, DiffId) {
    let diff_id = DiffId(Digest::of(plain));
    let config = config("c", &[diff_id]);
    let packed = gzip(plain);
    let manifest = Manifest::new(
        Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64),
        vec![Descriptor::new(
            OCI_LAYER_GZIP,
            Digest::of(&packed),
            packed.len() as u64,
        )],
    );
    (config, Raw::of(manifest).unwrap(), diff_id)
}

#[test]
fn a_kill_at_any_point_loses_nothing_that_was_committed() {
    let mut kills = 0;
    for point in FAILPOINTS {
        let mut count = 1;
        while killed(point, count) {
            count += 1;
            kills += 1;
        }
        assert!(count > 1, "{point} is never reached");
    }
    println!("{kills} kills");
}

/// Runs the child until the n-th time it comes to a point; false if it ended before.
fn killed(point: &str, count: usize) -> bool {
    // a killed process loses nothing that it wrote, so memory will do
    let folder = fast_folder();
    let (root, log) = (folder.path().join("store"), folder.path().join("log"));
    let run = |failpoint: Option<String>| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "child", "--nocapture"])
            .env(ROOT, &root)
            .env(LOG, &log);
        if let Some(failpoint) = failpoint {
            child.env("MICA_FAILPOINT", failpoint);
        }
        child
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    };
    let output = run(Some(format!("{point}:{count}")));
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&output.status),
            Some(6),
            "{point}:{count}: {text}"
        );
    }
    let promised = std::fs::read_to_string(&log).unwrap_or_default();
    check(&root, &promised).unwrap_or_else(|error| panic!("{point}:{count}: {error}"));
    // and the next one can do all of it again
    assert!(run(None).status.success());
    !output.status.success()
}

/// Whatever is left of a download can be gone on with.
fn go_on(root: &Path, store: &Store) -> Result<(), String> {
    let (_, packed) = download();
    let digest = Digest::of(packed);
    let left = names(&root.join("mica/partial"));
    if left.iter().any(|name| *name != digest.hex()) {
        return Err(format!("partial blobs of nobody: {left:?}"));
    }
    let lease = store.lease();
    let mut partial = store.partial(&lease, &digest, packed.len() as u64).unwrap();
    let from = partial.offset();
    partial.write_at(from, &packed[from as usize..]).unwrap();
    match partial.commit() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("a download cannot be gone on with at {from}: {error}")),
    }
}

/// What must be so after any kill.
fn check(root: &Path, promised: &str) -> Result<(), String> {
    let store = Store::open(root).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut named: BTreeMap<Reference, Option<ImageId>> = BTreeMap::new();
    for line in promised.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let id = ImageId(Digest::from_hex(words[2]).unwrap());
        match words[0] {
            "has" => named.insert(name(words[1]), Some(id)),
            // in between, either is right
            "loses" => named.remove(&name(words[1])),
            _ => named.insert(name(words[1]), None),
        };
    }
    check_mounts(root, &store)?;
    for (name, id) in &named {
        let found = store.resolve(name).unwrap();
        if found != *id {
            return Err(format!("{name} leads to {found:?}, not to {id:?}"));
        }
    }
    let lease = store.lease();
    let mut blobs: BTreeSet<String> = BTreeSet::new();
    let mut trees: BTreeSet<String> = BTreeSet::new();
    let mut layers: BTreeSet<DiffId> = store
        .cache_entries()
        .unwrap()
        .iter()
        .map(|entry| entry.record.layer)
        .collect();
    for image in store.images().unwrap() {
        let manifest = store
            .blob(&lease, &image.manifest.digest)
            .unwrap()
            .ok_or("a manifest is gone")?;
        let manifest =
            Raw::<Manifest>::parse(&std::fs::read(manifest.path()).unwrap()).map_err(|e| e.to_string())?;
        blobs.extend([image.id.digest().hex(), image.manifest.digest.hex()]);
        for document in store.documents(&lease, &image.id).unwrap() {
            blobs.insert(document.hex());
            let kept = store
                .blob(&lease, &document)
                .unwrap()
                .ok_or("a document is gone")?;
            if Digest::of(&std::fs::read(kept.path()).unwrap()) != document {
                return Err("a document has other bytes".into());
            }
        }
        blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex()));
        layers.extend(&image.config.rootfs.diff_ids);
    }
    for diff_id in &layers {
        blobs.insert(diff_id.digest().hex());
        trees.insert(diff_id.digest().hex());
        store.layer(&lease, diff_id).unwrap().ok_or("a layer is gone")?;
        let view = store
            .view(&lease, diff_id)
            .map_err(|error| format!("{diff_id} cannot be read: {error}"))?;
        let names = view.names(&mica_layer::ImagePath::root()).unwrap();
        let content = view
            .open(&mica_layer::ImagePath::clamped(&names[0].name))
            .unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut content.reader(), &mut text).unwrap();
        if text.as_bytes() != names[0].name {
            return Err(format!("{diff_id} holds {text:?}"));
        }
    }
    for diff_id in &layers {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let blob = store.layer_blob(&lease, diff_id, compression).unwrap();
            blobs.extend(blob.map(|blob| blob.digest.hex()));
        }
    }
    // claims nobody found false yet lie there as long as the layer does
    blobs.insert(Digest::of(&gzip(b"lie")).hex());
    go_on(root, &store)?;
    let index = std::fs::read(root.join("index.json")).map_err(|error| error.to_string())?;
    let index = Raw::<Index>::parse(&index).map_err(|error| error.to_string())?;
    for descriptor in &index.manifests {
        let manifest = std::fs::read(root.join("blobs/sha256").join(descriptor.digest.hex()))
            .map_err(|e| e.to_string())?;
        let manifest = Raw::<Manifest>::parse(&manifest).map_err(|error| error.to_string())?;
        for layer in manifest.layers.iter().chain([&manifest.config]) {
            if !root.join("blobs/sha256").join(layer.digest.hex()).exists() {
                return Err(format!(
                    "index.json leads to {}, which is not there",
                    layer.digest
                ));
            }
        }
    }
    drop(lease);
    store.collect().unwrap();
    if !store.wait_for_room(PATIENCE) {
        return Err("the trash is not emptied".into());
    }
    drop(store);
    let strays: Vec<String> = blob_files(root)
        .difference(&blobs)
        .chain(names(&root.join("mica/trees")).difference(&trees))
        .chain(&scratch_files(root))
        .chain(&names(&root.join("mica/trash")))
        .chain(&names(&root.join("mica/partial")))
        .cloned()
        .collect();
    match strays.is_empty() {
        true => Ok(()),
        false => Err(format!("strays: {strays:?}")),
    }
}
