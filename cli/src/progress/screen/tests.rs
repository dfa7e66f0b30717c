use super::*;
use crate::canvas::Canvas;
use crate::emulator::Emulator;
use mica_api::{Status, Vertex, VertexLog, VertexWarning};
use proptest::prelude::*;

const WINDOW: Window = Window {
    columns: 60,
    rows: 20,
};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
}

fn vertex(digest: &str, name: &str) -> Vertex {
    Vertex {
        digest: digest.to_owned(),
        name: name.to_owned(),
        ..Vertex::default()
    }
}

fn running(digest: &str, name: &str, from: i64) -> Vertex {
    Vertex {
        started: Some(at(from)),
        ..vertex(digest, name)
    }
}

fn done(digest: &str, name: &str, from: i64, to: i64) -> Vertex {
    Vertex {
        completed: Some(at(to)),
        ..running(digest, name, from)
    }
}

fn log(vertex: &str, text: &str) -> VertexLog {
    VertexLog {
        vertex: vertex.to_owned(),
        stream: 1,
        data: text.as_bytes().to_vec(),
        timestamp: None,
    }
}

fn part(vertex: &str, id: &str, current: i64, total: i64, to: Option<i64>) -> VertexStatus {
    VertexStatus {
        id: id.to_owned(),
        vertex: vertex.to_owned(),
        current,
        total,
        started: Some(at(0)),
        completed: to.map(at),
        ..VertexStatus::default()
    }
}

fn texts(trace: &Trace, now: i64, window: Window, all: bool) -> Vec<String> {
    let rows = rows(trace, &Palette::none(), at(now), window, all);
    rows.into_iter().map(|row| row.text).collect()
}

#[test]
fn a_build_looks_as_buildx_has_it() {
    let mut trace = Trace::default();
    trace.update(Status {
        vertexes: vec![
            done("d", "[internal] load build definition from Dockerfile", 0, 20),
            Vertex {
                cached: true,
                ..done("1", "[1/3] FROM docker.io/library/x:1", 30, 31)
            },
            running("2", "[2/3] RUN make", 100),
            vertex("3", "[3/3] COPY a b"),
        ],
        statuses: vec![
            part("d", "transferring dockerfile:", 123, 0, Some(10)),
            part("2", "sha256:00", 12_340_000, 45_000_000, None),
        ],
        logs: vec![log("2", "one\ntwo\r2\n\x1b[1mthree")],
        warnings: vec![VertexWarning {
            vertex: "d".into(),
            short: b"Rule: look (line 1)".to_vec(),
            ..VertexWarning::default()
        }],
    });
    assert_eq!(
        texts(&trace, 1600, WINDOW, false),
        [
            "[+] Building 1.6s (2/4)",
            " => [internal] load build definition from Dockerfile   0.0s",
            " => => transferring dockerfile: 123B                   0.0s",
            " => WARN: Rule: look (line 1)                              ",
            " => CACHED [1/3] FROM docker.io/library/x:1            0.0s",
            " => [2/3] RUN make                                     1.5s",
            " => => # one",
            " => => # 2wo",
            " => => # three",
            " => => sha256:00 12.34MB / 45.00MB                     1.6s",
        ]
    );
    trace.update(Status {
        vertexes: vec![
            done("2", "[2/3] RUN make", 100, 2100),
            done("3", "[3/3] COPY a b", 2100, 2200),
        ],
        ..Status::default()
    });
    let shown = texts(&trace, 2200, WINDOW, true);
    assert_eq!(shown[0], "[+] Building 2.2s (4/4) FINISHED");
    assert!(!shown.iter().any(|row| row.contains('#')), "{shown:?}");
    assert!(
        shown.last().unwrap().starts_with(" => [3/3] COPY a b "),
        "{shown:?}"
    );
}

#[test]
fn what_failed_and_what_was_stopped_is_marked_and_coloured() {
    let mut trace = Trace::default();
    trace.update(Status {
        vertexes: vec![
            Vertex {
                error: "process \"x\" did not complete successfully: exit code: 1".into(),
                ..done("1", "[1/2] RUN x", 0, 10)
            },
            running("2", "[a 1/1] RUN y", 0),
        ],
        ..Status::default()
    });
    trace.cancel(at(20));
    let palette = Palette::of(|_| String::new());
    let rows = rows(&trace, &palette, at(50), WINDOW, true);
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.text.split_at(20).0, row.color.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("[+] Building 0.1s (2", None),
            (" => ERROR [1/2] RUN ", Some("31")),
            (" => CANCELED [a 1/1]", Some("33")),
        ]
    );
}

