//! What clients do to connections, and what becomes of them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::archive::small_image;
use crate::micad::Micad;

#[test]
fn a_connection_serves_on_after_errors() {
    let micad = Micad::start();
    micad.load(&small_image(&["a:1"]));
    let mut connection = micad.connect();
    let body = vec![b'x'; 3 << 20];
    for _ in 0..3 {
        for (method, path, status) in [
            ("POST", "/nope", 404),
            ("POST", "/v1.99/build", 400),
            ("POST", "/build?networkmode=x", 400),
            ("POST", "/images/nope/tag?repo=a", 404),
            ("DELETE", "/images/nope", 404),
            ("GET", "/images/nope/json", 404),
            ("POST", "/images/load", 200),
            ("GET", "/images/a:1/json", 200),
        ] {
            assert_eq!(
                connection.ask(method, path, &body).status,
                status,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn an_answer_does_not_wait_for_a_body_nobody_wants() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    connection.send_head("POST", "/build?version=3", "Transfer-Encoding: chunked\r\n");
    connection.send_chunk(b"some").unwrap();
    connection.answer(false).expect_error(400, "invalid version");
    // the client finishes what it had begun, and goes on
    connection.send_chunk(&vec![0; 1 << 20]).unwrap();
    connection.send_chunk(b"").unwrap();
    assert_eq!(connection.ask("GET", "/_ping", b"").text(), "OK");
}

#[test]
fn requests_may_come_one_after_the_other_and_in_pieces() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    connection.send(b"GET /_ping HTTP/1.1\r\nHost:\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connection.answer(false).text(), "OK");
    assert_eq!(connection.answer(false).json()["ApiVersion"], "1.51");
    for byte in b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" {
        connection.send(&[*byte]);
    }
    assert_eq!(connection.answer(false).text(), "OK");
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let micad = Micad::start();
    let archive = small_image(&["a:1"]).archive;
    let mut connection = micad.connect();
    let length = archive.len();
    let expecting = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
    for target in ["/images/load", "/images/create?fromSrc=-", "/build", "/auth"] {
        connection.send_head("POST", target, &expecting);
        assert_eq!(connection.answer_head().status, 100, "{target}");
        connection.send(&archive);
        assert_ne!(connection.answer(false).status, 100, "{target}");
    }
    assert_eq!(connection.ask("GET", "/images/a:1/json", b"").status, 200);
    // whose body is of no use is not asked for it
    connection.send_head("POST", "/images/load?platform=x", &expecting);
    assert_eq!(connection.answer(false).status, 400);
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let micad = Micad::start();
    let mut stream = UnixStream::connect(micad.socket()).unwrap();
    stream
        .write_all(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.contains("\"ServerVersion\""),
        "{text}"
    );
}

#[test]
fn garbage_hurts_only_its_own_connection() {
    let micad = Micad::start();
    let many: String = (0..300).map(|at| format!("X-{at}: y\r\n")).collect();
    let long = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    for head in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /_ping HTTP/9.9\r\n\r\n",
        "GET /_ping HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &format!("GET /_ping HTTP/1.1\r\n{many}\r\n"),
        &long,
    ] {
        let mut stream = UnixStream::connect(micad.socket()).unwrap();
        // the daemon may hang up before all is sent
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let short: String = head.chars().take(60).collect();
        let refused = answer.is_empty()
            || answer.starts_with("HTTP/1.1 4")
            // a load answers before its body turns out to be none
            || answer.contains("\"errorDetail\"")
            || short.starts_with("POST /images/load");
        assert!(refused, "{short:?} got {answer}");
        assert_eq!(micad.get("/_ping").text(), "OK", "after {short:?}");
    }
}

#[test]
fn headers_of_registries_are_tolerated() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    let config = "A".repeat(100_000);
    connection.send_head(
        "GET",
        "/images/json",
        &format!("X-Registry-Auth: !!\r\nX-Registry-Config: {config}\r\nContent-Type: text/weird\r\n"),
    );
    assert_eq!(connection.answer(false).text(), "[]\n");
}

#[test]
fn many_clients_at_once_are_answered() {
    let micad = Micad::start();
    let mut idle: Vec<_> = (0..200).map(|_| micad.connect()).collect();
    for connection in idle.iter_mut().rev() {
        assert_eq!(connection.ask("GET", "/_ping", b"").text(), "OK");
    }
}
