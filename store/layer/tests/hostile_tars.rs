//! A tar from anybody unpacks inside its tree or not at all.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hand_made;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hand_made::{RawTar, dir_view, listing, tar_view, unpack};
use mica_layer::{Error, Stack};

/// A directory with a tree to unpack into and, beside it, a file that must stay as it is.
struct Yard {
    dir: tempfile::TempDir,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("canary"), "sings").unwrap();
        std::fs::set_permissions(dir.path().join("canary"), PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::create_dir(dir.path().join("beside")).unwrap();
        Self { dir }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.tree().join(path)
    }

    fn unpack(&self, tar: &[u8]) -> Result<(), Error> {
        let result = unpack(tar, &self.tree());
        self.check();
        result.map(|_| ())
    }

    /// Nothing outside the tree changed.
    fn check(&self) {
        let canary = self.dir.path().join("canary");
        let meta = std::fs::metadata(&canary).unwrap();
        assert_eq!(std::fs::read(&canary).unwrap(), b"sings");
        assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.uid()), (0o640, 1, 0));
        assert_eq!(names(self.dir.path()), ["beside", "canary", "tree"]);
        assert!(names(&self.dir.path().join("beside")).is_empty());
        assert!(!Path::new("/mica-was-here").exists());
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn tar() -> RawTar {
    RawTar::default()
}

#[test]
fn what_leads_outside_is_refused_or_stays_inside() {
    let cases = [
        ("dots", tar().file("../canary", "x"), false),
        ("dots inside", tar().file("a/../../canary", "x"), false),
        ("harmless dots", tar().file("a/../b", "x"), false),
        ("absolute", tar().file("/mica-was-here", "x"), true),
        ("many slashes", tar().file("//./mica-was-here", "x"), true),
        (
            "write through a link",
            tar().link("l", "../canary").file("l", "x"),
            true,
        ),
        ("below a link", tar().link("l", "..").file("l/canary", "x"), true),
        (
            "below an absolute link",
            tar().link("l", "/").file("l/mica-was-here", "x"),
            true,
        ),
        (
            "below a link of links",
            tar().link("a", "..").link("b", "a/..").file("b/canary", "x"),
            true,
        ),
        (
            "below a link that becomes one",
            tar().dir("d/", 0o755).link("d", "../..").file("d/canary", "x"),
            true,
        ),
        (
            "link put for the parent later",
            tar().file("d/f", "x").link("d", "..").file("d/canary", "x"),
            true,
        ),
        (
            "attributes through a link",
            tar().link("l", "../beside").dir("l/", 0o777),
            true,
        ),
        ("hard link outside", tar().hard("h", "../canary"), false),
        ("hard link absolute", tar().hard("h", "/etc/passwd"), false),
        (
            "hard link through a link",
            tar().link("l", "..").hard("h", "l/canary"),
            false,
        ),
        (
            "hard link to a link, written",
            tar().link("l", "../canary").hard("h", "l").file("h", "x"),
            true,
        ),
        (
            "hard link to a directory",
            tar().dir("d/", 0o755).hard("h", "d"),
            false,
        ),
        ("hard link to nothing", tar().hard("h", "nothing"), false),
        (
            "hard link in place of its own directory",
            tar().file("a/b", "x").hard("a", "a/b"),
            false,
        ),
        ("hard link to itself", tar().file("f", "x").hard("f", "f"), true),
        ("whiteout of the parent", tar().file(".wh...", ""), false),
        ("whiteout of this", tar().file(".wh..", ""), false),
        ("whiteout of no name", tar().file("a/.wh.", ""), false),
        (
            "whiteout through a link",
            tar().link("l", "..").file("l/.wh.canary", ""),
            true,
        ),
        (
            "opaque through a link",
            tar().link("l", "../beside").file("l/.wh..wh..opq", ""),
            true,
        ),
        ("file as the root", tar().file("./", "x"), false),
        ("link as the root", tar().link(".", "beside"), false),
        ("below a file", tar().file("f", "x").file("f/g", "x"), false),
        (
            "circle of links",
            tar().link("a", "b").link("b", "a").file("a/x", "x"),
            false,
        ),
        (
            "long path",
            tar().long_name(&"a/".repeat(32 << 10)).file("x", "x"),
            false,
        ),
        (
            "long name",
            tar().long_name(&"a".repeat(300)).file("x", "x"),
            false,
        ),
        (
            "NUL in a path",
            tar().pax(&[("path", "a\0b")]).file("x", "x"),
            false,
        ),
        (
            "dots from PAX",
            tar().pax(&[("path", "../canary")]).file("x", "x"),
            false,
        ),
        (
            "dots from a long name",
            tar().long_name("../canary").file("x", "x"),
            false,
        ),
        (
            "link from PAX",
            tar().pax(&[("linkpath", "../canary")]).hard("x", "y"),
            false,
        ),
        (
            "no such owner",
            tar().pax(&[("uid", "4294967295")]).file("x", "x"),
            false,
        ),
    ];
    for (name, tar, sound) in cases {
        let yard = Yard::new();
        let result = yard.unpack(&tar.end());
        assert_eq!(result.is_ok(), sound, "{name}: {result:?}");
    }
}

