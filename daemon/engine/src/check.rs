//! The verb check: the store looked over, and mended where it can be.

use std::io;

use mica_registry::Credentials;
use mica_store::{CheckEvent, Checked, Finding, Level, Watch};
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::repair::{Repair, Repaired};

/// How many pieces of news wait for a slow client.
const WAITING: usize = 64;

/// What a client asks to be checked.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// How closely.
    pub level: Level,
    /// Whether what is found is mended, and whose eyes registries are asked with for what is not here.
    pub repair: Option<Credentials>,
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
    /// What became of a finding.
    Repaired(Box<Repaired>),
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
    /// Looks over the store while everything else goes on, tells what is not as it should be, and mends it if that is asked for.
    ///
    /// # Errors
    /// If nobody wants it any more, or something cannot be looked at at all.
    pub async fn check(
        &self,
        request: CheckRequest,
        news: mpsc::Sender<CheckNews>,
        cancel: Cancel,
    ) -> Result<CheckOutcome, Error> {
        let engine = self.clone();
        blocking(move || match request.repair {
            Some(credentials) => Repair::new(engine, credentials, news, cancel).run(request.level),
            None => {
                let checked = engine.look_over(request.level, &cancel, &mut |event| tell(&news, event))?;
                Ok(CheckOutcome {
                    checked,
                    left: checked.findings,
                })
            }
        })
        .await
    }

    /// Looks over the store; `tell` hears what is found.
    pub(crate) fn look_over(
        &self,
        level: Level,
        cancel: &Cancel,
        tell: &mut dyn FnMut(CheckEvent),
    ) -> Result<Checked, Error> {
        let go_on = || cancel.check().map_err(io::Error::other);
        let mut watch = Watch { go_on: &go_on, tell };
        Ok(self.store().check(level, &mut watch)?)
    }
}

/// Tells what the store tells.
pub(crate) fn tell(news: &mpsc::Sender<CheckNews>, event: CheckEvent) {
    let event = match event {
        CheckEvent::Progress { doing, bytes, total } => CheckNews::Progress { doing, bytes, total },
        CheckEvent::Found(finding) => CheckNews::Found(finding),
    };
    // nobody may be left who wants to know; then the check is cancelled too
    let _ = news.blocking_send(event);
}
