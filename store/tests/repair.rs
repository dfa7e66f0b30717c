//! Stores that are damaged in every way, and what a repair makes of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mica_layer::{Policy, pack};
use mica_oci::{Compression, DiffId, Digest, Manifest, Raw, Repository};
use mica_store::{
    CheckEvent, Cure, Finding, GivenUp, Goods, Growth, Image, Lease, Level, Mending, Store, Thing, Watch,
};
use support::{Entry, config, gzip, layer, name, noise, pull, store, tar};
use tempfile::TempDir;

/// A registry: the blobs it has.
#[derive(Default)]
struct Registry(HashMap<Digest, Vec<u8>>);

/// What became of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Mended(Cure),
    Fetched,
    Left(String),
    Lost(Option<PathBuf>),
}

fn check(store: &Store, level: Level) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |event| {
        if let CheckEvent::Found(finding) = event {
            found.push(*finding);
        }
    };
    let mut watch = Watch {
        go_on: &|| Ok(()),
        tell: &mut tell,
    };
    store.check(level, &mut watch).unwrap();
    found
}

fn mend(store: &Store, finding: &Finding) -> Mending {
    store.mend(finding, &|| Ok(())).unwrap()
}

fn give_up(store: &Store, finding: &Finding) -> Fate {
    match store.give_up(finding, &|| Ok(())).unwrap() {
        GivenUp::Done(cure) => Fate::Mended(cure),
        GivenUp::Lost { aside } => Fate::Lost(aside),
    }
}

impl Registry {
    fn add(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.0.insert(digest, bytes.to_vec());
        digest
    }

    /// Mends all that a check finds, one thing after the other.
    fn repair(&self, store: &Store, level: Level) -> Vec<(Thing, Fate)> {
        let found = check(store, level);
        found
            .iter()
            .map(|finding| (finding.thing.clone(), self.one(store, finding)))
            .collect()
    }

    fn one(&self, store: &Store, finding: &Finding) -> Fate {
        let errands = match mend(store, finding) {
            Mending::Done(cure) => return Fate::Mended(cure),
            Mending::Left(reason) => return Fate::Left(reason),
            Mending::Fetch(errands) => errands,
        };
        for errand in errands {
            assert!(!errand.from.is_empty());
            let lease = store.lease();
            let digest = match &errand.goods {
                Goods::Document(digest) => *digest,
                Goods::Config(config) => config.digest,
                Goods::Layer(layer, _) => layer.digest,
            };
            let Some(bytes) = self.0.get(&digest) else {
                continue;
            };
            let blob = store.put_blob(&lease, bytes).unwrap();
            if let Goods::Layer(layer, diff_id) = &errand.goods {
                assert_eq!(layer.size, bytes.len() as u64);
                let compression = layer.media_type.layer_compression().unwrap();
                store
                    .add_fetched_layer(&lease, &blob.digest, compression, diff_id)
                    .unwrap();
            }
            drop(lease);
            assert!(matches!(mend(store, finding), Mending::Done(_)), "{finding}");
            return Fate::Fetched;
        }
        give_up(store, finding)
    }
}

/// One byte of a file, changed.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(3).unwrap();
}

