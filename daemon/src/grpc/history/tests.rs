//! What is kept of builds, and how much of it.

use mica_buildkit::message::control::{Vertex, VertexLog};

use super::*;

fn request(name: &str) -> SolveRequest {
    SolveRequest {
        reference: name.to_owned(),
        ..SolveRequest::default()
    }
}

fn begin(history: &History, name: &str) -> Recorder {
    history.begin(Recording::of(&request(name)).unwrap())
}

fn ask(history: &History, request: BuildHistoryRequest) -> Vec<BuildHistoryEvent> {
    let mut events = history.listen(&request).unwrap();
    let mut found = Vec::new();
    while let Some(event) = events.blocking_recv() {
        found.push(event.unwrap());
    }
    found
}

fn all() -> BuildHistoryRequest {
    BuildHistoryRequest {
        early_exit: true,
        ..BuildHistoryRequest::default()
    }
}

async fn names(history: &History, request: BuildHistoryRequest) -> Vec<String> {
    let history = history.clone();
    let events = tokio::task::spawn_blocking(move || {
        let _entered = tokio::runtime::Handle::current().enter();
        ask(&history, request)
    });
    let record = |event: BuildHistoryEvent| event.record.unwrap().reference;
    events.await.unwrap().into_iter().map(record).collect()
}

#[tokio::test]
async fn the_last_builds_are_kept_and_pinned_ones_longer() {
    let history = History::default();
    for number in 0..BUILDS + 5 {
        let recorder = begin(&history, &number.to_string());
        recorder.end(Ok(&SolveResponse::default()));
        if number == 0 {
            history
                .update(&UpdateBuildHistoryRequest {
                    reference: "0".to_owned(),
                    pinned: true,
                    ..UpdateBuildHistoryRequest::default()
                })
                .unwrap();
        }
    }
    let kept = names(&history, all()).await;
    assert_eq!(kept.len(), BUILDS);
    assert_eq!((kept[0].as_str(), kept[BUILDS - 1].as_str()), ("104", "0"));
    let two = names(&history, BuildHistoryRequest { limit: 2, ..all() }).await;
    assert_eq!(two, ["104", "103"]);
}

#[tokio::test]
async fn what_is_told_is_bounded_and_its_end_is_kept() {
    let history = History::default();
    for number in 0..40 {
        let recorder = begin(&history, &number.to_string());
        let recording = recorder.recording.clone();
        for _ in 0..20 {
            recording.take(&StatusResponse {
                logs: vec![VertexLog {
                    msg: vec![b'x'; 100 << 10],
                    ..VertexLog::default()
                }],
                ..StatusResponse::default()
            });
        }
        recording.take(&StatusResponse {
            vertexes: vec![Vertex {
                digest: "last".to_owned(),
                completed: Some(time(Timestamp::now())),
                ..Vertex::default()
            }],
            ..StatusResponse::default()
        });
        recorder.end(Ok(&SolveResponse::default()));
    }
    {
        let known = lock(&history.known);
        let sizes = known.ended.iter().map(|one| lock(&one.record).size);
        assert!(sizes.sum::<usize>() <= ALL_LIMIT && known.ended.len() > 10);
    }
    let mut told = history.told("39").unwrap();
    let mut last = StatusResponse::default();
    let mut size = 0;
    while let Some(message) = told.recv().await {
        size += message.encoded_len();
        last = message;
    }
    assert!(size <= TOLD_LIMIT + ENDS_LIMIT && size > TOLD_LIMIT / 2);
    assert_eq!(last.vertexes[0].digest, "last");
}

#[tokio::test]
async fn one_that_goes_on_is_followed_and_one_that_is_dropped_was_cancelled() {
    let history = History::default();
    let recorder = begin(&history, "a");
    let mut told = history.told("a").unwrap();
    let step = StatusResponse {
        vertexes: vec![Vertex {
            digest: "d".to_owned(),
            cached: true,
            ..Vertex::default()
        }],
        ..StatusResponse::default()
    };
    recorder.recording.clone().take(&step);
    assert_eq!(told.recv().await.unwrap(), step);
    let mut events = history
        .listen(&BuildHistoryRequest {
            active_only: true,
            ..BuildHistoryRequest::default()
        })
        .unwrap();
    assert_eq!(
        events.recv().await.unwrap().unwrap().kind(),
        BuildHistoryEventKind::Started
    );
    drop(recorder);
    assert_eq!(told.recv().await, None);
    let end = events.recv().await.unwrap().unwrap();
    assert_eq!(end.kind(), BuildHistoryEventKind::Complete);
    let record = end.record.unwrap();
    assert_eq!(record.error.unwrap().code, i32::from(Code::Cancelled));
    assert_eq!(
        (record.total_steps, record.cached_steps, record.completed_steps),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn deleted_builds_are_gone_even_if_they_went_on() {
    let history = History::default();
    let delete = |name: &str| {
        history.update(&UpdateBuildHistoryRequest {
            reference: name.to_owned(),
            delete: true,
            ..UpdateBuildHistoryRequest::default()
        })
    };
    assert_eq!(delete("a").unwrap_err().code(), Code::NotFound);
    let (first, second) = (begin(&history, "a"), begin(&history, "b"));
    first.end(Ok(&SolveResponse::default()));
    delete("a").unwrap();
    delete("b").unwrap();
    drop(second);
    assert!(names(&history, all()).await.is_empty());
    assert!(history.told("a").is_none());
}

#[test]
fn credentials_in_addresses_are_not_kept() {
    for (text, kept) in [
        ("https://me:hush@host/x.git#main", "https://host/x.git#main"),
        ("https://token@host", "https://host"),
        (
            "docker-image://host/x@sha256:12",
            "docker-image://host/x@sha256:12",
        ),
        ("oci-layout://store@sha256:12", "oci-layout://store@sha256:12"),
        ("http://a:b@p:1,http://c:d@q:2", "http://p:1,http://q:2"),
        ("plain text me@host", "plain text me@host"),
    ] {
        assert_eq!(without_credentials(text), kept);
    }
    let mut left = 100;
    let long = HashMap::from([("a".to_owned(), "x".repeat(99)), ("b".to_owned(), "y".to_owned())]);
    assert_eq!(settings(&long, &mut left).len(), 1);
}
