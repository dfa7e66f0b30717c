//! Carries out the stages of a plan, instruction by instruction.

mod scan;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use mica_dockerfile::{Dockerfile, Instruction, Located, Stage, parse_trigger};
use mica_oci::{ChainId, DiffId, Digest, Platform};
use mica_store::CacheRecord;
use mica_task::{Event, StagePlace, StepId};

use crate::assemble::assemble;
use crate::bases::Bases;
use crate::chore::Failure;
use crate::error::{Error, StepError};
use crate::materials::Found;
use crate::named::{Named, Opened, Opener};
use crate::once::Once;
use crate::ops::transfer::{Origin, Transfer};
use crate::ops::{config, run, transfer, workdir};
use crate::places::{Places, does_something};
use crate::plan::{Base, From};
use crate::ports::{BaseImage, MadeStep};
use crate::refuse::unsupported;
use crate::selection::Tree;
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// The most stages that are on their way at the same time, each on a thread of its own; those of all platforms together.
const STAGES_AT_ONCE: usize = 64;

/// A build on its way through its stages.
pub(crate) struct Walk<'a> {
    dockerfile: &'a Dockerfile,
    context: &'a Tree,
    named: (&'a Named, &'a Opener<'a>),
    bases: &'a Bases<'a>,
    site: Site<'a>,
    /// Steps so far that have no number of their own, of all walks of the build.
    surplus: &'a AtomicU32,
    stages: Vec<Once<State>>,
    /// What went wrong first.
    failure: Mutex<Option<Error>>,
    /// The steps that made a layer, with what they were made on.
    made: Mutex<Vec<(ChainId, String, Outcome)>>,
}