fn delete(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// Something of another kind in its place.
fn displace(path: &Path) {
    delete(path);
    std::fs::create_dir(path).unwrap();
}

/// Each way to damage a file, by a name; deleted last.
const WAYS: [(&str, fn(&Path)); 4] = [
    ("flip", flip),
    ("cut", cut),
    ("displace", displace),
    ("delete", delete),
];

fn blob(store: &Store, digest: &Digest) -> PathBuf {
    store.root().join("blobs/sha256").join(digest.hex())
}

fn bad(store: &Store, name: &str) -> PathBuf {
    store.root().join("mica/bad").join(name)
}

/// Brings in an image of one layer as a pull does, with a manifest that cannot be made here.
fn bring(store: &Store, lease: &Lease, diff_id: DiffId, zipped: &[u8]) -> (Image, Raw<Manifest>) {
    let config = config("pulled", &[diff_id]);
    let kept = store.put_blob(lease, zipped).unwrap();
    store
        .add_layer_blob_unchecked(lease, &kept, Compression::Gzip, &diff_id)
        .unwrap();
    let mut manifest = (*support::manifest(&config, &[&kept])).clone();
    manifest
        .annotations
        .insert("made".to_owned(), "elsewhere".to_owned());
    let manifest = Raw::of(manifest).unwrap();
    let committed = store.commit_pulled(lease, &config, &manifest, &[], &[name("pulled")]);
    (committed.unwrap().image, manifest)
}

/// An image that was pulled, with all that it is made of, and the registry it came from.
struct World {
    _folder: TempDir,
    store: Store,
    registry: Registry,
    pulled: Image,
    diff_id: DiffId,
    compressed: Digest,
}

impl World {
    fn new() -> Self {
        let (folder, store) = store();
        let lease = store.lease();
        let plain = tar(&[Entry::File("a", &noise(3, 3000)), Entry::Folder("d")]);
        let (diff_id, zipped) = (DiffId(Digest::of(&plain)), gzip(&plain));
        let (pulled, manifest) = bring(&store, &lease, diff_id, &zipped);
        let mut registry = Registry::default();
        let compressed = registry.add(&zipped);
        registry.add(pulled.config.bytes());
        registry.add(manifest.bytes());
        let from: Repository = name("registry.test/team/app").repository;
        let all = [compressed, *pulled.id.digest(), pulled.manifest.digest];
        store.add_sources(&all, &from, &Digest::of(b"nobody")).unwrap();
        drop(lease);
        Self {
            _folder: folder,
            store,
            registry,
            pulled,
            diff_id,
            compressed,
        }
    }

    /// The same store, opened again: nothing is in memory.
    fn again(self) -> Self {
        let root = self.store.root().to_owned();
        drop(self.store);
        Self {
            store: Store::open(&root).unwrap(),
            ..self
        }
    }
}

/// A layer that was made here, as a tree.
fn tree(store: &Store, lease: &Lease, text: &str) -> DiffId {
    let work = store.work(lease).unwrap();
    let dir = work.path().join("fs");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), text).unwrap();
    let changes = mica_layer::changes_of_tree(&dir).unwrap();
    let packed = pack(&changes, &Policy::default(), &mut std::io::sink(), None).unwrap();
    store.add_layer_tree(lease, &dir, &packed).unwrap().diff_id
}

fn file_of(store: &Store, diff_id: &DiffId, file: &str) -> PathBuf {
    let trees = store.root().join("mica/trees");
    trees.join(diff_id.digest().hex()).join("fs").join(file)
}

#[test]
fn what_came_from_a_registry_is_fetched_from_there_again() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        let manifest = world.pulled.manifest.digest;
        let things = [
            Thing::Config(world.pulled.id),
            Thing::Manifest(world.pulled.id, manifest),
            Thing::Compressed(world.diff_id, world.compressed),
        ];
        for thing in &things {
            let digest = thing.digest().unwrap();
            let path = blob(&world.store, &digest);
            damage(&path);
            let mended = world.registry.repair(&world.store, Level::Full);
            assert_eq!(mended, [(thing.clone(), Fate::Fetched)], "{way}");
            assert_eq!(check(&world.store, Level::Trees), [], "{way} {thing}");
            assert_eq!(std::fs::read(&path).unwrap(), world.registry.0[&digest]);
            let kept = bad(&world.store, &digest.hex());
            assert_eq!(kept.exists(), way != "delete", "{way} {thing}");
        }
        // what was set aside stays
        let world = world.again();
        let kept = bad(&world.store, &manifest.hex());
        assert_eq!(kept.exists(), way != "delete", "{way}");
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn a_tar_is_made_again_of_whatever_else_is_there() {
    for (way, damage) in WAYS {
        let world = World::new();
        world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
        let path = blob(&world.store, world.diff_id.digest());
        damage(&path);
        let expected = (Thing::Tar(world.diff_id), Fate::Mended(Cure::MadeAgain));
        // nobody is asked
        let nowhere = Registry::default();
        assert_eq!(
            nowhere.repair(&world.store, Level::Full),
            [expected.clone()],
            "{way}"
        );
        assert_eq!(check(&world.store, Level::Full), [], "{way}");
        assert_eq!(
            Digest::of(&std::fs::read(&path).unwrap()),
            *world.diff_id.digest()
        );
        // of a tree too, and then it is durable
        let lease = world.store.lease();
        let made = tree(&world.store, &lease, "made here");
        let image = config("built", &[made]);
        world
            .store
            .commit_image(&lease, &image, None, &[name("built")])
            .unwrap();
        world.store.tar(&lease, &made).unwrap();
        drop(lease);
        damage(&blob(&world.store, made.digest()));
        let mended = nowhere.repair(&world.store, Level::Full);
        assert_eq!(
            mended,
            [(Thing::Tar(made), Fate::Mended(Cure::MadeAgain))],
            "{way}"
        );
        let root = world.store.root().to_owned();
        drop(world.store);
        let store = support::restart(&root);
        assert_eq!(check(&store, Level::Trees), [], "{way}");
        assert!(blob(&store, made.digest()).exists());
    }
}