#[test]
fn low_windows_show_what_runs_and_what_ended_last() {
    let mut trace = Trace::default();
    let mut vertexes: Vec<Vertex> = (0..30)
        .map(|n| done(&format!("{n}"), &format!("[{n}/32] COPY"), 0, 100))
        .collect();
    vertexes[3] = running("3", "[3/32] RUN", 0);
    trace.update(Status {
        vertexes,
        logs: vec![log("3", "1\n2\n3\n4\n5\n6\n7\n")],
        ..Status::default()
    });
    let low = Window { columns: 40, rows: 6 };
    let shown = texts(&trace, 100, low, false);
    assert!(shown[1].starts_with(" => [3/32] RUN "), "{shown:?}");
    assert_eq!(shown[2..], [" => => # 6", " => => # 7", " … 29 more"]);
    let high = Window {
        columns: 40,
        rows: 14,
    };
    let shown = texts(&trace, 100, high, false);
    assert_eq!(shown.len(), 13);
    assert_eq!(shown[7], " => => # 7");
    assert!(shown[11].starts_with(" => [29/32] COPY "), "{shown:?}");
    assert_eq!(texts(&trace, 100, low, true).len(), 31);
}

#[test]
fn wide_names_are_cut_where_they_fit() {
    let mut trace = Trace::default();
    trace.update(Status {
        vertexes: vec![running("1", "[1/1] RUN echo 日本語日本語日本語", 0)],
        ..Status::default()
    });
    for width in 12..60 {
        let window = Window {
            columns: width,
            rows: 9,
        };
        let mut terminal = Emulator::new(width, 9);
        let rows = rows(&trace, &Palette::none(), at(100), window, false);
        terminal.write(&Canvas::default().over(rows, window));
    }
    let window = Window { columns: 31, rows: 9 };
    assert_eq!(
        texts(&trace, 100, window, false)[1],
        " => [1/1] RUN echo 日本語 0.1s"
    );
}

/// Something that happens to a build on a screen.
#[derive(Debug, Clone)]
enum Step {
    Start(usize, String),
    Write(usize, String),
    Move(usize, usize, i64),
    End(usize, bool),
    Resize(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..9_usize, "(\\PC|日|é|e\u{301}){0,60}").prop_map(|(n, name)| Step::Start(n, name)),
        (
            0..9_usize,
            "([a-z日\r\n\t]|\x1b\\[[0-9]{0,2}[ABKHJm]|🚀|e\u{301}){0,40}"
        )
            .prop_map(|(n, text)| Step::Write(n, text)),
        (0..9_usize, 0..4_usize, 0..3_000_000_i64).prop_map(|(n, id, current)| Step::Move(n, id, current)),
        (0..9_usize, any::<bool>()).prop_map(|(n, failed)| Step::End(n, failed)),
        (8..100_usize, 2..30_usize).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
    ]
}

proptest! {
    #[test]
    fn drawing_never_leaves_its_rows(steps in proptest::collection::vec(step(), 1..60), columns in 8..100_usize) {
        let mut window = Window { columns, rows: 24 };
        let mut terminal = Emulator::new(window.columns, window.rows);
        terminal.write("$ mica build .\n");
        let (mut trace, mut canvas) = (Trace::default(), Canvas::default());
        let palette = Palette::of(|_| String::new());
        let mut names = vec![String::new(); 9];
        for (time, step) in (0..).zip(steps) {
            let mut status = Status::default();
            match step {
                Step::Start(n, name) => {
                    // the terminal of these tests knows no other marks
                    names[n] = name.chars().filter(|c| u32::from(*c) < 0x370 || "日語🚀".contains(*c)).collect();
                    status.vertexes.push(running(&n.to_string(), &format!("[{n}/9] {}", names[n]), time));
                }
                Step::Write(n, text) => status.logs.push(log(&n.to_string(), &text)),
                Step::Move(n, id, current) => {
                    status.statuses.push(part(&n.to_string(), &id.to_string(), current, 5_000_000, None));
                }
                Step::End(n, failed) => {
                    let error = if failed { "no" } else { "" };
                    status.vertexes.push(Vertex {
                        error: error.into(),
                        ..done(&n.to_string(), &format!("[{n}/9] {}", names[n]), 0, time)
                    });
                }
                Step::Resize(columns, rows) => {
                    window = Window { columns, rows };
                    terminal.resize(columns, rows);
                }
            }
            trace.update(status);
            let rows = rows(&trace, &palette, at(time), window, false);
            prop_assert!(rows.len() <= window.height().max(1), "{} rows", rows.len());
            terminal.write(&canvas.over(rows, window));
            prop_assert!(terminal.is_cursor_shown() && terminal.column() == 0);
        }
        trace.cancel(at(100));
        let last = rows(&trace, &palette, at(100), window, true);
        terminal.write(&canvas.over(last.clone(), window));
        let shown = terminal.text();
        let count = shown.lines().count();
        // the end is whole
        for (row, text) in last.iter().rev().zip(shown.lines().rev()) {
            prop_assert_eq!(crate::row::cut(&row.text, window.width()).trim_end(), text);
        }
        prop_assert!(count >= last.len());
    }
}
