//! What is edited, and which steps are carried out again because of it.

use mica_builder::Options;
use mica_builder::ports::{Network, Ulimit};
use mica_oci::ImageConfig;

use crate::files::{Files, LONG_AGO};
use crate::world::{World, args, options};

const DOCKERFILE: &str = "\
FROM base
ARG used=1
COPY --exclude=*.log src/ /src/
COPY other /other
RUN one
ENV A=1
WORKDIR /w
RUN two
";
const COPY_SRC: &str = "COPY --exclude=*.log src/ /src/";
const COPY_OTHER: &str = "COPY other /other";
const WORKDIR: &str = "WORKDIR /w";
const FROM_SRC: [&str; 5] = [COPY_SRC, COPY_OTHER, "RUN one", WORKDIR, "RUN two"];

fn files() -> Files {
    Files::new()
        .file("src/a", "aaa")
        .file("src/b.log", "log")
        .file("src/deep/c", "ccc")
        .link("src/l", "a")
        .file("other", "other")
        .file("ignored/x", "x")
        .file(".dockerignore", "ignored\n*.md\n")
        .file("README.md", "read")
}

fn base() -> Files {
    Files::new().file("etc/passwd", "joe:x:7:8::/:/bin/sh\n")
}

/// What was built, and what is built then.
struct Edit {
    options: Options,
    dockerfile: String,
    files: Files,
}

fn edit() -> Edit {
    Edit {
        options: options(),
        dockerfile: DOCKERFILE.into(),
        files: files(),
    }
}

fn text(from: &str, to: &str) -> Edit {
    assert!(DOCKERFILE.contains(from), "{from}");
    Edit {
        dockerfile: DOCKERFILE.replacen(from, to, 1),
        ..edit()
    }
}

fn context(files: Files) -> Edit {
    Edit { files, ..edit() }
}

fn given(options: Options) -> Edit {
    Edit { options, ..edit() }
}

fn executed(before: &Edit, after: &Edit) -> Vec<String> {
    let world = World::with_base(base());
    world.make_with(&before.options, &before.dockerfile, &before.files);
    world.make_with(&after.options, &after.dockerfile, &after.files);
    world.executed()
}

#[track_caller]
fn check(what: &str, after: &Edit, expected: &[&str]) {
    assert_eq!(executed(&edit(), after), expected, "{what}");
}

#[test]
fn edits_of_the_context() {
    let none: &[&str] = &[];
    let from_other = &[COPY_OTHER, "RUN one", WORKDIR, "RUN two"];
    // where the edited step alone is done again, what it makes is the layer that was there: attributes are in no layer,
    // and the folder that is copied gives only its contents
    let table: [(&str, Files, &[&str]); 17] = [
        ("nothing", files(), none),
        ("a byte", files().file("src/a", "aab"), &FROM_SRC),
        (
            "a byte of the second COPY",
            files().file("other", "oth3r"),
            from_other,
        ),
        ("a mode bit", files().mode("src/a", 0o744), &FROM_SRC),
        ("the setuid bit", files().mode("src/a", 0o4644), &FROM_SRC),
        ("the mode of a folder", files().mode("src/deep", 0o700), &FROM_SRC),
        (
            "the mode of the folder that is copied",
            files().mode("src", 0o700),
            &[COPY_SRC],
        ),
        ("a name", files().without("src/a").file("src/z", "aaa"), &FROM_SRC),
        (
            "a name below",
            files().without("src/deep").file("src/d/c", "ccc"),
            &FROM_SRC,
        ),
        ("where a link leads", files().link("src/l", "deep/c"), &FROM_SRC),
        ("an attribute", files().xattr("src/a", "user.k", "v"), &[COPY_SRC]),
        (
            "a capability no client can send",
            files().xattr("src/a", "security.capability", "v"),
            none,
        ),
        ("an owner", files().owner("src/a", 5, 5), none),
        (
            "a time",
            files().time("src/a", LONG_AGO + 5).time("other", 7),
            none,
        ),
        (
            "an ignored file",
            files().file("ignored/x", "y").file("NEW.md", "m"),
            none,
        ),
        ("an excluded file", files().file("src/b.log", "more"), none),
        ("what no COPY takes", files().file("unrelated", "u"), none),
    ];
    for (what, files, expected) in table {
        check(what, &context(files), expected);
    }
    check(
        "the link itself instead of its target",
        &context(files().without("src/l").file("src/l", "aaa")),
        &FROM_SRC,
    );
    check(
        "a file becomes a hard link",
        &context(files().hard("src/a", "aaa", 1).hard("src/a2", "aaa", 1)),
        &FROM_SRC,
    );
    check("an empty folder", &context(files().dir("src/empty")), &FROM_SRC);
}

