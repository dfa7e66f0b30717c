//! An index shows the tree its tar unpacks to, and refuses what would unpack to none.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Seek, Write};
use std::sync::Arc;

use mica_layer::{
    Error, Finding, ImagePath, IndexOptions, Kind, LayerView, LinkKey, Meta, Mtime, TarIndex, TarView,
    TarWriter, spool,
};
use mica_oci::Digest;

const LAYER: IndexOptions = IndexOptions {
    hash_contents: true,
    whiteouts: true,
};
const CONTEXT: IndexOptions = IndexOptions {
    hash_contents: true,
    whiteouts: false,
};

fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

/// A tar of lines such as `f a/b text`, `d a`, `l a target`, `h a target`, `c a`.
fn tar(lines: &[&str]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (kind, name, rest) = (
            words.next().unwrap(),
            path(words.next().unwrap()),
            words.next().unwrap_or(""),
        );
        let directory = Meta::directory(0o700, Mtime::default());
        let of = |kind| Meta {
            kind,
            ..directory.clone()
        };
        match kind {
            "f" => {
                let size = rest.len() as u64;
                tar.append(&name, &of(Kind::File { size })).unwrap();
                tar.write_all(rest.as_bytes()).unwrap();
            }
            "d" => tar.append(&name, &directory).unwrap(),
            "l" => {
                let target = rest.into();
                tar.append(&name, &of(Kind::Symlink { target })).unwrap();
            }
            "h" => tar
                .append_hardlink(&name, &of(Kind::File { size: 0 }), &path(rest))
                .unwrap(),
            "c" => tar
                .append(&name, &of(Kind::CharDevice { major: 0, minor: 0 }))
                .unwrap(),
            other => panic!("{other}"),
        }
    }
    tar.finish().unwrap()
}

fn scan(lines: &[&str], options: IndexOptions) -> Result<TarIndex, Error> {
    TarIndex::scan(tar(lines).as_slice(), options)
}

fn list(index: &TarIndex) -> Vec<String> {
    index.iter().map(|(path, _)| path.to_string()).collect()
}

fn view(lines: &[&str], options: IndexOptions, base: &[u8]) -> TarView {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(base).unwrap();
    let index = spool(tar(lines).as_slice(), &file, options).unwrap();
    let file = fs_err::File::from_parts(file, "spool");
    TarView::new(Arc::new(file), Arc::new(index), base.len() as u64)
}

