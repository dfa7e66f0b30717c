//! What is said of builds that fail, and of what is not there to be asked for.

use mica_tests::{Context, run};

use crate::client::{Client, greeting, said, says};

#[test]
fn a_step_that_fails_shows_its_lines() {
    let Some(client) = Client::start() else { return };
    let context =
        Context::with_shell("FROM base\nLABEL a=b\nRUN echo told; echo wrong >&2; exit 7\nRUN echo never\n");
    let failed = client.build(["--iidfile=id", context.arg()]);
    assert_eq!(failed.code, 1);
    let mut lines = said(&failed.stderr);
    lines.sort_unstable();
    assert_eq!(lines, ["told", "wrong"], "{}", failed.stderr);
    says(
        &failed.stderr,
        &[
            "Dockerfile:6\n",
            "   6 | >>> RUN echo told; echo wrong >&2; exit 7\n",
            "ERROR: failed to build: failed to solve: process \"/bin/sh -c echo told; echo wrong >&2; exit 7\" did not complete successfully: exit code: 7\n",
        ],
    );
    assert!(!client.daemon.folder().join("id").exists());
    // the daemon has another name for the file it asked for
    let failed = client.build_fed(["-f-", context.arg()], "FROM scratch\nRUN [\"/none\"]\n");
    assert_eq!(failed.code, 1);
    says(&failed.stderr, &["   2 | >>> RUN [\"/none\"]\n"]);
}

#[test]
fn a_source_that_is_not_there_shows_who_asked() {
    let Some(client) = Client::start() else { return };
    let context = Context::new("FROM scratch\nCOPY none /\n")
        .file("ignored", "x")
        .file(".dockerignore", "ignored\n");
    let failed = client.build([context.arg()]);
    assert_eq!(failed.code, 1);
    says(
        &failed.stderr,
        &[
            "Dockerfile:2\n",
            "   2 | >>> COPY none /\n",
            "ERROR: failed to build:",
            "none",
        ],
    );
    context.write("Dockerfile", "FROM scratch\nCOPY ignored /\n");
    let failed = client.build([context.arg()]);
    assert_eq!(failed.code, 1);
    says(&failed.stderr, &["   2 | >>> COPY ignored /\n", ".dockerignore"]);
    context.write("Dockerfile", "FROM localhost:1/none:1\n");
    let failed = client.build([context.arg()]);
    assert_eq!(failed.code, 1);
    says(
        &failed.stderr,
        &[
            "load metadata for localhost:1/none:1",
            "   1 | >>> FROM localhost:1/none:1\n",
        ],
    );
}

#[test]
fn a_dockerfile_that_is_wrong_is_told_from_one_that_is_missing() {
    let Some(client) = Client::start() else { return };
    let context = Context::new("FROM scratch\nCOPPY a b\n");
    let failed = client.build([context.arg()]);
    assert_eq!(failed.code, 1);
    says(
        &failed.stderr,
        &["dockerfile parse error on line 2: unknown instruction: COPPY"],
    );
    let failed = client.build(["-f", "none", context.arg()]);
    assert_eq!(failed.code, 1);
    says(
        &failed.stderr,
        &["failed to read dockerfile: open none: no such file or directory"],
    );
    let failed = client.build(["--target=none", greeting().arg()]);
    assert_eq!(failed.code, 1);
    says(&failed.stderr, &["target stage \"none\" could not be found"]);
    let failed = client.build_fed(["-f-", context.arg()], "\n");
    assert_eq!(failed.code, 1);
    says(&failed.stderr, &["ERROR: failed to build"]);
}

#[test]
fn what_is_not_there_is_refused_at_once() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let refused = client.build(["--cache-to=type=local,dest=cache", context.arg()]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    says(&refused.stderr, &["local", "not supported"]);
    // buildx leaves out those that it has no credentials for
    for cache in [
        "type=gha,url=http://127.0.0.1:1/,token=x",
        "type=s3,region=x,bucket=x",
        "type=azblob,name=x,account_url=http://127.0.0.1:1/",
    ] {
        let folder = context.arg();
        let mut command = client.buildctl(["build", "--frontend=dockerfile.v0", "--export-cache", cache]);
        command.arg(format!("--local=context={folder}"));
        command.arg(format!("--local=dockerfile={folder}"));
        let refused = run(&mut command);
        assert_eq!(refused.code, 1, "{cache}: {}", refused.stderr);
        let kind = cache.split(['=', ',']).nth(1).unwrap();
        says(&refused.stderr, &[kind, "not supported"]);
    }
}
