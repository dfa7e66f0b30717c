//! ADD of addresses, and contexts that lie at one.

use mica_builder::{Input, Source};
use mica_oci::Digest;

use crate::files::Files;
use crate::remotes::commit;
use crate::world::{World, args, options, told};

const URL: &str = "http://h/d/tool.sh?v=1";
const GIT: &str = "https://h/r.git";

fn with_repository() -> World {
    let world = World::new();
    let files = |text: &str| {
        Files::new()
            .file("top", text)
            .file("sub/inner", "in")
            .mode("sub/inner", 0o755)
            .link("way", "sub")
    };
    world.remotes.commit(GIT, "main", &commit('a'), files("a"));
    world
}

#[test]
fn a_file_keeps_its_name_and_time_and_is_nobody_elses() {
    let world = World::new();
    world.remotes.file(URL, b"hello", Some(1_200_000_000));
    world.remotes.file("http://h/", b"no name", None);
    let image = world.make(&format!("FROM scratch\nADD {URL} http://h/ /d/\n"), &Files::new());
    assert_eq!(
        image.files(),
        [
            "/d/",
            "/d/__unnamed__ \"no name\" 600",
            "/d/tool.sh \"hello\" 600"
        ]
    );
    let time = |name: &str| {
        let found = image.stack.lookup(&crate::files::path(name)).unwrap().unwrap();
        found.node.meta.mtime.seconds
    };
    assert_eq!((time("d/tool.sh"), time("d/__unnamed__")), (1_200_000_000, 0));
    assert_eq!(
        image.history(),
        ["ADD http://h/d/tool.sh?v=1 http://h/ /d/ # buildkit"]
    );
    let image = world.make(
        &format!("FROM scratch\nADD --chmod=0755 --chown=3:4 {URL} /run\n"),
        &Files::new(),
    );
    assert_eq!(image.files(), ["/run \"hello\" 755 3:4"]);
}

#[test]
fn a_file_is_added_again_only_if_its_bytes_or_its_name_change() {
    let world = World::new();
    let build = |dockerfile: &str| {
        world.make(dockerfile, &Files::new());
        world.executed().len()
    };
    let add = format!("FROM scratch\nADD {URL} /d/\n");
    world.remotes.file(URL, b"one", Some(1));
    assert_eq!(build(&add), 1);
    world.remotes.file(URL, b"one", Some(2));
    assert_eq!(build(&add), 0, "only the time changed");
    world.remotes.file(URL, b"two", Some(2));
    assert_eq!(build(&add), 1);
    world.remotes.file("http://h/other", b"two", None);
    assert_eq!(build("FROM scratch\nADD http://h/other /d/\n"), 1);
}

