//! Files from the web.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mica_oci::Digest;
use mica_task::{Cancel, Event};

use crate::server::{Answer, Server};
use crate::world::{World, tar};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SECONDS: i64 = 784_111_777;

fn add(url: &str) -> String {
    format!("FROM scratch\nADD {url} /\n")
}

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_file_that_did_not_change_is_not_sent_again() {
    let server = Server::start(|request| match request.header("if-none-match") {
        Some("\"v1\"") => Answer::of(304, ""),
        _ => Answer::of(200, "hello")
            .with("ETag", "\"v1\"")
            .with("Last-Modified", DATE),
    });
    let world = World::new();
    let url = server.url("a/f.txt");
    let files = world.make(&add(&url));
    assert_eq!(files["f.txt"], (0o600, SECONDS, "hello".to_owned()));
    assert_eq!(server.requests().len(), 1);
    // another instruction with the same file: asked for again, and not sent
    let files = world.make(&format!("FROM scratch\nADD {url} /d/\n"));
    assert_eq!(files["d/f.txt"], (0o600, SECONDS, "hello".to_owned()));
    let again = server.requests();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].header("if-none-match"), Some("\"v1\""));
    assert_eq!(again[0].header("if-modified-since"), Some(DATE));
    assert!(again[0].header("authorization").is_none());
    // with its checksum nobody needs to be asked
    let pinned = format!(
        "FROM scratch\nADD --checksum={} {url} /e/\n",
        Digest::of(b"hello")
    );
    assert_eq!(world.make(&pinned)["e/f.txt"].1, SECONDS);
    assert!(server.requests().is_empty());
}

#[test]
fn a_file_that_changed_is_another_one() {
    let turn = AtomicU32::new(0);
    let server =
        Server::start(move |_| Answer::of(200, format!("turn {}", turn.fetch_add(1, Ordering::Relaxed))));
    let world = World::new();
    let url = server.url("f");
    assert_eq!(world.make(&add(&url))["f"], (0o600, 0, "turn 0".to_owned()));
    assert_eq!(world.make(&add(&url))["f"].2, "turn 1");
}

#[test]
fn what_is_kept_may_be_gone() {
    let server = Server::start(|request| match request.header("if-none-match") {
        Some(_) => Answer::of(304, ""),
        None => Answer::of(200, "hello").with("ETag", "\"v1\""),
    });
    let world = World::new();
    world.make(&add(&server.url("f")));
    let selection = mica_engine::CacheSelection {
        all: true,
        ..Default::default()
    };
    let mut watch = mica_engine::PruneWatch {
        cancel: &Cancel::new(),
        tell: &mut |_| {},
    };
    world.engine.prune_cache(&selection, &mut watch).unwrap();
    assert_eq!(world.make(&add(&server.url("f")))["f"].2, "hello");
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.header("if-none-match").is_none()),
        "{requests:?}"
    );
}

#[test]
fn redirects_are_followed_so_far() {
    let server = Server::start(|request| match request.target.as_str() {
        "/from" => Answer::of(302, "").with("Location", "/to/other?x"),
        "/to/other?x" => Answer::of(200, "there"),
        _ => Answer::of(301, "").with("Location", "/round"),
    });
    let world = World::new();
    // the name is that of the address that was asked for
    assert_eq!(world.make(&add(&server.url("from")))["from"].2, "there");
    let error = world.build(&add(&server.url("round"))).unwrap_err();
    assert!(error.contains("leads through more than 10 redirects"), "{error}");
    assert!(server.requests().len() < 16);
}

#[test]
fn what_passes_is_waited_for_and_what_broke_goes_on() {
    let turn = AtomicU32::new(0);
    let server = Server::start(move |request| {
        let body = large();
        let etag = |answer: Answer| answer.with("ETag", "\"big\"");
        match turn.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::of(503, ""),
            1 => etag(Answer {
                cut: Some(1_500_000),
                ..Answer::of(200, body)
            }),
            _ => {
                let range = request.header("range").expect("it goes on where it broke");
                assert_eq!(request.header("if-range"), Some("\"big\""));
                let from: usize = range[6..range.len() - 1].parse().unwrap();
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                etag(Answer::of(206, &body[from..])).with("Content-Range", &range)
            }
        }
    });
    let world = World::new();
    let dockerfile = format!(
        "FROM scratch\nADD --checksum={} {} /\n",
        Digest::of(&large()),
        server.url("big")
    );
    world.make(&dockerfile);
    assert_eq!(server.requests().len(), 3);
    let events = world.events.lock().unwrap();
    let told = |event: &Event| {
        matches!(
            event,
            Event::Progress {
                current: 3_000_000,
                total: Some(3_000_000),
                ..
            }
        )
    };
    assert!(events.iter().any(told), "the bytes are told");
}

#[test]
fn a_file_that_changed_while_it_was_fetched_is_fetched_anew() {
    let turn = AtomicU32::new(0);
    let server = Server::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) {
        0 => Answer {
            cut: Some(1_500_000),
            ..Answer::of(200, large()).with("ETag", "\"old\"")
        },
        _ => Answer::of(200, "new and short").with("ETag", "\"new\""),
    });
    let world = World::new();
    assert_eq!(world.make(&add(&server.url("f")))["f"].2, "new and short");
}

#[test]
fn a_refusal_and_a_wrong_checksum_end_the_build() {
    let server = Server::start(|request| match request.target.as_str() {
        "/gone" => Answer::of(404, "nothing here"),
        _ => Answer::of(200, "hello"),
    });
    let world = World::new();
    let error = world.build(&add(&server.url("gone"))).unwrap_err();
    assert!(error.contains("404"), "{error}");
    assert_eq!(server.requests().len(), 1, "a refusal is not asked again");
    let (right, wrong) = (Digest::of(b"hello"), Digest::of(b"other"));
    let error = world
        .build(&format!(
            "FROM scratch\nADD --checksum={wrong} {} /\n",
            server.url("f")
        ))
        .unwrap_err();
    assert!(
        error.contains(&right.to_string()) && error.contains(&wrong.to_string()),
        "{error}"
    );
    let error = world.build(&add("http://127.0.0.1:1/f")).unwrap_err();
    assert!(error.contains("cannot reach http://127.0.0.1:1/f"), "{error}");
}

#[test]
fn a_build_that_is_cancelled_stops_fetching() {
    let server = Server::start(|_| Answer {
        endless: true,
        ..Answer::of(200, vec![0; 1 << 16])
    });
    let world = World::new();
    let cancel = world.cancel.clone();
    let begun = Instant::now();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
    });
    let error = world.build(&add(&server.url("f"))).unwrap_err();
    waiting.join().unwrap();
    assert!(error.contains("cancelled"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let work = fs_err::read_dir(world.folder.path().join("store/mica/work")).unwrap();
    assert_eq!(work.count(), 0, "nothing of it is left");
}

#[test]
fn an_archive_and_a_dockerfile_are_contexts() {
    let context = tar(&[
        ("Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("f", "x"),
        (".dockerignore", "*"),
    ]);
    let server = Server::start(move |request| match request.target.as_str() {
        "/c.tar" => Answer::of(200, &context),
        _ => Answer::of(200, "FROM scratch\nCOPY <<f /\nhi\nf\n"),
    });
    let world = World::new();
    assert_eq!(world.build_at(&server.url("c.tar")).unwrap()["f"].2, "x");
    assert_eq!(world.build_at(&server.url("Dockerfile")).unwrap()["f"].2, "hi\n");
}
