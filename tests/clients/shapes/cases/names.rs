//! One image by its names: looking at it, naming it anew, removing it.

use crate::ask::Ask;
use crate::fixture::Fixture;

/// Names of every kind.
fn names(fixture: &Fixture) -> Vec<(&'static str, String)> {
    let [_, one, two, bare] = &fixture.ids;
    vec![
        ("tag", "shapes/one:1".to_owned()),
        ("full", "docker.io/shapes/one:1".to_owned()),
        ("index", "index.docker.io/shapes/one:1".to_owned()),
        ("library", "docker.io/library/other".to_owned()),
        ("latest", "other".to_owned()),
        ("id", one.clone()),
        ("digits", one[7..].to_owned()),
        ("short", one[7..19].to_owned()),
        ("short-with-algorithm", one[..19].to_owned()),
        ("escaped", "shapes%2Fone%3A1".to_owned()),
        ("labelled", two.clone()),
        ("untagged", bare.clone()),
        ("no-latest", "shapes/one".to_owned()),
        ("no-tag", "shapes/one:nope".to_owned()),
        ("nowhere", "nope".to_owned()),
        ("nowhere-registry", "localhost:1/nope:1".to_owned()),
        ("upper-case", "Shapes/one:1".to_owned()),
        ("upper-case-path", "shapes/One:1".to_owned()),
        ("bad-tag", "shapes/one:-x".to_owned()),
        ("two-colons", "shapes/one:1:2".to_owned()),
        ("bad-digest", "shapes/one@sha256:00".to_owned()),
        ("no-such-digest", format!("shapes/one@sha256:{}", "0".repeat(64))),
        ("id-as-digest", format!("shapes/one@{one}")),
        ("no-such-id", format!("sha256:{}", "0".repeat(64))),
        ("no-such-digits", "0".repeat(64)),
        ("no-such-short", "0".repeat(12)),
        ("other-algorithm", format!("sha512:{}", "0".repeat(128))),
        ("long", "x".repeat(300)),
        ("space", "a%20b".to_owned()),
        ("doubled-slash", "shapes//one:1".to_owned()),
        ("unicode", "caf%C3%A9".to_owned()),
    ]
}

/// Lookups.
pub(crate) fn look(fixture: &Fixture) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (kind, name) in names(fixture) {
        asks.push(
            Ask::get(&format!("inspect/{kind}"), format!("/images/{name}/json"))
                .loose(&["body.Size", "body.VirtualSize"]),
        );
        asks.push(Ask::get(
            &format!("history/{kind}"),
            format!("/images/{name}/history"),
        ));
    }
    asks.push(Ask::get("inspect/empty", "/images//json"));
    asks.push(Ask::get("history/empty", "/images//history"));
    asks
}

/// New names.
pub(crate) fn tag(fixture: &Fixture) -> Vec<Ask> {
    let [_, one, ..] = &fixture.ids;
    let tag = |name: &str, image: &str, repo: &str, tag: &str| {
        Ask::post(&format!("tag/{name}"), format!("/images/{image}/tag"))
            .with("repo", repo)
            .with("tag", tag)
    };
    let digest = format!("shapes/x@{one}");
    vec![
        tag("new", "shapes/one:1", "shapes/new", "t"),
        tag("again", "shapes/one:1", "shapes/new", "t"),
        tag("by-id", one, "shapes/new", "by-id"),
        tag("by-short", &one[7..19], "shapes/new", "by-short"),
        tag("no-tag", "shapes/one:1", "shapes/new", ""),
        tag("in-repo", "shapes/one:1", "shapes/new:in-repo", ""),
        tag("both", "shapes/one:1", "shapes/new:in-repo", "both"),
        tag("registry", "shapes/one:1", "localhost:1/x", "1"),
        tag("moved", "shapes/two:1", "shapes/new", "t"),
        Ask::get("inspect/after-tags", "/images/shapes/one:1/json"),
        Ask::get("history/after-tags", "/images/shapes/one:1/history"),
        tag("missing", "nope", "shapes/new", "t"),
        tag("missing-id", &"0".repeat(12), "shapes/new", "t"),
        tag("upper-case", "shapes/one:1", "shapes/New", "t"),
        tag("bad-tag", "shapes/one:1", "shapes/new", "-t"),
        tag("long-tag", "shapes/one:1", "shapes/new", &"t".repeat(129)),
        tag("digest", "shapes/one:1", &digest, ""),
        tag("sha256", "shapes/one:1", "sha256", "x"),
        tag("digits", "shapes/one:1", &one[7..], "x"),
        tag("empty-repo", "shapes/one:1", "", "t"),
        Ask::post("tag/no-parameters", "/images/shapes/one:1/tag"),
        tag("bad-source", "shapes/One", "shapes/new", "t"),
        tag("json-body", "shapes/one:1", "shapes/new", "json").json(r#"{"x":1}"#),
    ]
}

/// Removals, single and in bulk.
pub(crate) fn remove(fixture: &Fixture) -> Vec<Ask> {
    let [_, one, _, bare] = &fixture.ids;
    let remove = |name: &str, image: &str| Ask::delete(&format!("remove/{name}"), format!("/images/{image}"));
    let prune = |text: &str| Ask::post(&format!("prune/{text}"), "/images/prune").with("filters", text);
    vec![
        remove("tag", "shapes/new:t"),
        remove("gone", "shapes/new:t"),
        remove("missing", "nope"),
        remove("upper-case", "shapes/X"),
        remove("no-such-id", &"0".repeat(64)),
        remove("no-such-short", &"0".repeat(12)),
        remove("bad-digest", "shapes/one@sha256:00"),
        remove("empty", ""),
        remove("space", "%20"),
        remove("several-repositories", &one[7..19]),
        remove("several-repositories-by-id", one),
        remove("one-of-several", "shapes/one:2"),
        remove("forced-tag", "other").with("force", "1"),
        remove("no-prune", "shapes/new:json").with("noprune", "1"),
        prune("{"),
        prune(r#"{"nonsense":["x"]}"#),
        prune(r#"{"dangling":["x"]}"#),
        prune(r#"{"until":["x"]}"#),
        prune(r#"{"until":["1h","2h"]}"#),
        prune(r#"{"label":["none"]}"#),
        prune(r#"{"until":["100000h"]}"#),
        Ask::post("prune", "/images/prune").loose(&["body.SpaceReclaimed"]),
        Ask::post("prune/nothing-left", "/images/prune"),
        remove("untagged", bare),
        remove("forced", &one[7..19]).with("force", "1"),
        Ask::get("inspect/removed", format!("/images/{one}/json")),
    ]
}
