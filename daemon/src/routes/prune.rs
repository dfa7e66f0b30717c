//! How prunes are answered: with one document when they are done, as docker does it, or with lines from the start on for those who
//! ask for them. They end when the client goes away, and what is gone by then stays gone.

use std::io;

use bytes::Bytes;
use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use mica_api::{ErrorDetail, LINES_TYPE, PruneLine};
use mica_engine::{Engine, Error, PruneProgress, PruneWatch};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::pruning::{End, Pruning};
use crate::routes::Call;
use crate::wire::reply::{Failure, LINES, Pieces, Reply, json, pieces};
use crate::wire::stream::line;

/// Prunes what is called `what`; `report` makes the document of what it did.
pub(super) async fn answer<T, R>(
    call: Call,
    what: &'static str,
    prune: impl FnOnce(&Engine, &mut PruneWatch<'_>) -> Result<T, Error> + Send + 'static,
    report: fn(T) -> R,
) -> Result<Reply, Failure>
where
    T: Send + 'static,
    R: Serialize + 'static,
{
    let mut pruning = Pruning::begin(&call.daemon, call.busy.clone(), what, prune);
    // what fails before there is anything to tell is a status
    if !wants_lines(&call.headers) || pruning.told.changed().await.is_err() {
        return json(StatusCode::OK, &report(pruning.done().await?));
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(tell(pruning.told, pruning.end, report, sender));
    Ok(pieces(LINES, Pieces::new(receiver, pruning.wanted)))
}

/// Whether a client takes an answer of many lines. That it takes everything says nothing of that.
fn wants_lines(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    named
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case(LINES_TYPE))
}

/// Tells how far it has got as often as the client reads it, and then what it did.
async fn tell<T, R: Serialize>(
    mut told: watch::Receiver<Option<PruneProgress>>,
    end: End<T>,
    report: fn(T) -> R,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    loop {
        let progress = *told.borrow_and_update();
        if let Some(progress) = progress
            && sender.send(Ok(line(&in_lines(progress)))).await.is_err()
        {
            return;
        }
        // it goes with the work
        if told.changed().await.is_err() {
            break;
        }
    }
    let last = match end.wait().await {
        Ok(pruned) => line(&report(pruned)),
        Err(error) => broken(&error.describe()),
    };
    // a client that is gone does not wait for the end
    let _ = sender.send(Ok(last)).await;
}

fn in_lines(progress: PruneProgress) -> PruneLine<()> {
    PruneLine {
        progress: Some(mica_api::PruneProgress {
            doing: progress.doing.to_owned(),
            done: progress.done,
            total: progress.total,
            bytes: progress.bytes,
        }),
        ..PruneLine::default()
    }
}

fn broken(message: &str) -> Bytes {
    line(&PruneLine::<()> {
        error_detail: Some(ErrorDetail {
            message: message.to_owned(),
            code: None,
        }),
        ..PruneLine::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn only_who_names_them_gets_lines() {
        for (values, expected) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["application/json"], false),
            (&["application/x-ndjson-not"], false),
            (&["\u{e4}"], false),
            (&["application/x-ndjson"], true),
            (&["Application/X-NDJSON; charset=utf-8"], true),
            (&["application/json;q=0.5, application/x-ndjson"], true),
            (&["text/plain", "application/x-ndjson"], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(wants_lines(&headers), expected, "{values:?}");
        }
    }
}
