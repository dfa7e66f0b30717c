//! What ADD makes of archives, honest and hostile.

use crate::files::{Files, RawTar};
use crate::world::{Image, World};

fn tar() -> RawTar {
    RawTar::default()
}

fn add_on(below: Files, archive: &[u8], lines: &str) -> Image {
    World::with_base(below).make(
        &format!("FROM base\n{lines}\n"),
        &Files::new().file("a.tar", archive),
    )
}

fn add(below: Files, archive: RawTar) -> Image {
    add_on(below, &archive.end(), "ADD a.tar /t")
}

fn refuse(archive: &[u8], below: Files) -> String {
    World::with_base(below).refuse("FROM base\nADD a.tar /t/\n", &Files::new().file("a.tar", archive))
}

#[test]
fn entries_come_with_their_owners_and_modes() {
    let archive = tar()
        .dir("d/")
        .file("d/f", "f")
        .file("no/dir/f", "f")
        .symlink("l", "d/f")
        .end();
    let all = [
        "/t/",
        "/t/d/ 7:8",
        "/t/d/f \"f\" 7:8",
        "/t/l -> d/f 7:8",
        "/t/no/",
        "/t/no/dir/",
        "/t/no/dir/f \"f\" 7:8",
    ];
    assert_eq!(add_on(Files::new(), &archive, "ADD a.tar /t").files(), all);
    assert_eq!(
        add_on(Files::new(), &archive, "ADD --chmod=700 a.tar /t/").files(),
        all,
        "--chmod is not for archives"
    );
    assert_eq!(add_on(Files::new(), &archive, "COPY a.tar /t/").files().len(), 2);
    assert_eq!(
        add_on(Files::new(), &archive, "ADD --unpack=false a.tar /t/")
            .files()
            .len(),
        2
    );
    let owned = add_on(Files::new(), &archive, "ADD --chown=3:4 a.tar /t/").files();
    assert!(
        owned.contains(&"/t/ 3:4".into()) && owned.contains(&"/t/d/f \"f\" 3:4".into()),
        "{owned:?}"
    );
    assert!(
        owned.contains(&"/t/no/".into()),
        "what the archive does not list is root's: {owned:?}"
    );
}

#[test]
fn content_tells_what_an_archive_is() {
    let world = World::with_base(Files::new());
    let archive = tar().file("f", "f").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &archive).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut text = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut text, b"no tar").unwrap();
    let files = Files::new()
        .file("d/named.txt", &archive)
        .file("gz", &gzip)
        .file("text.tar.gz", text.finish().unwrap())
        .file("plain.tar", "plain")
        .file("zeros.tar", vec![0; 10240])
        .file("bad.tar.gz", [0x1f, 0x8b, 8, 0, 1, 2, 3])
        .link("link", "gz");
    let unpacked = |name: &str| {
        let image = world.make(&format!("FROM base\nADD {name} /t/\n"), &files);
        image.stack.lookup(&crate::files::path("t/f")).unwrap().is_some()
    };
    for name in ["d/named.txt", "gz", "link"] {
        assert!(unpacked(name), "{name}");
    }
    for name in ["text.tar.gz", "plain.tar", "zeros.tar", "bad.tar.gz", "d"] {
        assert!(!unpacked(name), "{name}");
    }
    let image = world.make("FROM base\nADD gz plain.tar d/named.txt /t\n", &files);
    assert_eq!(image.files(), ["/t/", "/t/f \"f\" 7:8", "/t/plain.tar \"plain\""]);
}

