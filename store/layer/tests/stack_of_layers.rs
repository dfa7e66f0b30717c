//! A stack is asked by name, and follows links only where it is asked to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hand_made;

use std::io::Read;

use hand_made::{RawTar, dir_view, listing, unpack};
use mica_layer::{Error, ImagePath, Kind, Stack, Step};

fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

/// Two layers; the directory they lie in must be kept.
fn stack() -> (tempfile::TempDir, Stack) {
    let scratch = tempfile::tempdir().unwrap();
    let lower = RawTar::default()
        .dir("usr/bin/", 0o755)
        .file("usr/bin/sh", "old shell")
        .file("usr/bin/ls", "list")
        .file("usr/share/doc", "doc")
        .link("bin", "usr/bin")
        .link("a", "b")
        .link("b", "a")
        .dir("tmp/", 0o1777);
    let upper = RawTar::default()
        .dir("usr/bin/", 0o711)
        .file("usr/bin/sh", "shell")
        .file("usr/bin/.wh.ls", "")
        .hard("usr/bin/bash", "usr/bin/sh")
        .file("usr/share", "a file")
        .link("etc", "/usr/../nowhere");
    let mut stack = Stack::default();
    for (name, tar) in [("lower", lower), ("upper", upper)] {
        let place = scratch.path().join(name);
        unpack(&tar.end(), &place).unwrap();
        stack = stack.with(dir_view(&place));
    }
    (scratch, stack)
}

fn read(stack: &Stack, name: &str) -> Result<String, Error> {
    let mut text = String::new();
    let content = stack.source(&path(name))?.open()?;
    assert_eq!(content.len(), stack.open(&path(name))?.len());
    content.reader().read_to_string(&mut text).unwrap();
    Ok(text)
}

#[test]
fn a_stack_of_nothing_has_a_root() {
    let stack = Stack::default();
    let root = stack.lookup(&ImagePath::root()).unwrap().unwrap().node.meta;
    assert_eq!(
        (root.kind, root.mode, root.uid, root.gid),
        (Kind::Directory, 0o755, 0, 0)
    );
    assert_eq!(stack.lookup(&path("a/b")).unwrap(), None);
    assert!(stack.read_dir(&ImagePath::root()).unwrap().is_empty());
}

#[test]
fn links_are_followed_where_that_is_asked_for() {
    let (_scratch, stack) = stack();
    for (from, follow_last, to) in [
        ("bin/sh", true, "/usr/bin/sh"),
        ("bin", false, "/bin"),
        ("bin", true, "/usr/bin"),
        ("etc/passwd", true, "/nowhere/passwd"),
        ("none/at/all", true, "/none/at/all"),
    ] {
        assert_eq!(
            stack.resolve(&path(from), follow_last).unwrap().to_string(),
            to,
            "{from}"
        );
    }
    assert!(matches!(
        stack.resolve(&path("a"), true),
        Err(Error::Limit { .. })
    ));
    assert_eq!(stack.lookup(&path("bin/sh")).unwrap(), None);
    assert!(stack.read_dir(&path("bin")).unwrap().is_empty());
}

#[test]
fn the_topmost_layer_decides() {
    let (_scratch, stack) = stack();
    assert_eq!(read(&stack, "usr/bin/sh").unwrap(), "shell");
    assert!(matches!(read(&stack, "usr/bin/ls"), Err(Error::Path { .. })));
    assert!(matches!(read(&stack, "usr/bin"), Err(Error::Path { .. })));
    assert!(matches!(read(&stack, "bin"), Err(Error::Path { .. })));
    assert_eq!(stack.lookup(&path("usr/share/doc")).unwrap(), None);
    let bin = stack.lookup(&path("usr/bin")).unwrap().unwrap();
    assert_eq!((bin.node.meta.mode, bin.layer), (0o711, 1));
    let names: Vec<_> = stack.read_dir(&path("usr/bin")).unwrap();
    assert_eq!(
        names.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(),
        [&b"bash"[..], b"sh"]
    );
    assert_eq!(names[0].1.link(), names[1].1.link());
    assert!(names[0].1.link().is_some_and(|(layer, _)| layer == 1));
}

#[test]
fn a_walk_goes_in_the_order_of_paths_and_leaves_out_what_it_is_told_to() {
    let (_scratch, stack) = stack();
    let mut seen = Vec::new();
    let mut visit = |path: &ImagePath, _: &mica_layer::Found| {
        seen.push(path.clone());
        Ok(if path.file_name() == Some(b"bin") {
            Step::Over
        } else {
            Step::Into
        })
    };
    stack.walk(&path("usr"), &mut visit).unwrap();
    stack.walk(&path("none"), &mut visit).unwrap();
    assert_eq!(seen, ["usr", "usr/bin", "usr/share"].map(path));
    let all: Vec<_> = listing(&stack).into_keys().map(|name| path(&name)).collect();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(all, sorted);
}

#[test]
fn what_was_removed_stays_so_below_a_directory_made_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let layers = [
        RawTar::default().file("d/old", "1").file("e/old", "1"),
        RawTar::default().file(".wh.d", "").file("e", "a file"),
        RawTar::default().file("d/new", "2").file("e/new", "2"),
    ];
    let mut stack = Stack::default();
    for (at, tar) in layers.into_iter().enumerate() {
        let place = scratch.path().join(format!("{at}"));
        unpack(&tar.end(), &place).unwrap();
        stack = stack.with(dir_view(&place));
    }
    let names: Vec<_> = listing(&stack).into_keys().collect();
    assert_eq!(names, ["/d", "/d/new", "/e", "/e/new"]);
    assert_eq!(stack.lookup(&path("d/old")).unwrap(), None);
    assert_eq!(stack.lookup(&path("e/old")).unwrap(), None);
}
