//! Clients that go away, and a daemon that does.

use std::time::{Duration, Instant};

use mica_buildkit::message::control::{
    PruneRequest, SolveResponse, StatusRequest, StatusResponse, UsageRecord,
};
use mica_buildkit::message::gateway;
use mica_tests::{Context, Daemon, Options};
use tonic::Code;

use crate::build::{BRIDGE_SOLVE, Build, SOLVE, STATUS, WAYS, Way, listen};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

/// How long a build may go on that nobody wants.
const STOPPED: Duration = Duration::from_secs(20);

/// A context whose RUN sleeps for a number of seconds that tells its processes from all others.
pub(crate) fn sleeping(daemon: &Daemon) -> (Context, String) {
    let mark = format!("87{}", daemon.pid());
    let context = Context::with_shell(&format!(
        "FROM base\nRUN (setsid sleep {mark} &); echo started; trap '' TERM INT; sleep {mark}\n"
    ));
    (context, mark)
}

fn processes(mark: &str) -> usize {
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ending = format!("\0{mark}\0");
    processes
        .filter(|process| {
            std::fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).ends_with(&ending))
        })
        .count()
}

pub(crate) async fn until(mark: &str, wanted: usize, time: Duration) {
    let began = Instant::now();
    while processes(mark) != wanted {
        assert!(
            began.elapsed() < time,
            "{} processes, expected {wanted}",
            processes(mark)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_session_that_vanishes_takes_its_build_along() {
    let daemon = Daemon::start();
    for way in WAYS {
        let (context, mark) = sleeping(&daemon);
        let client = Client::upgraded(&daemon).await;
        let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
        let building = tokio::spawn({
            let (client, build) = (client.clone(), Build::new(&session.id));
            async move { build.run(&client, way).await }
        });
        until(&mark, 2, LONG).await;
        drop(session);
        let built = within(STOPPED, building).await.unwrap();
        built.failure(Code::Cancelled);
        assert!(built.told.ended, "{way:?}: the end was not told");
        until(&mark, 0, STOPPED).await;
    }
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_build_along() {
    let daemon = Daemon::start();
    let context = sleeping(&daemon);
    for way in WAYS {
        for tunnel in [false, true] {
            let (context, mark) = &context;
            let client = match tunnel {
                false => Client::upgraded(&daemon).await,
                true => Client::plain(&daemon).await,
            };
            let session = Session::of(&Folder::of(context.path()));
            let session = match tunnel {
                false => session.attach(&daemon).await,
                true => session.tunnel(&client).await,
            };
            let building = tokio::spawn({
                let (client, build) = (client.clone(), Build::new(&session.id));
                async move { build.run(&client, way).await }
            });
            until(mark, 2, LONG).await;
            client.vanish();
            until(mark, 0, STOPPED).await;
            assert!(within(STOPPED, building).await.unwrap().answer.is_err());
        }
    }
    daemon.mica(["version"]).ok();
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_build_along() {
    let daemon = Daemon::start();
    let (context, mark) = sleeping(&daemon);
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id);
    let telling = tokio::spawn(listen(client.clone(), build.request.reference.clone()));
    let solving = tokio::spawn({
        let client = client.clone();
        async move { client.ask::<_, SolveResponse>(SOLVE, build.direct()).await }
    });
    until(&mark, 2, LONG).await;
    solving.abort();
    until(&mark, 0, STOPPED).await;
    within(STOPPED, telling).await.unwrap();
    // the connection and the session are as good as before
    let labels = Session::of(&Folder::with("FROM scratch\nLABEL a=b\n"))
        .attach(&daemon)
        .await;
    within(LONG, Build::new(&labels.id).run(&client, Way::Gateway))
        .await
        .ok();
}

#[tokio::test]
async fn a_daemon_that_is_told_to_leave_leaves() {
    let mut daemon = Daemon::with(Options::default().settings(r#"{"shutdown-timeout": 1}"#));
    let (context, mark) = sleeping(&daemon);
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let idle = Client::plain(&daemon).await;
    let building = tokio::spawn({
        let build = Build::new(&session.id);
        async move { build.run(&client, Way::Gateway).await }
    });
    until(&mark, 2, LONG).await;
    let began = Instant::now();
    let left = tokio::task::spawn_blocking(move || daemon.stop());
    assert_eq!(within(Duration::from_secs(30), left).await.unwrap(), Some(0));
    println!("left after {:?}", began.elapsed());
    until(&mark, 0, STOPPED).await;
    assert!(within(STOPPED, building).await.unwrap().answer.is_err());
    drop(idle);
}

/// A context whose RUN says a hundred million bytes.
fn loud() -> Context {
    Context::with_shell(
        "FROM base\nRUN yes 0123456789012345678901234567890123456789012345678 | head -c 100000000\n",
    )
}

#[tokio::test]
async fn a_build_that_nobody_listens_to_goes_on() {
    let daemon = Daemon::start();
    let context = loud();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id).direct();
    let began = Instant::now();
    let solved = client.ask::<_, SolveResponse>(SOLVE, build);
    within(LONG, solved).await.unwrap();
    println!(
        "100 MB of output unheard: {:?}, daemon's peak {} MiB",
        began.elapsed(),
        daemon.peak_memory()
    );
    assert!(daemon.peak_memory() < 200, "{} MiB", daemon.peak_memory());
}

#[tokio::test]
async fn a_client_that_listens_and_does_not_read_hurts_only_itself() {
    let daemon = Daemon::start();
    let context = loud();
    let client = Client::upgraded(&daemon).await;
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id);
    let request = StatusRequest {
        reference: build.request.reference.clone(),
    };
    let solving = tokio::spawn({
        let (client, build) = (client.clone(), build.direct());
        async move { client.ask::<_, SolveResponse>(SOLVE, build).await }
    });
    let unread = client.stream::<_, StatusResponse>(STATUS, request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // another client, and another call of the same one, get on
    let other = Client::upgraded(&daemon).await;
    let labels = Session::of(&Folder::with("FROM scratch\nLABEL a=b\n"))
        .attach(&daemon)
        .await;
    for client in [&other, &client] {
        within(LONG, Build::new(&labels.id).run(client, Way::Gateway))
            .await
            .ok();
    }
    println!("peak {} MiB", daemon.peak_memory());
    assert!(daemon.peak_memory() < 200, "{} MiB", daemon.peak_memory());
    // it can be stopped, and once it hangs up the build need not wait for it
    drop(unread);
    within(LONG, solving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_build_whose_output_is_stuck_can_be_left() {
    let daemon = Daemon::start();
    let mark = format!("88{}", daemon.pid());
    let context = Context::with_shell(&format!(
        "FROM base\nRUN sleep {mark} & yes | head -c 100000000\n"
    ));
    for way in WAYS {
        let client = Client::upgraded(&daemon).await;
        let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
        let build = Build::new(&session.id);
        let name = build.request.reference.clone();
        let request = StatusRequest {
            reference: name.clone(),
        };
        let bridging = tokio::spawn({
            let (client, build) = (client.clone(), build.clone());
            async move {
                match way {
                    Way::Direct => Ok(gateway::SolveResponse::default()),
                    Way::Gateway => client.bridge(BRIDGE_SOLVE, &name, build.bridged()).await,
                }
            }
        });
        let solving = tokio::spawn({
            let client = client.clone();
            let request = match way {
                Way::Direct => build.direct(),
                Way::Gateway => build.request,
            };
            async move { client.ask::<_, SolveResponse>(SOLVE, request).await }
        });
        let _unread = client.stream::<_, StatusResponse>(STATUS, request).await.unwrap();
        until(&mark, 1, LONG).await;
        // time for all that waits to be full
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(processes(&mark), 1, "it waits for whoever reads");
        drop(session);
        until(&mark, 0, STOPPED).await;
        let solved = within(Duration::from_secs(10), solving).await.unwrap();
        assert_eq!(solved.unwrap_err().code(), Code::Cancelled);
        let bridged = within(STOPPED, bridging).await.unwrap();
        assert!(way == Way::Direct || bridged.is_err());
    }
}

/// Waits until so many lines of a log tell this of a prune, and gives the last of them.
async fn prune_line(daemon: &Daemon, part: &str, count: usize, patience: Duration) -> String {
    let since = Instant::now();
    loop {
        let log = fs_err::read_to_string(daemon.log()).unwrap();
        let lines = log.lines().filter(|line| line.contains("work=prune"));
        if let Some(line) = lines.filter(|line| line.contains(part)).nth(count - 1) {
            return line.to_owned();
        }
        assert!(since.elapsed() < patience, "no prune {count} with {part:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_prune_that_nobody_waits_for_ends() {
    let daemon = Daemon::with(Options::default().settings(r#"{"log-level": "debug"}"#));
    let context = Context::new("FROM scratch\nCOPY Dockerfile /\nCOPY Dockerfile /f\n");
    daemon.mica(["build", "-q", context.arg()]).ok();
    let path = daemon.root().join("mica/db.sqlite");
    let database = rusqlite::Connection::open(path).unwrap();
    for (way, count) in [("upgraded", 1), ("plain", 2), ("given up", 3)] {
        // what is counted of uses is written, so that only whoever removes something waits now
        daemon.mica(["builder", "du"]).ok();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let client = match way {
            "plain" => Client::plain(&daemon).await,
            _ => Client::upgraded(&daemon).await,
        };
        let pruning = tokio::spawn({
            let client = client.clone();
            let request = PruneRequest {
                all: true,
                ..PruneRequest::default()
            };
            async move {
                let method = "/moby.buildkit.v1.Control/Prune";
                let stream = client.stream::<_, UsageRecord>(method, request).await;
                stream.map(drop)
            }
        });
        prune_line(&daemon, "prune begins", count, LONG).await;
        match way {
            "given up" => pruning.abort(),
            _ => client.vanish(),
        }
        // time for the daemon to notice
        tokio::time::sleep(Duration::from_secs(4)).await;
        database.execute_batch("ROLLBACK").unwrap();
        let line = prune_line(&daemon, "outcome=", count, STOPPED).await;
        assert!(line.contains("outcome=cancelled"), "{way}: {line}");
        // so that there is something for the next one
        daemon.mica(["build", "-q", "--no-cache", context.arg()]).ok();
    }
}
