//! Packing gives the same bytes for the same changes, one read of each file, and a digest that times do not touch.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Read;
use std::sync::Arc;

use mica_layer::{
    Change, Changes, Content, Error, Finding, ImagePath, IndexOptions, Kind, LayerView, LinkKey, Meta, Mtime,
    Packed, Policy, Source, TarIndex, TimePolicy, TreeSink, XattrPolicy, pack,
};
use mica_oci::{Digest, Hasher};

const LAYER: IndexOptions = IndexOptions {
    hash_contents: true,
    whiteouts: true,
};

fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

fn node(meta: Meta, content: &[u8]) -> Change {
    Change::Node {
        meta,
        source: Source::Content(Content::Bytes(content.into())),
        content: None,
        link: None,
        opaque: false,
    }
}

fn meta(kind: Kind) -> Meta {
    let mtime = Mtime {
        seconds: 1000,
        nanoseconds: 5,
    };
    Meta {
        kind,
        ..Meta::directory(0o644, mtime)
    }
}

fn file(content: &[u8]) -> Change {
    let size = content.len() as u64;
    node(meta(Kind::File { size }), content)
}

fn directory() -> Change {
    node(meta(Kind::Directory), b"")
}

fn changes<const N: usize>(list: [(&str, Change); N]) -> Changes {
    list.into_iter()
        .map(|(name, change)| (path(name), change))
        .collect()
}

/// Changes a node before it is packed.
fn with(mut change: Change, edit: impl FnOnce(&mut Meta)) -> Change {
    if let Change::Node { meta, .. } = &mut change {
        edit(meta);
    }
    change
}

fn linked(mut change: Change, key: u64) -> Change {
    if let Change::Node { link, .. } = &mut change {
        *link = Some((7, LinkKey::Offset(key)));
    }
    change
}

fn tar_of(changes: &Changes, policy: &Policy) -> (Vec<u8>, Packed) {
    let mut out = Vec::new();
    let packed = pack(changes, policy, &mut out, None).unwrap();
    assert_eq!(packed.diff_id.0, Digest::of(&out));
    assert_eq!(packed.size, out.len() as u64);
    (out, packed)
}

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Vec<String>);

impl TreeSink for Notes {
    fn put(&mut self, path: &ImagePath, meta: &Meta, content: &mut dyn Read) -> Result<(), Error> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(Error::io("reading"))?;
        assert_eq!(bytes.len() as u64, meta.size());
        let digest = Digest::of(&bytes).short();
        self.0.push(format!(
            "put {path} {}.{} {digest}",
            meta.mtime.seconds, meta.mtime.nanoseconds
        ));
        Ok(())
    }

    fn put_hardlink(&mut self, path: &ImagePath, target: &ImagePath) -> Result<(), Error> {
        self.0.push(format!("link {path} {target}"));
        Ok(())
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.0.push(format!("gone {path}"));
        Ok(())
    }

    fn opaque(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.0.push(format!("opaque {path}"));
        Ok(())
    }
}

#[test]
fn tar_and_tree_are_made_in_one_pass() {
    let large = vec![9; 3_000_000];
    let mut opaque_directory = directory();
    if let Change::Node { opaque, .. } = &mut opaque_directory {
        *opaque = true;
    }
    let changes = changes([
        ("", directory()),
        ("d", opaque_directory),
        ("d/a", linked(file(b"hello"), 1)),
        ("d/gone", Change::Whiteout),
        ("e", linked(file(b"hello"), 1)),
        ("empty", file(b"")),
        ("large", file(&large)),
        ("other", linked(file(b"hello"), 2)),
    ]);
    let (tar, packed) = tar_of(&changes, &Policy::default());
    let mut out = Vec::new();
    let mut notes = Notes::default();
    assert_eq!(
        pack(&changes, &Policy::default(), &mut out, Some(&mut notes)).unwrap(),
        packed
    );
    assert_eq!(out, tar);
    let digest = |bytes: &[u8]| Digest::of(bytes).short();
    assert_eq!(
        notes.0,
        [
            format!("put /d 1000.5 {}", digest(b"")),
            "opaque /d".to_owned(),
            format!("put /d/a 1000.5 {}", digest(b"hello")),
            "gone /d/gone".to_owned(),
            "link /e /d/a".to_owned(),
            format!("put /empty 1000.5 {}", digest(b"")),
            format!("put /large 1000.5 {}", digest(&large)),
            format!("put /other 1000.5 {}", digest(b"hello")),
        ]
    );
    let index = TarIndex::scan(tar.as_slice(), LAYER).unwrap();
    assert_eq!(index.whiteouts().collect::<Vec<_>>(), [&path("d/gone")]);
    let get = |name| index.get(&path(name)).unwrap();
    assert_eq!(get("e").link, get("d/a").link);
    assert_eq!(get("large").content, Some(Digest::of(&large)));
    assert_eq!(get("large").meta.mtime.nanoseconds, 0);
}