#[test]
fn a_tar_that_nothing_else_holds_is_set_aside_and_named_and_built_again() {
    let (_folder, store) = store();
    let lease = store.lease();
    let bytes = noise(1, 3 << 20);
    let made = layer(&store, &lease, &bytes);
    let image = config("built", &[made]);
    let built = store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap()
        .image;
    drop(lease);
    flip(&blob(&store, made.digest()));
    let found = check(&store, Level::Full);
    assert_eq!(found[0].harms[0].image, built.id);
    assert_eq!(found[0].harms[0].names, [name("built")]);
    let aside = bad(&store, &made.digest().hex());
    let nowhere = Registry::default();
    assert_eq!(
        nowhere.repair(&store, Level::Full),
        [(Thing::Tar(made), Fate::Lost(Some(aside.clone())))]
    );
    assert!(aside.exists() && !blob(&store, made.digest()).exists());
    // it stays broken, and is named by every check
    let again = check(&store, Level::Quick);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].thing, Thing::Layer(made));
    assert_eq!(again[0].harms[0].names, [name("built")]);
    let lease = store.lease();
    store.tar(&lease, &made).unwrap_err();
    store
        .commit_image(&lease, &config("other", &[made]), None, &[])
        .unwrap_err();
    // whoever makes it again mends it
    layer(&store, &lease, &bytes);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    assert_eq!(check(&store, Level::Full), []);
}

#[test]
fn a_compressed_blob_that_was_made_here_is_made_here_again() {
    for (way, damage) in WAYS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (_folder, store) = store();
            let lease = store.lease();
            let made = layer(&store, &lease, &noise(1, 5 << 20));
            let growth = Growth::new();
            let kept = store
                .compress_layer(&lease, &made, compression, 2, &growth)
                .unwrap();
            let image = config("built", &[made]);
            store
                .commit_image(&lease, &image, None, &[name("built")])
                .unwrap();
            drop(lease);
            damage(kept.path());
            let mended = Registry::default().repair(&store, Level::Full);
            let expected = (
                Thing::Compressed(made, kept.digest),
                Fate::Mended(Cure::MadeAgain),
            );
            assert_eq!(mended, [expected], "{way}");
            assert_eq!(check(&store, Level::Full), [], "{way}");
        }
    }
}

#[test]
fn a_compressed_blob_nobody_has_is_done_without_where_the_layer_is_there() {
    for (way, damage) in WAYS {
        let world = World::new();
        // the tar is not durable yet, and has to become so first
        world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
        damage(&blob(&world.store, &world.compressed));
        let thing = Thing::Compressed(world.diff_id, world.compressed);
        let mended = Registry::default().repair(&world.store, Level::Full);
        assert_eq!(mended, [(thing, Fate::Mended(Cure::Dropped))], "{way}");
        assert_eq!(check(&world.store, Level::Full), [], "{way}");
        // a pull brings it again
        assert!(!world.store.is_image_whole(&world.pulled.id).unwrap());
        let root = world.store.root().to_owned();
        drop(world.store);
        let store = support::restart(&root);
        assert_eq!(check(&store, Level::Full), [], "{way}");
        assert!(store.layer(&store.lease(), &world.diff_id).unwrap().is_some());
    }
}

