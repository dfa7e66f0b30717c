//! Bytes that are no good HTTP, by hand and by chance: an answer or the end of the connection within a time, and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use proptest::{collection, prelude::*, sample};

use crate::archive::small_image;
use crate::micad::{Micad, wait_until};

/// How long anything may take until it is answered or over.
const SOON: Duration = Duration::from_secs(60);

/// How long a connection is listened to on which nothing is due.
const QUIET: Duration = Duration::from_millis(150);

/// What became of a connection.
#[derive(Debug)]
struct Heard {
    bytes: Vec<u8>,
    /// Whether the daemon ended it.
    ended: bool,
}

impl Heard {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The statuses of all answers.
    fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let heads = text
            .match_indices("HTTP/1.")
            .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
        heads.collect()
    }
}

/// What a client waits for before it takes the daemon to be quiet.
#[derive(Clone, Copy)]
enum Due {
    /// The end of the connection.
    End,
    /// So many answers.
    Answers(usize),
}

/// Sends bytes in pieces of `piece` bytes and listens until the daemon ends the connection, or is quiet once what is due has
/// come; `half` ends the sending.
fn say(micad: &Micad, bytes: &[u8], piece: usize, half: bool, due: Due) -> Heard {
    let mut stream = UnixStream::connect(micad.socket()).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    for part in bytes.chunks(piece.max(1)) {
        match stream.write_all(part) {
            Ok(()) => {}
            // the daemon may have had enough before all is sent
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("the daemon does not read: {error}"),
        }
    }
    if half {
        // it may be over already
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut heard = Heard {
        bytes: Vec::new(),
        ended: false,
    };
    let mut buffer = [0; 64 << 10];
    loop {
        let has_come = matches!(due, Due::Answers(count) if heard.statuses().len() >= count);
        let patience = if has_come { QUIET } else { SOON };
        stream.set_read_timeout(Some(patience)).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => heard.ended = true,
            Ok(count) => {
                heard.bytes.extend_from_slice(&buffer[..count]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => heard.ended = true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        return heard;
    }
}

/// What a daemon has: descriptors, those of its database aside, of which it keeps some; and threads.
fn has(micad: &Micad) -> (usize, u64) {
    let folder = format!("/proc/{}/fd", micad.child.id());
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_link(entry.unwrap().path()));
    // one may be closed while it is looked at
    let files = names
        .flatten()
        .filter(|name| !name.to_string_lossy().contains("db.sqlite"));
    (files.count(), micad.memory("Threads"))
}

/// The daemon is there, answers others and has let go of what it had for those who are gone.
fn stands(micad: &Micad, before: (usize, u64)) {
    assert_eq!(micad.get("/_ping").text(), "OK");
    wait_until("connections are let go of", || has(micad).0 <= before.0);
    wait_until("threads end", || has(micad).1 <= before.1 + 2);
    assert!(micad.memory("VmHWM") < 96 << 10, "{} KiB", micad.memory("VmHWM"));
}

#[test]
fn what_is_no_http_is_refused_or_ended() {
    let micad = Micad::start();
    assert_eq!(micad.get("/_ping").text(), "OK");
    let before = has(&micad);
    let mut other = micad.connect();
    let huge = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(2 << 20));
    let path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(2 << 20));
    let many: String = (0..200).map(|at| format!("X-{at}: y\r\n")).collect();
    let many = format!("GET /_ping HTTP/1.1\r\n{many}\r\n");
    for bytes in [
        "\r\n\r\n\r\n\r\n\0",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "GET /_ping\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /_ping HTTP/1.1\r\nHo\0st: x\r\n\r\n",
        "GET /_ping HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        "GET  /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /_ping HTTP/1.2x\r\n\r\n",
        "GET /_ping HTTP/3\r\n\r\n",
        "GET /_ping\r\n\r\n",
        "G\u{e4}T /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /_ping HTTP/1.1\r\n: x\r\n\r\n",
        "GET /_ping HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /_ping HTTP/1.1\r\nHost : x\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
        "POST /build HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /build HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        // HTTP/2 that is none after its first line
        "PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        &huge,
        &path,
        &many,
    ] {
        for piece in [bytes.len(), 1 << 10] {
            let began = Instant::now();
            let heard = say(&micad, bytes.as_bytes(), piece, false, Due::End);
            let short: String = bytes.chars().take(70).collect();
            assert!(began.elapsed() < SOON, "{short:?}");
            assert!(
                heard.ended,
                "{short:?} is neither answered nor ended: {}",
                heard.text()
            );
            assert!(
                heard.statuses().iter().all(|status| (400..500).contains(status)),
                "{short:?}: {}",
                heard.text()
            );
            assert_eq!(
                other.ask("GET", "/_ping", b"").text(),
                "OK",
                "others, after {short:?}"
            );
        }
    }
    stands(&micad, (before.0 + 1, before.1));
}

