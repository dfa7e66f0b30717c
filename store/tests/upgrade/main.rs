//! Stores that earlier versions wrote: each opens, holds all that it held, and goes on living.
//!
//! `tests/data/store-vN.tar.zst` is the N-th that was kept, `store-vN.txt` what was in it, as [`listed`] tells it.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod schema;
#[path = "../support/mod.rs"]
mod support;
mod unpack;
mod write;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use mica_layer::decompress;
use mica_oci::{Compression, DiffId, Digest};
use mica_store::archive::save;
use mica_store::{Error, Growth, Lease, Level, Store};
use support::checks::find_nothing;
use support::{Entry, config, layer, name, names, store, tar};
use write::{disputed, download, fingerprint, lie};

/// The number of the store that is kept of what is written today: one more with each table, trigger, feature word or version.
const TODAY: u32 = 2;
/// Before lines of what is gone once the machine was restarted.
const LOOSE: &str = "loose: ";
const KEY: &str = "a client's folder";
const REGISTRY: &str = "registry.example";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The stores there are.
fn stores() -> Vec<PathBuf> {
    let is_store = |path: &PathBuf| path.to_string_lossy().ends_with(".tar.zst");
    let entries = std::fs::read_dir(data()).unwrap();
    let mut stores: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(is_store)
        .collect();
    stores.sort();
    assert!(stores.len() >= TODAY as usize, "{stores:?}");
    stores
}

/// What is said of a store to be in it.
fn list_of(store: &Path) -> String {
    let list = store.to_string_lossy().replace(".tar.zst", ".txt");
    std::fs::read_to_string(list).unwrap()
}

fn unpacked(archive: &Path) -> tempfile::TempDir {
    let folder = support::fast_folder();
    let mut bytes = Vec::new();
    let (mut plain, _) = decompress(std::fs::File::open(archive).unwrap()).unwrap();
    plain.read_to_end(&mut bytes).unwrap();
    unpack::unpack(&bytes, folder.path());
    folder
}

/// Lets a store believe that it was written since this machine was started.
fn without_restart(root: &Path) {
    let database = rusqlite::Connection::open(root.join("mica/db.sqlite")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let change = "UPDATE meta SET value = ?1 WHERE key = 'boot'";
    assert_eq!(database.execute(change, [boot.trim()]).unwrap(), 1);
}

/// The closest look that is possible: files of trees have another owner where root does not unpack them.
fn closest() -> Level {
    match rustix::process::geteuid().is_root() {
        true => Level::Trees,
        false => Level::Full,
    }
}

fn sum(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), Digest::of(bytes))
}

/// Everything below a folder, with its length.
fn files(root: &Path, folder: &str, out: &mut BTreeSet<String>) {
    for file in names(&root.join(folder)) {
        let place = format!("{folder}/{file}");
        let meta = std::fs::symlink_metadata(root.join(&place)).unwrap();
        match meta.is_dir() {
            true => {
                out.insert(format!("file {place}/"));
                files(root, &place, out);
            }
            false => {
                out.insert(format!("file {place} {}", meta.len()));
            }
        }
    }
}

/// All that a store holds, a line for each thing.
fn listed(store: &Store) -> BTreeSet<String> {
    let (lease, mut out, mut layers) = (store.lease(), BTreeSet::new(), BTreeSet::new());
    for image in store.images().unwrap() {
        let id = image.id;
        let manifest = store.manifest(&image).unwrap();
        out.insert(format!(
            "image {id} created {:?} size {} tagged {:?} parent {:?} manifest {} {} {}",
            image.created,
            image.size,
            image.tagged_at,
            image.parent,
            image.manifest.media_type,
            manifest.digest(),
            manifest.bytes().len(),
        ));
        for name in &image.references {
            out.insert(format!("name {name} of {id}"));
        }
        for document in store.documents(&lease, &id).unwrap() {
            out.insert(format!("document {document} of {id}"));
        }
        layers.extend(image.config.rootfs.diff_ids.iter().copied());
    }
    for entry in store.image_entries().unwrap() {
        out.insert(format!(
            "summary {} created {:?} labels {:?}",
            entry.id, entry.created, entry.labels
        ));
    }
    for entry in store.cache_entries().unwrap() {
        layers.insert(entry.record.layer);
        out.insert(format!(
            "cache {} layer {} parent {} content {} made {} used {} times, last {}: {}",
            entry.key,
            entry.record.layer,
            entry.record.parent,
            entry.record.content,
            entry.record.created,
            entry.use_count,
            entry.last_used,
            entry.record.description,
        ));
    }
    for diff_id in &layers {
        let known = store.layer(&lease, diff_id).unwrap().unwrap();
        out.insert(format!(
            "layer {diff_id} size {} exact {} content {:?}",
            known.size,
            known.exact,
            known.content.map(|content| *content.digest())
        ));
    }
    for blob in names(&store.root().join("blobs/sha256")) {
        let digest = Digest::from_hex(&blob).unwrap();
        for (repository, account) in store.sources(&digest, REGISTRY).unwrap() {
            out.insert(format!("source {digest} {repository} {account}"));
        }
    }
    for entry in store.mount_entries().unwrap() {
        out.insert(format!(
            "mount {} key {} size {} made {} used {} times, last {}: {}",
            entry.id, entry.key, entry.size, entry.created, entry.use_count, entry.last_used, entry.name
        ));
    }
    for (key, inputs) in store.inputs_alike(&Digest::of(b"alike")).unwrap() {
        out.insert(format!("inputs {key} {}", String::from_utf8(inputs).unwrap()));
    }
    for log in store.logs().unwrap() {
        let mut bytes = Vec::new();
        store
            .log(&log.build)
            .unwrap()
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        out.insert(format!("log {} {}", log.build, sum(&bytes)));
    }
    let (bytes, digest) = download();
    let partial = store.partial(&lease, &digest, bytes.len() as u64).unwrap();
    out.insert(format!("partial {digest} {}", partial.offset()));
    let folder = store.open_client_folder(KEY);
    let known = folder.fingerprints().get(&fingerprint());
    out.insert(format!("fingerprint {:?} plain {}", known.digest, known.plain));
    out.insert(format!("lie {}", tells_lie(store, &lease)));
    for folder in [
        "blobs",
        "mica/trees",
        "mica/mounts",
        "mica/partial",
        "mica/contexts",
        "mica/logs",
    ] {
        files(store.root(), folder, &mut out);
    }
    out
}

