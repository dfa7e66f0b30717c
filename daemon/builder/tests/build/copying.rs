//! What COPY and ADD make of files, links, folders, owners, modes and times.

use mica_layer::Kind;

use crate::files::{Files, LONG_AGO, path};
use crate::world::{Image, World, args};

/// Builds `lines` on a base of `below`, from a context of `files`.
fn build(below: Files, files: &Files, lines: &str) -> Image {
    World::with_base(below).make(&format!("FROM base\n{lines}\n"), files)
}

fn refuse(below: Files, files: &Files, lines: &str) -> String {
    World::with_base(below).refuse(&format!("FROM base\n{lines}\n"), files)
}

fn some() -> Files {
    Files::new().file("f", "f").file("d/x", "x").file("d/sub/y", "y")
}

#[test]
fn destinations_are_followed_inside_the_root() {
    let below = || {
        Files::new()
            .dir("real/deep")
            .link("abs", "/real")
            .link("up", "../../../real/deep")
            .link("two", "abs/deep")
            .link("dangling", "/gone/far")
            .link("real/back", "../abs/deep")
            .link("real/away", "../../..")
    };
    let table = [
        ("/abs/n", "/real/n"),
        ("/abs/", "/real/f"),
        ("/abs", "/real/f"),
        ("/up/n", "/real/deep/n"),
        ("/two/n", "/real/deep/n"),
        ("/dangling", "/gone/far"),
        ("/dangling/", "/gone/far/f"),
        ("/dangling/n", "/gone/far/n"),
        ("/real/back/n", "/real/deep/n"),
        ("/real/away/n", "/n"),
        ("/abs/../n", "/n"),
        ("/two/../n", "/real/n"),
        ("/none/../n", "/n"),
        ("../../n", "/n"),
        ("a/./b//c", "/a/b/c"),
        (".", "/f"),
        ("./", "/f"),
        ("\"\"", "/f"),
    ];
    for (dest, expected) in table {
        let image = build(
            below(),
            &some(),
            &format!(
                "COPY [\"f\", {}]",
                if dest == "\"\"" {
                    dest.into()
                } else {
                    format!("{dest:?}")
                }
            ),
        );
        let line = format!("{expected} \"f\"");
        assert!(image.files().contains(&line), "{dest}: {:?}", image.files());
    }
}

#[test]
fn a_relative_destination_starts_at_the_working_directory_as_it_is_written() {
    let below = Files::new().dir("real/in").link("w", "real/in");
    let image = build(
        below,
        &some(),
        "WORKDIR /w\nCOPY f .\nCOPY f ../up\nWORKDIR sub\nCOPY f x/",
    );
    for line in ["/real/in/f \"f\"", "/real/up \"f\"", "/real/in/sub/x/f \"f\""] {
        assert!(
            image.files().contains(&line.to_owned()),
            "{line}: {:?}",
            image.files()
        );
    }
    assert_eq!(image.config.config.working_dir, "/w/sub");
}

#[test]
fn folders_give_their_contents_and_leave_what_is_there() {
    let below = Files::new()
        .file("t/sub/old", "old")
        .mode("t", 0o700)
        .file("t/x", "older")
        .owner("t/sub", 3, 4);
    let files = some().mode("d/sub", 0o711).time("d", 77).time("d/sub", 78);
    let image = build(below, &files, "COPY d /t");
    assert_eq!(
        image.files(),
        [
            "/t/ 700",
            "/t/sub/ 711",
            "/t/sub/old \"old\"",
            "/t/sub/y \"y\"",
            "/t/x \"x\""
        ]
    );
    let time = |name: &str| {
        image
            .stack
            .lookup(&path(name))
            .unwrap()
            .unwrap()
            .node
            .meta
            .mtime
            .seconds
    };
    assert_eq!([time("t"), time("t/sub"), time("t/x")], [77, 78, LONG_AGO]);
}

