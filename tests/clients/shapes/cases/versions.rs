//! The same in older versions of the API.

use crate::ask::Ask;

/// What older clients look at.
pub(crate) fn asks() -> Vec<Ask> {
    let mut asks = Vec::new();
    for version in ["1.22", "1.24", "1.30", "1.39"] {
        let name = |what: &str| format!("{version}/{what}");
        let of_version = [
            Ask::get(&name("ping"), "/_ping"),
            Ask::get(&name("version"), "/version"),
            Ask::get(&name("info"), "/info").loose(&["body.*"]),
            Ask::get(&name("list"), "/images/json"),
            Ask::get(&name("list-all"), "/images/json").with("all", "1"),
            Ask::get(&name("list-filter"), "/images/json").with("filter", "shapes/one"),
            Ask::get(&name("list-dangling"), "/images/json").with("filters", r#"{"dangling":["true"]}"#),
            Ask::get(&name("list-bad-filter"), "/images/json").with("filters", "{"),
            Ask::get(&name("inspect"), "/images/shapes/two:1/json"),
            Ask::get(&name("inspect-untagged"), "/images/shapes/one:1/json"),
            Ask::get(&name("inspect-missing"), "/images/nope/json"),
            Ask::get(&name("history"), "/images/shapes/two:1/history"),
            Ask::get(&name("nowhere"), "/nonsense"),
            Ask::get(&name("containers"), "/containers/json"),
            Ask::get(&name("container-missing"), "/containers/nope/json"),
            Ask::get(&name("networks"), "/networks").loose(&["body"]),
            Ask::get(&name("volumes"), "/volumes"),
            Ask::post(&name("prune"), "/images/prune").with("filters", r#"{"label":["none"]}"#),
            Ask::post(&name("tag-missing"), "/images/nope/tag").with("repo", "x"),
        ];
        asks.extend(of_version.map(|ask| ask.version(version)));
    }
    asks
}
