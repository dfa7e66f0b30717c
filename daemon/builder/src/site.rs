//! Where a step is carried out: what every instruction that makes a layer needs.

use jiff::Timestamp;
use mica_layer::Mtime;
use mica_oci::{CacheKey, DiffId};
use mica_store::CacheRecord;
use mica_task::{Event, Reporter, StepId};

use crate::error::StepError;
use crate::input::{Agent, Secret};
use crate::layers::{Form, Layers};
use crate::ops::config::Scope;
use crate::plan::Plan;
use crate::ports::Executor;
use crate::seen::Seen;

/// Where a step is carried out.
pub(crate) struct Site<'a> {
    /// What the build needs.
    pub plan: &'a Plan,
    /// What words can refer to.
    pub scope: Scope<'a>,
    /// Where layers go.
    pub layers: &'a Layers<'a>,
    /// Who runs processes.
    pub executor: &'a dyn Executor,
    /// Who wants to know.
    pub reporter: &'a Reporter,
    /// What builds went through before.
    pub seen: &'a Seen,
    /// Secrets the client hands to RUN.
    pub secrets: &'a [Secret],
    /// Agents the client hands to RUN.
    pub agents: &'a [Agent],
}

/// Where an instruction stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The stage's number.
    pub stage: usize,
    /// Its number in the stage; triggers come before all.
    pub instruction: usize,
    /// What events call it.
    pub step: StepId,
}

/// What a step that makes a layer came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// The layer.
    pub layer: DiffId,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it was there already.
    pub cached: bool,
}

impl Outcome {
    /// What a record says.
    pub(crate) fn of(record: &CacheRecord, cached: bool) -> Self {
        Self {
            layer: record.layer,
            created: record.created,
            cached,
        }
    }
}

impl Site<'_> {
    /// Finds the layer of a step under `key` (unless `fresh`), or makes it; remembers it under `key` and under those
    /// keys that were `tried` in vain.
    pub(crate) fn layer(
        &self,
        key: &CacheKey,
        tried: &[CacheKey],
        fresh: bool,
        make: impl FnOnce() -> Result<CacheRecord, StepError>,
    ) -> Result<Outcome, StepError> {
        let found = if fresh { None } else { self.layers.find(key)? };
        let cached = found.is_some();
        let record = match found {
            Some(record) => record,
            None => {
                let record = make()?;
                self.layers.remember(key, &record)?;
                record
            }
        };
        for key in tried {
            self.layers.remember(key, &record)?;
        }
        Ok(Outcome::of(&record, cached))
    }

    /// Tells that no earlier result serves; `container` as in [`Event::Executing`].
    pub(crate) fn executing(&self, place: Place, container: bool) {
        self.reporter.report(Event::Executing {
            step: place.step,
            container,
        });
    }

    /// The form in which the layer made at `place` is wanted.
    pub(crate) fn form(&self, place: Place) -> Form {
        if self.plan.is_run_on(place.stage, place.instruction) {
            Form::Tree
        } else {
            Form::Tar
        }
    }

    /// The time of files made here: now, or SOURCE_DATE_EPOCH.
    pub(crate) fn now(&self) -> Mtime {
        let seconds = self.layers.epoch.unwrap_or_else(|| Timestamp::now().as_second());
        Mtime {
            seconds,
            nanoseconds: 0,
        }
    }
}
