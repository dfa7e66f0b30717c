//! The verb check: the store looked over, and mended where it can be.

use std::io;

use mica_store::{CheckEvent, Checked, Finding, Level, Watch};
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;

/// How many pieces of news wait for a slow client.
const WAITING: usize = 64;

/// What a client asks to be checked.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// How closely.
    pub level: Level,
}

/// What a check tells while it goes on.
#[derive(Debug, Clone)]
pub enum CheckNews {
    /// How far it has got.
    Progress {
        /// What is being looked at.
        doing: &'static str,
        /// Bytes read so far.
        bytes: u64,
        /// Bytes that are to be read, as far as can be told before.
        total: u64,
    },
    /// Something is not as it should be. Findings are numbered from 1 as they are told.
    Found(Box<Finding>),
}

/// What came of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckOutcome {
    /// What was looked at.
    pub checked: Checked,
    /// How many findings are left.
    pub left: u64,
}

/// The way of a check's news to whoever listens.
pub type CheckNewsReceiver = mpsc::Receiver<CheckNews>;

/// The sending side, and the receiving one.
pub fn check_news() -> (mpsc::Sender<CheckNews>, CheckNewsReceiver) {
    mpsc::channel(WAITING)
}

impl Engine {
    /// Looks over the store while everything else goes on, and tells what is not as it should be.
    ///
    /// # Errors
    /// If nobody wants it any more, or something cannot be looked at at all.
    pub async fn check(
        &self,
        request: CheckRequest,
        news: mpsc::Sender<CheckNews>,
        cancel: Cancel,
    ) -> Result<CheckOutcome, Error> {
        let store = self.store().clone();
        let level = request.level;
        let checked = blocking(move || {
            let go_on = || cancel.check().map_err(io::Error::other);
            let mut tell = |event| {
                let event = match event {
                    CheckEvent::Progress { doing, bytes, total } => {
                        CheckNews::Progress { doing, bytes, total }
                    }
                    CheckEvent::Found(finding) => CheckNews::Found(finding),
                };
                // nobody may be left who wants to know; then the check is cancelled too
                let _ = news.blocking_send(event);
            };
            let mut watch = Watch {
                go_on: &go_on,
                tell: &mut tell,
            };
            Ok(store.check(level, &mut watch)?)
        })
        .await?;
        Ok(CheckOutcome {
            checked,
            left: checked.findings,
        })
    }
}
