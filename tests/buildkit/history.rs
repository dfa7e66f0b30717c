//! What is known of builds after their end.

use mica_buildkit::Method;
use mica_buildkit::message::control::{
    BuildHistoryEvent, BuildHistoryEventKind, BuildHistoryRequest, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse,
};
use mica_tests::{Context, Daemon};
use tonic::Code;

use crate::build::{Build, WAYS, Way, listen};
use crate::client::Client;
use crate::folder::Folder;
use crate::session::Session;
use crate::{LONG, within};

const LISTEN: Method = "/moby.buildkit.v1.Control/ListenBuildHistory";
const UPDATE: Method = "/moby.buildkit.v1.Control/UpdateBuildHistory";

async fn events(client: &Client, request: BuildHistoryRequest) -> Vec<BuildHistoryEvent> {
    let request = BuildHistoryRequest {
        early_exit: true,
        ..request
    };
    let mut events = client.stream(LISTEN, request).await.unwrap();
    let mut found = Vec::new();
    while let Some(event) = within(LONG, events.message()).await.unwrap() {
        found.push(event);
    }
    found
}

#[tokio::test]
async fn a_build_is_known_with_its_log_until_it_is_deleted() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nARG WHERE\nRUN echo said $((40+2))\nRUN exit 3\n");
    for way in WAYS {
        let client = Client::upgraded(&daemon).await;
        let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
        let mut build = Build::new(&session.id)
            .attr("build-arg:WHERE", "https://me:hush@host/")
            .attr("no-cache", "");
        build.request.frontend_attrs = build.attrs.clone();
        let name = build.request.reference.clone();
        let mut follower = client
            .stream::<_, BuildHistoryEvent>(
                LISTEN,
                BuildHistoryRequest {
                    reference: name.clone(),
                    ..Default::default()
                },
            )
            .await
            .unwrap();
        let built = within(LONG, build.run(&client, way)).await;
        let status = built.answer.unwrap_err();

        // whoever listens hears of it
        for kind in [BuildHistoryEventKind::Started, BuildHistoryEventKind::Complete] {
            let event = within(LONG, follower.message()).await.unwrap().unwrap();
            assert_eq!(
                (event.kind(), event.record.unwrap().reference),
                (kind, name.clone())
            );
        }
        let found = events(
            &client,
            BuildHistoryRequest {
                reference: name.clone(),
                ..Default::default()
            },
        )
        .await;
        assert_eq!(found.len(), 1);
        let record = found[0].record.clone().unwrap();
        assert_eq!(found[0].kind(), BuildHistoryEventKind::Complete);
        assert_eq!(record.frontend_attrs["build-arg:WHERE"], "https://host/");
        let error = record.error.unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (status.code().into(), status.message())
        );
        assert!(record.created_at.is_some() && record.completed_at.is_some());
        let told = &built.told;
        let count = |number: usize| i32::try_from(number).unwrap();
        assert_eq!(record.total_steps, count(told.vertices.len()));
        let ended = told.vertices.values().filter(|vertex| vertex.completed.is_some());
        assert_eq!(record.completed_steps, count(ended.count()));

        // what was told of it is told again, as often as it is asked for
        for _ in 0..2 {
            let again = within(LONG, listen(client.clone(), name.clone())).await;
            assert!(again.ended);
            assert_eq!(again.output(), "said 42\n");
            assert_eq!(again.names(), told.names());
            assert!(
                again
                    .vertices
                    .values()
                    .any(|vertex| vertex.error.contains("exit code: 3"))
            );
        }

        let filtered = |text: &str| {
            let request = BuildHistoryRequest {
                filter: vec![text.to_owned()],
                ..Default::default()
            };
            events(&client, request)
        };
        assert!(filtered("status==completed").await.is_empty());
        assert_eq!(filtered(&format!("status==error,ref~={name}")).await.len(), 1);

        let delete = UpdateBuildHistoryRequest {
            reference: name.clone(),
            delete: true,
            ..Default::default()
        };
        let _: UpdateBuildHistoryResponse = client.ask(UPDATE, delete.clone()).await.unwrap();
        assert!(events(&client, BuildHistoryRequest::default()).await.is_empty());
        let gone = client.ask::<_, UpdateBuildHistoryResponse>(UPDATE, delete).await;
        assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_build_that_goes_on_is_known_and_one_of_no_user_s_is_not() {
    let daemon = Daemon::start();
    let client = Client::upgraded(&daemon).await;
    let context = Context::with_shell("FROM base\nRUN echo begun; sleep 100\n");
    let session = Session::of(&Folder::of(context.path())).attach(&daemon).await;
    let build = Build::new(&session.id);
    let name = build.request.reference.clone();
    let mut quiet = Build::new(&session.id);
    quiet.request.internal = true;
    let building = [build, quiet].map(|build| {
        let client = client.clone();
        tokio::spawn(async move { build.run(&client, Way::Direct).await })
    });
    let running = loop {
        let request = BuildHistoryRequest {
            active_only: true,
            ..Default::default()
        };
        let found = events(&client, request).await;
        // it is counted once its RUN has begun
        if found
            .iter()
            .any(|event| event.record.as_ref().unwrap().total_steps > 2)
        {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(running.len(), 1, "{running:?}");
    assert_eq!(running[0].kind(), BuildHistoryEventKind::Started);
    assert_eq!(running[0].record.as_ref().unwrap().reference, name);
    client.vanish();
    for one in building {
        assert!(within(LONG, one).await.unwrap().answer.is_err());
    }
    let other = Client::upgraded(&daemon).await;
    let ended = loop {
        let found = events(&other, BuildHistoryRequest::default()).await;
        if found
            .iter()
            .all(|event| event.kind() == BuildHistoryEventKind::Complete)
        {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let record = ended[0].record.as_ref().unwrap();
    assert_eq!(record.error.as_ref().unwrap().code, i32::from(Code::Cancelled));
    assert_eq!(ended.len(), 1);
}