#[test]
fn folders_become_files_and_folders_again() {
    let below = || {
        Files::new()
            .file("t/d/old/x", "x")
            .file("t/d/y", "y")
            .file("t/f", "f")
    };
    let image = add(below(), tar().file("d", "file now"));
    assert_eq!(image.files(), ["/t/", "/t/d \"file now\" 7:8", "/t/f \"f\""]);
    let image = add(
        below(),
        tar()
            .file("d", "file")
            .dir("d")
            .file("d/new", "n")
            .dir("f")
            .file("f/g", "g"),
    );
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/d/ 7:8",
            "/t/d/new \"n\" 7:8",
            "/t/f/ 7:8",
            "/t/f/g \"g\" 7:8"
        ]
    );
    let image = add(
        below(),
        tar()
            .file("d", "file")
            .file("d2", "")
            .dir("d")
            .dir("d/old")
            .file("d/old/z", "z"),
    );
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/d/ 7:8",
            "/t/d/old/ 7:8",
            "/t/d/old/z \"z\" 7:8",
            "/t/d2 \"\" 7:8",
            "/t/f \"f\""
        ]
    );
    let image = add(below(), tar().dir("d").file("d/y", "other"));
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/d/ 7:8",
            "/t/d/old/",
            "/t/d/old/x \"x\"",
            "/t/d/y \"other\" 7:8",
            "/t/f \"f\""
        ]
    );
    // vanished names are written one by one, never as an opaque folder
    let image = add(
        below(),
        tar().file("d", "file").dir("d").file("d/old", "now a file"),
    );
    let layer = image.stack.layers().last().unwrap();
    let names = layer.names(&crate::files::path("t/d")).unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|n| (String::from_utf8_lossy(&n.name).into_owned(), n.whiteout))
        .collect();
    assert_eq!(names, [("old".into(), false), ("y".into(), true)]);
}

#[test]
fn the_same_in_a_tree() {
    let below = Files::new().file("t/d/old/x", "x").file("t/d/y", "y");
    let archive = tar()
        .file("d", "file")
        .dir("d")
        .dir("d/old")
        .file("d/old/z", "z")
        .hardlink("d/l", "d/old/z")
        .end();
    let image = add_on(below, &archive, "ADD a.tar /t\nRUN write /x x");
    let expected = [
        "/t/",
        "/t/d/ 7:8",
        "/t/d/l \"z\" 7:8",
        "/t/d/old/ 7:8",
        "/t/d/old/z \"z\" = /t/d/l 7:8",
        "/x \"x\"",
    ];
    assert_eq!(image.files(), expected);
}

#[test]
fn hard_links_to_what_is_in_the_archive_and_to_what_is_below() {
    let below = Files::new()
        .file("t/low", "low")
        .owner("t/low", 1, 1)
        .link("t/lowlink", "low");
    let image = add(
        below,
        tar()
            .file("a", "a")
            .hardlink("b", "a")
            .hardlink("c", "/b")
            .hardlink("mine", "low"),
    );
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/a \"a\" 7:8",
            "/t/b \"a\" = /t/a 7:8",
            "/t/c \"a\" = /t/a 7:8",
            "/t/low \"low\" 1:1",
            "/t/lowlink -> low",
            "/t/mine \"low\" 7:8",
        ]
    );
    let image = add(Files::new(), tar().symlink("s", "/x").hardlink("h", "s"));
    assert_eq!(image.files(), ["/t/", "/t/h -> /x 7:8", "/t/s -> /x 7:8"]);
    for (archive, reason) in [
        (
            tar().hardlink("b", "none"),
            "/t/b: the target of the hard link, /t/none, is not there",
        ),
        (
            tar().dir("d").hardlink("b", "d"),
            "/t/b: the target of the hard link, /t/d, is not there",
        ),
        (
            tar().hardlink("b", "../../etc/passwd"),
            "the archive has an entry outside of it: \"../../etc/passwd\"",
        ),
    ] {
        let error = refuse(&archive.end(), Files::new().file("etc/passwd", ""));
        assert_eq!(
            error,
            format!("line 2: ADD a.tar /t/: cannot unpack a.tar: {reason}")
        );
    }
}

