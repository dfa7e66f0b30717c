//! `mica build --check` and `--call`: no daemon is asked.

use crate::fake::{Fake, Outcome, files};

/// Runs `mica build` with these arguments on a folder with these files; nobody may be asked anything.
fn build(arguments: &[&str], contents: &[(&str, &str)]) -> Outcome {
    let fake = Fake::new([]);
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), contents);
    let mut all = vec!["build"];
    all.extend(arguments);
    all.push(folder.path().to_str().unwrap());
    let run = fake.run(&all);
    assert!(fake.asked().is_empty(), "{run:?}");
    run
}

#[test]
fn findings_are_shown_as_docker_shows_them() {
    let run = build(
        &["--check"],
        &[("Dockerfile", "FROM busybox AS B\nCMD echo \\\n  hi\n")],
    );
    assert_eq!(
        run.stdout,
        "Check complete, 2 warnings have been found!\n\n\
         WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\
         Stage name 'B' should be lowercase\n\
         Dockerfile:1\n\
         --------------------\n   1 | >>> FROM busybox AS B\n   2 |     CMD echo \\\n   3 |       hi\n\
         --------------------\n\n\
         WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n\
         JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n\
         Dockerfile:2\n\
         --------------------\n   1 |     FROM busybox AS B\n   2 | >>> CMD echo \\\n   3 | >>>   hi\n   4 |     \n\
         --------------------\n"
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
}

#[test]
fn a_file_without_findings_ends_with_0() {
    for arguments in [&["--check"][..], &["--call", "check"], &["--call=check"]] {
        let run = build(arguments, &[("Dockerfile", "FROM busybox\nCMD [\"a\"]\n")]);
        assert_eq!(run.stdout, "Check complete, no warnings found.\n");
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn flags_and_the_ignore_file_count() {
    let text = "ARG TAG\nFROM busybox:$TAG AS one\nCOPY tmp/x /\nFROM scratch AS two\nCOPY $Y /y\n";
    let rules = |arguments: &[&str]| -> Vec<String> {
        let run = build(
            arguments,
            &[("Dockerfile", text), (".dockerignore", "tmp\n"), ("tmp/x", "x")],
        );
        let lines = run.stdout.lines();
        lines
            .filter_map(|line| line.strip_prefix("WARNING: "))
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        rules(&["--check"]),
        ["InvalidDefaultArgInFrom", "CopyIgnoredFile", "UndefinedVar"]
    );
    assert_eq!(
        rules(&["--check", "--target", "two"]),
        ["InvalidDefaultArgInFrom", "UndefinedVar"]
    );
    assert_eq!(
        rules(&[
            "--check",
            "--build-arg",
            "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar,CopyIgnoredFile"
        ]),
        ["InvalidDefaultArgInFrom"]
    );
    let run = build(&["--check", "--target", "no"], &[("Dockerfile", text)]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "target stage \"no\" could not be found\n")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_lines() {
    let broken = [("Dockerfile", "FROM busybox\nRUNN x\n")];
    let run = build(&["--check"], &broken);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(
        run.stderr.starts_with(
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)\nDockerfile:2\n"
        ),
        "{run:?}"
    );
    assert!(run.stderr.contains("   2 | >>> RUNN x\n"), "{run:?}");
    let run = build(&["--call=check,format=json"], &broken);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        document["buildError"]["location"]["ranges"][0]["start"]["line"],
        2
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
}

#[test]
fn findings_come_as_json() {
    let run = build(
        &["--call=check,format=json"],
        &[("Dockerfile", "FROM busybox\nCMD a \\\n b\n")],
    );
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let line = |number: u32| serde_json::json!({"start": {"line": number}, "end": {"line": number}});
    assert_eq!(
        document,
        serde_json::json!({
            "warnings": [{
                "ruleName": "JSONArgsRecommended",
                "description": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related \
                                to OS signals",
                "url": "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
                "detail": "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
                "location": {"ranges": [line(2), line(3)]},
            }],
            "sources": [{
                "filename": "Dockerfile",
                "data": "RlJPTSBidXN5Ym94CkNNRCBhIFwKIGIK",
                "language": "Dockerfile",
            }],
        })
    );
    assert_eq!(run.code, Some(1));
}

#[test]
fn targets_and_outlines_are_listed() {
    let text = "# V is the version\nARG V=1\n# base compiles\nFROM busybox:$V AS base\nARG W\nFROM scratch\nCOPY \
                --from=base / /\nRUN --mount=type=secret,id=s,required=true x\n";
    let contents = [("Dockerfile", text)];
    let run = build(&["--call", "targets"], &contents);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "TARGET    DESCRIPTION\nbase      compiles\n(default) \n")
    );
    let run = build(&["--call", "outline"], &contents);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (
            Some(0),
            "BUILD ARG   VALUE   DESCRIPTION\nV           1       is the version\nW                   \n\nSECRET   \
             REQUIRED\ns        true\n\n"
        )
    );
    let run = build(
        &["--call", "outline", "--target=base", "--build-arg", "V=2"],
        &contents,
    );
    assert!(
        run.stdout
            .starts_with("TARGET:      base\nDESCRIPTION: compiles\n\n"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("\nV           2       is the version\n"),
        "{run:?}"
    );
    let run = build(&["--call", "targets,format=json"], &contents);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["targets"][0]["name"], "base");
    assert_eq!(document["targets"][1]["default"], true);
    let run = build(&["--call", "bake"], &contents);
    assert_eq!(run.code, Some(125));
}
