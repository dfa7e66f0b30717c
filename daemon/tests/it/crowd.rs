//! More clients than there is room for, and clients that keep what they have: others are answered, and everything is given back.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::archive::{small_image, tar};
use crate::micad::{LONG, Micad, wait_until};

/// How many come at once.
const CROWD: u64 = 10_000;
/// Files of this process beside its connections.
const OTHERS: u64 = 200;

/// Files that are opened when many ask at once, and stay: the store has up to eight connections to its database for reading, and each has
/// the file and its log open.
const STAYING: usize = 16;

/// How many connections this process may have, at most `CROWD`.
fn connections() -> u64 {
    let mut files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(CROWD + OTHERS).min(CROWD + OTHERS);
    if files.current.is_some_and(|current| current < most) {
        files.current = Some(most);
        setrlimit(Resource::Nofile, files).unwrap();
    }
    let count = most - OTHERS;
    assert!(count > 2_000, "this user may have only {most} open files");
    count
}

fn files(micad: &Micad) -> usize {
    let folder = format!("/proc/{}/fd", micad.child.id());
    let entries = std::fs::read_dir(folder).unwrap();
    // one may be closed while it is looked at
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| !link.to_string_lossy().contains("db.sqlite"))
        .count()
}

/// Connects and sends something; `None` if the daemon has hung up on it already.
fn open(micad: &Micad, bytes: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(micad.socket()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    // whoever is hung up on before it has spoken is served right
    let _ = stream.write_all(bytes);
    stream
}

/// All that comes until the daemon hangs up.
fn rest(mut stream: &UnixStream) -> String {
    let mut bytes = Vec::new();
    // a reset is an end too
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn ten_thousand_idle_and_half_open_connections_keep_nobody_out() {
    let count = connections();
    if count < CROWD {
        println!("skipped: {CROWD} connections: this user may have no more files open than for {count}");
    }
    let micad = Micad::start();
    let once = crowd_of_idlers(&micad);
    // the allocator keeps some of it for the next crowd, which then needs no more
    let twice = crowd_of_idlers(&micad);
    assert!(twice < once + (8 << 10), "{once} KiB became {twice} KiB");
}

/// Has all come and go; gives the memory that is kept afterwards, in KiB.
fn crowd_of_idlers(micad: &Micad) -> u64 {
    let before = files(micad);
    let mut crowd = Vec::new();
    for at in 0..connections() {
        let begun: &[u8] = match at % 4 {
            0 => b"",
            1 => b"GET /_pi",
            2 => b"POST /build HTTP/1.1\r\nHost: x\r\nX: ",
            _ => b"P",
        };
        crowd.push(open(micad, begun));
        if at % 500 == 0 {
            assert_eq!(micad.get("/_ping").text(), "OK", "after {at}");
        }
    }
    assert_eq!(micad.get("/_ping").text(), "OK");
    wait_until("those who made room are gone", || files(micad) < before + 1100);
    assert!(micad.memory("VmHWM") < 96 << 10, "{} KiB", micad.memory("VmHWM"));
    // the last to come are still there, and answered
    let mut last = crowd.pop().unwrap();
    last.write_all(b"OST /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert!(rest(&last).starts_with("HTTP/1.1 404"));
    drop((crowd, last));
    wait_until("connections are let go of", || files(micad) <= before + 1);
    micad.memory("VmRSS")
}

/// Connections on which something goes on are not hung up on: who comes then is told so, and has room when one of them is done.
#[test]
fn who_finds_everybody_busy_is_told() {
    let micad = Micad::start();
    connections();
    let before = files(&micad);
    let calling = call_without_end();
    let mut crowd = Vec::new();
    let refused = loop {
        let begun: &[u8] = match crowd.len() % 3 {
            0 => b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
            _ => &calling,
        };
        let stream = open(&micad, begun);
        // until its request is read it is idle, and may have to make room for the next
        std::thread::sleep(Duration::from_millis(1));
        let mut asking = open(
            &micad,
            b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        let _ = asking.shutdown(Shutdown::Write);
        let text = rest(&asking);
        crowd.push(stream);
        if !text.ends_with("OK") {
            break text;
        }
        assert!(crowd.len() < 4000, "nobody is ever refused");
        asking = open(&micad, b"");
        drop(asking);
    };
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("{\"message\":\"too many connections: "),
        "{refused}"
    );
    // a client that has sent a lot hears it too
    let mut loading = micad.connect();
    loading.send_head("POST", "/images/load", "Content-Length: 100000\r\n");
    loading.send(&[b'x'; 100_000]);
    loading.answer(false).expect_error(503, "too many connections");
    // listeners are still there
    assert!(crowd[0].set_nonblocking(true).is_ok());
    crowd.drain(..3);
    wait_until("there is room again", || {
        let asking = open(
            &micad,
            b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        rest(&asking).ends_with("OK")
    });
    drop(crowd);
    wait_until("connections are let go of", || files(&micad) <= before + 1);
    assert_eq!(micad.get("/_ping").text(), "OK");
}

/// What a client of HTTP/2 begins with: the preface and a frame that sets nothing (RFC 9113, 3.4 and 6.5).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A call of gRPC whose message never comes.
fn call_without_end() -> Vec<u8> {
    let field = |name: &str, value: &str| {
        // a literal without an index (RFC 7541, 6.2.2)
        let part = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], part(name), part(value)].concat()
    };
    let head = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":authority", "x"),
        field(":path", "/moby.buildkit.v1.Control/Status"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat();
    let length = u8::try_from(head.len()).unwrap();
    [HTTP2, &[0, 0, length, 1, 4, 0, 0, 0, 1], &head].concat()
}

/// Clients keep connections of HTTP/2 for later. They have to make room as others do, and hear so.
#[test]
fn idle_connections_of_http2_keep_nobody_out() {
    let micad = Micad::start();
    let before = files(&micad);
    let count = connections().min(3000);
    let upgrading = b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut crowd = Vec::new();
    for at in 0..count {
        let begun = if at % 2 == 0 {
            HTTP2.to_vec()
        } else {
            [&upgrading[..], HTTP2].concat()
        };
        crowd.push(open(&micad, &begun));
        if at % 100 == 0 {
            assert_eq!(micad.get("/_ping").text(), "OK", "after {at}");
        }
    }
    assert_eq!(micad.get("/_ping").text(), "OK");
    for at in [0, 1] {
        // GOAWAY without an error (RFC 9113, 6.8), which tells the client to ask elsewhere what it still wants to ask
        let told = rest(&crowd[at]);
        assert!(told.contains("\x07\0\0\0\0\0\x7f"), "{at}: {told:?}");
    }
    drop(crowd);
    wait_until("connections are let go of", || files(&micad) <= before + 1);
    assert!(micad.memory("VmHWM") < 128 << 10, "{} KiB", micad.memory("VmHWM"));
}

/// Who asks for much and reads none of it holds up nobody but himself.
#[test]
fn clients_that_do_not_read_cost_little_and_hold_nobody_up() {
    let micad = Micad::start();
    let mut state = 7_u64;
    let big: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(32 << 20)
    .collect();
    let steps: String = (0..2000)
        .map(|at| format!("LABEL a{at}={}\n", "x".repeat(60)))
        .collect();
    let context = tar(&[
        ("Dockerfile", b"FROM scratch\nCOPY big /big\n"),
        ("big", &big),
        ("Long", format!("FROM scratch\n{steps}").as_bytes()),
    ]);
    assert_eq!(micad.post("/build?t=big", &context).status, 200);
    let before = (files(&micad), micad.memory("Threads"));
    let mut deaf = Vec::new();
    for _ in 0..40 {
        for target in [
            "/images/big/get",
            "/images/get?names=big&names=big",
            "/images/json",
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            deaf.push(open(&micad, head.repeat(20).as_bytes()));
        }
    }
    for at in 0..4 {
        let head = format!(
            "POST /build?dockerfile=Long&t=long{at} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            context.len()
        );
        deaf.push(open(&micad, &[head.as_bytes(), &context].concat()));
    }
    // everybody else is answered, and what they ask for is done
    for at in 0..5 {
        micad.load(&small_image(&[&format!("other:{at}")]));
        assert_eq!(micad.get("/images/big/get").body.len() >> 20, 32);
    }
    // each has its share and no more
    let most = 64 + 2 * deaf.len() as u64;
    assert!(
        micad.memory("VmHWM") < most << 10,
        "{} KiB",
        micad.memory("VmHWM")
    );
    drop(deaf);
    wait_until("connections are let go of", || {
        files(&micad) <= before.0 + STAYING
    });
    wait_until("threads end", || micad.memory("Threads") <= before.1 + 4);
    assert_eq!(micad.delete("/images/big").status, 200);
}

/// A byte now and then keeps a request alive and nobody out.
#[test]
fn a_request_that_comes_byte_by_byte_is_answered_in_the_end() {
    let micad = Micad::start();
    let mut slow = open(&micad, b"");
    let bytes = b"POST /auth HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull";
    for byte in bytes {
        slow.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(micad.get("/_ping").text(), "OK");
    }
    assert!(rest(&slow).starts_with("HTTP/1.1 400"));
}

/// Loads that do not go on hold a thread each: there is one more for whoever asks.
#[test]
fn bodies_that_do_not_go_on_hold_nobody_up() {
    let micad = Micad::start();
    let before = (files(&micad), micad.memory("Threads"));
    let begun = b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx";
    let stalled: Vec<UnixStream> = (0..600).map(|_| open(&micad, begun)).collect();
    wait_until("all of them are being read", || {
        micad.memory("Threads") > before.1 + 550
    });
    assert_eq!(micad.get("/images/json").status, 200);
    micad.load(&small_image(&["other:1"]));
    drop(stalled);
    wait_until("connections are let go of", || {
        files(&micad) <= before.0 + STAYING
    });
    wait_until("threads end", || micad.memory("Threads") <= before.1 + 4);
}

/// Every route that takes a body has an end to it: who sends more hears so, and the daemon keeps none of it.
#[test]
fn bodies_without_end_are_refused_or_read_away() {
    let micad = Micad::start();
    let part = vec![b' '; 1 << 20];
    for (target, statuses) in [
        ("/auth", &[400_u16][..]),
        ("/images/nope/tag?repo=a", &[404]),
        ("/images/nope/push", &[404, 200, 400, 500]),
        ("/images/create?fromImage=scratch", &[403]),
        ("/images/prune", &[200]),
        ("/build/prune", &[200]),
        ("/build/cancel?id=x", &[204, 200]),
        ("/images/load", &[200, 400, 500]),
        ("/build", &[400, 500, 200]),
        ("/session", &[400]),
        ("/grpc", &[400]),
    ] {
        let mut connection = micad.connect();
        connection.send_head("POST", target, "Transfer-Encoding: chunked\r\n");
        for _ in 0..32 {
            connection
                .send_chunk(&part)
                .unwrap_or_else(|error| panic!("{target}: {error}"));
        }
        // it never ends
        let mut answered = micad.connect();
        assert_eq!(answered.ask("GET", "/_ping", b"").text(), "OK", "{target}");
        connection.send_chunk(b"").unwrap();
        let answer = connection.answer(false);
        assert!(
            statuses.contains(&answer.status),
            "{target}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert!(micad.memory("VmHWM") < 96 << 10, "{} KiB", micad.memory("VmHWM"));
}
