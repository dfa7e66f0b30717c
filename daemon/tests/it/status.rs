//! Builds told as BuildKit's vertices.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::archive::tar;
use crate::build::{may_run, waiting, with_waiting_image};
use crate::http::Answer;
use crate::micad::{Micad, wait_until};

fn build(micad: &Micad, query: &str, dockerfile: &str) -> Answer {
    micad.post(
        &format!("/mica/build?progress=status&{query}"),
        &tar(&[("Dockerfile", dockerfile.as_bytes()), ("file", b"content")]),
    )
}

/// All objects of a stream.
fn statuses(lines: &[Value]) -> impl Iterator<Item = &Value> {
    let told = lines.iter().filter(|line| line["id"] == "mica.status");
    told.map(|line| &line["aux"])
}

/// The vertices as they were told last, by name.
fn vertices(lines: &[Value]) -> BTreeMap<String, Value> {
    let all = statuses(lines).flat_map(|status| status["vertexes"].as_array().into_iter().flatten());
    all.map(|vertex| (vertex["name"].as_str().unwrap().to_owned(), vertex.clone()))
        .collect()
}

#[test]
fn a_build_is_told_as_vertices_and_ends_with_its_image() {
    let micad = Micad::start();
    let dockerfile = "FROM scratch as base\nCOPY file /\nENV a=b\nFROM base\nWORKDIR /w\n";
    let answer = build(&micad, "t=a:1&buildargs=%7B%22X%22%3A%221%22%7D", dockerfile);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lines = answer.lines();
    let all = vertices(&lines);
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "[base 1/1] COPY file /",
            "[internal] load .dockerignore",
            "[internal] load build context",
            "[internal] load build definition from Dockerfile",
            "[stage-1 1/1] WORKDIR /w",
            "exporting to image"
        ]
    );
    for (name, vertex) in &all {
        assert!(
            vertex["completed"].is_string() && vertex["error"].is_null(),
            "{name}"
        );
        assert!(
            vertex["digest"].as_str().unwrap().starts_with("sha256:"),
            "{name}"
        );
    }
    let parts: Vec<&str> = statuses(&lines)
        .flat_map(|status| status["statuses"].as_array().into_iter().flatten())
        .filter(|part| part["completed"].is_string())
        .map(|part| part["id"].as_str().unwrap())
        .collect();
    let id = lines.last().unwrap()["aux"]["ID"].as_str().unwrap();
    let expected = [
        "transferring context:",
        "transferring dockerfile:",
        "exporting layers",
        &format!("writing image {id}"),
        "naming to docker.io/library/a:1",
    ];
    assert_eq!(parts, expected);
    let warnings: Vec<&Value> = statuses(&lines)
        .flat_map(|status| status["warnings"].as_array().into_iter().flatten())
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(warnings[0]["range"][0]["start"]["line"], 1);
    assert_eq!(warnings[0]["sourceInfo"]["filename"], "Dockerfile");
    assert!(warnings[0]["url"].as_str().unwrap().starts_with("https://"));
    assert!(
        warnings[1]["range"].is_null(),
        "an argument that nothing asked for"
    );

    let again = build(&micad, "", dockerfile).lines();
    assert_eq!(vertices(&again)["[base 1/1] COPY file /"]["cached"], true);
}

#[test]
fn the_classic_stream_knows_nothing_of_it() {
    let micad = Micad::start();
    let context = tar(&[("Dockerfile", b"FROM scratch\nLABEL a=b\n")]);
    for door in ["/build?progress=status", "/mica/build"] {
        let answer = micad.post(door, &context);
        assert!(
            answer.stream().starts_with("Step 1/2 : FROM scratch\n ---> "),
            "{}",
            answer.text()
        );
        assert_eq!(statuses(&answer.lines()).count(), 0);
    }
    let answer = micad.post("/mica/build?progress=loud", &context);
    answer.expect_error(400, "invalid progress \"loud\": use status");
}

#[test]
fn what_is_wrong_before_the_first_step_fails_the_vertex_that_found_it() {
    let micad = Micad::start();
    let lines = build(&micad, "", "FROM scratch\nNONSENSE\n").lines();
    let definition = &vertices(&lines)["[internal] load build definition from Dockerfile"];
    let error = definition["error"].as_str().unwrap();
    assert!(error.contains("unknown instruction: NONSENSE"), "{error}");
    let last = lines.last().unwrap();
    assert!(
        last["error"]
            .as_str()
            .unwrap()
            .contains("unknown instruction: NONSENSE"),
        "{last}"
    );
}

#[test]
fn whatever_began_has_ended_when_a_build_is_cancelled() {
    if !may_run() {
        return;
    }
    let micad = Micad::start();
    with_waiting_image(&micad);
    let context = tar(&[("Dockerfile", b"FROM wait:1\nRUN [\"/wait\"]\n")]);
    let mut connection = micad.connect();
    connection.send_head(
        "POST",
        "/mica/build?progress=status&buildid=mine",
        &format!("Content-Length: {}\r\n", context.len()),
    );
    connection.send(&context);
    wait_until("the process runs", || waiting(&micad) == 1);
    assert_eq!(micad.post("/build/cancel?id=mine", b"").status, 200);
    let lines = connection.answer(false).lines();
    assert_eq!(waiting(&micad), 0);
    let all = vertices(&lines);
    let run = &all["[2/2] RUN [\"/wait\"]"];
    assert_eq!(run["error"], "context canceled");
    assert_eq!(all["[1/2] FROM docker.io/library/wait:1"]["cached"], true);
    assert!(
        all.values()
            .all(|vertex| vertex["started"].is_string() == vertex["completed"].is_string())
    );
    assert!(
        lines.last().unwrap()["error"]
            .as_str()
            .unwrap()
            .contains("cancelled")
    );
}