#[test]
fn a_compressed_blob_nobody_has_takes_its_layer_with_it_until_it_is_pulled_again() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        damage(&blob(&world.store, &world.compressed));
        let thing = Thing::Compressed(world.diff_id, world.compressed);
        let aside = (way != "delete").then(|| bad(&world.store, &world.compressed.hex()));
        let nowhere = Registry::default();
        let mended = nowhere.repair(&world.store, Level::Full);
        assert_eq!(mended, [(thing, Fate::Lost(aside))], "{way}");
        world.store.collect().unwrap();
        let found = check(&world.store, Level::Quick);
        assert_eq!(found[0].thing, Thing::Layer(world.diff_id), "{way}");
        assert_eq!(found[0].harms[0].image, world.pulled.id);
        // where it came from is not forgotten
        let mended = world.registry.repair(&world.store, Level::Quick);
        assert_eq!(mended, [(Thing::Layer(world.diff_id), Fate::Fetched)], "{way}");
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn a_tree_is_unpacked_again_unless_it_is_in_use() {
    let world = World::new();
    let store = &world.store;
    store.tree(&store.lease(), &world.diff_id).unwrap();
    let lease = store.lease();
    let made = tree(store, &lease, "made here");
    let image = config("built", &[made]);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    store.tar(&lease, &made).unwrap();
    drop(lease);
    let nowhere = Registry::default();
    for (diff_id, file) in [(world.diff_id, "a"), (made, "file")] {
        let file = file_of(store, &diff_id, file);
        for (way, damage) in WAYS {
            damage(&file);
            let held = store.lease();
            store.layer(&held, &diff_id).unwrap();
            let finding = &check(store, Level::Trees)[0];
            assert!(matches!(mend(store, finding), Mending::Left(why) if why.contains("in use")));
            drop(held);
            let expected = (Thing::Tree(diff_id), Fate::Mended(Cure::MadeAgain));
            assert_eq!(nowhere.repair(store, Level::Trees), [expected], "{way}");
            assert_eq!(check(store, Level::Trees), [], "{way}");
        }
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
        let expected = (Thing::Tree(diff_id), Fate::Mended(Cure::MadeAgain));
        assert_eq!(nowhere.repair(store, Level::Quick), [expected]);
        assert_eq!(check(store, Level::Trees), []);
    }
    // the tar it was made of became durable before the tree that was so went
    let root = world.store.root().to_owned();
    drop(world.store);
    let store = support::restart(&root);
    assert_eq!(check(&store, Level::Trees), []);
    assert!(store.layer(&store.lease(), &made).unwrap().is_some());
}

#[test]
fn a_tree_that_is_all_there_was_is_set_aside() {
    let (_folder, store) = store();
    let lease = store.lease();
    let made = tree(&store, &lease, "made here");
    let image = config("built", &[made]);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    drop(lease);
    flip(&file_of(&store, &made, "file"));
    let aside = bad(&store, &format!("{}-tree", made.digest().hex()));
    let nowhere = Registry::default();
    assert_eq!(
        nowhere.repair(&store, Level::Trees),
        [(Thing::Tree(made), Fate::Lost(Some(aside.clone())))]
    );
    assert!(aside.join("fs/file").exists());
    let found = check(&store, Level::Trees);
    assert_eq!((found.len(), &found[0].thing), (1, &Thing::Layer(made)));
    let lease = store.lease();
    assert_eq!(tree(&store, &lease, "made here"), made);
    store
        .commit_image(&lease, &image, None, &[name("built")])
        .unwrap();
    assert_eq!(check(&store, Level::Trees), []);
}

