//! Saving and loading images.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use mica_layer::TarReader;
use mica_oci::media::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use mica_oci::{Descriptor, DiffId, Digest, ImageId, Index, Manifest, Raw, Reference};
use mica_store::archive::{LoadEvent, Loaded, load, save};
use mica_store::{Error, Store};
use support::{Entry, blob_files, config, gzip, layer, name, scratch_files, store, tar};

fn load_all(store: &Store, bytes: &[u8]) -> Result<(Vec<Loaded>, Vec<LoadEvent>), Error> {
    let mut events = Vec::new();
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let loaded = load(store, &store.lease(), input, &mut |event| events.push(event))?;
    Ok((loaded, events))
}

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

fn small_layer(text: &str) -> Vec<u8> {
    tar(&[Entry::File("file", text.as_bytes())])
}

fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(Digest::of(tar))
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

/// An OCI layout with one image of one gzip layer, its manifest and its index.
fn layout(annotations: &[(&str, &str)], nested: bool) -> (Vec<u8>, ImageId, Digest) {
    let plain = small_layer("one");
    let packed = gzip(&plain);
    let config = config("oci", &[diff_id(&plain)]);
    let own = Descriptor::new(OCI_CONFIG, config.digest(), config.bytes().len() as u64);
    let layer = Descriptor::new(OCI_LAYER_GZIP, Digest::of(&packed), packed.len() as u64);
    let manifest = Raw::of(Manifest::new(own, vec![layer])).unwrap();
    let mut top = Descriptor::new(OCI_MANIFEST, manifest.digest(), manifest.bytes().len() as u64);
    let index = |manifests: Vec<Descriptor>| {
        Raw::of(Index {
            schema_version: 2,
            media_type: None,
            manifests,
            annotations: BTreeMap::new(),
        })
        .unwrap()
    };
    let mut other = Descriptor::new(OCI_MANIFEST, Digest::of(b"not here"), 8);
    other.platform = Some("linux/s390x".parse().unwrap());
    let inner = index(vec![other, top.clone()]);
    if nested {
        top = Descriptor::new(OCI_INDEX, inner.digest(), inner.bytes().len() as u64);
    }
    top.annotations = annotations
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    let outer = index(vec![top]);
    let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let bytes = tar(&[
        Entry::File("index.json", outer.bytes()),
        Entry::File(&path(inner.digest()), inner.bytes()),
        Entry::File(&path(manifest.digest()), manifest.bytes()),
        Entry::File(&path(config.digest()), config.bytes()),
        Entry::File(&path(Digest::of(&packed)), &packed),
        Entry::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
    ]);
    (bytes, ImageId(config.digest()), manifest.digest())
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
fn hostile_archives_are_refused_and_leave_nothing() {
    let plain = small_layer("one");
    let good = config("a", &[diff_id(&plain)]);
    let list = |text: &str| text.replace('\'', "\"").into_bytes();
    let usual = list("[{'Config':'c','RepoTags':null,'Layers':['l']}]");
    let whole = tar(&[
        Entry::File("c", good.bytes()),
        Entry::File("l", &plain),
        Entry::File("manifest.json", &usual),
    ]);
    let with = |entries: &[(&str, &[u8])]| {
        let entries: Vec<Entry<'_>> = entries
            .iter()
            .map(|(path, bytes)| Entry::File(path, bytes))
            .collect();
        tar(&entries)
    };
    let other = small_layer("two");
    let broken_gzip = &gzip(&plain)[..30];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "empty",
            vec![],
            "invalid archive: does not contain a manifest.json",
        ),
        (
            "garbage",
            b"this is no tar".repeat(100),
            "invalid archive: does not contain a manifest.json",
        ),
        (
            "zeros",
            vec![0; 2048],
            "invalid archive: does not contain a manifest.json",
        ),
        (
            "no manifest",
            with(&[("x", b"y")]),
            "invalid archive: does not contain a manifest.json",
        ),
        (
            "empty layout",
            with(&[("index.json", br#"{"schemaVersion":2,"manifests":[]}"#)]),
            "does not contain a manifest.json",
        ),
        (
            "no json",
            with(&[("manifest.json", b"{")]),
            "manifest.json cannot be read",
        ),
        (
            "config outside",
            with(&[("manifest.json", &list("[{'Config':'../c','Layers':[]}]"))]),
            "leads out of it",
        ),
        (
            "absolute config",
            with(&[("manifest.json", &list("[{'Config':'/etc/passwd','Layers':[]}]"))]),
            "leads out of it",
        ),
        (
            "layer outside",
            with(&[
                ("c", good.bytes()),
                ("manifest.json", &list("[{'Config':'c','Layers':['../../l']}]")),
            ]),
            "leads out of it",
        ),
        (
            "entry outside",
            with(&[("../evil", b"x"), ("manifest.json", &usual)]),
            "leads out of it",
        ),
        (
            "absolute entry",
            with(&[("/evil", b"x"), ("manifest.json", &usual)]),
            "leads out of it",
        ),
        (
            "missing config",
            with(&[("l", &plain), ("manifest.json", &usual)]),
            "c is not in it",
        ),
        (
            "missing layer",
            with(&[("c", good.bytes()), ("manifest.json", &usual)]),
            "l is not in it",
        ),
        (
            "too few layers",
            with(&[
                ("c", good.bytes()),
                ("manifest.json", &list("[{'Config':'c','Layers':[]}]")),
            ]),
            "layers length mismatch: expected 1, got 0",
        ),
        (
            "wrong layer",
            with(&[("c", good.bytes()), ("l", &other), ("manifest.json", &usual)]),
            "invalid diffID for layer 0",
        ),
        (
            "wrong compressed layer",
            with(&[
                ("c", good.bytes()),
                ("l", &gzip(&other)),
                ("manifest.json", &usual),
            ]),
            "invalid diffID for layer 0",
        ),
        (
            "broken compressed layer",
            with(&[("c", good.bytes()), ("l", broken_gzip), ("manifest.json", &usual)]),
            "cannot inflate a layer",
        ),
        (
            "bad tag",
            with(&[
                ("c", good.bytes()),
                ("l", &plain),
                (
                    "manifest.json",
                    &list("[{'Config':'c','RepoTags':['A b'],'Layers':['l']}]"),
                ),
            ]),
            "invalid tag",
        ),
        (
            "truncated in a file",
            whole[..700].to_vec(),
            "cannot read the archive",
        ),
        (
            "truncated in a header",
            whole[..whole.len() - 1024 - 700].to_vec(),
            "invalid archive",
        ),
        (
            "link out",
            tar(&[
                Entry::Symlink("c", "../../../etc/passwd"),
                Entry::File("manifest.json", &usual),
            ]),
            "leads out of it",
        ),
        (
            "link around",
            tar(&[
                Entry::Symlink("c", "d"),
                Entry::Symlink("d", "c"),
                Entry::File("manifest.json", &usual),
            ]),
            "too many links",
        ),
    ];
    let (folder, store) = store();
    for (what, bytes, told) in cases {
        let error = load_all(&store, &bytes).expect_err(what).to_string();
        assert!(error.contains(told), "{what}: {error}");
        assert!(scratch_files(folder.path()).is_empty(), "{what}");
        assert!(store.images().unwrap().is_empty(), "{what}");
    }
    store.collect().unwrap();
    assert!(blob_files(folder.path()).is_empty());
    assert_eq!(load_all(&store, &whole).unwrap().0.len(), 1);
}

#[test]
fn a_layout_whose_blobs_are_not_what_they_are_called_is_refused() {
    let (bytes, _, manifest) = layout(&[], false);
    let at = bytes
        .windows(manifest.hex().len())
        .rposition(|w| w == manifest.hex().as_bytes())
        .unwrap();
    // the byte after the header of the manifest's entry begins its content
    let content = at - at % 512 + 512;
    let mut bytes = bytes;
    assert_eq!(bytes[content], b'{');
    bytes[content + 1] = b' ';
    let (_folder, store) = store();
    assert!(load_all(&store, &bytes).is_err());
    assert!(store.images().unwrap().is_empty());
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

/// An archive of indexes in indexes, `deep` levels, each naming `distinct` others `wide` times in all.
fn nested_indexes(wide: usize, deep: usize, distinct: usize) -> Vec<u8> {
    let index = |manifests: Vec<Descriptor>, text: String| {
        Raw::of(Index {
            schema_version: 2,
            media_type: None,
            manifests,
            annotations: BTreeMap::from([("text".into(), text)]),
        })
        .unwrap()
    };
    let mut level = vec![index(Vec::new(), "end".into())];
    let mut all = level.clone();
    for depth in 0..deep {
        let below: Vec<_> = (0..wide)
            .map(|at| &level[at % level.len()])
            .map(|inner| Descriptor::new(OCI_INDEX, inner.digest(), inner.bytes().len() as u64))
            .collect();
        let count = if depth + 1 == deep { 1 } else { distinct };
        level = (0..count)
            .map(|at| index(below.clone(), format!("{depth} {at}")))
            .collect();
        all.extend(level.iter().cloned());
    }
    let paths: Vec<_> = all
        .iter()
        .map(|index| format!("blobs/sha256/{}", index.digest().hex()))
        .collect();
    let mut entries: Vec<_> = paths
        .iter()
        .zip(&all)
        .map(|(path, index)| Entry::File(path, index.bytes()))
        .collect();
    entries.push(Entry::File("index.json", level[0].bytes()));
    tar(&entries)
}

#[test]
fn indexes_that_name_each_other_very_often_are_looked_at_once() {
    let refused = |bytes: &[u8]| {
        let (_folder, store) = store();
        load_all(&store, bytes).unwrap_err().to_string()
    };
    // 2000 visits of 20 indexes, and 160000 ways to them
    assert!(refused(&nested_indexes(20, 4, 1)).contains("manifest.json"));
    // 300 to the fourth ways
    assert!(refused(&nested_indexes(300, 4, 1)).contains("too deep or too long"));
    // and 200 indexes of 200 each are too many even when each is looked into once
    assert!(refused(&nested_indexes(200, 4, 200)).contains("too deep or too long"));
}

/// Gives its bytes, then nothing `patience` times, then an error.
struct Impatient {
    bytes: Cursor<Vec<u8>>,
    patience: usize,
}

impl Read for Impatient {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buf)?;
        if n == 0 {
            self.patience = self
                .patience
                .checked_sub(1)
                .ok_or_else(|| std::io::Error::other("nobody waits"))?;
        }
        Ok(n)
    }
}

#[test]
fn loading_ends_when_nobody_waits_for_it() {
    let (bytes, _, _) = layout(&[], true);
    let (mut stopped, mut actions) = (0, Vec::new());
    for patience in 0.. {
        let (folder, store) = store();
        let input = Impatient {
            bytes: Cursor::new(bytes.clone()),
            patience,
        };
        let loaded = load(&store, &store.lease(), Box::new(input), &mut |_| ());
        assert!(scratch_files(folder.path()).is_empty());
        match loaded {
            Ok(loaded) => {
                assert_eq!(loaded.len(), 1);
                break;
            }
            Err(Error::Io { action, source }) => {
                assert_eq!(source.to_string(), "nobody waits");
                assert!(store.images().unwrap().is_empty());
                actions.push(action);
            }
            Err(Error::ArchiveData { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        stopped += 1;
    }
    // in the walk of the indexes, at the layer, and while it is inflated
    assert!(stopped > 6, "{stopped}");
    assert!(actions.contains(&"inflate a layer"), "{actions:?}");
}