#[test]
fn the_bytes_of_a_layer_never_change() {
    let changes = changes([
        ("bin", with(directory(), |meta| meta.mode = 0o755)),
        ("bin/sh", file(b"#!")),
        (
            "bin/\u{e4}",
            node(meta(Kind::Symlink { target: b"sh".into() }), b""),
        ),
        (
            "cap",
            with(file(b"c"), |meta| {
                meta.xattrs
                    .insert(b"security.capability".to_vec(), b"\x01\0\0\x02\n\n=".to_vec());
                meta.xattrs.insert(b"user.x".to_vec(), b"1".to_vec());
            }),
        ),
        ("old", Change::Whiteout),
    ]);
    let (_, packed) = tar_of(&changes, &Policy::default());
    // a change of these breaks every layer and cache record that exists
    assert_eq!(
        packed.diff_id.to_string(),
        "sha256:3aaa9d0a27882ad2c75d7ffe6e1098eebcf3698fe2f6fa6ae5792f4cf9c6c15f"
    );
    assert_eq!(
        packed.content.to_string(),
        "sha256:957a93efdea6ef5eab55c5fb541d37bee5767f9952f6c3cc333eec2232333ac3"
    );
}

#[test]
fn times_do_not_count_and_all_else_does() {
    let of = |change| {
        tar_of(
            &changes([("a", directory()), ("a/f", change)]),
            &Policy::default(),
        )
        .1
    };
    let plain = of(file(b"x"));
    let later = of(with(file(b"x"), |meta| meta.mtime.seconds += 1));
    assert_ne!(plain.diff_id, later.diff_id);
    assert_eq!(plain.content, later.content);
    let capability = |meta: &mut Meta| drop(meta.xattrs.insert(b"security.capability".to_vec(), vec![1]));
    for (what, other) in [
        ("content", file(b"y")),
        ("mode", with(file(b"x"), |meta| meta.mode = 0o600)),
        ("uid", with(file(b"x"), |meta| meta.uid = 1)),
        ("gid", with(file(b"x"), |meta| meta.gid = 1)),
        ("capability", with(file(b"x"), capability)),
        ("kind", directory()),
        ("target", node(meta(Kind::Symlink { target: b"x".into() }), b"")),
        (
            "device",
            node(meta(Kind::BlockDevice { major: 1, minor: 2 }), b""),
        ),
        ("whiteout", Change::Whiteout),
    ] {
        assert_ne!(of(other).content, plain.content, "{what}");
    }
    let user = of(with(file(b"x"), |meta| {
        drop(meta.xattrs.insert(b"user.x".to_vec(), vec![1]))
    }));
    assert_eq!(user, plain);
    let two = |a, b| {
        tar_of(&changes([("a", a), ("b", b)]), &Policy::default())
            .1
            .content
    };
    assert_ne!(
        two(linked(file(b"x"), 1), linked(file(b"x"), 1)),
        two(linked(file(b"x"), 1), linked(file(b"x"), 2))
    );
    assert_eq!(
        two(linked(file(b"x"), 1), linked(file(b"x"), 2)),
        two(file(b"x"), file(b"x"))
    );
}

#[test]
fn a_known_digest_counts_as_a_computed_one() {
    for content in [&b"abc"[..], &vec![1; 2 << 20], b""] {
        let mut known = file(content);
        if let Change::Node { content: digest, .. } = &mut known {
            *digest = Some(Digest::of(content));
        }
        let of = |change| tar_of(&changes([("f", change)]), &Policy::default());
        assert_eq!(of(known), of(file(content)));
    }
}

#[test]
fn policy_decides_what_is_told() {
    let source = changes([(
        "f",
        with(file(b"x"), |meta| {
            drop(meta.xattrs.insert(b"user.x".to_vec(), vec![1]))
        }),
    )]);
    let told = |policy: Policy| {
        let mut notes = Notes::default();
        let mut out = Vec::new();
        pack(&source, &policy, &mut out, Some(&mut notes)).unwrap();
        let index = TarIndex::scan(out.as_slice(), LAYER).unwrap();
        let meta = index.get(&path("f")).unwrap().meta;
        (meta.mtime, meta.xattrs.len(), notes.0.remove(0))
    };
    let at = |seconds, nanoseconds| Mtime { seconds, nanoseconds };
    let digest = Digest::of(b"x").short();
    assert_eq!(
        told(Policy::default()),
        (at(1000, 0), 0, format!("put /f 1000.5 {digest}"))
    );
    let all = Policy {
        xattrs: XattrPolicy::All,
        times: TimePolicy::Nanoseconds,
        clamp: Some(2000),
    };
    assert_eq!(told(all), (at(1000, 5), 1, format!("put /f 1000.5 {digest}")));
    let clamped = Policy {
        clamp: Some(1000),
        ..all
    };
    assert_eq!(told(clamped), (at(1000, 0), 1, format!("put /f 1000.0 {digest}")));
}