#[test]
fn several_sources_and_patterns() {
    let files = some().file("g", "g").file(".h", "h").file("e/sub/z", "z");
    let table: [(&str, &[&str]); 8] = [
        ("COPY f g /n", &["/n \"g\""]),
        ("COPY f g /n/", &["/n/", "/n/f \"f\"", "/n/g \"g\""]),
        (
            "COPY d e /n",
            &["/n/", "/n/sub/", "/n/sub/y \"y\"", "/n/sub/z \"z\"", "/n/x \"x\""],
        ),
        ("COPY [fg] /n/", &["/n/", "/n/f \"f\"", "/n/g \"g\""]),
        ("COPY d/s* /n/", &["/n/", "/n/y \"y\""]),
        ("COPY */sub/? /n/", &["/n/", "/n/y \"y\"", "/n/z \"z\""]),
        ("COPY ?h /n/", &["/n/", "/n/.h \"h\""]),
        ("COPY ../f /../n", &["/n \"f\""]),
    ];
    for (line, expected) in table {
        assert_eq!(build(Files::new(), &files, line).files(), expected, "{line}");
    }
    let world = World::with_base(Files::new().file("a", "a"));
    let image = world.make("FROM base\nCOPY no*thing /n/\n", &files);
    assert_eq!(image.files(), ["/a \"a\""]);
    assert_eq!(world.warnings().len(), 1, "{:?}", world.warnings());
}

#[test]
fn kinds_that_do_not_fit_are_refused_however_deep() {
    let files = some().file("d/sub/deep/z", "z");
    for (below, expected) in [
        (
            Files::new().file("t/sub/deep", "f"),
            "cannot copy to non-directory: /t/sub/deep",
        ),
        (
            Files::new().link("t/sub", "/real").dir("real"),
            "cannot copy to non-directory: /t/sub",
        ),
        (
            Files::new().dir("t/sub/y"),
            "cannot copy a file onto the directory /t/sub/y",
        ),
        (
            Files::new().file("t", "f"),
            "cannot create directory /t: what is there is not a directory",
        ),
    ] {
        let error = refuse(below, &files, "COPY d /t");
        assert!(error.ends_with(expected), "{error}");
    }
    let image = build(
        Files::new().link("t/sub/y", "/f").file("f", "f").link("u", "t"),
        &files,
        "COPY d /u",
    );
    assert!(
        image.files().contains(&"/t/sub/y \"y\"".into()),
        "a link to a file is replaced: {:?}",
        image.files()
    );
    assert_eq!(image.text("f"), "f");
}

#[test]
fn excluded_files_may_come_in_again() {
    let files = Files::new()
        .file("d/a/keep", "k")
        .file("d/a/drop", "d")
        .file("d/a/deep/keep", "k")
        .file("d/b/drop", "d")
        .file("d/c", "c")
        .mode("d/a", 0o750)
        .mode("d/a/deep", 0o710);
    let table: [(&str, &[&str]); 5] = [
        (
            "--exclude=a --exclude=!a/keep",
            &[
                "/t/",
                "/t/a/ 750",
                "/t/a/keep \"k\"",
                "/t/b/",
                "/t/b/drop \"d\"",
                "/t/c \"c\"",
            ],
        ),
        (
            "--exclude=* --exclude=!**/keep",
            &[
                "/t/",
                "/t/a/ 750",
                "/t/a/deep/ 710",
                "/t/a/deep/keep \"k\"",
                "/t/a/keep \"k\"",
            ],
        ),
        ("--exclude=a --exclude=b", &["/t/", "/t/c \"c\""]),
        (
            "--exclude=*/drop --exclude=a/deep",
            &["/t/", "/t/a/ 750", "/t/a/keep \"k\"", "/t/b/", "/t/c \"c\""],
        ),
        (
            "--exclude=#x --exclude=**/drop --exclude=**/keep",
            &["/t/", "/t/a/ 750", "/t/a/deep/ 710", "/t/b/", "/t/c \"c\""],
        ),
    ];
    for (flags, expected) in table {
        assert_eq!(
            build(Files::new(), &files, &format!("COPY {flags} d /t")).files(),
            expected,
            "{flags}"
        );
    }
    assert_eq!(
        build(
            Files::new().file("x", ""),
            &files,
            "COPY --exclude=c d/c d/a/keep /t/"
        )
        .files(),
        ["/t/", "/t/keep \"k\"", "/x \"\""]
    );
}

