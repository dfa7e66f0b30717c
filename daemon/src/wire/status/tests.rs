use super::*;
use mica_oci::ImageId;
use mica_task::PlannedStep;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
}

fn place(stage: u32, number: u32, base: Option<&str>) -> StagePlace {
    StagePlace {
        platform: None,
        stage,
        name: None,
        number,
        count: 3,
        base: base.map(str::to_owned),
    }
}

fn started(step: StepId, name: &str, place: Option<StagePlace>) -> Event {
    Event::Started {
        step,
        position: Some((step, 9)),
        name: name.to_owned(),
        place,
    }
}

fn done(step: StepId, cached: bool) -> Event {
    Event::Done {
        step,
        cached,
        state: "0123456789ab".into(),
    }
}

fn failed(step: StepId, reason: &str) -> Event {
    Event::Failed {
        step,
        reason: reason.to_owned(),
    }
}

fn image(name: &str) -> Chore {
    Chore::Image { name: name.into() }
}

fn begun(chore: Chore) -> Event {
    Event::Begun { chore }
}

fn ended(chore: Chore, failure: Option<&str>) -> Event {
    Event::Ended {
        chore,
        failure: failure.map(str::to_owned),
    }
}

fn layer(name: &str, digest: &[u8], state: LayerState) -> Event {
    Event::Transfer {
        image: name.to_owned(),
        event: TransferEvent::Layer {
            digest: Digest::of(digest),
            state,
        },
    }
}

fn found(name: &str) -> Event {
    Event::Transfer {
        image: name.to_owned(),
        event: TransferEvent::Found {
            repository: name.parse::<mica_oci::Reference>().unwrap().repository,
            which: "latest".into(),
            digest: Digest::of(b"manifest"),
        },
    }
}

/// What is told of vertices in one line each, in order: `name: +` for a start, `-` for an end.
fn told(events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let mut vertices = Vertices::new(1);
    let mut lines = Vec::new();
    let mut names = BTreeMap::new();
    let mut all: Vec<Status> = (0..)
        .zip(events)
        .map(|(time, event)| vertices.event(event, at(time)))
        .collect();
    all.push(vertices.close(at(1000)));
    for status in all {
        for vertex in status.vertexes {
            names.insert(vertex.digest.clone(), vertex.name.clone());
            lines.push(match (vertex.started, vertex.completed) {
                (None, _) => format!("{}: planned", vertex.name),
                (Some(_), None) => format!("{}: +", vertex.name),
                _ if !vertex.error.is_empty() => format!("{}: - {}", vertex.name, vertex.error),
                _ if vertex.cached => format!("{}: - cached", vertex.name),
                _ => format!("{}: -", vertex.name),
            });
        }
        for part in status.statuses {
            let end = if part.completed.is_some() { " done" } else { "" };
            lines.push(format!("  {} {}/{}{end}", part.id, part.current, part.total));
        }
        for log in status.logs {
            lines.push(format!(
                "  {} {}",
                log.stream,
                String::from_utf8_lossy(&log.data).trim_end()
            ));
        }
    }
    lines
}

#[test]
fn a_small_build_reads_as_buildkit_s() {
    let id = ImageId(Digest::of(b""));
    let definition = Chore::Definition {
        file: "Dockerfile".into(),
    };
    let lines = told([
        begun(definition.clone()),
        Event::Moved {
            chore: definition.clone(),
            what: "transferring dockerfile:".into(),
            current: 50,
            total: None,
        },
        ended(definition, None),
        begun(Chore::Ignore),
        ended(Chore::Ignore, None),
        Event::Planned {
            steps: vec![PlannedStep {
                step: 2,
                name: "RUN a".into(),
                place: place(0, 2, None),
            }],
        },
        started(1, "FROM x", Some(place(0, 1, Some("x")))),
        begun(image("x")),
        ended(image("x"), None),
        done(1, false),
        started(2, "RUN a", Some(place(0, 2, None))),
        Event::Note {
            step: Some(2),
            text: "runs because".into(),
        },
        Event::Log {
            step: 2,
            stream: Stream::Stdout,
            bytes: b"hi\n".to_vec(),
        },
        done(2, false),
        started(3, "ENV a=b", None),
        done(3, false),
        started(4, "COPY a b", Some(place(0, 3, None))),
        done(4, true),
        begun(Chore::Export),
        Event::Built { image: id },
        Event::Tagged {
            reference: "y:1".parse().unwrap(),
        },
        ended(Chore::Export, None),
    ]);
    let image = format!("  writing image {id}");
    assert_eq!(
        lines,
        [
            "[internal] load build definition from Dockerfile: +",
            "  transferring dockerfile: 50/0",
            "[internal] load build definition from Dockerfile: -",
            "  transferring dockerfile: 50/0 done",
            "[internal] load .dockerignore: +",
            "[internal] load .dockerignore: -",
            "[2/3] RUN a: planned",
            "[internal] load metadata for docker.io/library/x:latest: +",
            "[internal] load metadata for docker.io/library/x:latest: -",
            "[1/3] FROM docker.io/library/x:latest: +",
            "[1/3] FROM docker.io/library/x:latest: - cached",
            "[2/3] RUN a: +",
            "  2 runs because",
            "  1 hi",
            "[2/3] RUN a: -",
            "[3/3] COPY a b: +",
            "[3/3] COPY a b: - cached",
            "exporting to image: +",
            "  exporting layers 0/0",
            "  exporting layers 0/0",
            "  exporting layers 0/0 done",
            &format!("{image} 0/0"),
            &format!("{image} 0/0 done"),
            "  naming to docker.io/library/y:1 0/0",
            "  naming to docker.io/library/y:1 0/0 done",
            "exporting to image: -",
        ]
    );
}

