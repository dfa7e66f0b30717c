//! Named contexts.

use std::io::Cursor;
use std::os::fd::OwnedFd;

use mica_builder::{Input, Options, Source};
use mica_oci::ImageConfig;

use crate::files::Files;
use crate::remotes::commit;
use crate::world::{Image, World, options, told};

fn tar(files: &Files) -> Source {
    Source::Tar(Box::new(Cursor::new(files.tar())))
}

fn input(dockerfile: &str, named: Vec<(&str, Source)>) -> Input {
    Input {
        named: named
            .into_iter()
            .map(|(name, source)| (name.to_owned(), source))
            .collect(),
        ..Input::of(tar(&Files::new()
            .file("Dockerfile", dockerfile)
            .file("f", "main")))
    }
}

fn build(world: &World, dockerfile: &str, named: Vec<(&str, Source)>) -> Image {
    match world.build_input(&options(), input(dockerfile, named)) {
        Ok(built) => world.look(&built),
        Err(error) => panic!("{}", told(&error)),
    }
}

fn refused(world: &World, dockerfile: &str, named: Vec<(&str, Source)>) -> String {
    told(
        &world
            .build_input(&options(), input(dockerfile, named))
            .unwrap_err(),
    )
}

#[test]
fn files_are_copied_from_by_name() {
    let world = World::new();
    let files = || tar(&Files::new().file("x", "named").file(".dockerignore", "x"));
    let image = build(
        &world,
        "FROM scratch\nCOPY --from=Docs x /\nCOPY f /\n",
        vec![("docs", files())],
    );
    assert_eq!(image.files(), ["/f \"main\"", "/x \"named\""]);
    let error = refused(
        &world,
        "FROM scratch\nCOPY --from=docs y /\n",
        vec![("docs", files())],
    );
    assert!(
        error.contains("file not found in build context \"docs\": stat y"),
        "{error}"
    );
}

#[test]
fn what_no_stage_needs_is_not_opened() {
    let world = World::new();
    let dockerfile = "FROM scratch AS unused\nCOPY --from=git / /\nFROM scratch\nCOPY f /\n";
    build(
        &world,
        dockerfile,
        vec![("git", Source::Address("https://h/r.git".into()))],
    );
    assert!(world.remotes.fetches().is_empty());
}

#[test]
fn a_context_takes_the_place_of_a_stage() {
    let world = World::new();
    let dockerfile = "FROM nowhere AS deps\nRUN exit 1\nCOPY gone /\nFROM scratch\nCOPY --from=deps / /d/\n\
                      COPY --from=0 x /y\n";
    let image = build(
        &world,
        dockerfile,
        vec![("deps", tar(&Files::new().file("x", "1")))],
    );
    assert_eq!(image.files(), ["/d/", "/d/x \"1\"", "/y \"1\""]);
    assert!(world.looked_up.lock().unwrap().is_empty() && world.commands().is_empty());
    let image = build(
        &world,
        "FROM nowhere AS deps\nRUN exit 1\nFROM deps\nCOPY f /\n",
        vec![("deps", tar(&Files::new().file("x", "1")))],
    );
    assert_eq!(image.files(), ["/f \"main\"", "/x \"1\""]);
}

#[test]
fn a_context_takes_the_place_of_an_image_however_it_is_spelled() {
    let world = World::new();
    let config = ImageConfig {
        author: "me".into(),
        ..ImageConfig::default()
    };
    world.image("other", &Files::new().file("o", ""), config);
    for from in ["alpine", "alpine:latest", "docker.io/library/alpine"] {
        let image = build(
            &world,
            &format!("FROM {from}\nCOPY --from=alpine o /copy\n"),
            vec![("alpine", Source::Image("other".into()))],
        );
        assert_eq!(image.files(), ["/copy \"\"", "/o \"\""], "{from}");
        assert_eq!(image.config.author, "me");
    }
    let error = refused(
        &world,
        "FROM alpine:3\n",
        vec![("alpine", Source::Image("other".into()))],
    );
    assert!(error.contains("No such image: alpine:3"), "{error}");
    let error = refused(
        &world,
        "FROM alpine\n",
        vec![("alpine", Source::Image("gone".into()))],
    );
    assert!(error.contains("No such image: gone"), "{error}");
}

#[test]
fn files_are_a_base_that_says_nothing() {
    let world = World::new();
    let files = || Files::new().file("etc/passwd", "root").owner("etc/passwd", 5, 5);
    let image = build(&world, "FROM base\nWORKDIR /w\n", vec![("base", tar(&files()))]);
    assert_eq!(image.files(), ["/etc/", "/etc/passwd \"root\"", "/w/"]);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.config.config.working_dir, "/w");
}

#[test]
fn a_name_may_be_for_one_platform() {
    let world = World::new();
    let named = || {
        vec![
            ("base", tar(&Files::new().file("any", ""))),
            ("base::linux/s390x", tar(&Files::new().file("big", ""))),
        ]
    };
    let for_it = Options {
        platforms: vec!["linux/s390x".parse().unwrap()],
        ..options()
    };
    let built = world.build_input(&for_it, input("FROM base\n", named())).unwrap();
    assert_eq!(world.look(&built).files(), ["/big \"\""]);
    assert_eq!(build(&world, "FROM base\n", named()).files(), ["/any \"\""]);
    let image = build(&world, "FROM --platform=linux/s390x base\n", named());
    assert_eq!(
        (image.files(), image.config.architecture.as_str()),
        (vec!["/big \"\"".to_owned()], "s390x")
    );
}

#[test]
fn addresses_and_layouts_are_contexts_too() {
    let world = World::new();
    world.remotes.commit(
        "https://h/r.git",
        "main",
        &commit('a'),
        Files::new().file("g", ""),
    );
    world
        .remotes
        .file("https://h/a.tar", &Files::new().file("t", "").tar(), None);
    world.remotes.file("https://h/text", b"no archive", None);
    world.image("laid", &Files::new().file("l", ""), ImageConfig::default());
    *world.remotes.layout.lock().unwrap() = world.images.lock().unwrap().get("laid").cloned();
    let folder = || OwnedFd::from(std::fs::File::open("/").unwrap());
    let layout = || Source::Layout {
        folder: folder(),
        image: Some("v1".into()),
    };
    let image = build(
        &world,
        "FROM lay\nCOPY --from=git . /\nCOPY --from=tar . /\n",
        vec![
            ("lay", layout()),
            ("git", Source::Address("https://h/r.git".into())),
            ("tar", Source::Address("https://h/a.tar".into())),
        ],
    );
    assert_eq!(image.files(), ["/g \"\"", "/l \"\"", "/t \"\""]);
    for (address, said) in [
        ("https://h/text", "it is no archive"),
        ("target:x", "bake file"),
        ("https://h/gone", "404"),
    ] {
        let error = refused(
            &world,
            "FROM scratch\nCOPY --from=n . /\n",
            vec![("n", Source::Address(address.into()))],
        );
        assert!(
            error.contains("--build-context n") && error.contains(said),
            "{error}"
        );
        assert_eq!(error.matches("--build-context").count(), 1, "{error}");
    }
    let error = refused(&world, "FROM scratch\n", vec![("no good name", Source::Empty)]);
    assert!(error.contains("--build-context no good name"), "{error}");
}
