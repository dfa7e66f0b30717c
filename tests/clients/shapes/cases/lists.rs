//! The list of images, with every filter there is.

use crate::ask::Ask;
use crate::fixture::Fixture;

/// Lists.
pub(crate) fn asks(fixture: &Fixture) -> Vec<Ask> {
    let mut asks = vec![
        Ask::get("list", "/images/json"),
        Ask::get("list/all", "/images/json").with("all", "1"),
        Ask::get("list/all-false", "/images/json").with("all", "False"),
        Ask::get("list/digests", "/images/json").with("digests", "1"),
        Ask::get("list/unknown-parameter", "/images/json").with("nonsense", "1"),
        Ask::get("list/filter-parameter", "/images/json").with("filter", "shapes/one"),
        Ask::get("list/no-filters", "/images/json").with("filters", ""),
    ];
    let [_, one, ..] = &fixture.ids;
    let filters = [
        "{}",
        "null",
        r#"{"dangling":["true"]}"#,
        r#"{"dangling":["1"]}"#,
        r#"{"dangling":["false"]}"#,
        r#"{"dangling":{"true":true}}"#,
        r#"{"dangling":{"true":false}}"#,
        r#"{"dangling":[]}"#,
        r#"{"label":["color"]}"#,
        r#"{"label":["color=red"]}"#,
        r#"{"label":["color=red","empty"]}"#,
        r#"{"label":["color=red","color=blue"]}"#,
        r#"{"label":["empty="]}"#,
        r#"{"label":["none"]}"#,
        r#"{"label!":["color=red"]}"#,
        r#"{"before":["shapes/two:1"]}"#,
        r#"{"since":["shapes/one:1"]}"#,
        r#"{"since":["shapes/base:1"],"before":["shapes/two:1"]}"#,
        r#"{"before":["shapes/one:1","shapes/two:1"]}"#,
        r#"{"before":["nope"]}"#,
        r#"{"since":["nope:1"]}"#,
        r#"{"reference":["shapes/one"]}"#,
        r#"{"reference":["shapes/one:1"]}"#,
        r#"{"reference":["shapes/*"]}"#,
        r#"{"reference":["shapes/*:1"]}"#,
        r#"{"reference":["*:latest"]}"#,
        r#"{"reference":["*"]}"#,
        r#"{"reference":["*/*"]}"#,
        r#"{"reference":["docker.io/shapes/one:1"]}"#,
        r#"{"reference":["docker.io/library/other"]}"#,
        r#"{"reference":["[a"]}"#,
        r#"{"reference":["shapes/[a-o]ne:?"]}"#,
        r#"{"reference":["nope"]}"#,
        r#"{"reference":["shapes/one:1","other"]}"#,
        r#"{"reference":["other"],"label":["color=blue"]}"#,
    ];
    let wrong = [
        "{",
        "x",
        "[]",
        "\"x\"",
        r#"{"dangling":["x"]}"#,
        r#"{"dangling":["true","false"]}"#,
        r#"{"dangling":"true"}"#,
        r#"{"dangling":{"true":1}}"#,
        r#"{"nonsense":["x"]}"#,
        r#"{"label":"x"}"#,
        r#"{"reference":[1]}"#,
    ];
    let asked = |text: &str| Ask::get(&format!("list/{text}"), "/images/json").with("filters", text);
    asks.extend(filters.iter().chain(&wrong).map(|text| asked(text)));
    let sizes = ["body.LayersSize", "body.Images[].*Size"];
    asks.push(Ask::get("df", "/system/df").loose(&sizes));
    asks.push(Ask::get("df/1.39", "/system/df").version("1.39").loose(&sizes));
    // by an ID as before and since take them
    asks.push(
        Ask::get("list/before-id", "/images/json")
            .with("filters", &format!(r#"{{"before":["{}"]}}"#, &one[7..19])),
    );
    asks
}
