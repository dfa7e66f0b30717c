//! What cannot be built, and how that is told: the line, the instruction, what is wrong.

use mica_builder::Options;
use mica_oci::ImageConfig;

use crate::files::{Files, RawTar};
use crate::world::{World, args, options};

fn context() -> Files {
    Files::new()
        .file("f", "f")
        .file("dir/f", "f")
        .link("loop", "loop")
        .file(".dockerignore", "hidden")
        .file("hidden", "h")
        .file(
            "broken.tar",
            &RawTar::default()
                .file("a", "text")
                .file("b", &"x".repeat(4096))
                .end()[..2048],
        )
        .file("climbs.tar", RawTar::default().file("../a", "").end())
}

fn world() -> World {
    World::with_base(
        Files::new()
            .file("etc/passwd", "joe:x:7:8::/:\n")
            .file("file", "f")
            .dir("d/f"),
    )
}

/// Lines of a Dockerfile after `FROM base`, and what the error starts and ends with.
#[test]
fn errors_tell_line_instruction_and_reason() {
    let world = world();
    let stat = |path: &str| {
        format!(
            "COPY failed: file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
        )
    };
    let missing = stat("nothing");
    let hidden = stat("hidden");
    let loops = "number of symbolic links on the way to /loop is over the limit of 255";
    let table: [(&str, u32, &str); 36] = [
        ("COPY nothing /", 2, &missing),
        (
            "LABEL a=b\n\nCOPY f \\\n nothing /d/",
            4,
            "COPY f  nothing /d/: COPY failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist",
        ),
        ("COPY hidden /", 2, &hidden),
        (
            "COPY dir/nothing/f /",
            2,
            "stat dir/nothing/f: file does not exist",
        ),
        (
            "ADD nothing /",
            2,
            "ADD failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist",
        ),
        (
            "COPY --from=base nothing /",
            2,
            "COPY failed: file not found in image base: stat nothing: file does not exist",
        ),
        ("COPY loop /", 2, loops),
        (
            "COPY [a /",
            2,
            "\"[a\" is not a valid pattern: syntax error in pattern",
        ),
        ("COPY --exclude=[ f /", 2, "--exclude=[: not a valid pattern"),
        ("COPY --exclude=! f /", 2, "--exclude=!: not a valid pattern"),
        (
            "COPY --chown=99999999999 f /",
            2,
            "\"99999999999\" is not a user or group: numbers go from 0 to 4294967295",
        ),
        (
            "COPY --chown=joe:-1 f /",
            2,
            "\"-1\" is not a user or group: numbers go from 0 to 4294967295",
        ),
        (
            "COPY --link --chown=joe f /",
            2,
            "cannot look up \"joe\": there is no /etc/passwd to look in, give numbers instead",
        ),
        (
            "COPY --chmod=999 f /",
            2,
            "invalid --chmod \"999\": expected octal digits up to 7777, or clauses such as u+x,go-w",
        ),
        (
            "COPY --chmod=17777 f /",
            2,
            "expected octal digits up to 7777, or clauses such as u+x,go-w",
        ),
        (
            "ARG m=u+q\nCOPY --chmod=$m f /",
            3,
            "invalid --chmod \"u+q\": expected octal digits up to 7777, or clauses such as u+x,go-w",
        ),
        (
            "COPY dir /file",
            2,
            "cannot create directory /file: what is there is not a directory",
        ),
        (
            "COPY f /file/x",
            2,
            "cannot create directory /file: what is there is not a directory",
        ),
        ("COPY f /d/", 2, "cannot copy a file onto the directory /d/f"),
        (
            "WORKDIR /file",
            2,
            "cannot create directory /file: what is there is not a directory",
        ),
        (
            "WORKDIR /file/x",
            2,
            "cannot create directory /file: what is there is not a directory",
        ),
        (
            "ADD broken.tar /",
            2,
            "ADD broken.tar /: cannot unpack broken.tar: ",
        ),
        (
            "ADD climbs.tar /x/",
            2,
            "cannot unpack climbs.tar: the archive has an entry outside of it: \"../a\"",
        ),
        (
            "ADD climbs.tar /file",
            2,
            "cannot unpack climbs.tar: cannot create directory /file: what is there is not a directory",
        ),
        ("ENV p=http\nEXPOSE $p", 3, "http"),
        ("ENV p=70000\nEXPOSE 80 $p/tcp", 3, "70000"),
        ("ENV s=SIGNONE\nSTOPSIGNAL $s", 3, "SIGNONE"),
        ("ENV a=${x?}", 2, "x"),
        ("ENV a=\"${x:?give x}\"", 2, "x: give x"),
        ("COPY ${x:?give} /", 2, "x: give"),
        ("ENV $x=1", 2, "names cannot be blank"),
        ("LABEL \"\"=1", 2, "names cannot be blank"),
        ("VOLUME $x", 2, "VOLUME specified can not be an empty string"),
        ("RUN --security=insecure x", 2, "security.insecure is not allowed"),
        ("RUN --network=host x", 2, "network.host is not allowed"),
        ("RUN die", 2, "no such device"),
    ];
    for (lines, line, reason) in table {
        let error = world.refuse(&format!("FROM base\n{lines}\n"), &context());
        assert!(error.starts_with(&format!("line {line}: ")), "{lines}: {error}");
        let last = lines.lines().next_back().unwrap();
        let keyword = lines
            .lines()
            .nth(if lines.contains('\\') {
                2
            } else {
                lines.lines().count() - 1
            })
            .unwrap_or(last);
        let keyword = keyword.split(' ').next().unwrap();
        assert!(error.contains(&format!(": {keyword} ")), "{lines}: {error}");
        assert!(error.contains(reason), "{lines}: {error}");
    }
}