#[test]
fn nothing_escapes() {
    let below = || {
        Files::new()
            .file("etc/passwd", "root")
            .link("t/out", "/etc")
            .link("t/up", "../../../etc")
            .dir("t/etc")
    };
    let image = add(
        below(),
        tar()
            .file("out/new", "1")
            .file("up/new2", "2")
            .symlink("own", "/../..")
            .file("own/new3", "3")
            .symlink("chain", "own")
            .file("chain/new4", "4")
            .file("/abs/f", "5")
            .file("./dot/f", "6"),
    );
    let files = image.files();
    for line in [
        "/t/etc/new \"1\" 7:8",
        "/t/etc/new2 \"2\" 7:8",
        "/t/new3 \"3\" 7:8",
        "/t/new4 \"4\" 7:8",
        "/t/abs/f \"5\" 7:8",
        "/t/dot/f \"6\" 7:8",
    ] {
        assert!(files.contains(&line.to_owned()), "{line}: {files:?}");
    }
    assert!(files.contains(&"/etc/passwd \"root\"".into()));
    assert!(
        !files.iter().any(|line| line.starts_with("/etc/new")),
        "{files:?}"
    );
    for name in ["../f", "d/../../f", "..", "a/.."] {
        let error = refuse(&tar().file(name, "").end(), Files::new());
        assert!(
            error.ends_with(&format!("the archive has an entry outside of it: {name:?}")),
            "{error}"
        );
    }
    let error = refuse(&tar().symlink("l", "l").file("l/f", "").end(), Files::new());
    assert!(error.contains("too many levels of symbolic links"), "{error}");
    let error = refuse(&tar().file("f", "").file("f/g", "").end(), Files::new());
    assert!(
        error.ends_with("cannot create directory /t/f: what is there is not a directory"),
        "{error}"
    );
}

#[test]
fn broken_archives_name_themselves_and_the_line() {
    let whole = tar().file("a", "a").file("b", &"b".repeat(5000)).end();
    for cut in [1024 + 100, 1024 + 512 + 10] {
        let error = refuse(&whole[..cut], Files::new());
        assert!(
            error.starts_with("line 2: ADD a.tar /t/: cannot unpack a.tar: "),
            "{error}"
        );
    }
    let mut damaged = whole.clone();
    damaged[1024 + 3] ^= 1;
    assert!(
        refuse(&damaged, Files::new()).contains("cannot unpack a.tar: invalid tar at byte 1024"),
        "{}",
        refuse(&damaged, Files::new())
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut gzip, &whole).unwrap();
    let gzip = gzip.finish().unwrap();
    let error = refuse(&gzip[..gzip.len() - 3000], Files::new());
    assert!(
        error.starts_with("line 2: ADD a.tar /t/: cannot unpack a.tar: "),
        "{error}"
    );
}

#[test]
fn devices_and_holes() {
    let image = add(
        Files::new(),
        tar()
            .entry("c", b'3', "", b"")
            .entry("b", b'4', "", b"")
            .entry("p", b'6', "", b""),
    );
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/b BlockDevice { major: 1, minor: 3 } 7:8",
            "/t/c CharDevice { major: 1, minor: 3 } 7:8",
            "/t/p Fifo 7:8"
        ]
    );
    // PAX sparse format 1.0: the map stands before the data
    let mut map = b"2\n3\n4\n10\n2\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abcdxy");
    let records = [
        "GNU.sparse.major=1",
        "GNU.sparse.minor=0",
        "GNU.sparse.name=holes",
        "GNU.sparse.realsize=14",
    ];
    let pax: String = records
        .iter()
        .map(|record| format!("{} {record}\n", record.len() + 4))
        .collect();
    let image = add(
        Files::new(),
        tar()
            .entry("h", b'x', "", pax.as_bytes())
            .entry("s", b'0', "", &map),
    );
    assert_eq!(
        image.files(),
        ["/t/", "/t/holes \"\\0\\0\\0abcd\\0\\0\\0xy\\0\\0\" 7:8"]
    );
}

#[test]
fn very_many_names() {
    let mut archive = tar();
    for n in 0..20_000 {
        archive = archive.file(&format!("d{}/f{n}", n % 100), "");
    }
    let files = add(Files::new(), archive).files();
    assert_eq!(files.len(), 1 + 100 + 20_000);
}