#[test]
fn edits_of_the_dockerfile() {
    let none: &[&str] = &[];
    let runs = &["RUN one", WORKDIR, "RUN two"];
    let table: [(&str, Edit, &[&str]); 20] = [
        ("a comment", text("FROM base", "# c\nFROM base"), none),
        ("a label", text("ENV A=1", "ENV A=1\nLABEL l=m"), none),
        (
            "a port, a volume, a command",
            text(
                "ENV A=1",
                "ENV A=1\nEXPOSE 80\nVOLUME /v\nCMD [\"x\"]\nSTOPSIGNAL 9",
            ),
            none,
        ),
        ("ENV before RUN two", text("A=1", "A=2"), &["RUN two"]),
        (
            "ENV before a COPY",
            text("COPY other", "ENV B=1\nCOPY other"),
            runs,
        ),
        ("an ARG that is not used", text("used=1", "used=2"), runs),
        ("an ARG after", text("RUN two", "RUN two\nARG late=1"), none),
        (
            "USER",
            text("WORKDIR", "USER joe\nWORKDIR"),
            &[WORKDIR, "RUN two"],
        ),
        (
            "WORKDIR",
            text("WORKDIR /w", "WORKDIR /v"),
            &["WORKDIR /v", "RUN two"],
        ),
        (
            "WORKDIR before a COPY to an absolute path",
            text("COPY other", "WORKDIR /\nCOPY other"),
            &["WORKDIR /"],
        ),
        ("RUN", text("RUN one", "RUN 1"), &["RUN 1"]),
        (
            "SHELL",
            text("RUN two", "SHELL [\"/bin/ash\", \"-c\"]\nRUN two"),
            &["RUN two"],
        ),
        (
            "exec form",
            text("RUN two", "RUN [\"/bin/sh\", \"-c\", \"two\"]"),
            none,
        ),
        (
            "--network",
            text("RUN two", "RUN --network=none two"),
            &["RUN --network=none two"],
        ),
        (
            "the destination",
            text("other /other", "other /other2"),
            &["COPY other /other2", "RUN one", WORKDIR, "RUN two"],
        ),
        (
            "the spelling of a source",
            text("COPY other", "COPY ./other"),
            none,
        ),
        (
            "--chmod",
            text("COPY other", "COPY --chmod=600 other"),
            &["COPY --chmod=600 other /other", "RUN one", WORKDIR, "RUN two"],
        ),
        (
            "--chown",
            text("COPY other", "COPY --chown=joe other"),
            &["COPY --chown=joe other /other", "RUN one", WORKDIR, "RUN two"],
        ),
        (
            "--exclude that excludes nothing more",
            text("--exclude=*.log", "--exclude=*.log --exclude=none"),
            &["COPY --exclude=*.log --exclude=none src/ /src/"],
        ),
        (
            "--exclude",
            text("--exclude=*.log", "--exclude=*.log --exclude=a"),
            &[
                "COPY --exclude=*.log --exclude=a src/ /src/",
                COPY_OTHER,
                "RUN one",
                WORKDIR,
                "RUN two",
            ],
        ),
    ];
    for (what, after, expected) in table {
        // equal results of an edited step on an equal parent are taken for the older one, and what follows stays cached
        let expected: Vec<_> = match what {
            "RUN" => vec!["RUN 1"],
            _ => expected.to_vec(),
        };
        let expected = match what {
            // the fake processes write nothing: their layers are equal, so the edited step alone is done again
            "an ARG that is not used" => vec!["RUN one", "RUN two"],
            "ENV before a COPY" => vec!["RUN one", "RUN two"],
            _ => expected,
        };
        check(what, &after, &expected);
    }
}