#[test]
fn the_ignore_file_hides_and_shows_again() {
    let files = || {
        Files::new()
            .file("a/keep", "k")
            .file("a/drop", "d")
            .file("b/drop", "d")
            .file("c.md", "c")
            .mode("a", 0o750)
    };
    let all = "COPY . /t/";
    let image = build(Files::new(), &files().file(".dockerignore", "*\n!a/keep\n"), all);
    assert_eq!(image.files(), ["/t/", "/t/a/ 750", "/t/a/keep \"k\""]);
    let image = build(
        Files::new(),
        &files().file(".dockerignore", "a\nb\n.dockerignore\nDockerfile"),
        all,
    );
    assert_eq!(image.files(), ["/t/", "/t/c.md \"c\""]);
    let own = files()
        .file(".dockerignore", "*")
        .file("Dockerfile.dockerignore", "*\n!c.md\n");
    assert_eq!(build(Files::new(), &own, all).files(), ["/t/", "/t/c.md \"c\""]);
}

#[test]
fn hard_links_stay_together_within_one_source() {
    let files = Files::new()
        .hard("d/1", "h", 7)
        .hard("d/2", "h", 7)
        .hard("e/3", "h", 7)
        .file("d/4", "h");
    let image = build(Files::new(), &files, "COPY d e /t/");
    assert_eq!(
        image.files(),
        [
            "/t/",
            "/t/1 \"h\"",
            "/t/2 \"h\" = /t/1",
            "/t/3 \"h\"",
            "/t/4 \"h\""
        ]
    );
    let image = build(
        Files::new(),
        &files.clone().file("d/1", "other"),
        "COPY d /t/\nCOPY --chown=5 d/1 /t/2",
    );
    assert_eq!(
        image.files(),
        ["/t/", "/t/1 \"other\"", "/t/2 \"other\" 5:5", "/t/4 \"h\""]
    );
    let world = World::with_base(files);
    let image = world.make("FROM base AS a\nFROM scratch\nCOPY --from=a / /\n", &Files::new());
    assert!(
        image.files().contains(&"/d/2 \"h\" = /d/1".into()),
        "{:?}",
        image.files()
    );
}

#[test]
fn owners_and_modes() {
    let below = Files::new()
        .file("etc/passwd", "joe:x:7:8::/:\n")
        .file("etc/group", "staff:x:50:\n");
    let files = some().mode("d/x", 0o6755).owner("d/x", 4, 4).link("d/l", "x");
    let table: [(&str, &[&str]); 12] = [
        (
            "COPY d /n/t",
            &[
                "/n/",
                "/n/t/",
                "/n/t/l -> x",
                "/n/t/sub/",
                "/n/t/sub/y \"y\"",
                "/n/t/x \"x\" 6755",
            ],
        ),
        ("COPY --chown=joe f /n/t", &["/n/ 7:8", "/n/t \"f\" 7:8"]),
        ("COPY --chown=joe:staff f /t", &["/t \"f\" 7:50"]),
        ("COPY --chown=:staff f /t", &["/t \"f\" 0:50"]),
        ("COPY --chown=12 f /t", &["/t \"f\" 12:12"]),
        ("COPY --chown=12:0 f /t", &["/t \"f\" 12:0"]),
        ("COPY --chown=nobody:nogroup f /t", &["/t \"f\""]),
        ("ARG none\nCOPY --chown=$none --chmod=$none f /t", &["/t \"f\""]),
        (
            "COPY --chmod=640 d /n/t",
            &[
                "/n/ 640",
                "/n/t/ 640",
                "/n/t/l -> x",
                "/n/t/sub/ 640",
                "/n/t/sub/y \"y\" 640",
                "/n/t/x \"x\" 640",
            ],
        ),
        (
            "COPY --chmod=a-x,u+X d/sub /n/t",
            &["/n/", "/n/t/", "/n/t/y \"y\""],
        ),
        ("COPY --chmod=u+x,go= f /n/t", &["/n/", "/n/t \"f\" 700"]),
        ("USER joe\nCOPY f /t", &["/t \"f\""]),
    ];
    for (line, expected) in table {
        let files = build(below.clone(), &files, line).files();
        let new: Vec<_> = files
            .into_iter()
            .filter(|line| !line.starts_with("/etc"))
            .collect();
        assert_eq!(new, expected, "{line}");
    }
}