#[test]
fn a_link_above_a_path_is_followed_inside_the_tree() {
    let yard = Yard::new();
    let tar = tar()
        .dir("usr/bin/", 0o755)
        .link("bin", "usr/bin")
        .file("bin/sh", "shell")
        .link("top", "/../../usr")
        .file("top/lib/a", "library")
        .link("dangling", "../nowhere")
        .file("dangling/b", "made");
    yard.unpack(&tar.end()).unwrap();
    assert_eq!(std::fs::read(yard.at("usr/bin/sh")).unwrap(), b"shell");
    assert_eq!(std::fs::read(yard.at("usr/lib/a")).unwrap(), b"library");
    assert_eq!(std::fs::read(yard.at("nowhere/b")).unwrap(), b"made");
    assert_eq!(std::fs::read_link(yard.at("bin")).unwrap(), Path::new("usr/bin"));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let yard = Yard::new();
    let tar = tar()
        .file("x", "1")
        .dir("x/", 0o755)
        .file("x/in", "2")
        .file("x", "3")
        .dir("d/", 0o700)
        .file("d/kept", "4")
        .dir("d/", 0o711)
        .file("two", "5")
        .hard("names", "two")
        .file("two", "6");
    yard.unpack(&tar.end()).unwrap();
    assert_eq!(std::fs::read(yard.at("x")).unwrap(), b"3");
    assert_eq!(std::fs::read(yard.at("d/kept")).unwrap(), b"4");
    assert_eq!(yard.at("d").metadata().unwrap().mode() & 0o7777, 0o711);
    assert_eq!(std::fs::read(yard.at("names")).unwrap(), b"5");
    assert_eq!(std::fs::read(yard.at("two")).unwrap(), b"6");
}

#[test]
fn attributes_are_all_kept() {
    let yard = Yard::new();
    let capability = "\u{1}\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = tar()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.a", "b=c\nd"),
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
            ("mtime", "1.25"),
        ])
        .raw(b'0', "suid", "", 0o4755, 2, b"hi")
        .dir("dir/", 0o3770)
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", "y")])
        .dir("clear/", 0o755)
        .pax(&[("SCHILY.xattr.trusted.x", "1"), ("SCHILY.xattr.user.x", "1")])
        .link("link", "suid")
        .raw(b'3', "dev", "", 0o620, 0, b"")
        .raw(b'6', "pipe", "", 0o622, 0, b"")
        .pax(&[("uid", "4000000000"), ("gid", "70000")])
        .file("ids", "");
    yard.unpack(&tar.end()).unwrap();
    let suid = yard.at("suid").metadata().unwrap();
    assert_eq!((suid.mode() & 0o7777, suid.uid(), suid.gid()), (0o4755, 10, 11));
    assert_eq!((suid.mtime(), suid.mtime_nsec()), (1, 250_000_000));
    assert_eq!(xattrs(&yard.at("suid")), ["security.capability", "user.a"]);
    assert_eq!(yard.at("dir").metadata().unwrap().mode() & 0o7777, 0o3770);
    assert_eq!(yard.at("dir").metadata().unwrap().mtime(), 0o1750);
    assert!(xattrs(&yard.at("clear")).is_empty());
    let link = yard.at("link").symlink_metadata().unwrap();
    assert_eq!((link.uid(), link.mtime()), (10, 0o1750));
    assert_eq!(xattrs(&yard.at("link")), ["trusted.x"]);
    let dev = yard.at("dev").symlink_metadata().unwrap();
    assert!(dev.file_type().is_char_device());
    assert_eq!(
        (dev.rdev(), dev.mode() & 0o7777),
        (rustix::fs::makedev(5, 6), 0o620)
    );
    assert!(yard.at("pipe").symlink_metadata().unwrap().file_type().is_fifo());
    let ids = yard.at("ids").metadata().unwrap();
    assert_eq!((ids.uid(), ids.gid()), (4_000_000_000, 70_000));
}

