//! A shell where a build failed, on a terminal that the client hands over.

use hyper::StatusCode;
use mica_api::DebugReport;
use mica_engine::{CancelOnDrop, blocking};
use mica_oci::BuildId;
use mica_task::Cancel;

use crate::routes::Call;
use crate::wire::reply::{Failure, Reply, json};

/// `POST /mica/debug/{build}`; the one descriptor that comes along is the terminal. Answers when the command has ended.
pub(crate) async fn enter(mut call: Call, build: String) -> Result<Reply, Failure> {
    let build: BuildId = build
        .parse()
        .map_err(|error| Failure::invalid(format!("{error}")))?;
    let command: Vec<String> = call.query.json("command")?;
    let terminal = call.descriptors.take(0)?;
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let cancel = Cancel::new();
    // a client that goes away drops this, and with it the process
    let _guard = CancelOnDrop::new(cancel.clone());
    let exit_code = blocking(move || {
        let ended = engine.debug(&build, &command, terminal, &cancel);
        drop(busy);
        ended
    })
    .await?;
    json(StatusCode::OK, &DebugReport { exit_code })
}
