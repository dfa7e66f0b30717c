//! Calls in every order, and calls that make no sense: clients send several at once and nothing says which arrives first.

use std::time::{Duration, Instant};

use mica_buildkit::message::control::{
    HealthRequest, HealthResponse, InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse,
    SolveResponse, StatusRequest, StatusResponse,
};
use mica_buildkit::message::gateway::{
    self, EvaluateRequest, EvaluateResponse, PingRequest, PongResponse, ReturnRequest, ReturnResponse,
};
use mica_buildkit::message::solver;
use mica_tests::{Context, Daemon};
use tonic::Code;

use crate::build::{
    BRIDGE_SOLVE, Build, EVALUATE, PING, RETURN, SOLVE, STATUS, Way, listen, name_of, result_of,
};
use crate::client::{Client, dial};
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, fresh, within};

fn labelled() -> Folder {
    Folder::with("FROM scratch\nLABEL a=b\n")
}

#[tokio::test]
async fn the_daemon_says_what_it_is() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let workers: ListWorkersResponse = client
        .ask("/moby.buildkit.v1.Control/ListWorkers", ListWorkersRequest {})
        .await
        .unwrap();
    let [worker] = &workers.record[..] else {
        panic!("{workers:?}");
    };
    // the label that would make clients ask for what is not there
    let label = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";
    assert!(!worker.labels.contains_key(label) && worker.platforms[0].os == "linux");
    let info: InfoResponse = client
        .ask("/moby.buildkit.v1.Control/Info", InfoRequest {})
        .await
        .unwrap();
    assert_eq!(info.version.unwrap().package, "mica");
    let health: HealthResponse = client
        .ask("/grpc.health.v1.Health/Check", HealthRequest::default())
        .await
        .unwrap();
    assert_eq!(health.status, 1);
}

#[tokio::test]
async fn status_and_bridge_may_come_before_their_build() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&labelled()).attach(&daemon).await;
    let build = Build::new(&session.id).name("early:1");
    let name = build.request.reference.clone();
    let telling = tokio::spawn(listen(client.clone(), name.clone()));
    let bridging = {
        let (client, build, name) = (client.clone(), build.clone(), name.clone());
        tokio::spawn(async move {
            let _: PongResponse = client.bridge(PING, &name, PingRequest {}).await.unwrap();
            let answer = client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await.unwrap();
            let returned = result_of(&name_of(answer));
            let _: ReturnResponse = client.bridge(RETURN, &name, returned).await.unwrap();
        })
    };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let solved: SolveResponse = within(LONG, client.ask(SOLVE, build.request)).await.unwrap();
    bridging.await.unwrap();
    let told = telling.await.unwrap();
    assert!(told.ended && !told.vertices.is_empty());
    assert!(
        solved
            .exporter_response
            .contains_key("containerimage.config.digest")
    );
}

