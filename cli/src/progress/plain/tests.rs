use super::*;
use mica_api::{Vertex, VertexLog, VertexStatus};
use proptest::prelude::*;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
}

fn running(digest: &str, from: i64) -> Status {
    vertex(Vertex {
        digest: digest.to_owned(),
        name: format!("[{digest}] RUN"),
        started: Some(at(from)),
        ..Vertex::default()
    })
}

fn done(digest: &str, from: i64, to: i64) -> Status {
    let mut status = running(digest, from);
    status.vertexes[0].completed = Some(at(to));
    status
}

fn vertex(vertex: Vertex) -> Status {
    Status {
        vertexes: vec![vertex],
        ..Status::default()
    }
}

fn log(digest: &str, stream: i32, text: &[u8], time: i64) -> Status {
    Status {
        logs: vec![VertexLog {
            vertex: digest.to_owned(),
            stream,
            data: text.to_vec(),
            timestamp: Some(at(time)),
        }],
        ..Status::default()
    }
}

fn part(digest: &str, current: i64, to: Option<i64>) -> Status {
    Status {
        statuses: vec![VertexStatus {
            id: "sha256:00".into(),
            vertex: digest.to_owned(),
            current,
            total: 3_400_000,
            timestamp: Some(at(current / 1000)),
            started: Some(at(0)),
            completed: to.map(at),
            ..VertexStatus::default()
        }],
        ..Status::default()
    }
}

fn said(steps: impl IntoIterator<Item = Status>) -> String {
    let mut plain = Plain::default();
    let now = Instant::now();
    let mut text: Vec<u8> = steps
        .into_iter()
        .flat_map(|status| plain.update(status, now))
        .collect();
    text.extend(plain.finish(at(99_000)));
    String::from_utf8(text).unwrap()
}

#[test]
fn steps_one_after_the_other() {
    let mut cached = done("b", 300, 310);
    cached.vertexes[0].cached = true;
    let mut failed = done("c", 400, 500);
    failed.vertexes[0].error = "it broke".into();
    let text = said([
        running("a", 0),
        log("a", 1, b"one\ntw", 123),
        log("a", 2, b"err\n", 130),
        log("a", 1, b"o\nno end", 140),
        done("a", 0, 200),
        cached,
        running("c", 400),
        failed,
    ]);
    assert_eq!(
        text,
        "#1 [a] RUN\n#1 0.123 one\n#1 0.130 err\n#1 0.123 two\n#1 0.140 no end\n#1 DONE 0.2s\n\n\
         #2 [b] RUN\n#2 CACHED\n\n#3 [c] RUN\n#3 ERROR: it broke\n"
    );
}

#[test]
fn one_speaks_until_it_ends_or_another_waited_too_long() {
    let mut plain = Plain::default();
    let now = Instant::now();
    let mut text = Vec::new();
    for status in [
        running("a", 0),
        running("b", 0),
        log("b", 1, b"b1\n", 10),
        log("a", 1, b"a1\n", 20),
    ] {
        text.extend(plain.update(status, now));
    }
    assert_eq!(
        String::from_utf8(std::mem::take(&mut text)).unwrap(),
        "#1 [a] RUN\n#1 0.020 a1\n"
    );
    assert_eq!(plain.due(), Some(now + PATIENCE));
    text.extend(plain.tick(now + PATIENCE));
    assert_eq!(
        String::from_utf8(std::mem::take(&mut text)).unwrap(),
        "#1 ...\n\n#2 [b] RUN\n#2 0.010 b1\n"
    );
    assert_eq!(plain.due(), None);
    // what ends is said at once, and then the other goes on
    text.extend(plain.update(log("b", 1, b"b2\n", 20), now));
    text.extend(plain.update(done("a", 0, 1000), now));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "#2 0.020 b2\n#2 ...\n\n#1 [a] RUN\n#1 DONE 1.0s\n"
    );
    assert_eq!(
        String::from_utf8(plain.update(log("b", 1, b"b3\n", 30), now)).unwrap(),
        "\n#2 [b] RUN\n#2 0.030 b3\n"
    );
}