impl<'a> Walk<'a> {
    /// Nothing done yet.
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        context: &'a Tree,
        named: (&'a Named, &'a Opener<'a>),
        bases: &'a Bases<'a>,
        surplus: &'a AtomicU32,
        site: Site<'a>,
    ) -> Self {
        Self {
            dockerfile,
            context,
            named,
            bases,
            site,
            surplus,
            stages: dockerfile.stages.iter().map(|_| Once::default()).collect(),
            failure: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// Carries out all stages of the plan, those that do not need each other at the same time; gives what the target is.
    /// The first step that fails stops all others.
    pub(crate) fn run(&self) -> Result<Arc<State>, Error> {
        for (line, number) in self.dockerfile.globals.iter().zip(self.site.plan.first..) {
            let step = self.start(&line.source, Some(number), None);
            self.done(step, false, String::new());
        }
        let order = &self.site.plan.order;
        // stages are begun in their order and wait only for earlier ones: whatever one waits for is on its way
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(stage) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.state_of(*stage).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..order.len().min(STAGES_AT_ONCE / self.site.plan.plans) {
                // with fewer threads it takes longer, that is all
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        match self.failure().take() {
            Some(error) => Err(error),
            None => self.state_of(self.site.plan.target()),
        }
    }

    /// What a stage is, carried out if it was not yet.
    fn state_of(&self, number: usize) -> Result<Arc<State>, Error> {
        let cancel = self.site.layers.cancel;
        self.stages[number].get(cancel, || {
            self.carry_out(number).map_err(|error| {
                // what stops because something else failed has nothing to tell
                if !matches!(error, Error::Cancelled) {
                    self.failure().get_or_insert(error);
                    self.named.1.stop();
                }
                cancel.cancel();
                Error::Cancelled
            })
        })
    }

    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, number: usize) -> Result<State, Error> {
        let stage = &self.dockerfile.stages[number];
        // a stage that only a trigger names is not among the steps that were counted
        let first = self.site.plan.first_step(number);
        let step = self.start(&stage.source, first, self.places().from(number));
        let (mut state, shown) = self
            .base(number, step)
            .map_err(|problem| self.fail(step, problem, stage.span.start, &stage.source))?;
        self.done(step, false, shown);
        let triggers = self.triggers(number, stage, &mut state)?;
        let instructions = self.site.plan.instructions(self.dockerfile, number);
        for ((instruction, located), offset) in instructions.iter().enumerate().zip(1..) {
            let position = first.map(|first| first + offset);
            let place = self.places().instruction(number, instruction, triggers);
            let step = self.start(&located.source, position, place);
            let place = Place {
                stage: number,
                instruction,
                step,
                alike: Digest::of(located.source.as_bytes()),
            };
            self.instruction(located, &mut state, place)
                .map_err(|problem| self.fail(step, problem, located.span.start, &located.source))?;
        }
        Ok(state)
    }

    /// Carries out what the base left to be done on top of it; gives how many of these triggers have a place in the stage.
    fn triggers(&self, number: usize, stage: &Stage, state: &mut State) -> Result<usize, Error> {
        let triggers = state.image.config.on_build.take().unwrap_or_default();
        if !triggers.is_empty() {
            self.site.reporter.report(Event::Triggers {
                count: triggers.len(),
            });
        }
        let parsed = triggers
            .iter()
            .map(|text| parse_trigger(text, self.dockerfile.directives.escape));
        let parsed: Vec<_> = parsed.collect();
        let has_place = |trigger: &&Result<Located, _>| {
            let located = trigger.as_ref().ok();
            located.is_some_and(|located| does_something(&located.instruction))
        };
        let count = parsed.iter().filter(has_place).count();
        let mut before = 0;
        for (text, trigger) in triggers.iter().zip(parsed) {
            let stands = has_place(&&trigger).then(|| self.places().trigger(number, before, count));
            before += usize::from(stands.is_some());
            let step = self.start(text, None, stands);
            let place = Place {
                stage: number,
                instruction: 0,
                step,
                alike: Digest::of(text.as_bytes()),
            };
            trigger
                .map_err(|e| StepError::Invalid(format!("ONBUILD: {e}")))
                .and_then(|trigger| self.instruction(&trigger, state, place))
                .map_err(|problem| self.fail(step, problem, stage.span.start, &format!("ONBUILD {text}")))?;
        }
        Ok(count)
    }

    /// What a stage starts from, and the twelve digits that name it.
    fn base(&self, stage: usize, step: StepId) -> Result<(State, String), StepError> {
        Ok(match &self.site.plan.bases[stage] {
            Base::Scratch => (State::scratch(&self.site.plan.platform), String::new()),
            Base::Stage(below) => {
                let state = State::on(&*self.finished(*below)?);
                let shown = self.digest(&state).short();
                (state, shown)
            }
            Base::Named { context, platform } => {
                let place = Place {
                    stage,
                    instruction: 0,
                    step,
                    alike: Digest::of(self.dockerfile.stages[stage].source.as_bytes()),
                };
                let state = self.on_context(*context, platform, place)?;
                let shown = self.digest(&state).short();
                (state, shown)
            }
            Base::Image { name, platform } => {
                let image = self.image(name, platform.as_ref())?;
                let shown = image.id.digest().short();
                (State::of(image), shown)
            }
        })
    }

    /// A stage that starts from a named context: an image with all that it says, or files as the only layer of an image
    /// that says nothing.
    fn on_context(&self, context: usize, platform: &Platform, place: Place) -> Result<State, StepError> {
        let (named, opener) = self.named;
        let opened = named.get(context, opener, platform)?;
        let tree = match &*opened {
            Opened::Image(image) => return Ok(State::of(BaseImage::clone(image))),
            Opened::Files { tree, .. } => tree.clone(),
        };
        let mut state = State::scratch(platform);
        let all = ["/".to_owned()];
        let what = Transfer::of_all(&all);
        let (outcome, created_by) = transfer::step(&what, &Origin::Files(tree), &state, &self.site, place)?;
        self.note_layer(&mut state, created_by, &outcome);
        Ok(state)
    }

    /// An earlier stage, once it is there. One that only a trigger names is carried out now.
    fn finished(&self, stage: usize) -> Result<Arc<State>, StepError> {
        self.state_of(stage).map_err(|e| StepError::Stage(Box::new(e)))
    }

    fn image(&self, name: &str, platform: Option<&Platform>) -> Result<BaseImage, StepError> {
        let platform = platform.or(self.site.plan.asked);
        let image = self
            .bases
            .get(name, platform, self.site.layers, self.site.reporter)?;
        let own = platform.unwrap_or(&self.site.plan.platform);
        self.site.materials.image(name, own, &image, Found::Named);
        Ok(image)
    }

    fn instruction(&self, located: &Located, state: &mut State, place: Place) -> Result<(), StepError> {
        self.site.layers.cancel.check()?;
        // what the plan could not see: triggers, and stages that only triggers name
        if let Some(what) = unsupported(located) {
            return Err(StepError::Unsupported(what));
        }
        let made = match &located.instruction {
            Instruction::Run(run) => {
                let origin = |from: Option<&str>| self.mount_origin(from, place.stage);
                Some(run::step(run, &origin, state, &self.site, place)?)
            }
            Instruction::Copy(copy) => Some(self.transfer(&Transfer::of_copy(copy), state, place)?),
            Instruction::Add(add) => Some(self.transfer(&Transfer::of_add(add), state, place)?),
            Instruction::Workdir(path) => match workdir::step(path, state, &self.site, place)? {
                (Some(outcome), created_by) => Some((outcome, created_by)),
                (None, created_by) => {
                    state.note(created_by);
                    None
                }
            },
            metadata => {
                config::apply(metadata, state, &self.site.scope)?;
                None
            }
        };
        let outcome = made.map(|(outcome, created_by)| {
            self.note_layer(state, created_by, &outcome);
            outcome
        });
        let digest = self.digest(state);
        let known = self.site.workshop.seen.note(digest) && !self.site.fresh(place);
        let cached = outcome.map_or(known, |outcome| outcome.cached);
        if outcome.is_none() && !cached {
            self.site.executing(place, true);
        }
        self.done(place.step, cached, digest.short());
        Ok(())
    }

    /// Notes that a step made a layer.
    fn note_layer(&self, state: &mut State, created_by: String, outcome: &Outcome) {
        let made = (state.chain(), created_by.clone(), *outcome);
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(made);
        state.note_layer(created_by, outcome);
    }

    /// All steps so far that made a layer, those first that were done first, with the keys of their own.
    pub(crate) fn made(&self, target: &State) -> Vec<MadeStep> {
        let chains: Vec<ChainId> = (0..target.layers.len())
            .map(|below| ChainId::of(&target.layers[..below]))
            .collect();
        let in_image = |parent: &ChainId, layer: &DiffId| {
            let mut pairs = chains.iter().zip(&target.layers);
            pairs.any(|pair| pair == (parent, layer))
        };
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let step = |(parent, created_by, outcome): &(ChainId, String, Outcome)| MadeStep {
            keys: vec![outcome.key],
            in_image: in_image(parent, &outcome.layer),
            record: CacheRecord {
                layer: outcome.layer,
                parent: *parent,
                content: outcome.content,
                created: outcome.created,
                description: created_by.clone(),
            },
        };
        made.iter().map(step).collect()
    }

    /// What the image's ID would be if the build ended here, as docker's classic builder shows it after every step.
    fn digest(&self, state: &State) -> Digest {
        let epoch = self
            .site
            .layers
            .epoch
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        match serde_json::to_vec(&assemble(state, &[], epoch)) {
            Ok(config) => Digest::of(&config),
            Err(_) => *state.chain().digest(),
        }
    }

    fn transfer(
        &self,
        what: &Transfer<'_>,
        state: &State,
        place: Place,
    ) -> Result<(Outcome, String), StepError> {
        let origin = match what.from {
            Some(name) => self.origin(name, place.stage)?,
            None => Origin::Context(self.context),
        };
        transfer::step(what, &origin, state, &self.site, place)
    }

    /// What `--from` names.
    fn origin(&self, name: &str, stage: usize) -> Result<Origin<'a>, StepError> {
        self.origin_of(self.site.plan.from(name, stage)?, name)
    }

    /// What `from` of a mount names; the context if it is not there.
    fn mount_origin(&self, name: Option<&str>, stage: usize) -> Result<Origin<'a>, StepError> {
        match name {
            Some(name) => self.origin_of(self.site.plan.mount_from(name, stage)?, name),
            None => Ok(Origin::Context(self.context)),
        }
    }

