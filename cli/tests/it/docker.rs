//! The program under the name `docker`: what it says then, and what it says to docker's other commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fake::{Fake, PROGRAM, outcome, reply};

/// A folder with links named `docker`: one of each kind.
fn links() -> (tempfile::TempDir, [PathBuf; 2]) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (soft, hard) = (folder.path().join("soft"), folder.path().join("hard"));
    for dir in [&soft, &hard] {
        fs::create_dir(dir).unwrap();
    }
    symlink(PROGRAM, soft.join("docker")).unwrap();
    fs::hard_link(PROGRAM, hard.join("docker")).unwrap();
    (folder, [soft.join("docker"), hard.join("docker")])
}

#[test]
fn a_link_named_docker_speaks_as_docker() {
    let (_folder, links) = links();
    let fake = Fake::new([reply(200, "[]")]);
    for link in &links {
        let run = |words: &[&str]| outcome(fake.command_of(link, words));
        for (words, code, start) in [
            (
                &["foo"][..],
                125,
                "docker: unknown command: docker foo\n\nRun 'docker --help' for more information\n",
            ),
            (
                &["image", "foo"],
                125,
                "docker: unknown command: docker image foo\n\nUsage:  docker image\n\nRun 'docker image --help' for",
            ),
            (
                &["rmi"],
                125,
                "docker: 'docker rmi' requires at least 1 argument\n\nUsage:  docker rmi [OPTIONS] IMAGE [IMAGE...]\n",
            ),
            (
                &["events", "x"],
                125,
                "docker: 'docker events' accepts no arguments\n\nUsage:  docker events [OPTIONS]",
            ),
            (
                &["images", "--foo"],
                125,
                "unknown flag: --foo\n\nUsage:  docker images [OPTIONS]",
            ),
            (
                &["run", "-it", "--rm", "--pull=always", "x", "build"],
                125,
                "docker run: mica does not run containers: ",
            ),
        ] {
            let run = run(words);
            assert!(run.stderr.starts_with(start), "{words:?}: {run:?}");
            assert_eq!(run.code, Some(code), "{words:?}");
        }
        assert!(
            run(&["--help"])
                .stdout
                .contains("Usage: docker [OPTIONS] COMMAND\n")
        );
        assert!(
            run(&["image", "ls", "--help"])
                .stdout
                .contains("Usage: docker image ls ")
        );
        let version = format!("Docker version {}, build mica\n", env!("CARGO_PKG_VERSION"));
        for flag in ["--version", "-v"] {
            assert_eq!(run(&[flag]).stdout, version);
        }
        assert!(
            run(&["completion", "bash"])
                .stdout
                .contains("complete -F _docker")
        );
        assert_eq!(run(&["images", "-q"]).code, Some(0));
        for variable in ["MICA_HOST", "DOCKER_HOST"] {
            let mut command = fake.command_of(link, &["images"]);
            command.env_remove("MICA_HOST").env(variable, "unix:///nowhere/s");
            assert_eq!(
                outcome(command).stderr,
                "Cannot connect to the Docker daemon at unix:///nowhere/s. Is the docker daemon running?\n"
            );
        }
    }
    assert_eq!(fake.lines().len(), 2);
    let renamed = links[1].with_file_name("docker-mica");
    fs::rename(&links[1], &renamed).unwrap();
    assert!(
        outcome(fake.command_of(&renamed, &["foo"]))
            .stderr
            .starts_with("mica: unknown command: mica foo")
    );
}

#[test]
fn what_runs_containers_is_refused_in_one_line() {
    for (words, code) in [
        (&["run", "-it", "alpine"][..], 125),
        (&["container", "run", "alpine"], 125),
        (&["exec", "x", "sh"], 1),
        (&["compose", "up", "-d"], 1),
        (&["-H", "unix:///nowhere", "create", "x"], 1),
        (&["start", "--help"], 1),
        (&["service", "ls"], 1),
        (&["buildx", "bake"], 1),
        (&["buildx", "create", "--use"], 1),
        (&["volume", "create", "x"], 1),
        (&["network", "rm", "x"], 1),
        (&["context", "create", "x"], 1),
    ] {
        let run = Fake::new([]).run(words);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(code), ""),
            "{words:?}: {run:?}"
        );
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(run.stderr.starts_with("mica "), "{run:?}");
    }
}

#[test]
fn contexts_are_not_silently_passed_over() {
    let fake = Fake::new([reply(200, "[]")]);
    for (words, context, host, code) in [
        (&["images"][..], "far", true, 0),
        (&["images"], "far", false, 1),
        (&["--context", "far", "images"], "", true, 1),
        (&["-c", "default", "images"], "default", true, 0),
    ] {
        let mut command = fake.command_of(Path::new(PROGRAM), words);
        command.env("DOCKER_CONTEXT", context);
        if !host {
            command.env_remove("MICA_HOST");
        }
        let run = outcome(command);
        assert_eq!(run.code, Some(code), "{words:?} {context}: {run:?}");
        assert_eq!(
            run.stderr.contains("context \"far\": context not found"),
            code == 1,
            "{run:?}"
        );
    }
}
