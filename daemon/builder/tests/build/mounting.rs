//! `RUN --mount`: what processes see, and what makes a step another one.

use std::path::Path;

use mica_builder::Options;
use mica_builder::ports::{MountSource, Process, Security};
use mica_oci::ImageConfig;
use mica_oci::config::ContainerConfig;
use mica_task::Event;

use crate::files::Files;
use crate::world::{World, args, options};

pub(crate) fn context() -> Files {
    Files::new()
        .file("f", "text")
        .file("d/x", "x")
        .file("d/sub/y", "y")
}

pub(crate) fn world() -> World {
    World::with_base(Files::new().file("base", "base"))
}

/// Runs one RUN on the base and gives what its process said.
pub(crate) fn said(world: &World, files: &Files, run: &str) -> String {
    world.make(&format!("FROM base\n{run}\n"), files);
    world.logged()
}

pub(crate) fn last(world: &World) -> Process {
    world.ran.lock().unwrap().last().unwrap().clone()
}

/// The commands a second build of the same Dockerfile runs.
pub(crate) fn again(world: &World, options: &Options, dockerfile: &str, files: &Files) -> Vec<String> {
    world.make_with(options, dockerfile, files);
    world.commands()
}

#[test]
fn the_context_is_seen_read_only() {
    let world = world();
    let lines = "read /all/f\\nread /w/rel\\nread /w/one\\nread /all/d";
    let run = format!(
        "WORKDIR /w\nRUN --mount=target=/all --mount=type=bind,source=d,target=rel --mount=source=/d/../f,dst=one {}",
        shell(lines)
    );
    assert_eq!(
        said(&world, &context(), &run),
        "/all/f: text\n/w/rel: sub x\n/w/one: text\n/all/d: sub x\n"
    );
    for mount in &last(&world).mounts {
        let MountSource::Layers { scratch, lowers, .. } = &mount.source else {
            panic!("{mount:?}")
        };
        assert!(scratch.is_none() && lowers.len() == 1, "{mount:?}");
    }
    // what is left out of the context is not seen
    let ignoring = context().file(".dockerignore", "d/sub\n");
    assert_eq!(
        said(
            &world,
            &ignoring,
            &format!("RUN --mount=target=/c {}", shell("read /c/d"))
        ),
        "/c/d: x\n"
    );
}

/// A command of several lines for the player of processes.
fn shell(lines: &str) -> String {
    format!("[\"x\", \"{lines}\"]")
}

#[test]
fn modes_and_folders_are_kept_and_an_unchanged_part_is_not_copied_twice() {
    let world = world();
    let files = Files::new().file("d/x", "x").mode("d", 0o2711).mode("d/x", 0o640);
    let dockerfile = "FROM base\nRUN --mount=source=d,target=/m one\nRUN --mount=source=d,target=/n,rw two\n";
    world.make(dockerfile, &files);
    let trees = world.in_folder("mica/trees").len();
    let ran = world.ran.lock().unwrap().clone();
    let place = |process: &Process| match &process.mounts[0].source {
        MountSource::Layers {
            lowers,
            path,
            scratch,
        } => (lowers[0].join(path.strip_prefix("/").unwrap()), scratch.is_some()),
        other => panic!("{other:?}"),
    };
    let ((one, writable), (two, other)) = (place(&ran[0]), place(&ran[1]));
    assert_eq!((&one, writable, other), (&two, false, true));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&one), mode(&one.join("x"))), (0o2711, 0o640));
    let no_cache = Options {
        no_cache: true,
        ..options()
    };
    world.make_with(&no_cache, dockerfile, &files);
    assert_eq!(world.in_folder("mica/trees").len(), trees);
}

#[test]
fn stages_and_images_are_seen_with_links_followed_inside_them() {
    let world = world();
    world.image(
        "tools",
        &Files::new()
            .file("opt/v1/bin", "tool")
            .link("opt/current", "/opt/v1")
            .link("escape", "../../../../opt/current/bin"),
        ImageConfig::default(),
    );
    let dockerfile = format!(
        "FROM base AS made\nRUN write out/f made\nCOPY f /out/g\nFROM base\n\
         RUN --mount=from=made,source=/out,target=/a --mount=from=tools,source=opt/current,target=/b \
         --mount=from=tools,source=escape,target=/c --mount=from=scratch,target=/e,rw {}\n",
        shell("read /a/f\\nread /a/g\\nread /b/bin\\nread /c\\nread /e")
    );
    world.make(&dockerfile, &context());
    assert_eq!(
        world.logged(),
        "/a/f: made\n/a/g: text\n/b/bin: tool\n/c: tool\n/e: \n"
    );
    let error = world.refuse(
        "FROM base\nRUN --mount=from=tools,source=/gone,target=/x y\n",
        &context(),
    );
    assert!(
        error.starts_with("line 2:")
            && error.contains("RUN --mount failed: file not found in image tools: stat /gone"),
        "{error}"
    );
    let error = world.refuse("FROM base\nRUN --mount=source=gone,target=/x y\n", &context());
    assert!(
        error.contains("build context or excluded by .dockerignore: stat gone"),
        "{error}"
    );
    assert!(world.commands().is_empty());
}