#[test]
fn a_failed_build_leaves_no_image() {
    let world = world();
    world.refuse("FROM base\nRUN exit 1\n", &context());
    assert!(world.store.images().unwrap().is_empty());
}

#[test]
fn stages_that_cannot_be() {
    let world = world();
    let table = [
        (
            "FROM base AS a\nCOPY --from=a /f /\n",
            "line 2: COPY --from=a /f /: a stage cannot copy from itself: \"a\"",
        ),
        (
            "FROM base\nCOPY --from=0 /f /\n",
            "line 2: COPY --from=0 /f /: there is no stage 0 before this one, stages count from 0",
        ),
        (
            "FROM base AS a\nCOPY --from=b /f /\nFROM base AS b\nCOPY --from=a /f /\n",
            "line 2: COPY --from=b /f /: stage \"b\" is defined later: move it above this one",
        ),
        (
            "FROM base\nCOPY --from=7 /f /\n",
            "line 2: COPY --from=7 /f /: there is no stage 7 before this one, stages count from 0",
        ),
        (
            "FROM $none\n",
            "line 1: FROM $none: the base name ($none) is empty: give its ARG a default or pass --build-arg",
        ),
        ("ARG v=${x:?no}\nFROM base\n", "line 1: ARG v=${x:?no}: x: no"),
        ("FROM missing\n", "line 1: FROM missing: No such image: missing"),
        (
            "FROM base\nCOPY --from=missing /f /\n",
            "line 2: COPY --from=missing /f /: No such image: missing",
        ),
        (
            "FROM --platform=a/b/c/d base\n",
            "line 1: FROM --platform=a/b/c/d base: ",
        ),
    ];
    for (dockerfile, expected) in table {
        let error = world.refuse(dockerfile, &context());
        assert!(error.starts_with(expected), "{dockerfile}: {error}");
    }
    let later = "FROM base AS a\nCOPY --from=b /f /\nFROM base AS b\n";
    world.make(later, &context());
    let target = Options {
        target: Some("none".into()),
        ..options()
    };
    assert_eq!(
        world.refuse_with(&target, "FROM base\n", &context()),
        "target stage \"none\" could not be found"
    );
}

#[test]
fn what_cannot_be_done_yet_is_refused_before_anything_is_done() {
    let world = world();
    let table = [("RUN --device=x.y/z=a x", "RUN --device")];
    for (line, what) in table {
        let error = world.refuse(&format!("FROM base\nRUN one\n{line}\n"), &context());
        assert_eq!(error, format!("line 3: {what} is not supported yet"));
        assert!(world.commands().is_empty(), "{line}");
        // in a stage nobody needs it does not matter
        world.make(&format!("FROM base\n{line}\nFROM base\n"), &context());
        // a trigger comes to light when it is set off
        let error = world.refuse(&format!("FROM base AS a\nONBUILD {line}\nFROM a\n"), &context());
        assert_eq!(error, format!("line 3: {what} is not supported yet"));
    }
}

#[test]
fn triggers_are_told_with_the_line_of_their_from() {
    let world = world();
    let config = ImageConfig {
        config: mica_oci::config::ContainerConfig {
            on_build: Some(vec!["COPY nothing /".into()]),
            ..Default::default()
        },
        ..ImageConfig::default()
    };
    world.image("trigger", &Files::new().file("x", "x"), config.clone());
    let error = world.refuse("FROM base\nFROM trigger\n", &context());
    assert!(
        error.starts_with("line 2: ONBUILD COPY nothing /: COPY failed: "),
        "{error}"
    );
    let mut config = config;
    config.config.on_build = Some(vec!["NOTHING x".into()]);
    world.image("trigger", &Files::new().file("x", "x"), config);
    let error = world.refuse("FROM base\nFROM trigger\n", &context());
    assert!(error.starts_with("line 2: ONBUILD NOTHING x: "), "{error}");
}