#[tokio::test]
async fn a_session_may_be_three_seconds_late() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&labelled());
    let build = Build::new(&session.id);
    let building = tokio::spawn({
        let client = client.clone();
        async move { build.run(&client, Way::Direct).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _session = session.attach(&daemon).await;
    within(LONG, building).await.unwrap().ok();
}

#[tokio::test]
async fn what_never_comes_is_not_found_within_seconds() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let began = Instant::now();
    let solve = client.ask::<_, SolveResponse>(SOLVE, Build::new("nobody").direct());
    let status = async {
        let request = StatusRequest {
            reference: "nothing".to_owned(),
        };
        match client.stream::<_, StatusResponse>(STATUS, request).await {
            // the refusal may come instead of the first message
            Ok(mut messages) => messages.message().await.unwrap_err(),
            Err(status) => status,
        }
    };
    let ping = client.bridge::<_, PongResponse>(PING, "nothing", PingRequest {});
    let (solve, status, ping) = tokio::join!(solve, status, ping);
    let solve = solve.unwrap_err();
    assert_eq!(solve.code(), Code::NotFound, "{solve:?}");
    assert!(solve.message().contains("nobody"), "{solve:?}");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert_eq!(ping.unwrap_err().code(), Code::NotFound);
    let took = began.elapsed();
    assert!((4..30).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn a_session_inside_the_connection_is_as_good() {
    let daemon = Daemon::start();
    let client = Client::plain(&daemon).await;
    let context = Context::with_shell("FROM base\nRUN echo inside\n");
    let session = Session::of(&Folder::of(context.path())).tunnel(&client).await;
    let built = within(LONG, Build::new(&session.id).run(&client, Way::Gateway)).await;
    assert_eq!(built.ok().told.output(), "inside\n");
}

#[tokio::test]
async fn a_name_is_one_builds_at_a_time() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&labelled()).attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let waiting = tokio::spawn({
        let (client, request) = (client.clone(), build.request.clone());
        async move { client.ask::<_, SolveResponse>(SOLVE, request).await }
    });
    let _: PongResponse = client.bridge(PING, &name, PingRequest {}).await.unwrap();
    let second = client.ask::<_, SolveResponse>(SOLVE, build.request.clone()).await;
    assert_eq!(second.unwrap_err().code(), Code::AlreadyExists);
    // the first is none the worse
    let _: ReturnResponse = client.bridge(RETURN, &name, result_of("")).await.unwrap();
    within(LONG, waiting).await.unwrap().unwrap();
    // and the name is free again
    within(LONG, build.run(&client, Way::Direct)).await.ok();
    let unnamed = Build::new(&session.id).direct();
    let unnamed = mica_buildkit::message::control::SolveRequest {
        reference: String::new(),
        ..unnamed
    };
    let refused = client.ask::<_, SolveResponse>(SOLVE, unnamed).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

/// What a build says whose client returns this.
async fn returned(client: &Client, returned: ReturnRequest) -> tonic::Status {
    let build = Build::new("");
    let name = build.request.reference.clone();
    let solving = client.ask::<_, SolveResponse>(SOLVE, build.request);
    let returning = client.bridge::<_, ReturnResponse>(RETURN, &name, returned);
    let (solved, _) = within(LONG, async { tokio::join!(solving, returning) }).await;
    solved.unwrap_err()
}

#[tokio::test]
async fn what_a_client_returns_is_what_its_build_says() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let detail = solver::Any {
        type_url: "mine.Own".to_owned(),
        value: b"detail".to_vec(),
    };
    let error = solver::Status {
        code: Code::ResourceExhausted.into(),
        message: "no more of it".to_owned(),
        details: vec![detail],
    };
    let failed = returned(
        &client,
        ReturnRequest {
            result: None,
            error: Some(error),
        },
    )
    .await;
    assert_eq!(
        (failed.code(), failed.message()),
        (Code::ResourceExhausted, "no more of it")
    );
    assert!(String::from_utf8_lossy(failed.details()).contains("mine.Own"));

    let unknown = returned(&client, result_of("0123abcd")).await;
    assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");

    // a code that is none, and "ok" as the code of an error, are errors all the same
    for code in [0, 99, -5] {
        let error = solver::Status {
            code,
            message: "strange".to_owned(),
            details: Vec::new(),
        };
        let failed = returned(
            &client,
            ReturnRequest {
                result: None,
                error: Some(error),
            },
        )
        .await;
        assert_ne!(failed.code(), Code::Ok);
        assert_eq!(failed.message(), "strange");
    }
}

#[tokio::test]
async fn what_is_returned_first_counts_and_only_what_the_build_made() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&labelled()).attach(&daemon).await;
    let begin = |build: &Build| {
        let (client, request) = (client.clone(), build.request.clone());
        tokio::spawn(async move { client.ask::<_, SolveResponse>(SOLVE, request).await })
    };
    let error = || ReturnRequest {
        result: None,
        error: Some(solver::Status {
            code: Code::Aborted.into(),
            message: "not good enough".to_owned(),
            details: Vec::new(),
        }),
    };
    // an error after a solve that went well
    let build = Build::new(&session.id).name("made:1");
    let name = build.request.reference.clone();
    let solving = begin(&build);
    let image = name_of(client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await.unwrap());
    let _: ReturnResponse = client.bridge(RETURN, &name, error()).await.unwrap();
    let failed = within(LONG, solving).await.unwrap().unwrap_err();
    assert_eq!(
        (failed.code(), failed.message()),
        (Code::Aborted, "not good enough")
    );
    assert_eq!(daemon.mica(["images", "-q", "made"]).ok().text(), "");

    // twice: the second finds the build over, or is passed over
    let build = Build::new(&session.id).name("made:2");
    let name = build.request.reference.clone();
    let solving = begin(&build);
    let own = name_of(client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await.unwrap());
    assert_eq!(own, image, "the same Dockerfile");
    let first = client.bridge::<_, ReturnResponse>(RETURN, &name, result_of(&own));
    let second = client.bridge::<_, ReturnResponse>(RETURN, &name, error());
    first.await.unwrap();
    if let Err(status) = second.await {
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
    let solved = within(LONG, solving).await.unwrap().unwrap();
    assert!(solved.exporter_response["containerimage.config.digest"].contains(&own));

    // what another build made
    let build = Build::new(&session.id).name("made:3");
    let name = build.request.reference.clone();
    let solving = begin(&build);
    let _: ReturnResponse = client.bridge(RETURN, &name, result_of(&image)).await.unwrap();
    let failed = within(LONG, solving).await.unwrap().unwrap_err();
    assert_eq!(failed.code(), Code::NotFound, "{failed:?}");
    assert_eq!(daemon.mica(["images", "-q", "made:3"]).ok().text(), "");
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let began = Instant::now();
    let lonely = client
        .ask::<_, PongResponse>(PING, PingRequest {})
        .await
        .unwrap_err();
    assert_eq!(lonely.code(), Code::InvalidArgument, "{lonely:?}");
    assert!(lonely.message().contains("buildkit-controlapi-buildid"));
    for method in [
        "/moby.buildkit.v1.Control/Nothing",
        "/moby.buildkit.v1.frontend.LLBBridge/NewContainer",
        "/a.b/C",
        "/",
    ] {
        let unknown = client.ask::<_, PongResponse>(method, PingRequest {}).await;
        assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented, "{method}");
    }
    let session = Session::of(&labelled()).attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let solving = tokio::spawn({
        let (client, request) = (client.clone(), build.request.clone());
        async move { client.ask::<_, SolveResponse>(SOLVE, request).await }
    });
    let solve = |change: &dyn Fn(&mut gateway::SolveRequest)| {
        let mut request = build.bridged();
        change(&mut request);
        client.bridge::<_, gateway::SolveResponse>(BRIDGE_SOLVE, &name, request)
    };
    let other = solve(&|request| request.frontend = "nix.v0".to_owned())
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::Unimplemented, "{other:?}");
    let plan = solve(&|request| {
        request.frontend.clear();
        request.definition = Some(solver::Definition {
            def: vec![b"llb".to_vec()],
            ..solver::Definition::default()
        });
    })
    .await;
    assert_eq!(plan.unwrap_err().code(), Code::Unimplemented);
    let nothing = solve(&|request| request.frontend.clear()).await.unwrap();
    assert_eq!(name_of(nothing), "");
    for (key, value) in [
        ("platform", "linux/amd64,not a platform/"),
        ("platform", "not a platform/"),
        ("shm-size", "much"),
        ("ulimit", "x"),
        ("add-hosts", "x"),
        ("force-network-mode", "carrier pigeon"),
        ("context:x", "oci-layout://x@sha256:00"),
    ] {
        let refused = solve(&|request| {
            request.frontend_opt.insert(key.to_owned(), value.to_owned());
        })
        .await
        .unwrap_err();
        assert!(
            matches!(refused.code(), Code::InvalidArgument | Code::Unimplemented),
            "{key}={value}: {refused:?}"
        );
    }
    let evaluate = EvaluateRequest {
        reference: "0123".to_owned(),
    };
    let unknown = client
        .bridge::<_, EvaluateResponse>(EVALUATE, &name, evaluate)
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    // and after all that the build goes on
    let image = name_of(solve(&|_| {}).await.unwrap());
    let evaluate = EvaluateRequest {
        reference: image.clone(),
    };
    let _: EvaluateResponse = client.bridge(EVALUATE, &name, evaluate).await.unwrap();
    let _: ReturnResponse = client.bridge(RETURN, &name, result_of(&image)).await.unwrap();
    within(LONG, solving).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));

    let refused = client
        .ask::<_, SolveResponse>(SOLVE, Build::new("").to("nothing").direct())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("nothing"), "{refused:?}");
    let bad = Build::new("").name("Not A Name").direct();
    let refused = client.ask::<_, SolveResponse>(SOLVE, bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn several_listen_and_all_are_told() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&labelled()).attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let others: Vec<_> = (0..3)
        .map(|_| tokio::spawn(listen(client.clone(), name.clone())))
        .collect();
    let solved = within(LONG, client.ask::<_, SolveResponse>(SOLVE, build.direct())).await;
    solved.unwrap();
    let mut told = 0;
    for other in others {
        told += u32::from(within(LONG, other).await.unwrap().ended);
    }
    assert_eq!(told, 3);
}

#[tokio::test]
async fn an_upgrade_has_to_be_asked_for_as_it_should() {
    let daemon = Daemon::start();
    let header = |name: &str, value: String| (name.to_owned(), value);
    let (answer, _) = dial(&daemon, "/session", &[]).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 "),
        "a session without a name: {answer}"
    );
    let id = header("X-Docker-Expose-Session-Uuid", fresh());
    let (answer, _) = dial(&daemon, "/session", std::slice::from_ref(&id)).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("upgrade: h2c"), "{answer}");
    // with the version in front as well
    let (answer, _) = dial(&daemon, "/v1.44/grpc", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[tokio::test]
async fn a_preface_may_come_with_the_head() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let daemon = Daemon::start();
    let mut stream = tokio::net::UnixStream::connect(daemon.socket()).await.unwrap();
    let head = b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(&[&head[..], preface].concat()).await.unwrap();
    let answer = crate::client::read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // the daemon's own settings are the first frame it sends
    let mut frame = [0; 9];
    within(LONG, stream.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame[3], 4, "{frame:?}");
}
