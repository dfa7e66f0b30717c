//! Where a step is carried out: what every instruction that makes a layer needs.

use jiff::Timestamp;
use mica_layer::Mtime;
use mica_oci::{BuildId, CacheKey, ContentDigest, DiffId, Digest};
use mica_store::CacheRecord;
use mica_task::{Event, Reporter, StepId};

use crate::error::StepError;
use crate::input::Lender;
use crate::inputs::Inputs;
use crate::key::StepKey;
use crate::layers::{Form, Layers, Order};
use crate::materials::Materials;
use crate::ops::config::Scope;
use crate::ops::remote::Remotes;
use crate::plan::Plan;
use crate::ports::{Executor, Fetch};
use crate::state::State;
use crate::workshop::Workshop;

/// Where a step is carried out.
pub(crate) struct Site<'a> {
    /// What the build needs.
    pub plan: &'a Plan<'a>,
    /// What words can refer to.
    pub scope: Scope<'a>,
    /// Where layers go.
    pub layers: &'a Layers<'a>,
    /// Who runs processes.
    pub executor: &'a dyn Executor,
    /// Who fetches what is not in the context.
    pub fetch: &'a dyn Fetch,
    /// Who wants to know.
    pub reporter: &'a Reporter,
    /// What it shares with other builds.
    pub workshop: &'a Workshop,
    /// The build's name.
    pub build: BuildId,
    /// What the build takes in.
    pub materials: &'a Materials,
    /// Who lends secrets and agents to RUN.
    pub lender: &'a dyn Lender,
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
    /// The same for all instructions that are written the same way.
    pub alike: Digest,
}

/// What a step that makes a layer came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// The layer.
    pub layer: DiffId,
    /// The step's key.
    pub key: CacheKey,
    /// What the layer holds.
    pub content: ContentDigest,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it was there already.
    pub cached: bool,
}

impl Outcome {
    /// What the record of a step says.
    pub(crate) fn of(key: &CacheKey, record: &CacheRecord, cached: bool) -> Self {
        Self {
            key: *key,
            content: record.content,
            layer: record.layer,
            created: record.created,
            cached,
        }
    }
}

impl Site<'_> {
    /// Finds the layer of a step under its key (unless `fresh`), or makes it; remembers it under the key and under those
    /// keys that were `tried` in vain. A step that is under way already, in this build or in another, is waited for.
    pub(crate) fn layer(
        &self,
        key: &StepKey,
        tried: &[CacheKey],
        fresh: bool,
        place: Place,
        make: impl FnOnce() -> Result<CacheRecord, StepError>,
    ) -> Result<Outcome, StepError> {
        let found = if fresh { None } else { self.find(&key.key, place)? };
        let (record, cached) = match found {
            Some(record) => (record, true),
            None => self.find_or_make(key, fresh, place, make)?,
        };
        for other in tried {
            self.remember(other, &record, place)?;
        }
        Ok(Outcome::of(&key.key, &record, cached))
    }

    fn find_or_make(
        &self,
        key: &StepKey,
        fresh: bool,
        place: Place,
        make: impl FnOnce() -> Result<CacheRecord, StepError>,
    ) -> Result<(CacheRecord, bool), StepError> {
        let layers = self.layers;
        let claim = self.workshop.claim(&key.key, layers.cancel)?;
        if (claim.waited || fresh)
            && let Some(record) = self.find(&key.key, place)?
            // what was made while this build was under way is as fresh as what it makes itself
            && (!fresh || record.created >= layers.begun)
        {
            return Ok((record, true));
        }
        if self.scope.options.explain {
            let text = self.explain(key, fresh, place);
            self.note(place, text);
        }
        let record = {
            let _place = self.workshop.place(layers.cancel)?;
            make()?
        };
        self.remember(&key.key, &record, place)?;
        let kept = layers
            .store
            .remember_inputs(&place.alike, &key.key, &key.inputs.to_bytes());
        if let Err(error) = kept {
            self.note(
                place,
                format!("what this step was made of is not remembered: {error}"),
            );
        }
        Ok((record, false))
    }

    /// Finds or makes a layer that a step which is under way needs itself: it has its place to work at already.
    pub(crate) fn part(
        &self,
        key: &CacheKey,
        place: Place,
        make: impl FnOnce() -> Result<CacheRecord, StepError>,
    ) -> Result<CacheRecord, StepError> {
        let _claim = self.workshop.claim(key, self.layers.cancel)?;
        if let Some(record) = self.find(key, place)? {
            return Ok(record);
        }
        let record = make()?;
        self.remember(key, &record, place)?;
        Ok(record)
    }

    /// An earlier result. A record that cannot be read is none: it costs time and not the build.
    pub(crate) fn find(&self, key: &CacheKey, place: Place) -> Result<Option<CacheRecord>, StepError> {
        let found = self
            .layers
            .find(key)
            .or_else(|error| self.survive(error, "read", place).map(|()| None))?;
        Ok(found)
    }

    fn remember(&self, key: &CacheKey, record: &CacheRecord, place: Place) -> Result<(), StepError> {
        let kept = self.layers.remember(key, record);
        kept.or_else(|error| self.survive(error, "kept", place))
    }

    /// Tells of trouble with the cache instead of failing.
    fn survive(&self, error: StepError, action: &str, place: Place) -> Result<(), StepError> {
        match error {
            StepError::Store(error) => {
                let text = format!("the cache record of this step cannot be {action}: {error}");
                self.note(place, text);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Why a step is done.
    fn explain(&self, key: &StepKey, fresh: bool, place: Place) -> String {
        if fresh {
            return "runs because it is not to be taken from the cache".to_owned();
        }
        let Ok(alike) = self.layers.store.inputs_alike(&place.alike) else {
            return "runs, and what it was made of before cannot be read".to_owned();
        };
        if alike.iter().any(|(before, _)| *before == key.key) {
            return "runs because its earlier result was not kept".to_owned();
        }
        let changes = alike
            .iter()
            .filter_map(|(_, bytes)| Inputs::from_bytes(bytes))
            .map(|before| key.inputs.changes_since(&before))
            .min_by_key(Vec::len);
        match changes {
            Some(changes) if !changes.is_empty() => format!("runs because of {}", changes.join("; ")),
            Some(_) => "runs because one of its inputs changed".to_owned(),
            None => "runs because no such instruction was done before".to_owned(),
        }
    }

    /// Tells of the step.
    pub(crate) fn note(&self, place: Place, text: String) {
        let step = Some(place.step);
        self.reporter.report(Event::Note { step, text });
    }

    /// Fetches for a step.
    pub(crate) fn remotes(&self, place: Place) -> Remotes<'_> {
        Remotes {
            fetch: self.fetch,
            store: self.layers.store,
            lease: self.layers.lease,
            cancel: self.layers.cancel,
            materials: self.materials,
            reporter: self.reporter,
            step: Some(place.step),
        }
    }

    /// Whether a step is done again whatever was done before: `--no-cache`, or `--no-cache-filter` with its stage.
    pub(crate) fn fresh(&self, place: Place) -> bool {
        let options = self.scope.options;
        let name = self.plan.name(place.stage);
        options.no_cache || name.is_some_and(|name| options.no_cache_filter.iter().any(|stage| stage == name))
    }

    /// What is known of the layer that a step makes on `state`.
    pub(crate) fn order<'o>(&self, state: &State, place: Place, about: &'o str) -> Order<'o> {
        Order {
            parent: state.chain(),
            about,
            fresh: self.fresh(place),
        }
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