fn xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..len].split(|b| *b == 0).filter(|name| !name.is_empty());
    let mut names: Vec<_> = names
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    names.retain(|name| name != "security.selinux");
    names.sort();
    names
}

#[test]
fn whiteouts_speak_of_lower_layers_whatever_the_order() {
    let yard = Yard::new();
    let lower = tar()
        .file("a/old", "1")
        .file("b/old", "1")
        .file("c/old", "1")
        .file("gone", "1");
    let upper = [
        tar()
            .file("a/new", "2")
            .file(".wh.a", "")
            .file("b/.wh..wh..opq", "")
            .file("b/new", "2"),
        tar()
            .file(".wh.a", "")
            .file("a/new", "2")
            .file("b/new", "2")
            .file("b/.wh..wh..opq", ""),
    ];
    let lower_place = yard.dir.path().join("lower");
    unpack(&lower.end(), &lower_place).unwrap();
    let mut seen = Vec::new();
    for (at, upper) in upper.into_iter().enumerate() {
        let place = yard.dir.path().join(format!("upper{at}"));
        unpack(&upper.file(".wh.gone", "").file(".wh..wh.plnk", "").end(), &place).unwrap();
        let stack = Stack::new(vec![dir_view(&lower_place), dir_view(&place)]);
        seen.push(listing(&stack));
    }
    let names: Vec<_> = seen[0].keys().map(String::as_str).collect();
    assert_eq!(names, ["/a", "/a/new", "/b", "/b/new", "/c", "/c/old"]);
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_deep_tree_is_made_and_replaced_with_few_descriptors() {
    let yard = Yard::new();
    let deep = "d/".repeat(1500);
    let tar = tar()
        .long_name(&deep)
        .dir("x", 0o755)
        .long_name(&format!("{deep}f"))
        .file("x", "deep")
        .file("d", "flat");
    yard.unpack(&tar.end()).unwrap();
    assert_eq!(std::fs::read(yard.at("d")).unwrap(), b"flat");
}

/// A message repeats of a name no more than a person reads.
#[test]
fn names_without_end_are_not_repeated() {
    for name in [
        "w".repeat(64 << 10),
        "../".repeat(1000),
        format!("{}x", "w/".repeat(2048)),
        "n".repeat(4000),
    ] {
        let yard = Yard::new();
        let error = yard
            .unpack(&tar().long_name(&name).file("x", "").end())
            .unwrap_err();
        assert!(error.to_string().len() < 1024, "{}", error.to_string().len());
    }
}

/// Somebody puts a link in the place of a directory, and the directory back, all the time that a layer is unpacked.
#[test]
fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let yard = Yard::new();
    std::fs::create_dir_all(yard.at("d")).unwrap();
    std::os::unix::fs::symlink(yard.dir.path().join("beside"), yard.at("l")).unwrap();
    let (one, other) = (yard.at("d"), yard.at("l"));
    let tar = (0..400).fold(tar(), |tar, at| {
        tar.file(&format!("d/f{at}"), "x")
            .dir(&format!("d/s{at}/"), 0o777)
            .hard(&format!("d/h{at}"), &format!("d/f{at}"))
    });
    let tar = tar.end();
    let over = std::sync::atomic::AtomicBool::new(false);
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                // what is unpacked may take either away for a moment
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        for _ in 0..20 {
            refused += usize::from(unpack(&tar, &yard.tree()).is_err());
            yard.check();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    println!("{refused} of 20 were refused");
}

#[test]
fn a_claimed_size_costs_nothing_and_is_refused() {
    let yard = Yard::new();
    let bomb = tar().raw(b'0', "big", "", 0o644, 0o77777777777, b"few");
    assert!(yard.unpack(&bomb.0).is_err());
    let yard = Yard::new();
    let bomb = tar().pax(&[("size", "9223372036854775807")]).file("big", "few");
    assert!(yard.unpack(&bomb.end()).is_err());
}

#[test]
fn long_runs_of_zeros_take_no_room() {
    let yard = Yard::new();
    let mut data = vec![0; 8 << 20];
    data[4 << 20] = 1;
    yard.unpack(&tar().raw(b'0', "z", "", 0o644, data.len() as u64, &data).end())
        .unwrap();
    let meta = yard.at("z").metadata().unwrap();
    assert!(meta.blocks() * 512 <= 1 << 20, "{} blocks", meta.blocks());
    assert_eq!(std::fs::read(yard.at("z")).unwrap(), data);
}

#[test]
fn a_tar_cut_short_anywhere_is_refused_and_harms_nothing() {
    let whole = tar()
        .pax(&[("path", "a/long/name"), ("mtime", "5")])
        .file("x", &"text".repeat(300))
        .link("l", "..")
        .long_name(&"n".repeat(200))
        .file("x", "y")
        .hard("h", "a/long/name");
    let whole = whole.0;
    for cut in (1..whole.len()).step_by(64) {
        let yard = Yard::new();
        let result = yard.unpack(&whole[..cut]);
        // a tar may end without its last blocks and without padding
        let rest = &whole[cut..cut.next_multiple_of(512)];
        assert!(result.is_err() || rest.iter().all(|b| *b == 0), "cut at {cut}");
    }
}

#[test]
fn a_tar_with_any_byte_changed_harms_nothing_and_reads_as_it_unpacks() {
    let whole = tar()
        .pax(&[("path", "a/b"), ("size", "5")])
        .file("x", "hello")
        .link("l", "../canary")
        .hard("h", "a/b")
        .file("l", "over")
        .end();
    for at in (0..whole.len() - 1024).step_by(13) {
        for change in [1, 0xaf] {
            let yard = Yard::new();
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            let unpacked = yard.unpack(&damaged);
            let scratch = yard.dir.path().join("tar");
            let indexed = tar_view(&damaged, &scratch);
            assert_eq!(unpacked.is_ok(), indexed.is_ok(), "byte {at} ^ {change}");
            if let Ok(view) = indexed {
                let unpacked = Stack::new(vec![dir_view(&yard.tree())]);
                assert_eq!(
                    listing(&unpacked),
                    listing(&Stack::new(vec![view])),
                    "byte {at} ^ {change}"
                );
            }
        }
    }
}

#[test]
fn names_of_very_many_directories_are_refused_and_told() {
    let deep = |names: usize| format!("deepest/{}f", "d/./".repeat(names - 2));
    let read = |tar: RawTar| {
        let folder = tempfile::tempdir().unwrap();
        tar_view(&tar.end(), &folder.path().join("tar"))
            .err()
            .map(|error| {
                assert!(matches!(error, Error::Limit { limit: 2048, .. }), "{error:?}");
                error.to_string()
            })
    };
    let file = RawTar::default().file("f", "");
    assert_eq!(read(RawTar::default().long_name(&deep(2048)).file("x", "")), None);
    for names in [2049, 15_000] {
        let name = deep(names);
        for tar in [
            RawTar::default().long_name(&name).file("x", ""),
            RawTar::default().pax(&[("path", &name)]).dir("x", 0o755),
            file.clone().pax(&[("linkpath", &name)]).hard("x", "f"),
            RawTar::default().pax(&[("linkpath", &name)]).link("x", "f"),
        ] {
            let error = read(tar).expect("too many directories");
            assert!(error.contains("deepest/d"), "{error}");
        }
    }
    // deep by links only
    let half = "d/".repeat(1500);
    let tar = RawTar::default()
        .pax(&[("linkpath", &half)])
        .link("l", "x")
        .long_name(&format!("l/{half}f"))
        .file("x", "");
    assert!(
        read(tar)
            .expect("too many directories")
            .contains("links followed")
    );
}
