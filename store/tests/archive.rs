//! Saving and loading images.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;

use mica_layer::TarReader;
use mica_oci::{Digest, ImageId, Index, Manifest, Raw, Reference};
use mica_store::archive::{LoadEvent, Loaded, load, save};
use mica_store::{Error, Store};
use support::archives::{diff_id, layout, load_all, small_layer};
use support::{Entry, blob_files, config, gzip, layer, name, scratch_files, store, tar};

fn save_all(store: &Store, ids: &[ImageId]) -> Vec<u8> {
    let images: Vec<_> = ids
        .iter()
        .map(|id| {
            let image = store.image(id).unwrap().unwrap();
            let references = image.references.clone();
            (image, references)
        })
        .collect();
    let mut out = Vec::new();
    save(store, &store.lease(), &images, &mut out).unwrap();
    out
}

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a tar, with modes and times of all entries.
fn files(bytes: &[u8]) -> (Files, Vec<(String, u32, i64)>) {
    let mut tar = TarReader::new(bytes);
    let (mut files, mut entries) = (BTreeMap::new(), Vec::new());
    while let Some(entry) = tar.next_entry().unwrap() {
        let path = String::from_utf8(entry.path).unwrap();
        entries.push((path.clone(), entry.meta.mode, entry.meta.mtime.seconds));
        if !entry.meta.is_directory() {
            let mut content = Vec::new();
            tar.read_to_end(&mut content).unwrap();
            assert!(files.insert(path, content).is_none(), "an entry is there twice");
        }
    }
    (files, entries)
}

#[test]
fn what_was_saved_loads_as_the_same_images() {
    let (_folder, first) = store();
    let lease = first.lease();
    let (one, two) = (small_layer("one"), small_layer("two"));
    let (one, two) = (layer(&first, &lease, &one), layer(&first, &lease, &two));
    let a = config("a", &[one, two, one]);
    let b = config("b", &[two]);
    let a = first
        .commit_image(&lease, &a, None, &[name("a"), name("ghcr.io/o/a:1")])
        .unwrap()
        .image;
    let b = first.commit_image(&lease, &b, None, &[]).unwrap().image;
    let saved = save_all(&first, &[a.id, b.id]);

    let (folder, second) = store();
    let (loaded, events) = load_all(&second, &saved).unwrap();
    assert_eq!(loaded.iter().map(|l| l.image).collect::<Vec<_>>(), [a.id, b.id]);
    assert_eq!(loaded[0].references, [name("a"), name("ghcr.io/o/a:1")]);
    assert_eq!(loaded[1].references, []);
    let done = events
        .iter()
        .filter(|e| matches!(e, LoadEvent::Layer { current, total, .. } if current == total));
    assert_eq!(done.count(), 2);
    assert_eq!(second.image(&a.id).unwrap().unwrap().references, a.references);
    assert_eq!(save_all(&second, &[a.id, b.id]), saved);
    assert!(scratch_files(folder.path()).is_empty());
    let (again, events) = load_all(&second, &saved).unwrap();
    assert_eq!(again, loaded);
    assert_eq!(events, [LoadEvent::Image(a.id), LoadEvent::Image(b.id)]);
}

#[test]
fn images_before_one_that_fails_are_told() {
    let (_folder, store) = store();
    let plain = small_layer("one");
    let config = config("a", &[diff_id(&plain)]);
    let bytes = tar(&[
        Entry::File("c", config.bytes()),
        Entry::File("l", &plain),
        Entry::File(
            "manifest.json",
            br#"[{"Config":"c","RepoTags":["x"],"Layers":["l"]},{"Config":"none","RepoTags":null,"Layers":[]}]"#,
        ),
    ]);
    let mut images = Vec::new();
    let loaded = load(&store, &store.lease(), Box::new(&bytes[..]), &mut |event| {
        if let LoadEvent::Image(id) = event {
            images.push((id, store.resolve(&name("x")).unwrap()));
        }
    });
    assert!(loaded.is_err());
    let id = ImageId(config.digest());
    assert_eq!(images, [(id, Some(id))], "told once it is there, with its name");
}