#[test]
fn failures_inside_a_stage_only_a_trigger_names_are_told_where_they_are() {
    let world = world();
    let start = "FROM base AS tool\nRUN FIRST\nFROM base AS a\nONBUILD COPY --from=tool /file /\nFROM a\n";
    let error = world.refuse(&start.replace("FIRST", "exit 3"), &context());
    assert_eq!(
        error,
        "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    );
    let error = world.refuse(&start.replace("RUN FIRST", "COPY no /"), &context());
    assert!(error.starts_with("line 2: COPY no /: "), "{error}");
}

#[test]
fn what_is_wrong_with_the_whole() {
    let world = world();
    let none = Options {
        dockerfile: "d/Dockerfile".into(),
        ..options()
    };
    assert_eq!(
        world.refuse_with(&none, "FROM base\n", &context()),
        "Cannot locate specified Dockerfile: d/Dockerfile"
    );
    assert_eq!(
        world.refuse("", &context()),
        "the Dockerfile (Dockerfile) cannot be empty"
    );
    let error = world.refuse("FROM base\nCPOY a b\n", &context());
    assert!(error.contains("line 2") && error.contains("CPOY"), "{error}");
    let error = world.refuse("# syntax=example.com/own\nFROM base\n", &context());
    assert!(
        error.starts_with("line 1: syntax \"example.com/own\" is not built in: "),
        "{error}"
    );
    let ignore = context().file(".dockerignore", "a\n!\n");
    let error = world.refuse("FROM base\n", &ignore);
    assert!(
        error.starts_with(".dockerignore: ") && error.contains('2'),
        "{error}"
    );
    for epoch in ["x", "1.5", "99999999999999"] {
        let error = world.refuse_with(&args(&[("SOURCE_DATE_EPOCH", epoch)]), "FROM base\n", &context());
        assert_eq!(
            error,
            format!("invalid SOURCE_DATE_EPOCH {epoch:?}: expected seconds since 1970")
        );
    }
    let large = context().file("Dockerfile", vec![b'#'; (4 << 20) + 1]);
    let error = world.build(&options(), &large).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Dockerfile (Dockerfile) is larger than 4194304 bytes"
    );
}

#[test]
fn a_context_that_is_none() {
    let world = world();
    let build = |bytes: Vec<u8>| {
        let error = world
            .build_from(&options(), std::io::Cursor::new(bytes))
            .unwrap_err();
        crate::world::told(&error)
    };
    assert_eq!(
        build(Vec::new()),
        "Cannot locate specified Dockerfile: Dockerfile"
    );
    let error = build(b"this is no tar".repeat(100));
    assert!(error.starts_with("cannot read the build context: "), "{error}");
    let whole = Files::new()
        .file("Dockerfile", "FROM base\n")
        .file("f", "x".repeat(4096))
        .tar();
    let error = build(whole[..2500].to_vec());
    assert!(error.starts_with("cannot read the build context: "), "{error}");
    assert!(world.in_folder("mica/work").is_empty());
}

#[test]
fn what_is_not_there_is_said_to_be_hidden_or_misspelt() {
    let world = world();
    let context = Files::new()
        .file("src/main.c", "")
        .file("src/deep/er/setup.cfg", "")
        .file("README", "")
        .file("logs/keep", "")
        .file("logs/a.log", "")
        .file(".dockerignore", "# notes\n\n*.md\n**/*.log\n  build \n!build/x\n")
        .file("build/out", "")
        .file("a.md", "");
    let table = [
        ("a.md", ": line 3 of .dockerignore leaves it out (*.md)"),
        ("logs/a.log", ": line 4 of .dockerignore leaves it out (**/*.log)"),
        ("build/out", ": line 5 of .dockerignore leaves it out (build)"),
        ("src/mian.c", ": did you mean src/main.c?"),
        ("scr/main.c", ": did you mean src/main.c?"),
        ("readme", ": did you mean README?"),
        ("main.c", ": did you mean src/main.c?"),
        ("setup.cfg", ": did you mean src/deep/er/setup.cfg?"),
        // near, but what is behind it is not there
        ("scr/other", ""),
        ("README/x", ""),
        ("nothing/like/it", ""),
    ];
    for (source, hint) in table {
        let error = world.refuse(&format!("FROM base\nCOPY {source} /\n"), &context);
        let end = format!("stat {source}: file does not exist{hint}");
        assert!(error.ends_with(&end), "{source}: {error}");
    }
    let error = world.refuse(
        "FROM base AS a\nFROM scratch\nCOPY --from=a /etc/paswd /\n",
        &context,
    );
    assert!(error.ends_with(": did you mean /etc/passwd?"), "{error}");
}