#[test]
fn layers_are_parts_of_their_from() {
    let digest = Digest::of(b"manifest");
    let layers = Digest::of(b"1");
    let from = format!("[1/3] FROM docker.io/library/x:latest@{digest}");
    let lines = told([
        started(1, "FROM x", Some(place(0, 1, Some("x")))),
        begun(image("x")),
        found("x"),
        layer("x", b"1", LayerState::Wanted),
        layer(
            "x",
            b"1",
            LayerState::Fetching {
                current: 5,
                total: 10,
            },
        ),
        layer("x", b"1", LayerState::Fetched),
        layer("x", b"1", LayerState::Done),
        ended(image("x"), None),
        done(1, false),
    ]);
    assert_eq!(
        lines,
        [
            "[internal] load metadata for docker.io/library/x:latest: +".to_owned(),
            "[internal] load metadata for docker.io/library/x:latest: -".to_owned(),
            format!("{from}: +"),
            format!("  resolve docker.io/library/x:latest@{digest} 0/0"),
            format!("  resolve docker.io/library/x:latest@{digest} 0/0 done"),
            format!("  {layers} 0/0"),
            format!("  {layers} 5/10"),
            format!("  {layers} 10/10 done"),
            format!("{from}: -"),
        ]
    );
}

#[test]
fn layers_of_an_image_that_no_from_names_have_a_vertex() {
    let digest = Digest::of(b"manifest");
    let lines = told([
        started(1, "COPY --from=x a b", Some(place(0, 1, None))),
        begun(image("x")),
        found("x"),
        layer("x", b"1", LayerState::Wanted),
        ended(image("x"), None),
        done(1, false),
    ]);
    let own = format!("FROM docker.io/library/x:latest@{digest}");
    assert_eq!(lines[3], format!("{own}: +"));
    assert_eq!(lines[7], format!("{own}: -"), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "[1/3] COPY --from=x a b: -");
}

#[test]
fn what_fails_says_why_and_the_rest_is_stopped() {
    let lines = told([
        started(1, "FROM x", Some(place(0, 1, Some("x")))),
        started(2, "RUN a", Some(place(1, 2, None))),
        started(3, "RUN b", Some(place(2, 2, None))),
        begun(image("x")),
        failed(3, "it broke"),
        failed(2, ""),
        ended(image("x"), Some("no such image")),
        failed(1, "no such image"),
    ]);
    assert_eq!(
        lines[3..],
        [
            "[2/3] RUN b: - it broke",
            "[2/3] RUN a: - context canceled",
            "[internal] load metadata for docker.io/library/x:latest: - no such image",
        ],
        "the FROM never began"
    );
}

#[test]
fn findings_have_lines_and_others_do_not() {
    let mut vertices = Vertices::new(1);
    let finding = Finding {
        file: "Dockerfile".into(),
        lines: (3, 4),
        detail: "what it is about".into(),
        url: "https://x".into(),
    };
    let status = vertices.event(
        Event::Warning {
            text: "Rule: look (line 3)".into(),
            line: Some(3),
            finding: Some(Box::new(finding)),
        },
        at(0),
    );
    let warning = &status.warnings[0];
    assert_eq!(warning.short, b"Rule: look (line 3)");
    assert_eq!((warning.range[0].start.line, warning.range[0].end.line), (3, 4));
    assert_eq!(warning.source_info.as_ref().unwrap().filename, "Dockerfile");
    let warning = vertices.warning("plain".into()).warnings.remove(0);
    assert!(warning.range.is_empty() && warning.url.is_empty() && warning.level == 1);
}

