//! Wrong requests to every route: the right status, a message that names what is wrong, and a connection that goes on.

mod described;
mod requests;

use crate::archive::{small_image, tar};
use crate::http::Connection;
use crate::micad::Micad;
use crate::wrong::described::{Route, routes};
use crate::wrong::requests::{FILTERED, FILTERS, HEX, NAME_FORMAT, NAMED, NAMES, WRONG};

/// What is wrong with a route, whatever it does.
fn always_wrong(method: &str, path: &str) -> Vec<(String, String, u16, String)> {
    let mut out = Vec::new();
    let mut add = |method: &str, target: String, status, part: &str| {
        out.push((method.to_owned(), target, status, part.to_owned()));
    };
    let swarm = ["swarm", "services", "nodes", "tasks", "secrets", "configs"];
    if !swarm.contains(&path.split('/').nth(1).unwrap()) {
        for other in ["PATCH", "BREW", "get"] {
            add(other, path.to_owned(), 404, "page not found");
        }
    }
    add(
        method,
        format!("/v1.52{path}"),
        400,
        "client version 1.52 is too new. Maximum supported API version is 1.51",
    );
    add(
        method,
        format!("/v9.0{path}"),
        400,
        "client version 9.0 is too new",
    );
    add(
        method,
        format!("/v1.21{path}"),
        400,
        "client version 1.21 is too old. Minimum supported API version is 1.22",
    );
    add(
        method,
        format!("/v1.9{path}"),
        400,
        "client version 1.9 is too old",
    );
    for version in ["/v1", "/vx.y", "/v1.41.1", "/v-1.41"] {
        add(method, format!("{version}{path}"), 404, "page not found");
    }
    add(
        method,
        format!("{path}?x=%zz"),
        400,
        "invalid URL escape in \"%zz\"",
    );
    add(
        method,
        format!("{path}?x=%ff"),
        400,
        "invalid URL escape in \"%ff\"",
    );
    add(method, format!("{path}%"), 400, "invalid URL escape");
    add(method, format!("/{path}"), 404, "page not found");
    out
}

/// Asks with a method and a target, on a connection that goes on, and sees that it does; what was not as it should be.
fn differs(
    connection: &mut Connection,
    asked: &str,
    headers: &str,
    body: &[u8],
    status: u16,
    part: &str,
) -> Option<String> {
    let (method, target) = asked.split_once(' ').unwrap();
    let length = format!("{headers}Content-Length: {}\r\n", body.len());
    connection.send_head(method, target, &length);
    connection.send(body);
    let answer = connection.answer(method == "HEAD");
    let goes_on =
        answer.header("connection") != Some("close") && connection.ask("GET", "/_ping", b"").text() == "OK";
    let fits = answer.status == status
        && goes_on
        && (method == "HEAD" || answer.message().is_some_and(|message| message.contains(part)));
    (!fits).then(|| {
        format!(
            "{asked} {headers:?}: expected {status} {part:?}, got {} {} (goes on: {goes_on})",
            answer.status,
            answer.text()
        )
    })
}

/// The same, of one request.
#[track_caller]
fn refused(connection: &mut Connection, asked: &str, headers: &str, body: &[u8], status: u16, part: &str) {
    if let Some(message) = differs(connection, asked, headers, body, status, part) {
        panic!("{message}");
    }
}

/// What is wrong with a route: what is asked, the status and a part of the message.
fn all_wrong(route: &Route) -> Vec<(String, String, u16, String)> {
    let method = route.method.as_str();
    let mut out = always_wrong(method, &route.path());
    let mut add = |target: String, status, part: &str| {
        out.push((method.to_owned(), target, status, part.to_owned()));
    };
    let own = WRONG.iter().filter(|(name, _)| *name == route.name());
    for (target, status, part) in own.flat_map(|(_, all)| *all) {
        add((*target).to_owned(), *status, part);
    }
    for parameter in route.query.iter().filter(|parameter| parameter.is_typed) {
        // of filters the word is in the singular
        let part = parameter.name.trim_end_matches('s');
        add(route.target(&parameter.name, "%7Bx"), 400, part);
    }
    if FILTERED.contains(&route.name().as_str()) {
        for (filters, part) in FILTERS {
            add(route.target("filters", filters), 400, part);
        }
    }
    if NAMED.contains(&route.name().as_str()) {
        let named = |name: &str| format!("{}?repo=b", route.template.replace("{name}", name));
        for (name, status, part) in NAMES {
            add(named(name), status, part);
        }
        for name in [format!("sha256:{HEX}"), HEX.to_owned(), format!("a@sha256:{HEX}")] {
            add(named(&name), 404, &format!("No such image: {name}"));
        }
        add(named(&"a".repeat(300)), 400, "255 characters");
        add(named(&format!("a:{}", "t".repeat(129))), 400, NAME_FORMAT);
    }
    out
}

