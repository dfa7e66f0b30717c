//! Writes a store of today's version, with rows in every table.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::Command;

use mica_layer::{Fingerprints, Identity, Known, Mtime, Policy, pack};
use mica_oci::config::ImageConfig;
use mica_oci::media::OCI_MANIFEST;
use mica_oci::{BuildId, CacheKey, Compression, ContentDigest, Descriptor, DiffId, Digest, Raw, Reference};
use mica_store::{CacheMount, CacheRecord, Error, Growth, Lease, Seed, Sharing, Store};

use crate::support::{
    Entry, cache_record, config, descriptor, fast_folder, gzip, index, layer, manifest, name, pull, received,
    tar, tree_changes,
};
use crate::{KEY, LOOSE, Level, REGISTRY, TODAY, closest, data, listed, schema, unpacked, without_restart};

pub(crate) fn disputed() -> Vec<u8> {
    tar(&[Entry::File("disputed", b"honest")])
}

pub(crate) fn lie() -> Vec<u8> {
    gzip(&tar(&[Entry::File("disputed", b"a lie")]))
}

/// Bytes that are on their way in: their digest is not that of any other blob.
pub(crate) fn download() -> (Vec<u8>, Digest) {
    let bytes = b"download".repeat(180_000);
    let digest = Digest::of(&bytes);
    (bytes, digest)
}

pub(crate) fn fingerprint() -> Identity {
    let time = |seconds| Mtime {
        seconds,
        nanoseconds: 7,
    };
    Identity {
        device: 1,
        inode: 2,
        size: 3,
        mtime: time(1_700_000_000),
        ctime: time(1_700_000_001),
        mode: 0o100_644,
    }
}

/// A layer that was copied from a context: a tar, packed here.
fn made_tar(store: &Store, lease: &Lease) -> DiffId {
    let work = store.work(lease).unwrap();
    std::fs::write(work.path().join("copied"), "copied").unwrap();
    let changes = tree_changes(work.path());
    let mut ingest = store.ingest(lease).unwrap();
    let packed = pack(&changes, &Policy::default(), &mut ingest, None).unwrap();
    store.add_layer_tar(lease, ingest, &packed).unwrap().diff_id
}

/// A config with all that lists show.
fn labelled(diff_ids: &[DiffId]) -> Raw<ImageConfig> {
    let mut config = config("app", diff_ids).value().clone();
    config.config.labels = Some([("key".to_owned(), "value".to_owned())].into());
    Raw::of(config).unwrap()
}

/// A layer that was made by a step: a tree, packed as steps' trees are.
fn made_tree(store: &Store, lease: &Lease, text: &str) -> DiffId {
    let work = store.work(lease).unwrap();
    let dir = work.path().join("fs");
    std::fs::create_dir_all(dir.join("folder/empty")).unwrap();
    std::fs::write(dir.join("folder/file"), text).unwrap();
    std::os::unix::fs::symlink("folder/file", dir.join("link")).unwrap();
    // the step removed it
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("gone"),
        kind,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    let changes = tree_changes(&dir);
    let packed = pack(&changes, &Policy::default(), &mut std::io::sink(), None).unwrap();
    store.add_layer_tree(lease, &dir, &packed).unwrap().diff_id
}

fn remember(store: &Store, lease: &Lease, text: &str, layer: DiffId) {
    let record = CacheRecord {
        content: ContentDigest(Digest::of(text.as_bytes())),
        ..cache_record(layer, &format!("RUN {text}"))
    };
    let key = CacheKey(Digest::of(text.as_bytes()));
    store.remember(lease, &key, &record).unwrap();
    store.cached(lease, &key).unwrap().unwrap();
}