#[test]
fn the_content_of_what_is_mounted_identifies_the_step() {
    let world = world();
    let dockerfile = "FROM base AS made\nCOPY f other* /out/\nCOPY other* /\n\
                      FROM base\nRUN --mount=from=made,source=/out/f,target=/a --mount=source=d,target=/d run\n";
    let run = ["/bin/sh -c run".to_owned()];
    assert_eq!(again(&world, &options(), dockerfile, &context()), run);
    assert!(again(&world, &options(), dockerfile, &context()).is_empty());
    // beside what is mounted everything may change
    let beside = context().file("other", "new");
    assert!(again(&world, &options(), dockerfile, &beside).is_empty());
    let inside = context().file("d/sub/y", "z");
    assert_eq!(again(&world, &options(), dockerfile, &inside), run);
    let stage = context().file("f", "texts");
    assert_eq!(again(&world, &options(), dockerfile, &stage), run);
    // and a definition is one of its own
    let elsewhere = dockerfile.replace("target=/d", "target=/e");
    assert_eq!(again(&world, &options(), &elsewhere, &context()), run);
    let writable = dockerfile.replace("target=/d", "target=/d,rw");
    assert_eq!(again(&world, &options(), &writable, &context()), run);
}

#[test]
fn mounts_decide_which_stages_are_needed() {
    let world = world();
    let dockerfile = "FROM base AS never\nRUN no\nFROM base AS wanted\nRUN wanted\nFROM base AS one\nFROM one\n\
                      RUN --mount=from=Wanted,target=/a run\n";
    world.make(dockerfile, &context());
    assert_eq!(world.commands(), ["/bin/sh -c wanted", "/bin/sh -c run"]);
    for (dockerfile, part) in [
        ("FROM base AS a\nRUN --mount=from=a,target=/a x\n", "itself"),
        (
            "FROM base AS a\nRUN --mount=from=b,target=/a x\nFROM base AS b\nFROM a\n",
            "defined later",
        ),
        // numbers are images here
        (
            "FROM base\nFROM base\nRUN --mount=from=0,target=/a x\n",
            "No such image: 0",
        ),
        (
            "FROM base\nRUN --mount=target=.. x\n",
            "target '/' is not allowed",
        ),
        (
            "FROM base\nRUN --mount=type=cache,source=/a,target=/c x\n",
            "needs a from",
        ),
        (
            "FROM base\nRUN --mount=type=cache,from=base,source=/base,target=/c x\n",
            "not a directory",
        ),
        (
            "FROM base\nRUN --mount=type=tmpfs,target=/c,ro x\n",
            "read-only tmpfs",
        ),
    ] {
        let error = world.refuse(dockerfile, &context());
        assert!(error.contains(part), "{error}");
        assert!(world.commands().is_empty());
    }
    // a later stage does not matter where nobody needs the mount
    world.make(
        "FROM base AS a\nRUN --mount=from=b,target=/a x\nFROM base AS b\nRUN b\n",
        &context(),
    );
}

#[test]
fn triggers_mount_stages_of_the_build_they_are_set_off_in() {
    let world = world();
    let config = ImageConfig {
        config: ContainerConfig {
            on_build: Some(vec![
                "RUN --mount=from=made,source=/m,target=/a [\"x\", \"read /a\"]".into(),
            ]),
            ..ContainerConfig::default()
        },
        ..ImageConfig::default()
    };
    world.image("parent", &Files::new().file("p", "p"), config);
    world.make("FROM base AS made\nCOPY f /m\nFROM parent\n", &context());
    assert_eq!(world.logged(), "/a: text\n");
}

#[test]
fn variables_are_known_in_mounts_and_targets_come_in_order() {
    let world = world();
    let dockerfile = "FROM base\nARG where=/z\nENV what=d\n\
                      RUN --mount=source=$what,target=$where/below --mount=type=tmpfs,target=$where,size=1m \
                      --mount=type=cache,target=/a <<EOF\n#!/bin/x\nEOF\n";
    world.make(dockerfile, &context());
    let ran = last(&world);
    let targets: Vec<_> = ran
        .mounts
        .iter()
        .map(|mount| mount.target.to_str().unwrap())
        .collect();
    assert_eq!(targets, ["/dev/pipes", "/a", "/z", "/z/below"]);
    let MountSource::Memory { size, mode } = ran.mounts[2].source else {
        panic!("{ran:?}")
    };
    assert_eq!((size, mode), (Some(1 << 20), 0o1777));
}