#[test]
fn much_that_waits_is_said_before_it_fills_memory() {
    let mut plain = Plain::default();
    let now = Instant::now();
    plain.update(running("a", 0), now);
    plain.update(running("b", 0), now);
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let mut said = 0;
    for _ in 0..2000 {
        said += plain.update(log("b", 1, &line, 0), now).len();
    }
    assert!(said > 2000 * 100, "{said}");
}

#[test]
fn transfers_are_told_now_and_then_and_at_the_end() {
    let mut plain = Plain::default();
    let now = Instant::now();
    let mut text = plain.update(running("a", 0), now);
    for (seconds, current) in [(0, 1_050_000), (1, 2_000_000), (2, 2_100_000), (6, 3_000_000)] {
        text.extend(plain.update(part("a", current, None), now + Duration::from_secs(seconds)));
    }
    text.extend(plain.update(part("a", 3_400_000, Some(3400)), now));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "#1 [a] RUN\n#1 sha256:00 1.05MB / 3.40MB 1.1s\n#1 sha256:00 3.00MB / 3.40MB 3.0s\n\
         #1 sha256:00 3.40MB / 3.40MB 3.4s done\n"
    );
}

#[test]
fn what_is_stopped_says_so_and_what_is_known_late_is_said_late() {
    let text = said([
        Status {
            warnings: vec![VertexWarning {
                vertex: "a".into(),
                short: b"look".to_vec(),
                ..VertexWarning::default()
            }],
            ..done("a", 0, 10)
        },
        Status {
            warnings: vec![VertexWarning {
                vertex: "a".into(),
                short: b"look again".to_vec(),
                ..VertexWarning::default()
            }],
            ..Status::default()
        },
        running("b", 10),
    ]);
    assert_eq!(
        text,
        "#1 [a] RUN\n#1 WARN: look\n#1 DONE 0.0s\n\n#1 [a] RUN\n#1 WARN: look again\n\n#2 [b] RUN\n#2 CANCELED\n"
    );
}

#[test]
fn the_last_lines_of_what_failed_are_kept() {
    let mut plain = Plain::default();
    let now = Instant::now();
    plain.update(running("a", 0), now);
    for line in 0..30 {
        plain.update(log("a", 1, format!("{line}\n").as_bytes(), line), now);
    }
    let mut failed = done("a", 0, 500);
    failed.vertexes[0].error = "it broke".into();
    plain.update(failed, now);
    let failures = plain.failures();
    assert_eq!(failures[0].0, "[a] RUN");
    assert_eq!((failures[0].1.len(), failures[0].1[9].as_str()), (10, "0.029 29"));
}

proptest! {
    #[test]
    fn no_output_is_lost(
        writes in proptest::collection::vec((0..3_usize, 1..3_i32, "[a-c\n]{0,12}"), 0..60),
        cut_short in any::<bool>(),
    ) {
        let mut plain = Plain::default();
        let now = Instant::now();
        let mut text = Vec::new();
        for n in 0..3 {
            text.extend(plain.update(running(&n.to_string(), 0), now));
        }
        let mut written: HashMap<(usize, i32), String> = HashMap::new();
        for (n, stream, piece) in &writes {
            written.entry((*n, *stream)).or_default().push_str(piece);
            text.extend(plain.update(log(&n.to_string(), *stream, piece.as_bytes(), 0), now));
        }
        if !cut_short {
            for n in 0..3 {
                text.extend(plain.update(done(&n.to_string(), 0, 9), now));
            }
        }
        text.extend(plain.finish(at(9)));
        let text = String::from_utf8(text).unwrap();
        let mut shown: Vec<&str> = text.lines().filter_map(|line| line.split_once(" 0.000 ").map(|(_, line)| line)).collect();
        let mut expected: Vec<&str> = written.values().flat_map(|text| text.lines()).collect();
        shown.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(shown, expected);
    }
}
