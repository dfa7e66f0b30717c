//! Archives that lie, break off or never end.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use mica_oci::media::OCI_INDEX;
use mica_oci::{Descriptor, Index, Raw};
use mica_store::Error;
use mica_store::archive::load;
use support::archives::{diff_id, layout, load_all, small_layer};
use support::{Entry, blob_files, config, gzip, scratch_files, store, tar};

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
