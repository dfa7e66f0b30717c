//! Prunes: docker's answer, the lines for those who ask for them, and clients that go away in the midst.

use rusqlite::OpenFlags;
use serde_json::{Value, json};

use crate::archive::tar;
use crate::http::{Answer, Connection};
use crate::micad::Micad;
use crate::running::Log;

/// How many images go in one turn.
const TURN: usize = 32;

/// So many that removing them takes several turns.
const MANY: usize = 4 * TURN;

/// What asks for lines.
const LINES: &str = "Accept: application/x-ndjson\r\n";

/// A daemon with so many images without names.
fn with_images(count: usize) -> Micad {
    let micad = Micad::start_with(&["--log-level", "debug"]);
    let configs: Vec<(String, Vec<u8>)> = (0..count)
        .map(|at| {
            let config = json!({
                "architecture": mica_oci::Platform::host().architecture,
                "os": "linux",
                "author": at.to_string(),
                "rootfs": {"type": "layers", "diff_ids": []},
            });
            (format!("config{at}.json"), serde_json::to_vec(&config).unwrap())
        })
        .collect();
    let entries: Vec<Value> = configs
        .iter()
        .map(|(name, _)| json!({"Config": name, "RepoTags": null, "Layers": []}))
        .collect();
    let manifest = serde_json::to_vec(&entries).unwrap();
    let mut files: Vec<(&str, &[u8])> = vec![("manifest.json", &manifest)];
    files.extend(
        configs
            .iter()
            .map(|(name, config)| (name.as_str(), config.as_slice())),
    );
    let answer = micad.post("/images/load", &tar(&files));
    assert_eq!(left(&micad), count, "{}", answer.text());
    micad
}

/// How many images there are.
fn left(micad: &Micad) -> usize {
    let list = micad.get("/images/json?all=1").json();
    list.as_array().unwrap().len()
}

fn ask(micad: &Micad, path: &str, headers: &str) -> Answer {
    let mut connection = micad.connect();
    connection.send_head("POST", path, &format!("{headers}Content-Length: 0\r\n"));
    connection.answer(false)
}

/// Whoever writes to the store waits while this is there.
fn hold_up(micad: &Micad) -> rusqlite::Connection {
    let path = micad.folder.path().join("store/mica/db.sqlite");
    let database = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    database
}

/// Asks for lines of a prune that cannot remove anything until the first of them is read: who reads late misses some.
fn ask_slowly(micad: &Micad, path: &str) -> Answer {
    let database = hold_up(micad);
    let mut connection = micad.connect();
    connection.send_head("POST", path, &format!("{LINES}Content-Length: 0\r\n"));
    let mut answer = connection.answer_head();
    answer.body = connection.chunk().unwrap();
    database.execute_batch("ROLLBACK").unwrap();
    let rest = std::iter::from_fn(|| connection.chunk());
    answer
        .body
        .extend(rest.take_while(|chunk| !chunk.is_empty()).flatten());
    answer
}

/// What each line of a stream tells of progress, and its last line.
fn told(answer: &Answer) -> (Vec<Value>, Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert!(answer.complete);
    let mut lines = answer.lines();
    let last = lines.pop().unwrap();
    for line in &lines {
        assert_eq!(line.as_object().unwrap().len(), 1, "{line}");
    }
    let progress: Vec<Value> = lines.iter().map(|line| line["Progress"].clone()).collect();
    for pair in progress.windows(2) {
        for number in ["Done", "Total", "Bytes"] {
            assert!(pair[0][number].as_u64() <= pair[1][number].as_u64(), "{pair:?}");
        }
    }
    let end = progress.last().unwrap();
    assert_eq!(
        (&end["Done"], &end["Bytes"]),
        (&end["Total"], &last["SpaceReclaimed"]),
        "{end}"
    );
    (progress, last)
}

