//! Command lines that make no sense, help and completions.

use crate::fake::{Fake, mica, outcome};

#[test]
fn wrong_usage_ends_with_125() {
    for (arguments, words) in [
        (
            &["foo"][..],
            "mica: unknown command: mica foo\n\nRun 'mica --help' for more information\n",
        ),
        (&["image", "foo"], "mica: unknown command: mica image foo\n"),
        (
            &["images", "--foo"],
            "unknown flag: --foo\n\nUsage:  mica images [OPTIONS] [REPOSITORY[:TAG]]\n",
        ),
        (&["images", "-Z"], "unknown shorthand flag: 'Z' in -Z\n"),
        (
            &["images", "a", "b"],
            "mica: 'mica images' requires at most 1 argument\n",
        ),
        (&["rmi"], "mica: 'mica rmi' requires at least 1 argument\n"),
        (
            &["tag", "a"],
            "mica: 'mica tag' requires 2 arguments\n\nUsage:  mica tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n",
        ),
        (
            &["history"],
            "mica: 'mica history' requires 1 argument\n\nUsage:  mica history [OPTIONS] IMAGE\n",
        ),
        (
            &["system", "df", "x"],
            "mica: 'mica system df' accepts no arguments\n\nUsage:  mica system df [OPTIONS]\n",
        ),
        (
            &["buildx", "imagetools", "x"],
            "mica: unknown command: mica buildx imagetools x\n",
        ),
        (&["build"], "mica: 'mica build' requires 1 argument\n"),
        (&["images", "-f"], "flag needs an argument: --filter\n"),
        (
            &["images", "-f", "x"],
            "invalid argument \"x\" for \"--filter\" flag: bad format of filter",
        ),
        (
            &["rmi", "--force=maybe", "x"],
            "invalid argument \"maybe\" for \"--force\" flag: parsing \"maybe\"",
        ),
        (
            &["builder", "prune", "--keep-storage", "x"],
            "invalid argument \"x\" for \"--keep-storage\" flag: invalid size",
        ),
        (&["build", "--add-host", "x", "/"], "unable to prepare context"),
    ] {
        let run = Fake::new([]).run(arguments);
        assert!(run.stderr.starts_with(words), "{arguments:?}: {run:?}");
        assert_eq!(run.stdout, "");
        assert_eq!(
            run.code,
            Some(if arguments[0] == "build" && arguments.len() > 1 {
                1
            } else {
                125
            }),
            "{run:?}"
        );
    }
}

#[test]
fn help_goes_to_standard_output() {
    for arguments in [
        &[][..],
        &["--help"],
        &["image"],
        &["builder"],
        &["buildx"],
        &["build", "--help"],
        &["image", "ls", "-h"],
    ] {
        let run = outcome(mica(arguments));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(run.stdout.contains("Usage: mica"), "{run:?}");
    }
    let help = outcome(mica(&["system", "df", "--help"])).stdout;
    assert!(
        help.contains("\n  -v, --verbose          Show detailed information on space usage\n"),
        "{help}"
    );
    assert_eq!(help, outcome(mica(&["system", "df", "-h"])).stdout);
    assert!(
        outcome(mica(&["login", "--help"]))
            .stdout
            .contains("Defaults to Docker Hub if no server")
    );
    assert_eq!(
        outcome(mica(&["--version"])).stdout,
        format!("mica version {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn flags_are_read_as_docker_reads_them() {
    let fake = Fake::new([crate::fake::reply(200, "[]")]);
    for arguments in [
        &["images", "--all=true", "-q=true"][..],
        &["images", "-aq"],
        &[
            "-D", "--config", "/x", "images", "--all", "--quiet", "--format", "a", "--format", "{{.ID}}",
        ],
        &["images", "--quiet", "--all=1", "--no-trunc=false"],
    ] {
        let run = fake.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
        assert_eq!(
            fake.lines().last().unwrap(),
            "GET /v1.51/images/json?all=1",
            "{arguments:?}"
        );
    }
    let mut command = mica(&["-H", &fake.host(), "images", "--all", "--all=false"]);
    command.env("MICA_HOST", "unix:///nowhere");
    assert_eq!(outcome(command).code, Some(0));
    assert_eq!(fake.lines().last().unwrap(), "GET /v1.51/images/json");
}

#[test]
fn completions_are_scripts() {
    for (shell, words) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef mica"),
        ("fish", "complete -c mica"),
    ] {
        let run = outcome(mica(&["completion", shell]));
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains(words), "{shell}");
        for name in ["events", "prune", "imagetools", "metadata-file"] {
            assert!(run.stdout.contains(name), "{shell}: {name}");
        }
    }
    assert_eq!(outcome(mica(&["completion", "tcsh"])).code, Some(125));
}