/// Two lengths are two opinions of where the next request begins (RFC 9112, 6.3): nothing behind them is a request.
#[test]
fn a_request_with_two_lengths_hides_no_other() {
    let micad = Micad::start();
    micad.load(&small_image(&["a:1"]));
    let hidden = "DELETE /images/a:1 HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "POST /images/prune HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /images/prune HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        "POST /images/prune HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n",
        "POST /images/prune HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\n",
        "POST /images/prune HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let length = hidden.len();
        // by its chunks the body is all of this, by its length it ends before what is hidden
        let bytes = format!("{head}{length:x}\r\n{hidden}\r\n0\r\n\r\n");
        let heard = say(&micad, bytes.as_bytes(), bytes.len(), false, Due::Answers(0));
        assert!(
            heard.statuses().len() <= 1 || heard.ended,
            "{head}: {}",
            heard.text()
        );
        assert_eq!(
            micad.get("/images/a:1/json").status,
            200,
            "{head} {}",
            heard.text()
        );
    }
}

#[test]
fn what_is_odd_and_allowed_is_answered() {
    let micad = Micad::start();
    for (bytes, statuses) in [
        ("GET /_ping HTTP/1.0\r\n\r\n", vec![200]),
        ("GET /_ping HTTP/1.1\r\n\r\n", vec![200]),
        ("GET /_ping HTTP/1.1\r\nHost:\r\n\r\n", vec![200]),
        ("\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n", vec![200]),
        ("GET /_ping HTTP/1.1\nHost: x\n\n", vec![200]),
        ("GET http://anywhere/_ping HTTP/1.1\r\nHost: x\r\n\r\n", vec![200]),
        (
            "GET http://anywhere/v1.41/info?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
            vec![200],
        ),
        ("GET http://anywhere HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("GET _ping HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", vec![200]),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("TRACE /_ping HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("GET /%5fping HTTP/1.1\r\nHost: x\r\n\r\n", vec![200]),
        ("GET /_ping%00 HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("GET /../../_ping HTTP/1.1\r\nHost: x\r\n\r\n", vec![404]),
        ("GET /_ping?%zz HTTP/1.1\r\nHost: x\r\n\r\n", vec![400]),
        ("GET /_ping#part HTTP/1.1\r\nHost: x\r\n\r\n", vec![200]),
        (
            "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            vec![200],
        ),
        (
            "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
            vec![200],
        ),
        (
            "POST /grpc HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            vec![400],
        ),
        ("POST /session HTTP/1.1\r\n\r\n", vec![400]),
        (
            "POST /images/load HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
            vec![100, 200],
        ),
        (
            "POST /nope HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
            vec![100, 404],
        ),
        (
            "POST /nope HTTP/1.1\r\nExpect: wonders\r\nContent-Length: 4\r\n\r\nbody",
            vec![404],
        ),
        (
            "GET /_ping HTTP/1.1\r\n\r\nPOST /nope HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyGET /version HTTP/1.1\r\n\r\n",
            vec![200, 404, 200],
        ),
        (
            "POST /nope HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nxx\r\n0\r\nTrailer: y\r\n\r\nGET /_ping HTTP/1.1\r\n\r\n",
            vec![404, 200],
        ),
    ] {
        for piece in [bytes.len(), 1] {
            let all: Vec<u16> = statuses.clone();
            // whoever is told to go on may have been answered before
            let late: Vec<u16> = all.iter().copied().filter(|status| *status != 100).collect();
            let heard = say(&micad, bytes.as_bytes(), piece, false, Due::Answers(late.len()));
            let own: Vec<u16> = heard.statuses();
            assert!(
                own == all || own == late,
                "{bytes:?} in pieces of {piece}: {own:?}, {}",
                heard.text()
            );
        }
    }
    assert_eq!(micad.get("/_ping").text(), "OK");
}

/// A head that never ends holds nobody else up, and goes with its client.
#[test]
fn slow_and_early_gone_clients_hold_nobody_up() {
    let micad = Micad::start();
    assert_eq!(micad.get("/_ping").text(), "OK");
    let before = has(&micad);
    let mut slow = Vec::new();
    for at in 0..100 {
        let mut stream = UnixStream::connect(micad.socket()).unwrap();
        let whole = b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbeginning";
        stream.write_all(&whole[..at * whole.len() / 100]).unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(micad.get("/_ping").text(), "OK");
    assert!(began.elapsed() < SOON);
    drop(slow);
    for request in [
        "GET /info HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
        "POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
    ] {
        for _ in 0..50 {
            let mut stream = UnixStream::connect(micad.socket()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
        }
    }
    stands(&micad, before);
}

/// Pieces that requests are made of, good and bad.
const PIECES: [&str; 40] = [
    "GET ",
    "POST ",
    "DELETE ",
    "HEAD ",
    "PRI * HTTP/2.0\r\n\r\n",
    "/_ping",
    "/images/json",
    "/images/load",
    "/build",
    "/images/",
    "/json",
    "/nope",
    "*",
    "http://x/_ping",
    "%00",
    "%2f",
    "%",
    "?",
    "filters=",
    "{}",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    "Host: x\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "mica-descriptors: 1\r\n",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "abc",
    "GET /_ping HTTP/1.1\r\n\r\n",
];

/// One request of good and bad pieces, or of any bytes.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = collection::vec(sample::select(&PIECES[..]), 1..24);
    let pieces = pieces.prop_map(|pieces| pieces.concat().into_bytes());
    let cut = (pieces.clone(), any::<prop::sample::Index>(), any::<u8>());
    let changed = cut.prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![4 => pieces, 3 => changed, 1 => collection::vec(any::<u8>(), 1..200)]
}

/// How many requests are tried by chance; `MICA_RAW_CASES` says another number.
const CASES: u32 = 1500;

#[test]
fn bytes_by_chance_are_answered_or_ended() {
    let micad = Micad::start();
    assert_eq!(micad.get("/_ping").text(), "OK");
    let before = has(&micad);
    let cases = std::env::var("MICA_RAW_CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let other = std::cell::RefCell::new(micad.connect());
    let result = runner.run(&(any_bytes(), 1..400_usize), |(bytes, piece)| {
        // who has said all is answered or hung up on: there is no third
        let heard = say(&micad, &bytes, piece, true, Due::End);
        let text = heard.text();
        if !heard.ended {
            return Err(TestCaseError::fail(format!("neither answered nor ended: {text}")));
        }
        if heard
            .statuses()
            .iter()
            .any(|status| *status == 500 || !(100..600).contains(status))
        {
            return Err(TestCaseError::fail(text));
        }
        let pong = other.borrow_mut().ask("GET", "/_ping", b"").text();
        prop_assert_eq!(pong, "OK");
        Ok(())
    });
    result.unwrap();
    drop(other);
    stands(&micad, before);
}
