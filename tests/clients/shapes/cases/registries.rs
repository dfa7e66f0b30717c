//! What goes to registries and comes from them.

use base64::Engine as _;

use crate::ask::Ask;
use crate::fixture::{Fixture, LOGIN};

fn auth(user: &str, password: &str, server: &str) -> String {
    let text = format!(r#"{{"username":"{user}","password":"{password}","serveraddress":"{server}"}}"#);
    base64::engine::general_purpose::URL_SAFE.encode(text)
}

/// Credentials, pushes, pulls and lookups.
pub(crate) fn asks(fixture: &Fixture) -> Vec<Ask> {
    [login(fixture), push(fixture), pull(fixture), search()].concat()
}

fn login(fixture: &Fixture) -> Vec<Ask> {
    let server = fixture.closed.address();
    let login = |name: &str, password: &str, server: &str| {
        let body = format!(
            r#"{{"username":"{}","password":"{password}","serveraddress":"{server}"}}"#,
            LOGIN.0
        );
        Ask::post(&format!("auth/{name}"), "/auth").json(body)
    };
    vec![
        login("right", LOGIN.1, &server),
        login("wrong", "wrong", &server),
        login("open", "any", &fixture.open.address()),
        login("nobody-there", "any", "127.0.0.1:1"),
        Ask::post("auth/no-json", "/auth").json("{"),
        Ask::post("auth/no-type", "/auth").body("{}"),
        Ask::post("auth/no-body", "/auth"),
    ]
}

fn push(fixture: &Fixture) -> Vec<Ask> {
    let [_, one, ..] = &fixture.ids;
    let host = fixture.open.address().replace("127.0.0.1", "localhost");
    let closed = fixture.closed.address().replace("127.0.0.1", "localhost");
    let none = "e30=";
    let tag = |name: &str, image: &str, repo: String, tag: &str| {
        Ask::post(&format!("push/tag-{name}"), format!("/images/{image}/tag"))
            .with("repo", &repo)
            .with("tag", tag)
    };
    let push =
        |name: &str, repo: &str| Ask::post(&format!("push/{name}"), format!("/images/{repo}/push")).stream();
    let of = format!("{host}/shapes");
    vec![
        tag("one", "shapes/one:1", format!("{of}/one"), "1"),
        tag("one-2", "shapes/one:1", format!("{of}/one"), "2"),
        tag("two", "shapes/two:1", format!("{of}/two"), "1"),
        tag("closed", "shapes/base:1", format!("{closed}/one"), "1"),
        push("one", &format!("{of}/one"))
            .with("tag", "1")
            .header("x-registry-auth", none),
        push("again", &format!("{of}/one"))
            .with("tag", "1")
            .header("x-registry-auth", none),
        push("tag-in-name", &format!("{of}/two:1")).header("x-registry-auth", none),
        push("all-tags", &format!("{of}/one")).header("x-registry-auth", none),
        Ask::get("inspect/after-push", format!("/images/{of}/one:1/json")).loose(&["body.RepoDigests[]"]),
        Ask::get("list/after-push", "/images/json")
            .loose(&["body[].RepoDigests[]"])
            .with("filters", r#"{"label":["color"]}"#),
        push("without-header", &format!("{of}/one")).with("tag", "1"),
        push("auth-in-body", &format!("{of}/one"))
            .with("tag", "1")
            .json("{}"),
        push("no-such-tag", &format!("{of}/one"))
            .with("tag", "nope")
            .header("x-registry-auth", none),
        push("no-such-repository", &format!("{of}/nope"))
            .with("tag", "1")
            .header("x-registry-auth", none),
        push("no-such-repository-all", &format!("{of}/nope")).header("x-registry-auth", none),
        push("digest", &format!("{of}/one@{one}")).header("x-registry-auth", none),
        push("upper-case", "shapes/One")
            .with("tag", "1")
            .header("x-registry-auth", none),
        push("bad-tag", &format!("{of}/one"))
            .with("tag", "-x")
            .header("x-registry-auth", none),
        push("by-id", one).header("x-registry-auth", none),
        push("closed", &format!("{closed}/one"))
            .with("tag", "1")
            .header("x-registry-auth", none),
        push("closed-wrong", &format!("{closed}/one"))
            .with("tag", "1")
            .header("x-registry-auth", &auth(LOGIN.0, "wrong", &closed)),
        push("closed-right", &format!("{closed}/one"))
            .with("tag", "1")
            .header("x-registry-auth", &auth(LOGIN.0, LOGIN.1, &closed)),
        push("bad-auth", &format!("{of}/one"))
            .with("tag", "1")
            .header("x-registry-auth", "!"),
    ]
}

fn pull(fixture: &Fixture) -> Vec<Ask> {
    let host = fixture.open.address().replace("127.0.0.1", "localhost");
    let closed = fixture.closed.address().replace("127.0.0.1", "localhost");
    let of = format!("{host}/shapes");
    let pull = |name: &str, image: &str| {
        Ask::post(&format!("pull/{name}"), "/images/create")
            .with("fromImage", image)
            .stream()
    };
    let remove =
        |name: &str, image: String| Ask::delete(&format!("pull/remove-{name}"), format!("/images/{image}"));
    let distribution = |name: &str, image: String| {
        Ask::get(
            &format!("distribution/{name}"),
            format!("/distribution/{image}/json"),
        )
    };
    let right = auth(LOGIN.0, LOGIN.1, &closed);
    vec![
        pull("here", &format!("{of}/two")).with("tag", "1"),
        remove("two", format!("{of}/two:1")),
        pull("known-layers", &format!("{of}/two")).with("tag", "1"),
        remove("two-again", format!("{of}/two:1")),
        remove("two-itself", "shapes/two:1".to_owned()),
        remove("two-moved", "shapes/new:t".to_owned()),
        pull("new", &format!("{of}/two")).with("tag", "1"),
        pull("tag-in-name", &format!("{of}/two:1")),
        pull("up-to-date", &format!("{of}/two")).with("tag", "1"),
        Ask::get("inspect/after-pull", format!("/images/{of}/two:1/json"))
            .loose(&["body.Size", "body.VirtualSize"]),
        Ask::post("pull/two-itself-again", format!("/images/{of}/two:1/tag"))
            .with("repo", "shapes/two")
            .with("tag", "1"),
        pull("all-tags", &format!("{of}/one")),
        pull("platform", &format!("{of}/one"))
            .with("tag", "1")
            .with("platform", "linux/amd64"),
        pull("other-platform", &format!("{of}/one"))
            .with("tag", "1")
            .with("platform", "linux/s390x"),
        pull("bad-platform", &format!("{of}/one"))
            .with("tag", "1")
            .with("platform", "nonsense"),
        pull("no-such-tag", &format!("{of}/one")).with("tag", "nope"),
        pull("no-such-repository", &format!("{of}/nope")).with("tag", "1"),
        pull("no-such-repository-all", &format!("{of}/nope")),
        pull("no-such-digest", &format!("{of}/one@sha256:{}", "0".repeat(64))),
        pull("bad-digest", &format!("{of}/one")).with("tag", "sha256:00"),
        pull("upper-case", "upper/X").with("tag", "1"),
        pull("bad-tag", &format!("{of}/one")).with("tag", "-x"),
        pull("empty", "").with("tag", "1"),
        pull("scratch", "scratch"),
        pull("nobody-there", "localhost:1/x").with("tag", "1"),
        pull("closed", &format!("{closed}/one")).with("tag", "1"),
        pull("closed-wrong", &format!("{closed}/one"))
            .with("tag", "1")
            .header("x-registry-auth", &auth(LOGIN.0, "wrong", &closed)),
        pull("closed-right", &format!("{closed}/one"))
            .with("tag", "1")
            .header("x-registry-auth", &right),
        pull("bad-auth", &format!("{of}/one"))
            .with("tag", "1")
            .header("x-registry-auth", "!"),
        distribution("tag", format!("{of}/one:1")).loose(&["body.Descriptor.size"]),
        distribution("missing-tag", format!("{of}/one:nope")),
        distribution("missing-repository", format!("{of}/nope:1")),
        distribution("bad-name", "Upper:1".to_owned()),
        distribution("digits", "0".repeat(64)),
        distribution("closed", format!("{closed}/one:1")),
        distribution("closed-right", format!("{closed}/one:1"))
            .loose(&["body.Descriptor.size"])
            .header("x-registry-auth", &right),
        distribution("nobody-there", "localhost:1/x:1".to_owned()),
    ]
}

fn search() -> Vec<Ask> {
    let search =
        |name: &str, term: &str| Ask::get(&format!("search/{name}"), "/images/search").with("term", term);
    vec![
        Ask::get("search/no-term", "/images/search"),
        search("empty-term", ""),
        search("bad-limit", "x").with("limit", "y"),
        search("limit-too-high", "x").with("limit", "101"),
        search("negative-limit", "x").with("limit", "-1"),
        search("bad-filters", "x").with("filters", "{"),
        search("unknown-filter", "x").with("filters", r#"{"nonsense":["x"]}"#),
        search("bad-stars", "x").with("filters", r#"{"stars":["x"]}"#),
        search("bad-is-official", "x").with("filters", r#"{"is-official":["x"]}"#),
        search("nobody-there", "localhost:1/x"),
    ]
}
