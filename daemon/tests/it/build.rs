//! Building as clients of the classic builder do it.

use serde_json::{Value, json};

use crate::archive::{image, tar, waiting_program};
use crate::micad::{Micad, wait_until};

fn build(micad: &Micad, query: &str, dockerfile: &str) -> crate::http::Answer {
    micad.post(
        &format!("/build?{query}"),
        &tar(&[("Dockerfile", dockerfile.as_bytes()), ("file", b"content")]),
    )
}

/// A daemon with an image that holds a program which waits for ever.
pub(crate) fn with_waiting_image(micad: &Micad) {
    let program = waiting_program();
    micad.load(&image(
        &["wait:1"],
        "2026-01-01T00:00:00Z",
        &json!({}),
        &[&[("wait", &program)]],
    ));
}

/// Whether RUN can be tried here; says so if not.
pub(crate) fn may_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can start the sandbox");
    }
    root
}

#[test]
fn a_build_tells_its_steps_and_names_its_image() {
    let micad = Micad::start();
    let answer = build(
        &micad,
        "t=a:1&t=b&rm=1&memory=0",
        "FROM scratch\nCOPY file /\nLABEL x=y\n",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let stream = answer.stream();
    for part in [
        "Step 1/3 : FROM scratch\n ---> ",
        "Step 2/3 : COPY file /\n ---> ",
        "Step 3/3 : LABEL x=y\n ---> Running in ",
        " ---> Removed intermediate container ",
        "Successfully built ",
        "Successfully tagged a:1\nSuccessfully tagged b:latest\n",
    ] {
        assert!(stream.contains(part), "{part:?} is not in {stream}");
    }
    let id = micad.get("/images/a:1/json").json()["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let aux: Vec<Value> = answer
        .lines()
        .iter()
        .filter_map(|line| line.get("aux").cloned())
        .collect();
    assert_eq!(aux.last(), Some(&json!({"ID": id})));
    assert!(stream.contains(&format!("Successfully built {}\n", &id[7..19])));

    let again = build(&micad, "t=a:1", "FROM scratch\nCOPY file /\nLABEL x=y\n");
    assert!(
        again.stream().contains(" ---> Using cache\n"),
        "{}",
        again.stream()
    );
    assert!(
        again
            .stream()
            .contains(&format!("Successfully built {}\n", &id[7..19]))
    );
    let quiet = build(&micad, "t=a:1&q=1", "FROM scratch\nCOPY file /\nLABEL x=y\n");
    assert_eq!(quiet.lines(), [json!({"stream": format!("{id}\n")})]);
    let pruned = micad.post("/build/prune?filters=&all=1", b"").json();
    assert!(
        !pruned["CachesDeleted"].as_array().unwrap().is_empty(),
        "{pruned}"
    );
    assert_eq!(
        micad.post("/build/prune", b"").text(),
        "{\"CachesDeleted\":[],\"SpaceReclaimed\":0}\n"
    );
    assert_eq!(
        micad.get("/images/a:1/json").status,
        200,
        "images outlive the cache"
    );
}

#[test]
fn what_is_wrong_before_the_first_step_is_a_status() {
    let micad = Micad::start();
    let fine = "FROM scratch\nCOPY file /\n";
    for (query, dockerfile, status, message) in [
        ("", "", 400, "cannot be empty"),
        ("", "FROM scratch\nNOPE x\n", 400, "unknown instruction: NOPE"),
        ("target=x", fine, 400, "target stage \"x\" could not be found"),
        (
            "dockerfile=other",
            fine,
            500,
            "Cannot locate specified Dockerfile: other",
        ),
        ("t=A", fine, 400, "must be lowercase"),
        (
            "platform=plan9",
            fine,
            400,
            "unknown operating system or architecture",
        ),
        ("version=3", fine, 400, "invalid version"),
        (
            "remote=http://127.0.0.1:1/y.git",
            fine,
            400,
            "cannot use the context at http://127.0.0.1:1/y.git",
        ),
        ("buildargs=x", fine, 400, "buildargs"),
    ] {
        build(&micad, query, dockerfile).expect_error(status, message);
    }
    let garbage = micad.post("/build", b"this is no tar at all");
    assert!(garbage.status >= 400, "{}", garbage.text());
    micad
        .post("/build/cancel", b"")
        .expect_error(400, "build ID not provided");
    assert_eq!(micad.post("/build/cancel?id=x", b"").status, 200);
    micad
        .post("/build/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", b"")
        .expect_error(400, "invalid filter 'x'");
    micad
        .post("/build/prune?filters=%7B%22until%22:%5B%22y%22%5D%7D", b"")
        .expect_error(400, "\"until\" filter expects a duration");
}

#[test]
fn what_goes_wrong_later_is_the_last_line() {
    let micad = Micad::start();
    let answer = build(&micad, "", "FROM scratch\nCOPY file /\nCOPY nope /\n");
    assert_eq!(answer.status, 200);
    let last = answer.lines().pop().unwrap();
    assert_eq!(last["error"], last["errorDetail"]["message"]);
    let text = last["error"].as_str().unwrap();
    assert!(
        text.contains("file not found in build context or excluded by .dockerignore"),
        "{text}"
    );
    let quiet = build(&micad, "q=1", "FROM scratch\nCOPY file /\nCOPY nope /\n");
    assert!(quiet.stream().contains("Step 1/3"), "{}", quiet.text());
    assert!(quiet.lines().pop().unwrap().get("error").is_some());
}

#[test]
fn arguments_that_nobody_asked_for_are_told() {
    let micad = Micad::start();
    let stream = build(
        &micad,
        "buildargs=%7B%22X%22:%22y%22%7D",
        "FROM scratch\nCOPY file /\n",
    )
    .stream();
    assert!(
        stream.contains("[Warning] One or more build-args [X] were not consumed\n"),
        "{stream}"
    );
}

#[test]
fn the_code_of_a_failed_run_arrives() {
    if !may_run() {
        return;
    }
    let micad = Micad::start();
    with_waiting_image(&micad);
    let answer = build(&micad, "", "FROM wait:1\nRUN [\"/nope\"]\n");
    let last = answer.lines().pop().unwrap();
    assert_eq!(last["errorDetail"]["code"], 127, "{}", answer.text());
    assert_eq!(last["error"], "The command '/nope' returned a non-zero code: 127");
}

/// Starts a build that waits for ever in its RUN.
pub(crate) fn begin_waiting(micad: &Micad, query: &str) -> crate::http::Connection {
    let context = tar(&[("Dockerfile", b"FROM wait:1\nRUN [\"/wait\"]\n")]);
    let mut connection = micad.connect();
    connection.send_head(
        "POST",
        &format!("/build?{query}"),
        &format!("Content-Length: {}\r\n", context.len()),
    );
    connection.send(&context);
    assert_eq!(connection.answer_head().status, 200);
    let mut told = String::new();
    while !told.contains("Running in") {
        told.push_str(&String::from_utf8(connection.chunk().unwrap()).unwrap());
    }
    wait_until("the process runs", || waiting(micad) == 1);
    connection
}

/// How many processes of the waiting program have this daemon above them.
pub(crate) fn waiting(micad: &Micad) -> usize {
    waiting_ids(micad).len()
}

/// Which they are.
pub(crate) fn waiting_ids(micad: &Micad) -> Vec<u32> {
    let stat = |id: u32| std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let parent = |id: u32| -> u32 {
        let stat = stat(id);
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let below = |mut id: u32| {
        while id > 1 {
            if id == micad.child.id() {
                return true;
            }
            id = parent(id);
        }
        false
    };
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).contains("(wait)") && below(*id))
        .collect()
}

#[test]
fn a_client_that_goes_away_ends_its_build() {
    if !may_run() {
        return;
    }
    let micad = Micad::start();
    with_waiting_image(&micad);
    let connection = begin_waiting(&micad, "");
    drop(connection);
    wait_until("the process is gone", || waiting(&micad) == 0);
    assert_eq!(micad.get("/_ping").text(), "OK");
}

#[test]
fn a_quiet_client_that_goes_away_ends_its_build_too() {
    if !may_run() {
        return;
    }
    // quiet builds write nothing, so only a look at the connection tells
    let micad = Micad::start();
    with_waiting_image(&micad);
    let context = tar(&[("Dockerfile", b"FROM wait:1\nRUN [\"/wait\"]\n")]);
    let mut connection = micad.connect();
    connection.send_head(
        "POST",
        "/build?q=1",
        &format!("Content-Length: {}\r\n", context.len()),
    );
    connection.send(&context);
    wait_until("the process runs", || waiting(&micad) == 1);
    drop(connection);
    wait_until("the process is gone", || waiting(&micad) == 0);
}

#[test]
fn a_build_is_cancelled_by_its_name() {
    if !may_run() {
        return;
    }
    let micad = Micad::start();
    with_waiting_image(&micad);
    let mut connection = begin_waiting(&micad, "buildid=mine");
    assert_eq!(micad.post("/build/cancel?id=other", b"").status, 200);
    assert_eq!(waiting(&micad), 1);
    assert_eq!(micad.post("/build/cancel?id=mine", b"").status, 200);
    let mut rest = String::new();
    while let Some(chunk) = connection.chunk().filter(|chunk| !chunk.is_empty()) {
        rest.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert!(rest.contains("cancelled"), "{rest}");
    assert_eq!(waiting(&micad), 0);
}

#[test]
fn a_daemon_that_is_told_to_leave_ends_its_builds() {
    if !may_run() {
        return;
    }
    let mut micad = Micad::start_with(&["--shutdown-timeout", "0"]);
    with_waiting_image(&micad);
    let mut connection = begin_waiting(&micad, "");
    micad.signal("TERM");
    let mut rest = String::new();
    while let Some(chunk) = connection.chunk().filter(|chunk| !chunk.is_empty()) {
        rest.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert!(rest.contains("cancelled"), "{rest}");
    assert!(micad.left().success());
}

#[test]
fn a_client_that_vanishes_while_sending_its_context_ends_the_build() {
    let mut micad = Micad::start_with(&["--idle-timeout", "4"]);
    let mut connection = micad.connect();
    connection.send_head("POST", "/build", "Content-Length: 1000000\r\n");
    connection.send(&tar(&[("Dockerfile", b"FROM scratch\n")]));
    drop(connection);
    assert!(micad.left().success());
}