    fn origin_of(&self, from: From, name: &str) -> Result<Origin<'a>, StepError> {
        let (layers, place) = match from {
            From::Stage(number) => (self.finished(number)?.layers.clone(), format!("stage {name:?}")),
            From::Named(context) => {
                let (named, opener) = self.named;
                match &*named.get(context, opener, &self.site.plan.platform)? {
                    Opened::Files { tree, .. } => return Ok(Origin::Files(tree.clone())),
                    Opened::Image(image) => (image.layers.clone(), format!("build context {name:?}")),
                }
            }
            From::Image(image) => (self.image(&image, None)?.layers, format!("image {image}")),
        };
        Ok(Origin::Layers { layers, place })
    }

    /// Tells that a step begins; `number` counts from 0 among those the plan knows.
    fn start(&self, name: &str, number: Option<u32>, place: Option<StagePlace>) -> StepId {
        let steps = self.site.plan.all_steps;
        let surplus = || steps.saturating_add(self.surplus.fetch_add(1, Ordering::Relaxed));
        let step = number.unwrap_or_else(surplus);
        let position = number.map(|number| (number + 1, steps));
        self.site.reporter.report(Event::Started {
            step,
            position,
            name: name.to_owned(),
            place,
        });
        step
    }

    fn places(&self) -> Places<'_> {
        Places::new(self.dockerfile, self.site.plan)
    }

    fn done(&self, step: StepId, cached: bool, state: String) {
        self.site.reporter.report(Event::Done { step, cached, state });
    }

    fn fail(&self, step: StepId, problem: StepError, line: u32, source: &str) -> Error {
        // readers and writers that were told to stop fail with errors of their own
        let is_cancelled = self.site.layers.cancel.is_cancelled();
        let reason = if is_cancelled {
            String::new()
        } else {
            problem.reason()
        };
        self.site.reporter.report(Event::Failed { step, reason });
        if is_cancelled {
            return Error::Cancelled;
        }
        problem.at(line, source)
    }
}