fn text(view: &TarView, name: &str) -> String {
    let mut text = String::new();
    view.open(&path(name))
        .unwrap()
        .reader()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn the_last_entry_of_a_path_wins() {
    let index = scan(
        &[
            "d a",
            "f a/b 1",
            "f a/b 22",
            "d a/c",
            "f a/c/d x",
            "f a/c now-a-file",
            "d a",
        ],
        CONTEXT,
    )
    .unwrap();
    assert_eq!(list(&index), ["/", "/a", "/a/b", "/a/c"]);
    assert_eq!(index.get(&path("a/b")).unwrap().meta.size(), 2);
    assert_eq!(
        index.get(&path("a/c")).unwrap().content,
        Some(Digest::of(b"now-a-file"))
    );
    let index = scan(&["f a 1", "d a", "f a/b 1"], CONTEXT).unwrap();
    assert_eq!(list(&index), ["/", "/a", "/a/b"]);
}

#[test]
fn missing_directories_are_implied_until_they_come() {
    let index = scan(&["f a/b/c 1", "d a/b"], CONTEXT).unwrap();
    assert!(index.is_implied(&path("a")) && !index.is_implied(&path("a/b")) && index.is_implied(&path("")));
    assert_eq!(
        index.get(&path("a")).unwrap().meta,
        Meta::directory(0o755, Mtime::default())
    );
    let index = scan(&["d .", "f a 1"], CONTEXT).unwrap();
    assert_eq!(index.get(&path("")).unwrap().meta.mode, 0o700);
}

#[test]
fn links_above_an_entry_are_followed_inside() {
    let index = scan(
        &[
            "l l /etc/../../x",
            "f l/f 1",
            "l loop loop",
            "l up ../../..",
            "f up/g 1",
            "h h l/f",
        ],
        CONTEXT,
    )
    .unwrap();
    assert_eq!(
        list(&index),
        ["/", "/g", "/h", "/l", "/loop", "/up", "/x", "/x/f"]
    );
    for refused in [
        &["l loop loop", "f loop/f 1"][..],
        &["f a 1", "f a/b 1"],
        &["h a gone"],
        &["d d", "h a d"],
        &["h a a"],
        &["f . 1"],
        &["l . x"],
    ] {
        assert!(scan(refused, CONTEXT).is_err(), "{refused:?}");
    }
}

#[test]
fn names_that_leave_are_refused_and_absolute_ones_are_not() {
    for (name, fine) in [
        (&b"../a"[..], false),
        (b"a/../b", false),
        (b"/abs/a", true),
        (b"./a", true),
        (b"", false),
    ] {
        let mut tar = TarWriter::new(Vec::new());
        tar.append(&path("a/b/c/d"), &Meta::directory(0o755, Mtime::default()))
            .unwrap();
        let mut tar = tar.finish().unwrap();
        tar[..8].fill(0);
        tar[..name.len()].copy_from_slice(name);
        tar[156] = b'0';
        let sum: u32 = tar[..148]
            .iter()
            .chain(&tar[156..512])
            .map(|b| u32::from(*b))
            .sum::<u32>()
            + 8 * 32;
        tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        match TarIndex::scan(tar.as_slice(), CONTEXT) {
            Ok(index) => assert!(fine && index.len() > 1, "{}", name.escape_ascii()),
            Err(error) => assert!(!fine, "{}: {error}", name.escape_ascii()),
        }
    }
}

#[test]
fn names_of_one_file_share_a_key() {
    let view = view(
        &["f a hello", "h d/b a", "f a other", "h c d/b", "l s t", "h t s"],
        CONTEXT,
        b"in front",
    );
    let link = |name| view.index().get(&path(name)).unwrap().link;
    assert!(matches!(link("c"), Some(LinkKey::Offset(_))));
    assert_eq!(link("c"), link("d/b"));
    assert_eq!(link("a"), None);
    assert_eq!(link("s"), link("t"));
    assert_eq!(
        ["a", "c", "d/b"].map(|name| text(&view, name)),
        ["other", "hello", "hello"]
    );
    assert_eq!(
        view.index().get(&path("c")).unwrap().content,
        Some(Digest::of(b"hello"))
    );
    assert!(
        view.open(&path("s")).is_err() && view.open(&path("d")).is_err() && view.open(&path("x")).is_err()
    );
}

#[test]
fn whiteouts_speak_of_the_layers_below_only() {
    for lines in [
        [
            "d d",
            "f d/.wh.x",
            "f d/x/y 1",
            "f .wh.gone",
            "d o",
            "f o/.wh..wh..opq",
            "f .wh..wh.plnk 1",
            "f f 1",
            "c z",
        ],
        [
            "f f 1",
            "c z",
            "f .wh..wh.plnk 1",
            "f o/.wh..wh..opq",
            "d o",
            "f .wh.gone",
            "f d/x/y 1",
            "f d/.wh.x",
            "d d",
        ],
    ] {
        let view = view(&lines, LAYER, b"");
        let find = |name: &str| match view.find(&path(name)).unwrap() {
            Finding::Silent => "silent",
            Finding::Whiteout => "gone",
            Finding::Node { opaque: true, .. } => "opaque",
            Finding::Node { .. } => "there",
        };
        for (name, told) in [
            ("", "there"),
            ("d", "there"),
            ("d/x", "opaque"),
            ("d/x/y", "there"),
            ("d/x/y/z", "gone"),
            ("d/x/z", "silent"),
            ("gone", "gone"),
            ("gone/a/b", "gone"),
            ("o", "opaque"),
            ("o/a", "silent"),
            ("f/a", "gone"),
            ("z", "gone"),
            ("other/a", "silent"),
        ] {
            assert_eq!(find(name), told, "{name:?}");
        }
        let names = |name: &str| -> Vec<String> {
            let names = view.names(&path(name)).unwrap().into_iter();
            names
                .map(|n| {
                    format!(
                        "{}{}",
                        if n.whiteout { "-" } else { "" },
                        String::from_utf8(n.name).unwrap()
                    )
                })
                .collect()
        };
        assert_eq!(names(""), ["d", "f", "-gone", "o", "-z"]);
        assert_eq!(names("d"), ["x"]);
        assert!(names("f").is_empty() && names("none").is_empty());
    }
    for refused in ["f .wh.", "f .wh..", "f .wh..."] {
        assert!(scan(&[refused], LAYER).is_err(), "{refused}");
    }
    let index = scan(&["f .wh.x 1", "d o", "f o/.wh..wh..opq", "c z"], CONTEXT).unwrap();
    assert_eq!(list(&index), ["/", "/.wh.x", "/o", "/o/.wh..wh..opq", "/z"]);
}

#[test]
fn children_are_those_of_the_directory_alone() {
    let index = scan(
        &[
            "f a/b/c 1",
            "f a/b-c 1",
            "f a/b.d/e 1",
            "f a-b 1",
            "f a.b 1",
            "d b",
        ],
        CONTEXT,
    )
    .unwrap();
    let children = |name: &str| {
        index
            .children(&path(name))
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(children(""), ["/a", "/a-b", "/a.b", "/b"]);
    assert_eq!(children("a"), ["/a/b", "/a/b-c", "/a/b.d"]);
    assert!(children("b").is_empty() && children("a-b").is_empty());
}

#[test]
fn spooling_keeps_every_byte() {
    let mut data = tar(&["f a hello", "d b"]);
    data.extend([0; 10240]);
    data.extend(b"trailer");
    let mut file = tempfile::tempfile().unwrap();
    let index = spool(data.as_slice(), &file, CONTEXT).unwrap();
    assert_eq!(index.len(), 3);
    file.rewind().unwrap();
    let mut copy = Vec::new();
    file.read_to_end(&mut copy).unwrap();
    assert_eq!(copy, data);
    file.rewind().unwrap();
    let again = TarIndex::scan_seekable(&file, IndexOptions::default()).unwrap();
    assert_eq!(list(&again), list(&index));
}

#[test]
fn a_cut_off_tar_is_an_error_by_seeking_too() {
    let mut file = tempfile::tempfile().unwrap();
    let data = tar(&[&format!("f a {}", "x".repeat(1 << 20))]);
    file.write_all(&data[..data.len() / 2]).unwrap();
    file.rewind().unwrap();
    assert!(TarIndex::scan_seekable(&file, IndexOptions::default()).is_err());
    file.rewind().unwrap();
    assert!(TarIndex::scan(&file, IndexOptions::default()).is_err());
}