#[test]
fn archives_of_the_web_are_unpacked_only_on_request() {
    let world = World::new();
    let tar = Files::new().file("inside", "x").tar();
    world.remotes.file("http://h/a.tar", &tar, None);
    let files = |flag: &str| {
        let dockerfile = format!("FROM scratch\nADD {flag} http://h/a.tar /d/\n");
        let image = world.make(&dockerfile, &Files::new());
        let names = image.files();
        names
            .iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(files(""), ["/d/", "/d/a.tar"]);
    assert_eq!(files("--unpack=false"), ["/d/", "/d/a.tar"]);
    assert_eq!(files("--unpack=true"), ["/d/", "/d/inside"]);
}

#[test]
fn checksums_are_for_one_address() {
    let world = with_repository();
    world.remotes.file(URL, b"hello", None);
    let right = Digest::of(b"hello");
    world.make(
        &format!("FROM scratch\nARG sum={right}\nADD --checksum=$sum {URL} /\n"),
        &Files::new(),
    );
    world.make(
        &format!("FROM scratch\nADD --checksum=aaaaaaa {GIT} /\n"),
        &Files::new(),
    );
    for (flags, said) in [
        (
            format!("--checksum={} {URL} /", Digest::of(b"")),
            "digest mismatch",
        ),
        (format!("--checksum=sha512:00 {URL} /"), "sha512"),
        (
            format!("--checksum={right} {URL} {URL} /"),
            "checksum can't be specified for multiple sources",
        ),
        (
            format!("--checksum={right} f /"),
            "checksum requires HTTP(S) or Git sources",
        ),
        (format!("--checksum=bbbbbbb {GIT} /"), "another commit"),
        (format!("--checksum={right} {GIT} /"), "is no commit"),
        (
            format!("--checksum=aaaaaaa {GIT}?checksum=bbbbbbb /"),
            "its own checksum is",
        ),
        (format!("{GIT}?nonsense=1 /"), "unexpected query"),
        (format!("{GIT}#main:gone /"), "no directory /gone"),
        (format!("{GIT}#main:top /"), "no directory /top"),
        ("http://h/nowhere /".to_owned(), "404 Not Found"),
    ] {
        let error = world.refuse(
            &format!("FROM scratch\nADD {flags}\n"),
            &Files::new().file("f", ""),
        );
        assert!(error.starts_with("line 2: ADD "), "{flags}: {error}");
        assert!(error.contains(said), "{flags}: {error}");
    }
}

#[test]
fn a_repository_is_its_files() {
    let world = with_repository();
    let image = world.make(
        &format!("FROM scratch\nADD --chown=1:2 {GIT} /src\n"),
        &Files::new(),
    );
    assert_eq!(
        image.files(),
        [
            "/src/ 1:2",
            "/src/sub/ 1:2",
            "/src/sub/inner \"in\" 755 1:2",
            "/src/top \"a\" 1:2",
            "/src/way -> sub 1:2"
        ]
    );
    let image = world.make(&format!("FROM scratch\nADD {GIT}#main:way /src\n"), &Files::new());
    assert_eq!(image.files(), ["/src/", "/src/inner \"in\" 755"]);
    let image = world.make(
        &format!("FROM scratch\nADD --keep-git-dir=true --exclude=sub --exclude=way {GIT} /src\n"),
        &Files::new(),
    );
    assert_eq!(image.files().len(), 4, "{:?}", image.files());
}

#[test]
fn a_repository_is_fetched_only_if_its_commit_is_another() {
    let world = with_repository();
    let add = format!("FROM scratch\nADD {GIT} /src\n");
    let ask = format!("ask {GIT}");
    world.make(&add, &Files::new());
    assert_eq!(
        world.remotes.fetches(),
        [ask.clone(), format!("checkout {GIT} a")]
    );
    world.make(&add, &Files::new());
    assert_eq!(world.remotes.fetches(), std::slice::from_ref(&ask));
    world
        .remotes
        .commit(GIT, "main", &commit('b'), Files::new().file("new", ""));
    world.make(&add, &Files::new());
    assert_eq!(world.remotes.fetches(), [ask, format!("checkout {GIT} b")]);
}

#[test]
fn copy_takes_no_addresses() {
    let world = with_repository();
    for (source, said) in [
        (URL, "source can't be a URL for COPY"),
        (GIT, "source can't be a git ref for COPY"),
        ("git@h:r", "source can't be a git ref for COPY"),
    ] {
        let error = world.refuse(&format!("FROM scratch\nCOPY {source} /\n"), &Files::new());
        assert!(error.contains(said), "{source}: {error}");
    }
    assert!(world.remotes.fetches().is_empty());
}

#[test]
fn a_repository_is_a_context_without_an_ignore_file() {
    let world = World::new();
    let files = Files::new()
        .file("app/Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("app/.dockerignore", "secret")
        .file("app/secret", "s")
        .file("outside", "");
    world.remotes.commit(GIT, "v1", &commit('c'), files);
    let build = |options: &mica_builder::Options| {
        let input = Input::of(Source::Address(format!("{GIT}#v1:app")));
        world
            .build_input(options, input)
            .map(|built| world.look(&built).files())
    };
    let whole = build(&options()).unwrap();
    assert_eq!(
        whole
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect::<Vec<_>>(),
        ["/.dockerignore", "/Dockerfile", "/secret"]
    );
    // .git is at the root of the repository and not in the directory
    build(&args(&[("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "1")])).unwrap();
    let error = world.build_input(&options(), Input::of(Source::Address(format!("{GIT}#v2"))));
    assert!(told(&error.unwrap_err()).contains("no such reference"));
    let error = world.build_input(&options(), Input::of(Source::Address("ftp://h/x".into())));
    assert!(told(&error.unwrap_err()).contains("are fetched from"));
}

#[test]
fn an_archive_is_a_context_and_a_text_is_a_dockerfile() {
    let world = World::new();
    let tar = Files::new()
        .file("Dockerfile", "FROM scratch\nCOPY f /\n")
        .file(".dockerignore", "f")
        .file("f", "x")
        .tar();
    world.remotes.file("https://h/c.tar", &tar, None);
    world
        .remotes
        .file("https://h/Dockerfile", b"FROM scratch\nLABEL a=b\n", None);
    let build = |url: &str| {
        let built = world.build_input(&options(), Input::of(Source::Address(url.to_owned())));
        world.look(&built.unwrap())
    };
    assert_eq!(build("https://h/c.tar").files(), ["/f \"x\""]);
    let image = build("https://h/Dockerfile");
    assert_eq!(image.config.config.labels.unwrap()["a"], "b");
}
