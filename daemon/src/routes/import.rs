//! `POST /images/create` with `fromSrc`: an image made of a tar of a file system.

use bytes::Bytes;
use mica_api::Message;
use mica_engine::{CancelOnDrop, Error, ImportRequest, blocking};
use mica_oci::{ImageId, Reference};
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::routes::Call;
use crate::routes::registry::text_platform;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, pieces};
use crate::wire::stream::line;

/// The source that means the request's body.
const BODY: &str = "-";

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
    let (engine, busy, cancel) = (call.daemon.engine.clone(), call.busy.clone(), Cancel::new());
    let guard = CancelOnDrop::new(cancel.clone());
    let is_body = source == BODY;
    let input = match is_body {
        true => call.upload.wanted(&call.headers).await.into_reader(),
        false => engine.open_address(&source).await?,
    };
    let input = cancel.guard(input);
    let imported = blocking(move || {
        let imported = engine.import(&request, Box::new(input));
        drop(busy);
        imported
    });
    if is_body {
        // nothing is told before the end, so what fails is told by the status
        let image = imported.await?;
        return Ok(stream(vec![Message::status(image.to_string())], None, guard));
    }
    let first = Message::status(format!("Downloading from {source}"));
    Ok(stream(vec![first], Some(Box::pin(imported)), guard))
}

/// An import that goes on.
type Importing = std::pin::Pin<Box<dyn Future<Output = Result<ImageId, Error>> + Send>>;

/// A stream of these lines, and of what comes of the import.
fn stream(lines: Vec<Message>, imported: Option<Importing>, guard: CancelOnDrop) -> Reply {
    let (sender, receiver) = mpsc::channel(lines.len() + 1);
    tokio::spawn(async move {
        for message in lines {
            // there is room for all lines
            let _ = sender.send(Ok(line(&message))).await;
        }
        let Some(imported) = imported else { return };
        let last = match imported.await {
            Ok(image) => Message::status(image.to_string()),
            Err(error) => Message::failure(error.describe(), None),
        };
        let _ = sender.send(Ok::<Bytes, _>(line(&last))).await;
    });
    pieces(JSON, Pieces::new(receiver, guard))
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