#[test]
fn a_second_pass_has_vertices_of_its_own() {
    let mut vertices = Vertices::new(1);
    let mut digests = BTreeSet::new();
    for _ in 0..2 {
        for event in [started(1, "RUN a", Some(place(0, 1, None))), done(1, false)] {
            digests.extend(
                vertices
                    .event(event, at(0))
                    .vertexes
                    .into_iter()
                    .map(|vertex| vertex.digest),
            );
        }
    }
    assert_eq!(digests.len(), 2);
}

/// Events in any order, sensible or not.
fn event() -> impl Strategy<Value = Event> {
    let names = prop_oneof![Just("x"), Just("y/z:1")];
    let chores = prop_oneof![
        Just(Chore::Ignore),
        Just(Chore::Context),
        Just(Chore::Export),
        names.clone().prop_map(image),
    ];
    let failure = prop_oneof![Just(None), Just(Some("")), Just(Some("it broke"))];
    let state = prop_oneof![
        Just(LayerState::Wanted),
        Just(LayerState::Fetched),
        (0..9_u64).prop_map(|current| LayerState::Fetching { current, total: 9 }),
        Just(LayerState::Done),
    ];
    let base = prop_oneof![Just(None), names.clone().prop_map(Some)];
    let steps = prop_oneof![
        (0..6_u32, 0..3_u32, base, any::<bool>()).prop_map(|(step, stage, base, has_place)| {
            started(step, "RUN", has_place.then(|| place(stage, step, base)))
        }),
        (0..6_u32, any::<bool>()).prop_map(|(step, cached)| done(step, cached)),
        (0..6_u32, prop_oneof![Just(""), Just("it broke")]).prop_map(|(step, reason)| failed(step, reason)),
        (0..6_u32).prop_map(|step| Event::Log {
            step,
            stream: Stream::Stderr,
            bytes: b"x".to_vec()
        }),
        (0..6_u32, 0..9_u64).prop_map(|(step, current)| Event::Progress {
            step,
            what: "https://x".into(),
            current,
            total: Some(9),
        }),
    ];
    let beside = prop_oneof![
        chores.clone().prop_map(begun),
        (chores.clone(), failure).prop_map(|(chore, failure)| ended(chore, failure)),
        (chores, 0..9_u64).prop_map(|(chore, current)| Event::Moved {
            chore,
            what: "context:".into(),
            current,
            total: None,
        }),
        names.clone().prop_map(found),
        (names, 0..2_u8, state).prop_map(|(name, digest, state)| layer(name, &[digest], state)),
        Just(Event::Note {
            step: None,
            text: "so".into()
        }),
    ];
    prop_oneof![steps, beside]
}

proptest! {
    #[test]
    fn all_that_starts_completes_once(events in proptest::collection::vec(event(), 0..80), cut in 0..80_usize) {
        let mut vertices = Vertices::new(7);
        let mut all = Vec::new();
        for (time, event) in (0..).zip(events.into_iter().take(cut)) {
            all.push(vertices.event(event, at(time)));
        }
        all.push(vertices.close(at(1000)));
        let mut open = BTreeMap::new();
        let mut ended = BTreeSet::new();
        let mut parts = BTreeMap::new();
        for status in all {
            for vertex in &status.vertexes {
                prop_assert!(!ended.contains(&vertex.digest), "{vertex:?} had ended");
                let is_new = !open.contains_key(&vertex.digest);
                match (vertex.started, vertex.completed) {
                    (None, _) => prop_assert!(vertex.completed.is_none()),
                    (Some(started), None) => {
                        prop_assert!(is_new, "{vertex:?} started twice");
                        open.insert(vertex.digest.clone(), started);
                    }
                    (Some(started), Some(completed)) => {
                        prop_assert_eq!(open.remove(&vertex.digest), Some(started));
                        prop_assert!(started <= completed);
                        ended.insert(vertex.digest.clone());
                    }
                }
            }
            for part in status.statuses {
                let key = (part.vertex.clone(), part.id.clone());
                let is_known = open.contains_key(&part.vertex) || ended.contains(&part.vertex);
                prop_assert!(is_known && part.started.is_some(), "{part:?}");
                match part.completed {
                    None => drop(parts.insert(key, ())),
                    Some(_) => prop_assert!(parts.remove(&key).is_some(), "{part:?} did not begin"),
                }
            }
            for log in status.logs {
                prop_assert!(open.contains_key(&log.vertex), "{log:?}");
            }
        }
        prop_assert!(open.is_empty(), "{open:?}");
        prop_assert!(parts.is_empty(), "{parts:?}");
    }
}