#[test]
fn documents_are_made_again_where_that_gives_the_same_bytes() {
    for (way, damage) in WAYS {
        let (folder, first) = store();
        let lease = first.lease();
        let made = layer(&first, &lease, b"layer");
        let image = config("built", &[made]);
        let built = first
            .commit_image(&lease, &image, None, &[name("built")])
            .unwrap()
            .image;
        drop(lease);
        let nowhere = Registry::default();
        // a config that was read before is in memory
        first.image(&built.id).unwrap().unwrap();
        damage(&blob(&first, built.id.digest()));
        let expected = (Thing::Config(built.id), Fate::Mended(Cure::MadeAgain));
        assert_eq!(nowhere.repair(&first, Level::Quick), [expected], "{way}");
        assert_eq!(check(&first, Level::Full), [], "{way}");
        drop(first);
        let store = Store::open(folder.path()).unwrap();
        let manifest = built.manifest.digest;
        damage(&blob(&store, &manifest));
        let expected = (Thing::Manifest(built.id, manifest), Fate::Mended(Cure::MadeAgain));
        assert_eq!(nowhere.repair(&store, Level::Quick), [expected], "{way}");
        assert_eq!(check(&store, Level::Full), [], "{way}");
    }
}

#[test]
fn documents_nobody_has() {
    let world = World::new().again();
    let nowhere = Registry::default();
    // an image gets another manifest
    let manifest = world.pulled.manifest.digest;
    flip(&blob(&world.store, &manifest));
    assert_eq!(
        nowhere.repair(&world.store, Level::Quick),
        [(
            Thing::Manifest(world.pulled.id, manifest),
            Fate::Mended(Cure::Replaced)
        )]
    );
    assert_eq!(check(&world.store, Level::Full), []);
    let image = world.store.image(&world.pulled.id).unwrap().unwrap();
    assert_ne!(image.manifest.digest, manifest);
    assert_eq!(
        world.store.manifest(&image).unwrap().layers[0].digest,
        world.compressed
    );
    // without its config it is nothing, and is named until it comes again
    let world = world.again();
    flip(&blob(&world.store, world.pulled.id.digest()));
    let aside = bad(&world.store, &world.pulled.id.digest().hex());
    let thing = Thing::Config(world.pulled.id);
    assert_eq!(
        nowhere.repair(&world.store, Level::Quick),
        [(thing.clone(), Fate::Lost(Some(aside)))]
    );
    let found = check(&world.store, Level::Quick);
    assert_eq!((found.len(), &found[0].thing), (1, &thing));
    assert_eq!(
        world.registry.repair(&world.store, Level::Quick),
        [(thing, Fate::Fetched)]
    );
    assert_eq!(check(&world.store, Level::Full), []);
    assert!(world.store.image(&world.pulled.id).unwrap().is_some());
}

#[test]
fn what_is_damaged_comes_again_with_the_image() {
    for (way, damage) in WAYS {
        let world = World::new().again();
        let zipped = world.registry.0[&world.compressed].clone();
        for digest in [
            world.compressed,
            world.pulled.manifest.digest,
            *world.pulled.id.digest(),
        ] {
            let path = blob(&world.store, &digest);
            damage(&path);
            let lease = world.store.lease();
            bring(&world.store, &lease, world.diff_id, &zipped);
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()), digest, "{way}");
        }
        assert_eq!(check(&world.store, Level::Trees), [], "{way}");
    }
}

#[test]
fn large_blobs_that_were_found_damaged_are_replaced_by_what_comes_next() {
    use std::io::Read;
    let (_folder, store) = store();
    let lease = store.lease();
    let bytes = noise(5, 3 << 20);
    let kept = store.put_blob(&lease, &bytes).unwrap();
    flip(kept.path());
    // nobody knows it yet, and reading it all to find out would cost too much
    store.put_blob(&lease, &bytes).unwrap();
    let read = || kept.open_checked().unwrap().read_to_end(&mut Vec::new());
    read().unwrap_err();
    store.put_blob(&lease, &bytes).unwrap();
    assert_eq!(read().unwrap(), bytes.len());
    assert!(bad(&store, &kept.digest.hex()).exists());
}

