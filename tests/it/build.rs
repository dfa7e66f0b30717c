//! `mica build`: what gets into an image, what fails, and how that is said.

use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon};

/// The text a RUN of another image prints of `command`.
#[track_caller]
fn look(daemon: &Daemon, image: &str, command: &str) -> String {
    let context = Context::new(&format!(
        "FROM {image}\nRUN echo BEGIN && {command} && echo END\n"
    ));
    let ran = daemon.mica(["build", "--no-cache", context.arg()]).ok();
    let (_, rest) = ran.stderr.rsplit_once("BEGIN\n").expect("the step ran");
    rest.split("END\n").next().unwrap_or_default().to_owned()
}

#[test]
fn several_stages_become_one_image() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base AS work\nARG WHO=nobody\nRUN echo \"$WHO\" > /who\n\
         FROM base\nENV GREETING=hello\nWORKDIR /srv/app\nCOPY --from=work --chown=3:4 /who .\nCOPY --chmod=0755 tool /bin/\n\
         RUN test \"$(cat who)\" = me\nUSER 12:34\nRUN id -u > /tmp/id\nCMD [\"tool\"]\n",
    )
    .file("tool", "#!/bin/sh\necho $GREETING\n");
    // /tmp is not there in a base of busybox alone
    context.write(
        "Dockerfile",
        &fs_err::read_to_string(context.path().join("Dockerfile"))
            .unwrap()
            .replace("USER 12:34", "RUN mkdir -m 1777 /tmp\nUSER 12:34"),
    );
    let built = daemon
        .mica(["build", "-t", "app:1", "--build-arg", "WHO=me", context.arg()])
        .ok();
    assert!(
        built.stdout.is_empty(),
        "progress belongs on stderr: {}",
        built.stdout
    );
    assert!(
        built.stderr.contains("Successfully tagged app:1"),
        "{}",
        built.stderr
    );
    assert_eq!(
        look(
            &daemon,
            "app:1",
            "stat -c '%u:%g %a' /srv/app/who /bin/tool && cat /tmp/id && tool"
        ),
        "3:4 644\n0:0 755\n12\nhello\n"
    );
    let config = daemon.mica([
        "inspect",
        "-f",
        "{{json .Config.Cmd}} {{.Config.WorkingDir}} {{.Config.User}}",
        "app:1",
    ]);
    assert_eq!(config.ok().text(), r#"["tool"] /srv/app 12:34"#);
}

#[test]
fn steps_that_change_nothing_are_layers_all_the_same() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nRUN true\nRUN true\nRUN true\nRUN true\nRUN echo 1 > /f\nRUN rm /f\nRUN echo 1 > /f\nRUN test -e /f\n",
    );
    for no_cache in [false, true] {
        let flags: &[&str] = if no_cache { &["--no-cache"] } else { &[] };
        daemon
            .mica([&["build", "-t", "x"], flags, &[context.arg()]].concat())
            .ok();
        let layers = daemon.mica(["inspect", "-f", "{{len .RootFS.Layers}}", "x"]).ok();
        assert_eq!(layers.text(), "10");
    }
}

#[test]
fn the_last_step_is_the_image_and_a_second_build_is_all_cache() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nENV A=1\nRUN true\nLABEL b=c\nCMD [\"x\"]\n");
    let first = daemon.mica(["build", context.arg()]).ok().stderr;
    let shown = |text: &str, before: &str| {
        let at = text.rfind(before).expect("the stream names states") + before.len();
        text[at..][..12].to_owned()
    };
    assert_eq!(shown(&first, "\n ---> "), shown(&first, "Successfully built "));
    assert!(!first.contains("Using cache"), "{first}");
    let second = daemon.mica(["build", context.arg()]).ok().stderr;
    assert_eq!(second.matches("---> Using cache").count(), 6, "{second}");
    assert!(!second.contains("Running in"), "{second}");
}

#[test]
fn paths_no_system_opens_are_refused_at_once() {
    let daemon = Daemon::start();
    for instruction in [
        format!("WORKDIR {}", "a/".repeat(3000)),
        format!("COPY <<f {}/x\nx\nf", "b/".repeat(3000)),
    ] {
        let context = Context::new(&format!("FROM scratch\n{instruction}\n"));
        let started = Instant::now();
        let ran = daemon.mica(["build", context.arg()]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("is longer than 4095 bytes"), "{}", ran.stderr);
        assert!(started.elapsed() < Duration::from_secs(60));
    }
    let deep = "d/".repeat(300);
    let context = Context::new(&format!("FROM scratch\nWORKDIR /{deep}\nCOPY Dockerfile .\n"));
    daemon.mica(["build", context.arg()]).ok();
}

#[test]
fn a_failing_run_gives_its_own_exit_code_and_leaves_no_image() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo before; exit 7\n");
    let ran = daemon.mica(["build", "-t", "broken", context.arg()]);
    assert_eq!(ran.code, 7);
    assert!(ran.stderr.contains("before\n"));
    assert!(
        ran.stderr
            .contains("The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"),
        "{}",
        ran.stderr
    );
    assert!(daemon.mica(["images", "-q", "-a"]).ok().stdout.is_empty());
}

#[test]
fn a_killed_run_is_128_and_the_signal() {
    let daemon = Daemon::start();
    // the first process of a pid namespace cannot be killed from inside
    let context = Context::with_shell("FROM base\nRUN sh -c 'kill -9 $$'; exit $?\n");
    assert_eq!(daemon.mica(["build", context.arg()]).code, 137);
    let context = Context::with_shell("FROM base\nRUN [\"nothing-of-that-name\"]\n");
    assert_eq!(daemon.mica(["build", context.arg()]).code, 127);
}

