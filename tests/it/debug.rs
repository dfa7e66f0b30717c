//! A RUN that failed can be entered.

use mica_tests::{Context, Daemon, Ran};

/// The name a failed build shows.
fn fail(daemon: &Daemon, args: &[&str], context: &Context) -> (String, Ran) {
    let failed = daemon.mica([&["build"], args, &[context.arg()]].concat());
    let (_, rest) = failed
        .stderr
        .split_once("mica debug ")
        .unwrap_or_else(|| panic!("{}", failed.stderr));
    (rest.split_whitespace().next().unwrap().to_owned(), failed)
}

#[test]
fn commands_see_files_variables_and_mounts_of_the_step() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nENV WHO=me\nWORKDIR /srv\nARG WHAT=made\n\
         RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c echo $WHAT > left; echo kept > /c/f; exit 7\n",
    );
    let (build, failed) = fail(&daemon, &[], &context);
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    let script = "cat left; echo $WHO $WHAT; pwd; cat /c/f; test -d /t && echo more >> left; exit 5";
    let ran = daemon.mica(["debug", &build, "sh", "-c", script]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (5, "made\nme made\n/srv\nkept\n"),
        "{}",
        ran.stderr
    );
    // what was changed is there the next time; without a command it is a shell, fed here
    let ran = daemon.mica_fed(["debug", &build], "cat left; exit 3\n");
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stdout.contains("made\nmore\n"), "{}", ran.stdout);
    // the end of the input ends the shell
    assert_eq!(daemon.mica_fed(["debug", &build], "true\n").code, 0);

    daemon.mica(["builder", "prune", "-af"]).ok();
    let gone = daemon.mica(["debug", &build]);
    assert!(
        gone.code == 1 && gone.stderr.contains("there is no failed RUN of the build"),
        "{}",
        gone.stderr
    );
}
