//! Clients that ask: what builds here, what it keeps, what a Dockerfile says.

use mica_tests::{Context, run};

use crate::client::{Client, greeting, says};

#[test]
fn the_builder_is_listed_and_inspected() {
    let Some(client) = Client::start() else { return };
    let listed = run(&mut client.buildx(["ls"])).ok();
    says(&listed.stdout, &["default*", "docker", "running", "linux/"]);
    let inspected = run(&mut client.buildx(["inspect"])).ok();
    let words: Vec<&str> = inspected.stdout.split_whitespace().collect();
    says(
        &words.join(" "),
        &["Driver: docker", "Status: running", "BuildKit version: v"],
    );
    let said = run(&mut client.buildx(["version"])).ok();
    assert!(
        said.text().starts_with("github.com/docker/buildx v"),
        "{}",
        said.text()
    );
}

#[test]
fn what_the_cache_holds_is_listed_and_removed() {
    let Some(client) = Client::start() else { return };
    client.build([greeting().arg()]).ok();
    let used = run(&mut client.buildx(["du"])).ok();
    says(&used.stdout, &["Reclaimable", "Total:"]);
    let verbose = run(&mut client.buildx(["du", "--verbose"])).ok();
    says(&verbose.stdout, &["Size:", "Description:"]);
    let pruned = run(&mut client.buildx(["prune", "-af"])).ok();
    says(&pruned.stdout, &["Total:"]);
    let built = client.build([greeting().arg()]).ok();
    assert!(!built.stderr.contains("CACHED"), "{}", built.stderr);
    let kept = run(&mut client.buildx(["prune", "-af", "--filter=until=24h"])).ok();
    says(&kept.stdout, &["Total:", "0B"]);
    let built = client.build([greeting().arg()]).ok();
    assert_eq!(built.stderr.matches("CACHED").count(), 3, "{}", built.stderr);
}

#[test]
fn a_dockerfile_is_checked_and_outlined() {
    let Some(client) = Client::start() else { return };
    let context = Context::new(
        "# a target of note\nFROM scratch AS early\n# who made it\nARG WHO=nobody\nLABEL who=$WHO\nFROM early as late\n",
    );
    let checked = client.build(["--call=check", context.arg()]);
    assert_eq!(checked.code, 1, "{}", checked.stderr);
    says(
        &(checked.stdout + &checked.stderr),
        &["FromAsCasing", "Dockerfile:6"],
    );
    let outline = client
        .build(["--call=outline", "--target=early", context.arg()])
        .ok();
    says(&outline.stdout, &["early", "WHO", "nobody"]);
    let targets = client.build(["--call=targets", context.arg()]).ok();
    says(&targets.stdout, &["early", "late (default)"]);
    let json = client.build(["--call=targets,format=json", context.arg()]).ok();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["targets"][1]["name"], "late");
    let clean = client.build(["--check", greeting().arg()]).ok();
    says(
        &(clean.stdout + &clean.stderr),
        &["Check complete, no warnings found."],
    );
    let listed = run(&mut client.docker(["images", "-qa"])).ok();
    assert_eq!(listed.stdout, "", "nothing was built");
}