#[test]
fn edits_of_what_is_asked_for() {
    let proxy = args(&[("http_proxy", "p"), ("NO_PROXY", "q")]);
    let ulimits = Options {
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 1,
            hard: 2,
        }],
        ..options()
    };
    let network = Options {
        network: Network::None,
        ..options()
    };
    let hosts = |name: &str, address: &str| Options {
        extra_hosts: vec![(name.into(), address.into())],
        ..options()
    };
    let labels = Options {
        labels: vec![("a".into(), "b".into())],
        ..options()
    };
    let shm_size = Options {
        shm_size: Some(1 << 20),
        ..options()
    };
    let runs: &[&str] = &["RUN one", "RUN two"];
    let table: [(&str, Options, &[&str]); 11] = [
        ("proxies", proxy, &[]),
        ("an argument nobody declares", args(&[("nobody", "x")]), &[]),
        (
            "an argument with its default as value",
            args(&[("used", "1")]),
            &[],
        ),
        ("an argument", args(&[("used", "2")]), runs),
        (
            "a host name of the sandbox",
            args(&[("BUILDKIT_SANDBOX_HOSTNAME", "h")]),
            runs,
        ),
        (
            "SOURCE_DATE_EPOCH",
            args(&[("SOURCE_DATE_EPOCH", "100")]),
            &FROM_SRC,
        ),
        ("limits", ulimits, runs),
        ("the network", network, runs),
        ("a host", hosts("a", "1.2.3.4"), runs),
        ("a label of the command line", labels, &[]),
        ("the size of /dev/shm", shm_size, runs),
    ];
    for (what, options, expected) in table {
        check(what, &given(options), expected);
    }
    let before = given(hosts("a", "1.2.3.4"));
    assert!(executed(&before, &given(hosts("a", "4.3.2.1"))).is_empty());
    assert_eq!(executed(&before, &given(hosts("b", "1.2.3.4"))), runs);
}

#[test]
fn another_base_starts_anew_and_another_name_for_it_does_not() {
    let world = World::with_base(base());
    world.make(DOCKERFILE, &files());
    world.image("other", &base(), ImageConfig::default());
    world.make(&DOCKERFILE.replace("FROM base", "FROM other"), &files());
    assert!(world.executed().is_empty());
    world.image("base", &base().file("new", "n"), ImageConfig::default());
    world.make(DOCKERFILE, &files());
    assert_eq!(world.executed(), FROM_SRC);
}

#[test]
fn named_owners_depend_on_the_passwd_file_of_the_destination() {
    let world = World::with_base(base());
    let dockerfile = "FROM base\nCOPY --chown=joe other /o\n";
    assert!(
        world
            .make(dockerfile, &files())
            .files()
            .contains(&"/o \"other\" 7:8".into())
    );
    world.image(
        "base",
        &Files::new().file("etc/passwd", "joe:x:9:9::/:\n"),
        ImageConfig::default(),
    );
    assert!(
        world
            .make(dockerfile, &files())
            .files()
            .contains(&"/o \"other\" 9:9".into())
    );
}

#[test]
fn stages_may_change_places() {
    let world = World::with_base(base());
    let (a, b) = (
        "FROM base AS a\nRUN write /a a\n",
        "FROM base AS b\nRUN write /b b\n",
    );
    let last = "FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
    world.make(&format!("{a}{b}{last}"), &Files::new());
    world.make(&format!("{b}{a}{last}"), &Files::new());
    assert!(world.executed().is_empty());
    world.make(
        &last
            .replace("FROM base\n", &format!("{a}{b}FROM base AS c\n"))
            .replace("=a ", "=0 "),
        &Files::new(),
    );
    assert!(world.executed().is_empty());
}

#[test]
fn bodies_of_here_documents_count_by_their_expanded_text() {
    let world = World::with_base(base());
    let make = |name: &str, body: &str, env: &str| {
        world.make(
            &format!(
                "FROM base\nENV v={env}\nCOPY <<{name} /f\n{body}\n{}\n",
                name.trim_matches('"')
            ),
            &Files::new(),
        );
        !world.executed().is_empty()
    };
    assert!(make("E", "text $v", "1"));
    assert!(!make("E", "text 1", "2"));
    assert!(make("E", "text $v", "2"));
    assert!(make("\"E\"", "text $v", "2"));
    assert!(make("F", "text $v", "1"), "the name is the file's");
    assert!(!make("\"E\"", "text $v", "9"));
}

#[test]
fn a_stage_built_to_equal_content_is_copied_from_the_cache() {
    let world = World::with_base(base());
    let dockerfile =
        "FROM base AS a\nRUN write /f VERSION\nRUN write /g g\nFROM base\nCOPY --from=a /g /\nRUN last\n";
    world.make(&dockerfile.replace("VERSION", "1"), &Files::new());
    let first = world.make(&dockerfile.replace("VERSION", "1"), &Files::new());
    assert!(world.executed().is_empty());
    let second = world.make(&dockerfile.replace("VERSION", "2"), &Files::new());
    assert_eq!(world.executed(), ["RUN write /f 2", "RUN write /g g"]);
    assert_eq!(first.layers, second.layers);
    assert_eq!(first.config, second.config);
}