#[test]
fn a_saved_archive_is_both_formats_at_once() {
    let (_folder, store) = store();
    let lease = store.lease();
    let one = layer(&store, &lease, &small_layer("one"));
    let config = config("a", &[one, one]);
    let image = store
        .commit_image(&lease, &config, None, &[name("app"), name("reg.io/app:1")])
        .unwrap()
        .image;
    let (files, entries) = files(&save_all(&store, &[image.id]));
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    assert_eq!(files[&blob(image.id.digest())], config.bytes());
    let text = |path: &str| String::from_utf8(files[path].clone()).unwrap();
    let layer = blob(one.digest());
    assert_eq!(
        text("manifest.json"),
        format!(
            r#"[{{"Config":"{}","RepoTags":["app:latest","reg.io/app:1"],"Layers":["{layer}","{layer}"],"LayerSources":{{}}}}]"#,
            blob(image.id.digest())
        )
    );
    assert_eq!(text("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = Raw::<Index>::parse(&files["index.json"]).unwrap();
    let names: Vec<_> = index
        .manifests
        .iter()
        .map(|d| {
            (
                d.annotations["io.containerd.image.name"].as_str(),
                d.annotations["org.opencontainers.image.ref.name"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [("docker.io/library/app:latest", "latest"), ("reg.io/app:1", "1")]
    );
    let manifest = Raw::<Manifest>::parse(&files[&blob(&index.manifests[0].digest)]).unwrap();
    assert_eq!(manifest.config.digest, config.digest());
    assert!(manifest.layers.iter().all(|l| l.digest == *one.digest()));
    let made = image.created.unwrap().as_second();
    for (path, mode, mtime) in entries {
        assert_eq!(mode, if path.ends_with('/') { 0o755 } else { 0o644 }, "{path}");
        assert_eq!(mtime, made, "{path}");
    }
}

#[test]
fn docker_archives_of_other_shapes_are_read() {
    let (one, two) = (small_layer("one"), small_layer("two"));
    let config = config("a", &[diff_id(&one), diff_id(&two), diff_id(&one)]);
    let list = br#"[{"Config":"some/config.json","RepoTags":["busybox:1"],"Layers":["x/layer.tar","y/two.tar.gz","z/layer.tar"]}]"#;
    let packed = gzip(&two);
    let parts = [
        Entry::Symlink("z/layer.tar", "../x/layer.tar"),
        Entry::Hardlink("w", "x/layer.tar"),
        Entry::Folder("x/"),
        Entry::File("y/two.tar.gz", &packed),
        Entry::File("x/layer.tar", &one),
        Entry::File("x/VERSION", b"1.0"),
        Entry::File("manifest.json", list),
        Entry::File("some/config.json", config.bytes()),
    ];
    let plain = tar(&parts);
    let reversed: Vec<Entry<'_>> = parts.into_iter().rev().collect();
    for bytes in [plain.clone(), tar(&reversed), gzip(&plain)] {
        let (folder, store) = store();
        let (loaded, _) = load_all(&store, &bytes).unwrap();
        let expected = Loaded {
            image: ImageId(config.digest()),
            references: vec![name("busybox:1")],
        };
        assert_eq!(loaded, [expected]);
        for diff in [diff_id(&one), diff_id(&two)] {
            assert!(blob_files(folder.path()).contains(&diff.digest().hex()));
        }
        assert!(scratch_files(folder.path()).is_empty());
    }
}

#[test]
fn image_layouts_are_read_and_keep_their_manifest() {
    let whole = "io.containerd.image.name";
    let short = "org.opencontainers.image.ref.name";
    for (annotations, nested, names) in [
        (
            &[(whole, "docker.io/library/x:1"), (short, "1")][..],
            false,
            vec![name("x:1")],
        ),
        (&[(short, "reg.io/y:2")][..], true, vec![name("reg.io/y:2")]),
        (&[(short, "1.0")][..], false, vec![]),
        (&[][..], true, vec![]),
    ] {
        let (bytes, image, manifest) = layout(annotations, nested);
        let (_folder, store) = store();
        let (loaded, _) = load_all(&store, &bytes).unwrap();
        assert_eq!(
            loaded,
            [Loaded {
                image,
                references: names
            }]
        );
        assert_eq!(store.image(&image).unwrap().unwrap().manifest.digest, manifest);
        // and from there it saves and loads as uncompressed tars
        let saved = save_all(&store, &[image]);
        let (_folder, other) = support::store();
        assert_eq!(load_all(&other, &saved).unwrap().0[0].image, image);
        // an image that is there keeps the manifest it has
        load_all(&store, &saved).unwrap();
        assert_eq!(store.image(&image).unwrap().unwrap().manifest.digest, manifest);
    }
}

#[test]
fn a_tag_that_moves_is_told() {
    let (_folder, store) = store();
    let lease = store.lease();
    let plain = small_layer("one");
    let previous = store
        .commit_image(&lease, &config("old", &[]), None, &[name("x")])
        .unwrap()
        .image
        .id;
    let config = config("new", &[diff_id(&plain)]);
    let bytes = tar(&[
        Entry::File("c", config.bytes()),
        Entry::File("l", &plain),
        Entry::File(
            "manifest.json",
            br#"[{"Config":"c","RepoTags":["x:latest"],"Layers":["l"]}]"#,
        ),
    ]);
    let (_, events) = load_all(&store, &bytes).unwrap();
    let moved = LoadEvent::Moved {
        reference: name("x"),
        previous,
    };
    assert!(events.contains(&moved), "{events:?}");
}

#[test]
fn saving_what_is_not_there_fails_before_the_first_byte() {
    let (_folder, store) = store();
    let image = store
        .commit_image(&store.lease(), &config("a", &[]), None, &[])
        .unwrap()
        .image;
    store.remove_image(&image.id).unwrap();
    let mut out = Vec::new();
    let images = [(image, Vec::<Reference>::new())];
    assert!(matches!(
        save(&store, &store.lease(), &images, &mut out),
        Err(Error::MissingImage { .. })
    ));
    assert!(out.is_empty());
}