#[test]
fn wrong_requests_are_told_what_is_wrong_on_a_connection_that_goes_on() {
    let micad = Micad::start();
    micad.load(&small_image(&["a:1"]));
    let context = tar(&[("Dockerfile", b"FROM scratch\nCOPY Dockerfile /\n")]);
    let mut found = Vec::new();
    for route in routes() {
        let mut connection = micad.connect();
        let body: &[u8] = match (route.method.as_str(), route.template.as_str()) {
            ("POST", "/auth") => b"",
            ("POST", _) => &context,
            _ => b"",
        };
        for (method, target, status, part) in all_wrong(&route) {
            let asked = format!("{method} {target}");
            found.extend(differs(&mut connection, &asked, "", body, status, &part));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The table above knows the routes there are, and of each that takes something in its query what is wrong with that.
#[test]
fn no_route_is_forgotten() {
    let routes = routes();
    let names: Vec<String> = routes.iter().map(Route::name).collect();
    let unknown = WRONG.iter().map(|(name, _)| *name).chain(FILTERED).chain(NAMED);
    let unknown: Vec<_> = unknown
        .filter(|name| !names.iter().any(|own| own == name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let asked = routes
        .iter()
        .filter(|route| !route.query.is_empty())
        .map(Route::name);
    let forgotten: Vec<_> = asked
        .filter(|name| !WRONG.iter().any(|(own, _)| own == name))
        .collect();
    assert!(
        forgotten.is_empty(),
        "what is wrong with these queries? {forgotten:?}"
    );
}

/// Filters that are described are known.
#[test]
fn described_filters_are_no_unknown_ones() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    let mut count = 0;
    for route in routes() {
        for key in route.query.iter().flat_map(|parameter| &parameter.keys) {
            let filters = format!("%7B%22{key}%22:%5B%5D%7D");
            let answer = connection.ask(&route.method, &route.target("filters", &filters), b"");
            let text = answer.text();
            assert!(
                !text.contains("invalid filter"),
                "{}: {key}: {text}",
                route.name()
            );
            count += 1;
        }
    }
    assert!(count > 10);
}

#[test]
fn bodies_and_headers_that_are_wrong_are_named() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    let long = format!("{{\"username\":\"{}\"}}", "x".repeat(70 << 10));
    for (body, part) in [
        ("{", "line 1, column 1"),
        ("[1]", "line 1, column"),
        ("{\"username\":1}", "line 1, column"),
        ("null", "line 1, column"),
        ("{\"serveraddress\":\"a b\"}", "\"a b\" is no registry"),
        ("{\"serveraddress\":\"/\"}", "\"/\" is no registry"),
        ("{\"serveraddress\":\"foo\"}", "\"foo\" is no registry"),
        (&long, "longer than 65536 bytes"),
    ] {
        refused(&mut connection, "POST /auth", "", body.as_bytes(), 400, part);
    }
    for (headers, status, part) in [
        ("mica-descriptors: x\r\n", 400, "mica-descriptors"),
        ("mica-descriptors: -1\r\n", 400, "mica-descriptors"),
        (
            "mica-descriptors: 99999999999999999999\r\n",
            400,
            "mica-descriptors",
        ),
        (
            "mica-descriptors: 2\r\n",
            421,
            "2 descriptors were announced and 0 arrived",
        ),
    ] {
        for asked in ["POST /mica/build", "GET /info", "POST /mica/debug/000000000000"] {
            refused(&mut connection, asked, headers, b"", status, part);
        }
    }
    // credentials that cannot be read are nobody's, and refuse nothing
    for value in [
        "",
        "!!",
        "e30",
        "AAAA",
        "bnVsbA==",
        "W10=",
        "eyJ1c2VybmFtZSI6MX0=",
    ] {
        for header in ["X-Registry-Auth", "X-Registry-Config"] {
            let headers = format!("{header}: {value}\r\n");
            refused(
                &mut connection,
                "POST /images/nope/push?compression=x",
                &headers,
                b"",
                400,
                "\"x\"",
            );
            refused(
                &mut connection,
                "POST /build?target=nope",
                &headers,
                b"",
                500,
                "Dockerfile",
            );
            refused(
                &mut connection,
                "GET /images/nope/json",
                &headers,
                b"",
                404,
                "nope",
            );
        }
    }
}

/// What is lenient is not refused: words for yes and no, bodies and types where none belong, unknown parameters.
#[test]
fn what_is_odd_and_harmless_is_let_be() {
    let micad = Micad::start();
    micad.load(&small_image(&["a:1"]));
    let mut connection = micad.connect();
    for target in [
        "/images/json?all=maybe&shared-size=None&manifests=%00&nope=1",
        "/images/json?all&filters=&filters=x",
        "/images/json?filters=null",
        "/images/json?&&=&a=b=c",
        "/images/a:1/json?manifests=x",
        "/v1.48/images/a:1/json?platform=garbage",
    ] {
        connection.send_head("GET", target, "Content-Type: nonsense\r\nContent-Length: 4\r\n");
        connection.send(b"body");
        let answer = connection.answer(false);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    for target in [
        "/images/a:1/tag?repo=b&force=perhaps",
        "/build/prune?all=x&keep-storage=",
        "/images/prune?filters=",
    ] {
        connection.send_head(
            "POST",
            target,
            "Content-Type: application/xml\r\nContent-Length: 2\r\n",
        );
        connection.send(b"{}");
        let answer = connection.answer(false);
        assert!(answer.status < 300, "{target}: {}", answer.text());
    }
}

/// How much a client sends before it looks for an answer.
const LARGE: usize = 64 << 20;

/// Clients that send all they have before they read must find the answer and not a broken connection.
#[test]
fn a_large_body_to_a_wrong_request_is_taken_and_answered() {
    let micad = Micad::start();
    let body = vec![b'x'; LARGE];
    for (method, target, status, part) in [
        ("POST", "/nope", 404, "page not found"),
        ("GET", "/images/nope/json", 404, "nope"),
        ("POST", "/v1.99/build", 400, "too new"),
        ("POST", "/build?t=Upper", 400, "must be lowercase"),
        ("POST", "/build", 400, ""),
        ("POST", "/mica/build?input=x", 400, "input"),
        ("POST", "/auth", 400, "longer than"),
        ("POST", "/images/load?platform=x", 400, "platform"),
        ("POST", "/images/create?fromImage=scratch", 403, "scratch"),
        ("POST", "/images/nope/tag?repo=x", 404, "nope"),
        ("DELETE", "/images/nope", 404, "nope"),
        ("POST", "/containers/create", 501, "containers"),
    ] {
        let mut connection = micad.connect();
        let asked = format!("{method} {target}");
        refused(&mut connection, &asked, "", &body, status, part);
        connection.send_head(method, target, "Transfer-Encoding: chunked\r\n");
        for part in body.chunks(1 << 20) {
            connection
                .send_chunk(part)
                .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        }
        connection.send_chunk(b"").unwrap();
        assert_eq!(
            connection.answer(false).status,
            status,
            "{method} {target} in chunks"
        );
        assert_eq!(connection.ask("GET", "/_ping", b"").text(), "OK");
    }
    assert!(micad.memory("VmHWM") < 96 << 10, "{} KiB", micad.memory("VmHWM"));
}

/// An answer does not wait for a body that was begun, and what is left of it does not become a request.
#[test]
fn a_body_that_comes_in_part_is_no_part_of_the_next_request() {
    let micad = Micad::start();
    let smuggled = b"GET /images/nope/json HTTP/1.1\r\nHost: x\r\n\r\n";
    for (target, status) in [
        ("/nope", 404),
        ("/build?t=Upper", 400),
        ("/images/nope/tag?repo=x", 404),
        ("/images/load?platform=x", 400),
        ("/images/create?fromImage=scratch", 403),
    ] {
        let mut connection = micad.connect();
        connection.send_head(
            "POST",
            target,
            &format!("Content-Length: {}\r\n", smuggled.len() * 2),
        );
        connection.send(smuggled);
        assert_eq!(connection.answer(false).status, status, "{target}");
        connection.send(smuggled);
        assert_eq!(connection.ask("GET", "/_ping", b"").text(), "OK", "{target}");
    }
}