/// Images in all forms that layers have.
fn live(store: &Store) {
    let lease = store.lease();
    let copied = made_tar(store, &lease);
    let ran = made_tree(store, &lease, "ran");
    let built = [name("example/app:1"), name("example/app"), name("other/app:2")];
    let base = store
        .commit_image(&lease, &config("base", &[copied]), None, &[name("base")])
        .unwrap()
        .image
        .id;
    let app = store
        .commit_image(&lease, &labelled(&[copied, ran]), None, &built)
        .unwrap()
        .image
        .id;
    store.set_parent(&app, Some(&base)).unwrap();
    store
        .commit_image(&lease, &config("no name", &[ran]), None, &[])
        .unwrap();
    compress(store, &lease, &copied);
    remember(store, &lease, "step", ran);
    store
        .remember_inputs(&Digest::of(b"alike"), &CacheKey(Digest::of(b"step")), b"inputs")
        .unwrap();

    // one that nobody looked into, one that was unpacked and one that was inflated
    let plain = |text: &str| tar(&[Entry::File("etc/pulled", text.as_bytes())]);
    let blobs: Vec<_> = ["asleep", "unpacked", "inflated"]
        .map(|text| (DiffId(Digest::of(&plain(text))), gzip(&plain(text))))
        .into_iter()
        .map(|(diff_id, bytes)| {
            let blob = store.put_blob(&lease, &bytes).unwrap();
            store
                .add_layer_blob_unchecked(&lease, &blob, Compression::Gzip, &diff_id)
                .unwrap();
            (diff_id, blob)
        })
        .collect();
    let config_of = config(
        "pulled",
        &blobs.iter().map(|(diff_id, _)| *diff_id).collect::<Vec<_>>(),
    );
    let own = manifest(
        &config_of,
        &blobs.iter().map(|(_, blob)| blob).collect::<Vec<_>>(),
    );
    let elsewhere = Descriptor::new(OCI_MANIFEST, Digest::of(b"another platform"), 1234);
    let index = index(vec![descriptor(&own), elsewhere]);
    let by_digest: Reference = format!("{REGISTRY}/pulled@{}", index.digest()).parse().unwrap();
    let names = [name(&format!("{REGISTRY}/pulled:1")), by_digest];
    store
        .commit_pulled(&lease, &config_of, &own, &[index], &names)
        .unwrap();
    store.tree(&lease, &blobs[1].0).unwrap();
    store.tar(&lease, &blobs[2].0).unwrap();
    let digests: Vec<_> = blobs.iter().map(|(_, blob)| blob.digest).collect();
    let repository = format!("{REGISTRY}/pulled").parse().unwrap();
    store
        .add_sources(&digests, &repository, &Digest::of(b"nobody"))
        .unwrap();

    // the same image by another manifest
    let second: Vec<_> = blobs
        .iter()
        .map(|(diff_id, _)| {
            let mut plain = Vec::new();
            let tar = store.tar(&lease, diff_id).unwrap();
            tar.open().unwrap().read_to_end(&mut plain).unwrap();
            let zstd = run("zstd", &["-c", "-q"], &plain);
            let blob = store.put_blob(&lease, &zstd).unwrap();
            store
                .add_layer_blob_unchecked(&lease, &blob, Compression::Zstd, diff_id)
                .unwrap();
            (Compression::Zstd, zstd)
        })
        .collect();
    let second: Vec<_> = second.iter().map(|(kind, bytes)| (*kind, &bytes[..])).collect();
    store
        .commit_pulled(
            &lease,
            &config_of,
            &received(&config_of, &second),
            &[],
            &[name("again")],
        )
        .unwrap();

    liars(store, &lease);
    asleep(store, &lease);
    rest(store, &lease);
}

/// An image that lies, one that does not, and two that nobody can tell apart yet.
fn liars(store: &Store, lease: &Lease) {
    let disputed = disputed();
    let diff_id = DiffId(Digest::of(&disputed));
    pull(store, lease, "liar", diff_id, &lie());
    store.tree(lease, &diff_id).unwrap_err();
    pull(store, lease, "honest", diff_id, &gzip(&disputed));
    store.tree(lease, &diff_id).unwrap();
    let twice = tar(&[Entry::File("twice", b"twice")]);
    let packed = |level| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        out.write_all(&twice).unwrap();
        out.finish().unwrap()
    };
    for level in [1, 0] {
        let author = format!("level{level}");
        pull(store, lease, &author, DiffId(Digest::of(&twice)), &packed(level));
    }
}