#[test]
fn a_wrong_dockerfile_is_told_with_its_line() {
    let daemon = Daemon::start();
    for (dockerfile, wanted) in [
        (
            "FROM scratch\n\nCOPPY a b\n",
            &["line 3", "unknown instruction: COPPY", "COPY"][..],
        ),
        (
            "FROM scratch\nCOPY --chwon=1 a b\n",
            &["line 2", "chwon", "--chown"],
        ),
        ("FROM scratch\nRUN <<EOF\necho\n", &["line 2", "EOF"]),
        ("RUN true\n", &["line 1", "FROM"]),
        ("", &["the Dockerfile (Dockerfile) cannot be empty"]),
        (
            "FROM scratch\nRUN --device=x true\n",
            &["line 2", "RUN --device", "not supported yet"],
        ),
        (
            "FROM scratch\nRUN --mount=type=tmpfs,target=/x,ro true\n",
            &["line 2", "read-only tmpfs mount", "not supported yet"],
        ),
        (
            "FROM scratch\nCOPY https://example.com/x /x\n",
            &["line 2", "https://example.com/x", "for COPY"],
        ),
        (
            "FROM scratch\nCOPY nowhere /x\n",
            &[
                "line 2",
                "COPY failed",
                "nowhere",
                "not found in build context or excluded by .dockerignore",
            ],
        ),
        ("FROM nosuch/image:1\n", &["line 1", "nosuch/image:1"]),
        ("FROM scratch AS a\nCOPY --from=a /x /y\n", &["line 2", "itself"]),
        (
            "FROM scratch\nUSER nosuch\nRUN [\"/x\"]\n",
            &["line 3", "unable to find user nosuch"],
        ),
    ] {
        let context = Context::new(dockerfile);
        let ran = daemon.mica(["build", context.arg()]);
        assert_eq!(ran.code, 1, "{dockerfile:?}: {}", ran.stderr);
        for text in wanted {
            assert!(
                ran.stderr.contains(text),
                "{dockerfile:?}: no {text:?} in {}",
                ran.stderr
            );
        }
    }
    // a stage that is not needed is parsed, not carried out
    let context = Context::new("FROM nosuch/image:1 AS unused\nRUN false\nFROM scratch\nLABEL a=b\n");
    daemon.mica(["build", context.arg()]).ok();
}

#[test]
fn quiet_and_iidfile_give_the_id_and_nothing_else() {
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nLABEL a=b\n");
    let file = daemon.folder().join("iid");
    let ran = daemon
        .mica(["build", "-q", "--iidfile", file.to_str().unwrap(), context.arg()])
        .ok();
    let id = ran.text();
    assert_eq!(id.len(), "sha256:".len() + 64, "{id}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), id);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    assert_eq!(
        daemon
            .mica(["inspect", "-f", "{{.Id}}", &id["sha256:".len()..][..12]])
            .ok()
            .text(),
        id
    );
}

#[test]
fn the_ignore_file_keeps_files_out() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nCOPY . /c/\nRUN find /c -type f | sort\n")
        .file(
            ".dockerignore",
            "secret*\n!secret.pub\nDockerfile\n.dockerignore\nbusybo?\n!busybox\n",
        )
        .file("secret.key", "x")
        .file("secret.pub", "x")
        .file("d/secret", "x");
    let ran = daemon.mica(["build", context.arg()]).ok();
    assert!(
        ran.stderr.contains("/c/busybox\n/c/d/secret\n/c/secret.pub\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_client_that_goes_away_takes_all_its_processes_with_it() {
    let daemon = Daemon::start();
    // told from every other process by a number of its own
    let mark = format!("86{}", daemon.pid());
    let context = Context::with_shell(&format!(
        "FROM base\nRUN (setsid sleep {mark} &); echo started; trap '' TERM INT; sleep {mark}\n"
    ));
    let mut client = daemon
        .command(["build", context.arg()])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let sleeping = || {
        let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter(|p| {
                std::fs::read(p.path().join("cmdline"))
                    .is_ok_and(|c| String::from_utf8_lossy(&c).ends_with(&format!("sleep\0{mark}\0")))
            })
            .count()
    };
    let started = Instant::now();
    while sleeping() < 2 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the step does not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    client.kill().unwrap();
    client.wait().unwrap();
    let left = Instant::now();
    while sleeping() > 0 {
        assert!(
            left.elapsed() < Duration::from_secs(20),
            "{} processes are left",
            sleeping()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon.mica(["version"]).ok();
}

#[test]
fn resolv_conf_and_hosts_are_seen_but_stay_out_of_the_layer() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nRUN cat /etc/hosts && test -e /etc/resolv.conf && echo mine > /etc/own\nRUN --network=none ls /sys/class/net\n",
    );
    let ran = daemon
        .mica(["build", "-t", "x", "--add-host", "other:10.9.8.7", context.arg()])
        .ok();
    assert!(
        ran.stderr.contains("127.0.0.1\tlocalhost buildkitsandbox\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("10.9.8.7\tother\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("\nlo\n") && !ran.stderr.contains("\neth0\n"),
        "{}",
        ran.stderr
    );
    let image = daemon.folder().join("x.tar");
    daemon.mica(["save", "-o", image.to_str().unwrap(), "x"]).ok();
    // all layers' names together
    let listing = std::process::Command::new("sh")
        .arg("-c")
        .arg("tar -xf \"$1\" -C \"$2\" && for l in \"$2\"/blobs/sha256/*; do tar -tf \"$l\" 2>/dev/null || true; done")
        .args(["sh", image.to_str().unwrap(), daemon.folder().to_str().unwrap()])
        .output()
        .unwrap();
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(names.contains("etc/own\n"), "{names}");
    assert!(
        !names.contains("resolv.conf") && !names.contains("etc/hosts"),
        "{names}"
    );
}
