//! What a build told can be read afterwards.

use mica_tests::{Context, Daemon};

/// The name a failed build shows.
pub(crate) fn build_id(stderr: &str) -> &str {
    let (_, rest) = stderr.split_once("mica logs ").expect("the build names its log");
    rest.split_whitespace().next().expect("a name follows")
}

#[test]
fn a_failed_build_names_its_log_which_outlives_the_daemon() {
    let mut daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo one; echo two >&2; seq 1 20000; exit 3\n");
    let failed = daemon.mica(["build", context.arg()]);
    assert_eq!(failed.code, 3, "{}", failed.stderr);
    let build = build_id(&failed.stderr).to_owned();
    daemon.stop();
    daemon.spawn();
    let shown = daemon.mica(["logs", &build]).ok().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("#0 [1/5] FROM scratch"), "{}", lines[0]);
    for text in [" one", " two", " 1", " 20000"] {
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("#4 ") && line.ends_with(text)),
            "{text}"
        );
    }
    assert!(
        lines.last().unwrap().contains("returned a non-zero code: 3"),
        "{shown}"
    );
    let listed = daemon.mica(["logs"]).ok().stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with(&build), "{listed}");
    let missing = daemon.mica(["logs", "0123456789ab"]);
    assert!(
        missing.stderr.contains("No such build log: 0123456789ab"),
        "{}",
        missing.stderr
    );
    let wrong = daemon.mica(["logs", "x"]);
    assert!(wrong.stderr.contains("invalid build ID"), "{}", wrong.stderr);
}
