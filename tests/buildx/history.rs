//! `buildx history`: builds of before.

use mica_tests::{Context, run};
use serde_json::Value;

use crate::client::{Client, greeting, says};

#[test]
fn builds_of_before_are_listed_shown_and_removed() {
    let Some(client) = Client::start() else { return };
    client.build([greeting().arg(), "--build-arg=WHO=history"]).ok();
    let bad = Context::with_shell("FROM base\nRUN echo almost && exit 3\n");
    assert_eq!(client.build([bad.arg()]).code, 1);
    let list = |args: &[&str]| -> Vec<Value> {
        let mut command = client.buildx(["history", "ls", "--format=json"]);
        let listed = run(command.args(args)).ok();
        let lines = listed.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let builds = list(&[]);
    assert_eq!(builds.len(), 2, "{builds:?}");
    assert_eq!(
        (&builds[0]["status"], &builds[1]["status"]),
        (&"Error".into(), &"Completed".into())
    );
    assert_eq!(builds[1]["total_steps"], builds[1]["completed_steps"]);
    assert_eq!(list(&["--filter=status=error"]).len(), 1);
    assert_eq!(list(&["--filter=startedAt<1h"]).len(), 0);
    let reference = |build: &Value| {
        let text = build["ref"].as_str().unwrap();
        text.rsplit('/').next().unwrap().to_owned()
    };
    let (failed, good) = (reference(&builds[0]), reference(&builds[1]));

    for _ in 0..2 {
        let logs = run(&mut client.buildx(["history", "logs", &good])).ok();
        says(&logs.stderr, &["RUN echo made by $WHO > /made", "DONE"]);
    }
    let logs = run(&mut client.buildx(["history", "logs"])).ok();
    says(&logs.stderr, &["almost", "exit code: 3"]);
    let shown = run(&mut client.buildx(["history", "inspect", &good])).ok();
    says(&shown.stdout, &["Build Steps:", "7/7", "WHO", "history"]);
    let shown = run(&mut client.buildx(["history", "inspect", &failed])).ok();
    says(&shown.stdout, &["exit code: 3"]);
    // neither provenance nor a trace is kept
    let attached = run(&mut client.buildx(["history", "inspect", "attachment", "--type=provenance", &good]));
    says(&attached.stderr, &["no matching attachment"]);
    let trace = run(&mut client.buildx(["history", "trace", &good]));
    says(&trace.stderr, &["is missing a trace"]);
    // the record alone
    run(&mut client.buildx(["history", "export", &good, "-o", "x.dockerbuild"])).ok();

    run(&mut client.buildx(["history", "rm", &failed])).ok();
    assert_eq!(list(&[]).len(), 1);
    assert_ne!(run(&mut client.buildx(["history", "rm", &failed])).code, 0);
    run(&mut client.buildx(["history", "rm", "--all"])).ok();
    assert!(list(&[]).is_empty());
    let none = run(&mut client.buildx(["history", "logs", &good]));
    says(&none.stderr, &["no record found"]);
}