#[test]
fn names_of_whiteouts_remove_what_they_name() {
    let null = node(meta(Kind::CharDevice { major: 0, minor: 0 }), b"");
    let mut notes = Notes::default();
    let changes = changes([
        (".wh.a", file(b"x")),
        (".wh.b", directory()),
        (".wh.b/c", file(b"x")),
        (".wh.kept", file(b"x")),
        ("kept", Change::Whiteout),
        (".wh.", file(b"x")),
        (".wh...", file(b"x")),
        (".wh..wh..opq", file(b"x")),
        ("null", null),
    ]);
    pack(&changes, &Policy::default(), &mut Vec::new(), Some(&mut notes)).unwrap();
    assert_eq!(notes.0, ["gone /a", "gone /b", "gone /kept", "gone /null"]);
}

/// A layer whose files are of another size than it says.
struct Liar;

impl LayerView for Liar {
    fn find(&self, _: &ImagePath) -> Result<Finding, Error> {
        Ok(Finding::Silent)
    }

    fn names(&self, _: &ImagePath) -> Result<Vec<mica_layer::Name>, Error> {
        Ok(Vec::new())
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        if path.as_bytes() == b"short" {
            let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "short");
            return Ok(Content::Range {
                file: Arc::new(file),
                offset: 0,
                len: 10,
            });
        }
        Ok(Content::Bytes(Arc::new([0; 3])))
    }
}

#[test]
fn a_content_of_another_size_is_an_error() {
    for name in ["short", "long"] {
        let liar = Change::Node {
            meta: meta(Kind::File { size: 10 }),
            source: Source::Layer(Arc::new(Liar), path(name)),
            content: None,
            link: None,
            opaque: false,
        };
        let changes = changes([("f", liar)]);
        let error = pack(&changes, &Policy::default(), &mut Vec::new(), None).unwrap_err();
        assert!(error.to_string().contains("/f"), "{error}");
        assert!(
            pack(
                &changes,
                &Policy::default(),
                &mut Vec::new(),
                Some(&mut Notes::default())
            )
            .is_err()
        );
    }
}

#[test]
fn an_empty_layer_is_two_blocks() {
    let (tar, packed) = tar_of(&Changes::new(), &Policy::default());
    assert_eq!(tar, [0; 1024]);
    assert_eq!(packed.content.0, Hasher::new().finish());
}

/// So many files that they are read ahead, with all that is passed over among them.
fn many() -> Changes {
    let mut all = changes([("d", directory())]);
    for number in 0..300_u64 {
        let bytes = format!("{number}").repeat(number as usize * 30 + 1);
        let change = match number % 10 {
            3 => linked(file(bytes.as_bytes()), number / 20),
            4 => file(b""),
            5 => Change::Whiteout,
            _ => file(bytes.as_bytes()),
        };
        let name = match number % 10 {
            6 => format!("d/.wh.{number:03}"),
            _ => format!("d/f{number:03}"),
        };
        all.insert(path(&name), change);
    }
    all.insert(path("d/large"), file(&vec![7; 3 << 20]));
    all
}

/// A file that holds these bytes, without a name.
fn fs_file(bytes: &[u8]) -> fs_err::File {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    fs_err::File::open(file.path()).unwrap()
}

#[test]
fn many_files_are_packed_as_few_are() {
    let all = many();
    let (whole, packed) = tar_of(&all, &Policy::default());
    assert_eq!(
        (packed.diff_id.digest(), packed.size),
        (&Digest::of(&whole), whole.len() as u64)
    );
    let index = TarIndex::scan(&whole[..], LAYER).unwrap();
    let view = mica_layer::TarView::new(Arc::new(fs_file(&whole)), Arc::new(index), 0);
    for (name, change) in &all {
        let Change::Node {
            meta, source, link, ..
        } = change
        else {
            continue;
        };
        if name.to_string().contains(".wh.") || link.is_some() || meta.is_directory() {
            continue;
        }
        let Finding::Node { node, .. } = view.find(name).unwrap() else {
            panic!("{name} is not there")
        };
        let mut bytes = Vec::new();
        source.open().unwrap().reader().read_to_end(&mut bytes).unwrap();
        assert_eq!(node.content, Some(Digest::of(&bytes)), "{name}");
    }
}

#[test]
fn a_file_that_changes_among_many_is_an_error_that_names_it() {
    for wrong in [1_u64, 5_000] {
        let mut all = many();
        let bad = with(file(b"abc"), |meta| meta.kind = Kind::File { size: wrong });
        all.insert(path("d/f150"), bad);
        let error = pack(&all, &Policy::default(), &mut Vec::new(), None).unwrap_err();
        assert!(error.to_string().contains("d/f150"), "{error}");
    }
}