#[test]
fn a_cache_outlives_steps_that_fail_and_is_in_no_layer_or_key() {
    let world = world();
    let keep = |id: &str, lines: &str| format!("RUN --mount=type=cache,target=/c{id} {}", shell(lines));
    let failing = format!("FROM base\n{}\n", keep("", "keep /c/f kept\\nexit 1"));
    world.refuse(&failing, &context());
    assert_eq!(said(&world, &context(), &keep("", "read /c/f")), "/c/f: kept\n");
    // a step that is found again does not look at it
    let image = world.make(
        &format!("FROM base\n{}\n", keep("", "keep /c/f more")),
        &context(),
    );
    assert!(image.stack.lookup(&crate::files::path("c/f")).unwrap().is_none());
    let dockerfile = format!("FROM base\n{}\n", keep("", "read /c/f"));
    assert!(again(&world, &options(), &dockerfile, &context()).is_empty());
    let renamed = dockerfile.replace("target=/c", "target=/c,id=other");
    assert!(again(&world, &options(), &renamed, &context()).is_empty());
    // all that tells caches apart
    for (other, expected) in [
        (",id=/c", "more"),
        (",id=x", "nothing"),
        (",uid=5", "nothing"),
        (",mode=0700", "nothing"),
        (",mode=0755,uid=0,gid=0", "more"),
        (",from=base", "nothing"),
        (",sharing=locked", "more"),
    ] {
        let text = said(
            &world,
            &context(),
            &keep(other, &format!("read /c/f\\nsay {other}")),
        );
        assert!(
            text.starts_with(&format!("/c/f: {expected}\n")),
            "{other}: {text}"
        );
    }
    let namespaced = args(&[("BUILDKIT_CACHE_MOUNT_NS", "ns")]);
    let dockerfile = format!("FROM base\n{}\n", keep("", "read /c/f\\nsay ns"));
    world.make_with(&namespaced, &dockerfile, &context());
    assert!(world.logged().starts_with("/c/f: nothing"), "{}", world.logged());
}

#[test]
fn a_new_cache_begins_with_its_seed() {
    let world = world();
    let run = |more: &str, lines: &str| {
        format!(
            "RUN --mount=type=cache,target=/c,from=made,source=/out{more} {}",
            shell(lines)
        )
    };
    let dockerfile = |run: &str| format!("FROM base AS made\nCOPY d /out\nFROM base\n{run}\n");
    world.make(
        &dockerfile(&run("", "read /c\\nread /c/x\\nkeep /c/x own")),
        &context(),
    );
    assert_eq!(world.logged(), "/c: sub x\n/c/x: x\n");
    world.make(&dockerfile(&run("", "read /c/x")), &context());
    assert_eq!(world.logged(), "/c/x: own\n");
    // another seed is another cache
    let changed = context().file("d/x", "new");
    world.make(&dockerfile(&run("", "read /c/x\\nsay 2")), &changed);
    assert!(world.logged().starts_with("/c/x: new\n"));
}

#[test]
fn who_waits_for_a_cache_says_so_and_can_be_stopped() {
    let mut world = world();
    let cancel = world.cancel.clone();
    world.watch(move |event| {
        if let Event::Note { text, .. } = event
            && text == "waiting for cache mount /c"
        {
            cancel.cancel();
        }
    });
    said(
        &world,
        &context(),
        "RUN --mount=type=cache,target=/c,sharing=locked first",
    );
    // the same directory twice in one step is no reason to wait
    said(
        &world,
        &context(),
        "RUN --mount=type=cache,target=/c,sharing=locked --mount=type=cache,target=/d,id=/c,sharing=locked twice",
    );
    let entry = &world.store.mount_entries().unwrap()[0];
    let wanted = mica_store::CacheMount {
        key: entry.key,
        name: entry.name.clone(),
        mode: None,
        owner: None,
    };
    let _held = world
        .store
        .cache_mount::<mica_store::Error>(&wanted, mica_store::Sharing::Locked, None, &mut || Ok(()))
        .unwrap();
    let error = world.refuse(
        "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked second\n",
        &context(),
    );
    assert_eq!(error, "the build was cancelled");
    assert!(world.commands().is_empty());
}

#[test]
fn all_rights_are_given_only_where_both_sides_allow_them() {
    let world = world();
    let dockerfile = "FROM base\nRUN --security=insecure x\n";
    let error = world.refuse(dockerfile, &context());
    assert!(
        error.contains("security.insecure is not allowed: set builder.entitlements.security-insecure"),
        "{error}"
    );
    let allowed = Options {
        insecure_allowed: true,
        ..options()
    };
    assert_eq!(again(&world, &allowed, dockerfile, &context()).len(), 1);
    assert_eq!(last(&world).security, Security::Insecure);
    // it is another step than the same without
    let plain = "FROM base\nRUN --security=sandbox x\n";
    assert_eq!(again(&world, &allowed, plain, &context()).len(), 1);
    assert_eq!(last(&world).security, Security::Sandbox);
    assert!(again(&world, &options(), "FROM base\nRUN x\n", &context()).is_empty());
}