/// One that stays a claim.
fn asleep(store: &Store, lease: &Lease) {
    let plain = tar(&[Entry::File("lazy", b"lazy")]);
    pull(store, lease, "lazy", DiffId(Digest::of(&plain)), &gzip(&plain));
}

/// What is kept beside images.
fn rest(store: &Store, lease: &Lease) {
    let mut fill = |place: &Path| {
        std::fs::write(place.join("cached"), "cached").unwrap();
        Ok(())
    };
    let mount = CacheMount {
        key: CacheKey(Digest::of(b"mount")),
        name: "/root/.cache".to_owned(),
        mode: Some(0o700),
        owner: None,
    };
    let seed = Some(&mut fill as &mut Seed<'_, Error>);
    store
        .cache_mount(&mount, Sharing::Shared, seed, &mut || Ok(()))
        .unwrap();
    let build: BuildId = "0123456789ab".parse().unwrap();
    store.create_log(&build).unwrap().write_all(b"a log").unwrap();
    let (bytes, digest) = download();
    let mut partial = store.partial(lease, &digest, bytes.len() as u64).unwrap();
    partial.write_at(0, &bytes[..bytes.len() - 1000]).unwrap();
    drop(partial);
    let known = Known {
        digest: Some(Digest::of(b"file")),
        plain: true,
    };
    let seen = Mtime {
        seconds: 1_800_000_000,
        nanoseconds: 0,
    };
    let folder = store.open_client_folder(KEY);
    let prints: &Fingerprints = folder.fingerprints();
    prints.learn(&fingerprint(), known, seen);
    drop(folder);
    // not durable: no image has it
    let loose = layer(store, lease, &tar(&[Entry::File("loose", b"loose")]));
    remember(store, lease, "loose", loose);
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

fn compress(store: &Store, lease: &Lease, diff_id: &DiffId) {
    store
        .compress_layer(lease, diff_id, Compression::Gzip, 1, &Growth::new())
        .unwrap();
}

/// Writes the data of today's version, to where it is kept if `MICA_KEEP_STORE` is set; see README, "Version and features".
#[test]
fn a_store_of_today_can_be_kept() {
    if closest() != Level::Trees {
        println!("skipped: a store of today is not written, only root can make its trees");
        return;
    }
    let scratch = fast_folder();
    let kept = std::env::var_os("MICA_KEEP_STORE").map(|_| data());
    let kept = kept.unwrap_or_else(|| scratch.path().to_owned());
    let place = kept.join(format!("store-v{TODAY}.tar.zst"));
    assert!(
        !place.exists(),
        "{} is there: what a version wrote never changes",
        place.display()
    );
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    live(&store);
    // sizes are written down when they are asked for
    store.disk_usage().unwrap();
    drop(store);
    assert_eq!(schema::empty_tables(folder.path()), Vec::<String>::new());
    // whoever only reads leaves a log behind, which goes with the one that writes
    let database = rusqlite::Connection::open(folder.path().join("mica/db.sqlite")).unwrap();
    database
        .execute("UPDATE meta SET value = 'another machine' WHERE key = 'boot'", [])
        .unwrap();
    drop(database);
    let root = folder.path().to_str().unwrap();
    let archive = run(
        "tar",
        &[
            "--format=ustar",
            "--numeric-owner",
            "--sort=name",
            "-C",
            root,
            "-cf",
            "-",
            ".",
        ],
        b"",
    );
    std::fs::write(&place, run("zstd", &["-c", "-q", "-19"], &archive)).unwrap();

    let firm = listed(&Store::open(unpacked(&place).path()).unwrap());
    let folder = unpacked(&place);
    without_restart(folder.path());
    let all = listed(&Store::open(folder.path()).unwrap());
    let mut list = String::new();
    for line in &all {
        let sign = if firm.contains(line) { "" } else { LOOSE };
        writeln!(list, "{sign}{line}").unwrap();
    }
    assert!(firm.is_subset(&all), "{:#?}", firm.difference(&all));
    std::fs::write(place.to_string_lossy().replace(".tar.zst", ".txt"), list).unwrap();
}
