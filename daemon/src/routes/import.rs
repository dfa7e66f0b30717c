//! `POST /images/create` with `fromSrc`: an image made of a tar of a file system.

use bytes::Bytes;
use hyper::StatusCode;
use mica_api::Message;
use mica_engine::{BodyReader, CancelOnDrop, Error, ImportRequest, blocking};
use mica_oci::Reference;
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::routes::Call;
use crate::routes::registry::text_platform;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, pieces, whole};
use crate::wire::stream::line;
use crate::wire::upload::look_for_room;
use crate::work::Task;

/// The source that means the request's body.
const BODY: &str = "-";

/// How many lines an import from an address tells.
const LINES: usize = 2;

/// Imports, and tells the new image's ID as the last line.
pub(crate) async fn import(call: Call) -> Result<Reply, Failure> {
    let source = call.query.filled("fromSrc").unwrap_or(BODY).to_owned();
    let message = match call.query.filled("message") {
        Some(message) => message.to_owned(),
        None => format!("Imported from {source}"),
    };
    let request = ImportRequest {
        reference: reference(&call)?,
        message,
        changes: call
            .query
            .all("changes")
            .filter(|change| !change.is_empty())
            .map(str::to_owned)
            .collect(),
        platform: text_platform(&call.query)?,
    };
    let told = call
        .daemon
        .work(Task::Import, request.reference.iter().map(Reference::familiar));
    let (daemon, user, name) = (call.daemon.clone(), call.peer.user, request.reference.clone());
    let (engine, busy, cancel) = (call.daemon.engine.clone(), call.busy.clone(), Cancel::new());
    let guard = CancelOnDrop::new(cancel.clone());
    let importing = |input: BodyReader| {
        let (engine, input) = (engine.clone(), cancel.guard(input));
        async move {
            let imported = blocking(move || {
                let imported = engine.import(&request, Box::new(input));
                drop(busy);
                imported
            })
            .await;
            if let (Ok(_), Some(name)) = (&imported, &name) {
                daemon.names.given(user, name);
            }
            told.end(&imported);
            imported
        }
    };
    if source == BODY {
        look_for_room(&engine, &call.headers, "the archive").await?;
        // nothing is told before, so that a failure is the answer
        let image = importing(call.upload.wanted(&call.headers).await.into_reader()).await?;
        return Ok(whole(
            StatusCode::OK,
            JSON,
            line(&Message::status(image.to_string())),
        ));
    }
    let imported = importing(engine.open_address(&source).await?);
    let (sender, receiver) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let first = Message::status(format!("Downloading from {source}"));
        // there is room for both
        let _ = sender.send(Ok(line(&first))).await;
        let last = match imported.await {
            Ok(image) => Message::status(image.to_string()),
            Err(error) => Message::failure(error.describe(), None),
        };
        let _ = sender.send(Ok::<Bytes, _>(line(&last))).await;
    });
    Ok(pieces(JSON, Pieces::new(receiver, guard)))
}

/// What `repo` and `tag` name together.
fn reference(call: &Call) -> Result<Option<Reference>, Failure> {
    let Some(repository) = call.query.filled("repo") else {
        return Ok(None);
    };
    mica_engine::tag_target(repository, call.query.get("tag"))
        .map(Some)
        .map_err(|error: Error| error.into())
}