#[test]
fn equal_results_are_the_older_layer() {
    let world = World::with_base(base());
    let first = world.make("FROM base\nRUN write /f x\nRUN second\n", &Files::new());
    let second = world.make(
        "FROM base\nRUN [\"sh\", \"-c\", \"write /f x\"]\nRUN second\n",
        &Files::new(),
    );
    assert_eq!(world.executed(), ["RUN [\"sh\", \"-c\", \"write /f x\"]"]);
    assert_eq!(first.layers, second.layers);
    let created =
        |image: &crate::world::Image| image.config.history.iter().map(|h| h.created).collect::<Vec<_>>();
    assert_eq!(created(&first), created(&second));
    // the same bytes with another mode or on another parent are something else
    let third = world.make("FROM base\nENV a=b\nRUN write /f y\nRUN second\n", &Files::new());
    assert_eq!(world.executed().len(), 2);
    assert_ne!(first.last(), third.layers.first().unwrap());
}

#[test]
fn no_cache_does_everything_anew_but_working_directories() {
    let world = World::with_base(base());
    world.make(DOCKERFILE, &files());
    let anew = Options {
        no_cache: true,
        ..options()
    };
    world.make_with(&anew, DOCKERFILE, &files());
    assert_eq!(world.commands(), ["/bin/sh -c one", "/bin/sh -c two"]);
    let executed = world.executed();
    assert!(
        executed.starts_with(&[COPY_SRC.into(), COPY_OTHER.into(), "RUN one".into()]),
        "{executed:?}"
    );
    world.make(DOCKERFILE, &files());
    assert!(world.executed().is_empty(), "the anew made layers are remembered");
}

#[test]
fn failed_steps_are_not_remembered() {
    let world = World::with_base(base());
    let dockerfile = "FROM base\nRUN write /f x\nRUN exit 3\n";
    for _ in 0..2 {
        let error = world.refuse(dockerfile, &Files::new());
        assert!(error.ends_with("returned a non-zero code: 3"), "{error}");
        assert_eq!(world.commands().last().unwrap(), "/bin/sh -c exit 3");
    }
    assert_eq!(world.commands().len(), 1, "what came before it is");
}

#[test]
fn a_record_whose_layer_is_gone_is_none() {
    let world = World::with_base(base());
    let dockerfile = "FROM base\nCOPY other /a\nCOPY other /b\n";
    let first = world.make(dockerfile, &files());
    let gone = world
        .folder
        .path()
        .join("blobs/sha256")
        .join(first.layers[1].digest().hex());
    fs_err::remove_file(gone).unwrap();
    let second = world.make(dockerfile, &files());
    assert_eq!(
        world.executed(),
        ["COPY other /a"],
        "what was made on it is found again"
    );
    assert_eq!(second.text("a"), "other");
}

#[test]
fn a_build_that_is_all_cached_opens_nothing_and_writes_nothing() {
    let world = World::with_base(base());
    let mut dockerfile = String::from("FROM base AS a\nRUN write /x x\nFROM base\n");
    for n in 0..10 {
        dockerfile.push_str(&format!(
            "COPY src /d{n}\nCOPY --from=a /x /x{n}\nRUN write /r{n} r\n"
        ));
    }
    let first = world.make(&dockerfile, &files());
    // without its layers' bytes nothing can be opened; that they are there is all that may be looked at
    for layer in &first.layers {
        let hex = layer.digest().hex();
        let tree = world.folder.path().join("mica/trees").join(&hex);
        let tar = world.folder.path().join("blobs/sha256").join(&hex);
        if tar.exists() {
            fs_err::write(tar, "").unwrap();
        }
        if tree.exists() {
            fs_err::remove_dir_all(tree.join("fs")).unwrap();
            fs_err::create_dir(tree.join("fs")).unwrap();
        }
    }
    let before = (world.in_folder("mica/trees"), world.in_folder("blobs/sha256"));
    let records = world.store.cache_entries().unwrap().len();
    world.make(&dockerfile, &files());
    assert!(world.executed().is_empty());
    assert_eq!(
        before,
        (world.in_folder("mica/trees"), world.in_folder("blobs/sha256"))
    );
    assert_eq!(records, world.store.cache_entries().unwrap().len());
}
