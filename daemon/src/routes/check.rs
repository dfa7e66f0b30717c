//! The store looked over, and mended where that is asked for.

use std::io;

use bytes::Bytes;
use mica_api::{CheckFinding, CheckImage, CheckLine, CheckProgress, CheckRepair, CheckSummary, ErrorDetail};
use mica_engine::{
    CancelOnDrop, CheckNews, CheckNewsReceiver, CheckOutcome, CheckRequest, Cure, Error, Finding, Level,
    RepairOutcome, Repaired, check_news,
};
use mica_task::Cancel;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::routes::Call;
use crate::wire::credential;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, pieces};
use crate::wire::stream::line;

/// How many lines wait for a slow client.
const WAITING: usize = 8;

/// `POST /mica/check`
pub(crate) async fn check(call: Call) -> Result<Reply, Failure> {
    let level = match call.query.filled("level") {
        None => Level::default(),
        Some(name) => Level::named(name)
            .ok_or_else(|| Failure::invalid(format!("unknown level {name:?}: say quick, full or trees")))?,
    };
    let repair = call.query.flag("repair", false);
    let request = CheckRequest {
        level,
        repair: repair.then(|| credential::all(&call.headers)),
    };
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let cancel = Cancel::new();
    let guard = CancelOnDrop::new(cancel.clone());
    let (news, told) = check_news();
    let work = tokio::spawn(async move {
        let outcome = engine.check(request, news, cancel).await;
        drop(busy);
        outcome
    });
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(tell(level, told, work, sender));
    Ok(pieces(JSON, Pieces::new(receiver, guard)))
}

/// Tells all news as lines, and how it ended.
async fn tell(
    level: Level,
    mut news: CheckNewsReceiver,
    work: JoinHandle<Result<CheckOutcome, Error>>,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut number = 0;
    while let Some(one) = news.recv().await {
        let message = match one {
            CheckNews::Progress { doing, bytes, total } => CheckLine {
                progress: Some(CheckProgress {
                    doing: doing.to_owned(),
                    bytes,
                    total,
                }),
                ..CheckLine::default()
            },
            CheckNews::Found(found) => {
                number += 1;
                CheckLine {
                    finding: Some(finding(number, &found)),
                    ..CheckLine::default()
                }
            }
            CheckNews::Repaired(repaired) => CheckLine {
                repair: Some(repair(&repaired)),
                ..CheckLine::default()
            },
        };
        if sender.send(Ok(line(&message))).await.is_err() {
            return;
        }
    }
    let last = match work.await {
        Ok(Ok(outcome)) => CheckLine {
            summary: Some(summary(level, outcome)),
            ..CheckLine::default()
        },
        Ok(Err(error)) => failure(error.describe()),
        Err(_) => failure(Error::Worker.describe()),
    };
    // a client that is gone does not wait for the end
    let _ = sender.send(Ok(line(&last))).await;
}

fn failure(message: String) -> CheckLine {
    CheckLine {
        error_detail: Some(ErrorDetail { message, code: None }),
        ..CheckLine::default()
    }
}

fn finding(number: u64, found: &Finding) -> CheckFinding {
    let image = |harmed: &mica_engine::Harmed| CheckImage {
        id: harmed.image.to_string(),
        names: harmed.names.iter().map(|name| name.familiar()).collect(),
    };
    CheckFinding {
        number,
        kind: found.thing.kind().to_owned(),
        digest: found
            .thing
            .digest()
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        text: format!("{} {}", found.thing, found.fault),
        place: found.place.display().to_string(),
        images: found.harms.iter().map(image).collect(),
        remedy: found.remedy.name().to_owned(),
        advice: found.remedy.to_string(),
    }
}

fn repair(repaired: &Repaired) -> CheckRepair {
    let mut line = CheckRepair {
        number: repaired.number,
        ..CheckRepair::default()
    };
    let (how, became) = match &repaired.outcome {
        RepairOutcome::Mended(Cure::ByItself) => ("by-itself", "is well by now".to_owned()),
        RepairOutcome::Mended(Cure::MadeAgain) => {
            ("made-again", "was made again from what is here".to_owned())
        }
        RepairOutcome::Mended(Cure::Replaced) => {
            ("replaced", "cannot be had, and another one was made".to_owned())
        }
        RepairOutcome::Mended(Cure::Dropped) => {
            ("dropped", "was done away with: nothing needs it".to_owned())
        }
        RepairOutcome::Fetched(from) => {
            line.from = from.familiar();
            ("fetched", format!("was fetched again from {}", line.from))
        }
        RepairOutcome::Left {
            reason,
            aside,
            advice,
        } => {
            line.aside = aside
                .as_ref()
                .map(|aside| aside.display().to_string())
                .unwrap_or_default();
            line.advice = advice.clone();
            ("left", format!("could not be mended: {reason}"))
        }
    };
    line.how = how.to_owned();
    line.text = format!("{} {became}", repaired.thing);
    line
}

fn summary(level: Level, outcome: CheckOutcome) -> CheckSummary {
    CheckSummary {
        level: level.name().to_owned(),
        images: outcome.checked.images,
        layers: outcome.checked.layers,
        files: outcome.checked.files,
        bytes: outcome.checked.bytes,
        findings: outcome.checked.findings,
        left: outcome.left,
    }
}
