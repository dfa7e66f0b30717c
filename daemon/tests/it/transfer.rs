//! Images out of the daemon and into it.

use std::io::{BufRead, Read};
use std::time::Duration;

use serde_json::{Value, json};

use crate::archive::{header, image, small_image, tar};
use crate::http::Connection;
use crate::micad::{Micad, wait_until};

/// The most that the daemon may take beside what it takes anyway, in KiB.
const MEMORY_LIMIT: u64 = 96 << 10;
const GIB: u64 = 1 << 30;

/// The names and contents of a tar's files.
fn files(mut tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    while tar.len() >= 512 && tar[0] != 0 {
        let name = String::from_utf8_lossy(&tar[..100])
            .trim_end_matches('\0')
            .to_owned();
        let size = std::str::from_utf8(&tar[124..135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        found.push((name, tar[512..512 + size].to_vec()));
        tar = &tar[512 + size.next_multiple_of(512)..];
    }
    found
}

#[test]
fn what_is_saved_can_be_loaded_again() {
    let micad = Micad::start();
    let loaded = image(
        &["a:1", "a:2", "b:1"],
        "2026-01-02T03:04:05Z",
        &json!({}),
        &[&[("x", &[7; 100_000])]],
    );
    micad.load(&loaded);
    for (path, tags) in [
        ("/images/get?names=a:1", json!(["a:1"])),
        ("/images/get?names=a", json!(["a:1", "a:2"])),
        ("/images/a:1/get", json!(["a:1"])),
        ("/images/index.docker.io%2Flibrary%2Fb%3A1/get", json!(["b:1"])),
        ("/images/get?names=a:2&names=b:1&names=a:2", json!(["a:2", "b:1"])),
        (&format!("/images/{}/get", loaded.id), json!(null)),
        (&format!("/images/get?names={}", &loaded.id[7..19]), json!(null)),
    ] {
        let answer = micad.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/x-tar"));
        assert!(answer.complete);
        let files = files(&answer.body);
        let manifest = files.iter().find(|(name, _)| name == "manifest.json").unwrap();
        let manifest: Value = serde_json::from_slice(&manifest.1).unwrap();
        assert_eq!(manifest.as_array().unwrap().len(), 1, "{path}");
        assert_eq!(manifest[0]["RepoTags"], tags, "{path}");
        assert_eq!(manifest[0]["Config"], format!("blobs/sha256/{}", &loaded.id[7..]));
        let other = Micad::start();
        let stream = other.post("/images/load", &answer.body).stream();
        assert!(stream.starts_with("Loaded image"), "{stream}");
        assert_eq!(
            other.get(&format!("/images/{}/json", loaded.id)).json()["Id"],
            loaded.id
        );
    }
    for (path, status, message) in [
        ("/images/get", 400, "no image names"),
        (
            "/images/get?names=a:1&names=nope",
            404,
            "No such image: nope:latest",
        ),
        ("/images/UPPER/get", 400, "must be lowercase"),
        (
            "/images/get?names=a:1&platform=%7B%7D",
            400,
            "failed to parse platform",
        ),
        (
            "/images/get?names=a&platform=%7B%22os%22:%22linux%22,%22architecture%22:%22s390x%22%7D",
            404,
            "image with reference a was found but its platform (linux/",
        ),
    ] {
        micad.get(path).expect_error(status, message);
    }
}

#[test]
fn loading_tells_what_came_in() {
    let micad = Micad::start();
    let first = small_image(&["a:1", "b:1"]);
    let answer = micad.post("/images/load", &first.archive);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.stream(), "Loaded image: a:1\nLoaded image: b:1\n");
    let second = image(
        &["a:1"],
        "2026-05-01T00:00:00Z",
        &json!({}),
        &[&[("other", b"x")]],
    );
    let answer = micad.post("/v1.40/images/load?quiet=0", &second.archive);
    assert_eq!(
        answer.stream(),
        format!(
            "The image a:1 already exists, renaming the old one with ID {} to empty string\nLoaded image: a:1\n",
            first.id
        )
    );
    let nameless = image(&[], "2026-06-01T00:00:00Z", &json!({}), &[&[("third", b"x")]]);
    assert_eq!(
        micad.post("/images/load", &nameless.archive).stream(),
        format!("Loaded image ID: {}\n", nameless.id)
    );
}

#[test]
fn what_cannot_be_loaded_is_an_error_in_the_stream() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    let whole = small_image(&["a:1"]).archive;
    for body in [
        b"".as_slice(),
        b"garbage",
        &[0; 4096],
        &tar(&[("x", b"y")]),
        &whole[..whole.len() / 2],
    ] {
        let answer = connection.ask("POST", "/images/load?quiet=1", body);
        assert_eq!(answer.status, 200);
        let lines = answer.lines();
        let last = lines.last().unwrap();
        assert_eq!(last["error"], last["errorDetail"]["message"]);
        assert!(
            last["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{last}"
        );
    }
    let answer = connection.ask("POST", "/images/load", &tar(&[("x", b"y")]));
    assert_eq!(
        answer.lines()[0]["error"],
        "invalid archive: does not contain a manifest.json"
    );
    assert_eq!(connection.ask("GET", "/images/json", b"").text(), "[]\n");
}

#[test]
fn a_load_is_answered_when_all_of_it_was_read() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    let archive = small_image(&["a:1"]).archive;
    connection.send_head("POST", "/images/load?quiet=1", "Transfer-Encoding: chunked\r\n");
    // the second piece is the end of the archive, which says nothing
    let (first, second) = archive.split_at(archive.len() - 512);
    for piece in [first, second] {
        connection.send_chunk(piece).unwrap();
        let stream = connection.stream.get_ref();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(connection.stream.fill_buf().is_err(), "it answers too early");
    }
    let stream = connection.stream.get_ref();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    connection.send_chunk(b"").unwrap();
    assert_eq!(connection.answer(false).stream(), "Loaded image: a:1\n");
}