/// Whether it is remembered that a blob does not hold the layer that an image said it holds.
fn tells_lie(store: &Store, lease: &Lease) -> bool {
    let blob = store.put_blob(lease, &lie()).unwrap();
    let told =
        store.add_layer_blob_unchecked(lease, &blob, Compression::Gzip, &DiffId(Digest::of(&disputed())));
    matches!(told, Err(Error::FalseClaim { .. }))
}

#[test]
fn a_store_of_every_version_opens_and_holds_all_that_it_held() {
    for archive in stores() {
        let list = list_of(&archive);
        let (loose, firm): (Vec<_>, Vec<_>) = list.lines().partition(|line| line.starts_with(LOOSE));
        assert!(!loose.is_empty() && firm.len() > 50);

        let folder = unpacked(&archive);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(
            schema::of(folder.path()),
            schema::today(),
            "{}: what came since is not made at open",
            archive.display()
        );
        let expected: BTreeSet<String> = firm.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(listed(&store), expected, "{}", archive.display());
        find_nothing(&store, closest());
        goes_on(&store);
        drop(store);
        find_nothing(&Store::open(folder.path()).unwrap(), closest());

        let folder = unpacked(&archive);
        without_restart(folder.path());
        let store = Store::open(folder.path()).unwrap();
        let bare = |line: &str| line.strip_prefix(LOOSE).unwrap_or(line).to_owned();
        assert_eq!(listed(&store), list.lines().map(bare).collect());
        find_nothing(&store, closest());
    }
}

/// Uses every layer, adds an image, tags, removes and collects.
fn goes_on(store: &Store) {
    let lease = store.lease();
    let images = store.images().unwrap();
    // only root gives files their owners
    if closest() == Level::Trees {
        for image in &images {
            for diff_id in &image.config.rootfs.diff_ids {
                store.tree(&lease, diff_id).unwrap();
                store.tar(&lease, diff_id).unwrap();
                store
                    .compress_layer(&lease, diff_id, Compression::Gzip, 1, &Growth::new())
                    .unwrap();
            }
            save(store, &lease, &[(image.clone(), vec![])], &mut std::io::sink()).unwrap();
        }
    }
    let below = &images
        .iter()
        .find(|image| image.references.len() > 2)
        .unwrap()
        .config
        .rootfs
        .diff_ids;
    let mut diff_ids = below.clone();
    diff_ids.push(layer(store, &lease, &tar(&[Entry::File("new", b"new")])));
    let new = config("new", &diff_ids);
    let new = store
        .commit_image(&lease, &new, None, &[name("new")])
        .unwrap()
        .image
        .id;
    let before = store.images().unwrap().len();
    for image in &images {
        assert_eq!(
            store.tag(&name("moving"), &image.id).unwrap().is_some(),
            image.id != images[0].id
        );
    }
    drop(lease);
    let usage = store.disk_usage().unwrap();
    assert!(usage.images > 0 && usage.mounts > 0, "{usage:?}");
    store.untag(&name("moving")).unwrap();
    let gone = &images
        .iter()
        .find(|image| image.references.is_empty())
        .unwrap()
        .id;
    store.remove_image(gone).unwrap();
    store.prune_cache(&mut |_| true).unwrap();
    store.prune_mounts(&mut |_| true).unwrap();
    store.collect().unwrap();
    assert_eq!(store.images().unwrap().len(), before - 1);
    assert_eq!(store.resolve(&name("new")).unwrap(), Some(new));
    find_nothing(store, closest());
}

#[test]
fn a_store_that_is_not_understood_is_refused_and_left_alone() {
    for (format, said) in [
        (
            r#"{"version":2,"features":{}}"#,
            "format version 2, this program knows version 1",
        ),
        (
            r#"{"version":1,"features":{"incompatible":["erofs"]}}"#,
            "the feature \"erofs\"",
        ),
        (
            r#"{"version":1,"features":{"readonly":["tiers"]}}"#,
            "the feature \"tiers\"",
        ),
        ("{\"version\":", "mica/format.json is damaged"),
    ] {
        let (folder, open) = store();
        layer(&open, &open.lease(), b"one");
        drop(open);
        std::fs::write(folder.path().join("mica/format.json"), format).unwrap();
        let mut before = BTreeSet::new();
        files(folder.path(), "blobs", &mut before);
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        let mut after = BTreeSet::new();
        files(folder.path(), "blobs", &mut after);
        assert_eq!(before, after);
    }
    // what may be ignored is
    let (folder, open) = store();
    drop(open);
    let format = r#"{"version":1,"features":{"compatible":["new-table"]}}"#;
    std::fs::write(folder.path().join("mica/format.json"), format).unwrap();
    Store::open(folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("mica/format.json")).unwrap(),
        format
    );
}