#[test]
fn what_comes_from_a_stage_keeps_its_owners() {
    let world = World::with_base(
        Files::new()
            .file("d/f", "f")
            .owner("d/f", 3, 4)
            .owner("d", 5, 6)
            .mode("d", 0o700),
    );
    let image = world.make("FROM scratch\nARG none\nCOPY --from=base /d /t\nCOPY --from=base --chown=$none /d/f /g\nCOPY --from=base --chown=1 /d /u\n", &Files::new());
    assert_eq!(image.files()[..1], ["/g \"f\" 3:4"]);
    assert!(
        image.files().contains(&"/t/f \"f\" 3:4".into()) && image.files().contains(&"/u/f \"f\" 1:1".into()),
        "{:?}",
        image.files()
    );
}

#[test]
fn linked_copies_do_not_look_below() {
    let below = Files::new().link("l", "/real").dir("real").mode("real", 0o700);
    let image = build(
        below,
        &some(),
        "COPY --link f /l/n\nCOPY --link --chown=3 f /real/n",
    );
    assert_eq!(
        image.files(),
        ["/l/", "/l/n \"f\"", "/real/ 3:3", "/real/n \"f\" 3:3"]
    );
}

#[test]
fn other_kinds_of_files() {
    let files = Files::new()
        .node("d/pipe", Kind::Fifo)
        .node("d/null", Kind::CharDevice { major: 1, minor: 3 })
        .node("d/disk", Kind::BlockDevice { major: 8, minor: 0 })
        .link("d/away", "/etc/../x");
    let image = build(Files::new(), &files, "COPY d /t\nCOPY d/pipe /p");
    assert_eq!(
        image.files(),
        [
            "/p Fifo",
            "/t/",
            "/t/away -> /etc/../x",
            "/t/disk BlockDevice { major: 8, minor: 0 }",
            "/t/null CharDevice { major: 1, minor: 3 }",
            "/t/pipe Fifo",
        ]
    );
}

#[test]
fn here_documents() {
    let lines = "ARG who=me\nCOPY --chmod=600 f <<one <<\"two\" /t/\nhello $who\none\nhello $who\ntwo\nCOPY <<-E /n\n\tx\n\tE";
    let image = build(Files::new(), &some(), lines);
    assert_eq!(
        image.files(),
        [
            "/n \"x\\n\"",
            "/t/ 600",
            "/t/f \"f\" 600",
            "/t/one \"hello me\\n\" 600",
            "/t/two \"hello $who\\n\" 600"
        ]
    );
}

#[test]
fn times_are_the_sources() {
    let files = some()
        .time("f", 5)
        .time("d/sub/y", 6)
        .link("d/l", "x")
        .time("d/l", 7);
    let world = World::with_base(Files::new());
    let image = world.make("FROM base\nCOPY f /new/f\nCOPY d /d\n", &files);
    let time = |name: &str| {
        image
            .stack
            .lookup(&path(name))
            .unwrap()
            .unwrap()
            .node
            .meta
            .mtime
            .seconds
    };
    assert_eq!(
        [time("new/f"), time("d/sub/y"), time("d/l"), time("d")],
        [5, 6, 7, LONG_AGO]
    );
    assert!(time("new") > LONG_AGO);
    let image = world.make_with(
        &args(&[("SOURCE_DATE_EPOCH", "6")]),
        "FROM base\nCOPY f /new/f\nCOPY d /d\n",
        &files,
    );
    let time = |name: &str| {
        image
            .stack
            .lookup(&path(name))
            .unwrap()
            .unwrap()
            .node
            .meta
            .mtime
            .seconds
    };
    assert_eq!([time("new"), time("new/f"), time("d/l"), time("d")], [6, 5, 6, 6]);
}