#[test]
fn what_cannot_be_imported_is_no_success() {
    let micad = Micad::start();
    let answer = micad.post("/images/create?fromSrc=-&repo=a", &b"garbage".repeat(100));
    answer.expect_error(400, "");
    let answer = micad.post("/images/create?fromSrc=-&repo=a", &tar(&[("x", b"y")]));
    assert_eq!(answer.status, 200);
    let id = answer.lines()[0]["status"].as_str().unwrap().to_owned();
    assert_eq!(micad.get("/images/a/json").json()["Id"], id.as_str());
}

/// Sends a tar of one file of this many zeros, chunk by chunk.
fn send_zeros(connection: &mut Connection, name: &str, size: u64) -> std::io::Result<()> {
    connection.send_chunk(&header(name, size))?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        connection.send_chunk(&zeros)?;
    }
    connection.send_chunk(&[0; 1024])?;
    connection.send_chunk(b"")
}

#[test]
fn a_large_body_is_not_held_in_memory() {
    let micad = Micad::start();
    let before = micad.memory("VmHWM");
    let mut connection = micad.connect();
    // one that is read to the end, and two that nobody wants
    for (path, status) in [("/images/load", 200), ("/build?version=3", 400), ("/nope", 404)] {
        connection.send_head("POST", path, "Transfer-Encoding: chunked\r\n");
        send_zeros(&mut connection, "big", GIB).unwrap();
        assert_eq!(connection.answer(false).status, status);
    }
    let grown = micad.memory("VmHWM") - before;
    assert!(grown < MEMORY_LIMIT, "the daemon grew by {grown} KiB");
    assert_eq!(connection.ask("GET", "/_ping", b"").text(), "OK");
}

#[test]
fn a_slow_reader_holds_the_daemon_up_and_not_its_memory() {
    let micad = Micad::start();
    let data = vec![1; 200 << 20];
    micad.load(&image(
        &["big:1"],
        "2026-01-01T00:00:00Z",
        &json!({}),
        &[&[("big", &data)]],
    ));
    drop(data);
    let before = micad.memory("VmRSS");
    let mut connection = micad.connect();
    connection.send_head("GET", "/images/big:1/get", "");
    assert_eq!(connection.answer_head().status, 200);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let grown = micad.memory("VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB wait for the client");
    let mut rest = Vec::new();
    while let Some(chunk) = connection.chunk().filter(|chunk| !chunk.is_empty()) {
        rest.push(chunk.len());
    }
    assert!(rest.iter().sum::<usize>() > 200 << 20);
}

#[test]
fn a_client_that_stops_reading_ends_the_saving() {
    let data = vec![1; 64 << 20];
    let big = image(
        &["big:1"],
        "2026-01-01T00:00:00Z",
        &json!({}),
        &[&[("big", &data)]],
    );
    // it leaves after four seconds in which nobody comes
    let mut micad = Micad::start_with(&["--idle-timeout", "4"]);
    micad.load(&big);
    let mut connection = micad.connect();
    connection.send_head("GET", "/images/big:1/get", "");
    assert_eq!(connection.answer_head().status, 200);
    drop(connection);
    // it would stay as long as the saving went on
    assert!(micad.left().success());
}

#[test]
fn a_client_that_vanishes_while_sending_ends_the_loading() {
    let mut micad = Micad::start_with(&["--idle-timeout", "4", "--log-level", "warn"]);
    let mut connection = micad.connect();
    connection.send_head("POST", "/images/load", "Transfer-Encoding: chunked\r\n");
    connection.send_chunk(&header("big", GIB)).unwrap();
    connection.send_chunk(&vec![0; 1 << 20]).unwrap();
    drop(connection);
    assert!(micad.left().success());
    let mut left = String::new();
    micad
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut left)
        .unwrap();
    assert_eq!(left, "");
    wait_until("nothing is left of it", || {
        std::fs::read_dir(micad.folder.path().join("store/mica/ingest"))
            .unwrap()
            .count()
            == 0
    });
}

#[test]
fn an_import_that_fails_says_so_by_its_status() {
    let micad = Micad::start();
    let import = "/images/create?fromSrc=-";
    micad
        .post(import, b"this is no tar")
        .expect_error(400, "cannot import the archive");
    micad
        .post(&format!("{import}&changes=RUN%20x"), b"")
        .expect_error(400, "not a valid change command");
    let image = micad.post(import, b"");
    assert_eq!(image.status, 200);
    assert!(
        image.text().starts_with("{\"status\":\"sha256:"),
        "{}",
        image.text()
    );
}

#[test]
fn a_tag_that_is_not_here_is_not_pushed() {
    let micad = Micad::start();
    micad.load(&small_image(&["a:1"]));
    for (path, message) in [
        ("/images/a/push?tag=2", "tag does not exist: a:2"),
        (
            "/images/b/push?tag=2",
            "An image does not exist locally with the tag: b",
        ),
        (
            "/images/b/push",
            "An image does not exist locally with the tag: b",
        ),
    ] {
        let told = micad.post(path, b"").text().to_owned();
        assert!(
            told.contains(&format!("\"error\":\"{message}\"")),
            "{path}: {told}"
        );
    }
}
