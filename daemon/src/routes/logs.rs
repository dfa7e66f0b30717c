//! What the last builds told.

use hyper::StatusCode;
use jiff::Timestamp;
use mica_api::BuildLog;
use mica_engine::{CancelOnDrop, blocking};
use mica_oci::BuildId;
use mica_task::Cancel;

use crate::routes::Call;
use crate::wire::reply::{Failure, Pieces, Reply, TEXT, json, pieces};

/// `GET /mica/logs`
pub(crate) async fn list(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let logs = blocking(move || engine.logs()).await?;
    let shown = |entry: mica_engine::LogEntry| BuildLog {
        id: entry.build.to_string(),
        // a clock before 1970 or after 9999 is as good as none
        written: Timestamp::try_from(entry.written).map_or(0, |time| time.as_second()),
        size: entry.size,
    };
    json(StatusCode::OK, &logs.into_iter().map(shown).collect::<Vec<_>>())
}

/// `GET /mica/logs/{build}`
pub(crate) async fn show(call: Call, build: String) -> Result<Reply, Failure> {
    let build: BuildId = build
        .parse()
        .map_err(|error| Failure::invalid(format!("{error}")))?;
    let engine = call.daemon.engine.clone();
    let text = blocking(move || engine.log(&build)).await?;
    // reading stops by itself once nobody takes the pieces
    Ok(pieces(TEXT, Pieces::new(text, CancelOnDrop::new(Cancel::new()))))
}