#[test]
fn rows_strays_and_derived_files_are_put_in_order() {
    let world = World::new();
    let store = &world.store;
    let nowhere = Registry::default();
    let index = store.root().join("index.json");
    let refs = store.root().join("mica/refs.json");
    let (index_was, refs_was) = (std::fs::read(&index).unwrap(), std::fs::read(&refs).unwrap());
    for (way, damage) in WAYS {
        for path in [&index, &refs] {
            damage(path);
            let expected = (Thing::Derived, Fate::Mended(Cure::MadeAgain));
            assert_eq!(nowhere.repair(store, Level::Quick), [expected], "{way}");
        }
        assert_eq!(std::fs::read(&index).unwrap(), index_was, "{way}");
        assert_eq!(std::fs::read(&refs).unwrap(), refs_was, "{way}");
    }
    let held = store.lease();
    let mine = store.put_blob(&held, b"in flight").unwrap();
    let other = Digest::of(b"other").hex();
    for at in [
        format!("blobs/sha256/{other}"),
        "blobs/sha256/README".to_owned(),
        "mica/trees/x".to_owned(),
        "mica/ingest/99999".to_owned(),
        "mica/partial/x".to_owned(),
    ] {
        let path = store.root().join(at);
        std::fs::write(&path, "x").unwrap();
        let expected = (Thing::Stray, Fate::Mended(Cure::Dropped));
        assert_eq!(
            nowhere.repair(store, Level::Quick),
            [expected],
            "{}",
            path.display()
        );
        assert!(!path.exists());
    }
    assert!(mine.path().exists());
    drop(held);
    let database = rusqlite::Connection::open(store.root().join("mica/db.sqlite")).unwrap();
    database
        .execute("UPDATE image_layers SET blob = diff_id", [])
        .unwrap();
    store.collect().unwrap();
    assert_eq!(
        nowhere.repair(store, Level::Quick),
        [
            (Thing::LayerList(world.pulled.id), Fate::Mended(Cure::MadeAgain)),
            (Thing::Derived, Fate::Mended(Cure::ByItself)),
        ]
    );
    assert_eq!(check(store, Level::Trees), []);
}

#[test]
fn a_lie_is_told_from_damage() {
    let (_folder, store) = store();
    let lease = store.lease();
    let claimed = DiffId(Digest::of(b"what it says"));
    let lie = gzip(b"what it holds");
    pull(&store, &lease, "liar", claimed, &lie);
    drop(lease);
    let nowhere = Registry::default();
    let thing = Thing::Compressed(claimed, Digest::of(&lie));
    let left = nowhere.repair(&store, Level::Full);
    assert!(
        matches!(&left[..], [(found, Fate::Left(why))] if *found == thing && why.contains("not true")),
        "{left:?}"
    );
    // it is what the image came as, and stays
    assert!(blob(&store, &Digest::of(&lie)).exists());
    let lease = store.lease();
    layer(&store, &lease, b"what it says");
    drop(lease);
    let mended = nowhere.repair(&store, Level::Full);
    assert_eq!(mended, [(thing, Fate::Mended(Cure::Dropped))]);
    assert_eq!(check(&store, Level::Full), []);
}

#[test]
fn a_repair_ends_when_nobody_wants_it() {
    let world = World::new();
    world.store.tar(&world.store.lease(), &world.diff_id).unwrap();
    let path = blob(&world.store, world.diff_id.digest());
    flip(&path);
    let finding = &check(&world.store, Level::Full)[0];
    for left in 0..3 {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let go_on = || match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < left {
            true => Ok(()),
            false => Err(std::io::Error::other("enough")),
        };
        world.store.mend(finding, &go_on).unwrap_err();
        assert_ne!(
            Digest::of(&std::fs::read(&path).unwrap()),
            *world.diff_id.digest()
        );
    }
    assert_eq!(mend(&world.store, finding), Mending::Done(Cure::MadeAgain));
    assert_eq!(mend(&world.store, finding), Mending::Done(Cure::ByItself));
}