#[test]
fn who_does_not_ask_for_lines_gets_docker_s_answer() {
    let micad = with_images(4);
    let mut images = Vec::new();
    for accept in [
        "",
        "Accept: */*\r\n",
        "Accept: application/json\r\n",
        "Accept: application/*\r\n",
    ] {
        for (path, nothing) in [
            ("/images/prune", r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#),
            ("/v1.24/build/prune", r#"{"CachesDeleted":[],"SpaceReclaimed":0}"#),
        ] {
            let answer = ask(&micad, path, accept);
            let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(
                names,
                [
                    "content-type",
                    "api-version",
                    "docker-experimental",
                    "ostype",
                    "server",
                    "content-length",
                    "date"
                ]
            );
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json"))
            );
            match images.is_empty() {
                true => images.push(answer.text()),
                false => assert_eq!(answer.text(), format!("{nothing}\n")),
            }
        }
    }
    let first: Value = serde_json::from_str(&images[0]).unwrap();
    assert_eq!(first["ImagesDeleted"].as_array().unwrap().len(), 4);
    assert!(
        images[0].starts_with(r#"{"ImagesDeleted":[{"Deleted":"sha256:"#),
        "{images:?}"
    );
    assert_eq!(images[0].find('\n'), Some(images[0].len() - 1), "one line");
}

#[test]
fn who_asks_for_lines_is_told_how_far_it_is() {
    let micad = with_images(100);
    let refused = ask(&micad, "/images/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", LINES);
    refused.expect_error(400, "invalid filter 'x'");
    let (progress, last) = told(&ask_slowly(&micad, "/images/prune"));
    assert_eq!(
        progress[0],
        json!({"Doing": "removing images", "Done": 0, "Total": 100, "Bytes": 0})
    );
    let deleted = last["ImagesDeleted"].as_array().unwrap();
    assert!(
        deleted.len() == 100 && deleted[0]["Deleted"].is_string(),
        "{last}"
    );
    assert_eq!(left(&micad), 0);
    let (progress, last) = told(&ask(&micad, "/images/prune", LINES));
    assert!(
        progress.iter().all(|progress| progress["Total"] == 0),
        "{progress:?}"
    );
    assert_eq!(last, json!({"ImagesDeleted": null, "SpaceReclaimed": 0}));
    let context = tar(&[(
        "Dockerfile",
        b"FROM scratch\nCOPY Dockerfile /\nCOPY Dockerfile /f\n",
    )]);
    assert!(
        micad
            .post("/build", &context)
            .stream()
            .contains("Successfully built")
    );
    let (progress, last) = told(&ask(&micad, "/build/prune?all=1", LINES));
    // who reads late hears only the end
    assert!(
        progress.iter().all(|progress| progress["Total"] == 2),
        "{progress:?}"
    );
    assert_eq!(last["CachesDeleted"].as_array().unwrap().len(), 2);
}

/// Asks for a prune; gives the connection and the status of the answer that begins.
fn begin(micad: &Micad, headers: &str) -> (Connection, u16) {
    let mut client = micad.connect();
    client.send_head(
        "POST",
        "/images/prune",
        &format!("{headers}Content-Length: 0\r\n"),
    );
    let status = client.answer_head().status;
    (client, status)
}

/// Checks that a store is sound, and that the next prune takes all that is left.
fn goes_on(micad: &Micad) {
    let checked = micad.post("/mica/check?level=trees", b"").lines();
    assert_eq!(checked.last().unwrap()["Summary"]["Findings"], 0, "{checked:?}");
    let there = left(micad);
    let rest = micad.post("/images/prune", b"").json();
    assert_eq!(rest["ImagesDeleted"].as_array().unwrap().len(), there);
}

#[test]
fn a_client_that_goes_away_from_its_lines_ends_it() {
    let mut micad = with_images(MANY);
    let log = Log::of(&mut micad.child);
    let database = hold_up(&micad);
    let (mut client, status) = begin(&micad, LINES);
    let first = String::from_utf8(client.chunk().unwrap()).unwrap();
    assert!(status == 200 && first.contains("\"Done\":0,"), "{first}");
    drop(client);
    log.wait_for("path=/images/prune status=200");
    assert!(!log.text().contains("prune cancelled"), "it waits for the store");
    database.execute_batch("ROLLBACK").unwrap();
    log.wait_for("prune cancelled");
    assert_eq!(
        left(&micad),
        MANY - TURN,
        "what it was at is gone, and nothing after that"
    );
    goes_on(&micad);
}

#[test]
fn a_client_that_waits_no_more_for_docker_s_answer_ends_it() {
    let mut micad = with_images(MANY);
    let log = Log::of(&mut micad.child);
    let database = hold_up(&micad);
    let mut client = micad.connect();
    client.send_head("POST", "/images/prune", "Content-Length: 0\r\n");
    log.wait_for("prune begins");
    assert_eq!(begin(&micad, LINES).1, 409, "one at a time");
    drop(client);
    log.wait_for("path=/images/prune status=499");
    database.execute_batch("ROLLBACK").unwrap();
    log.wait_for("prune cancelled");
    // it may not have begun with the first
    assert!([MANY, MANY - TURN].contains(&left(&micad)), "{}", left(&micad));
    goes_on(&micad);
}
