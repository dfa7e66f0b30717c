//! Carries out the stages of a plan, instruction by instruction.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use mica_dockerfile::{Dockerfile, Instruction, Located, Stage, parse_trigger};
use mica_oci::{Digest, Platform};
use mica_task::{Event, StepId};

use crate::assemble::assemble;
use crate::error::{Error, StepError};
use crate::ops::transfer::{Origin, Transfer};
use crate::ops::{config, run, transfer, workdir};
use crate::plan::{Base, From};
use crate::ports::{BaseImage, Images};
use crate::refuse::unsupported;
use crate::selection::Tree;
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// A build on its way through its stages.
pub(crate) struct Walk<'a> {
    dockerfile: &'a Dockerfile,
    context: &'a Tree,
    images: &'a dyn Images,
    site: Site<'a>,
    steps: Cell<u32>,
    states: RefCell<BTreeMap<usize, Rc<State>>>,
    resolved: RefCell<BTreeMap<(String, Option<String>), BaseImage>>,
}

impl<'a> Walk<'a> {
    /// Nothing done yet.
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        context: &'a Tree,
        images: &'a dyn Images,
        site: Site<'a>,
    ) -> Self {
        Self {
            dockerfile,
            context,
            images,
            site,
            steps: Cell::new(0),
            states: RefCell::default(),
            resolved: RefCell::default(),
        }
    }

    /// Carries out all stages of the plan; gives what the target is.
    pub(crate) fn run(&self) -> Result<Rc<State>, Error> {
        for line in &self.dockerfile.globals {
            let step = self.start(&line.source, true);
            self.done(step, false, String::new());
        }
        for stage in &self.site.plan.order {
            self.state_of(*stage)?;
        }
        self.state_of(self.site.plan.target())
    }

    /// What a stage is, carried out if it was not yet.
    fn state_of(&self, number: usize) -> Result<Rc<State>, Error> {
        if let Some(state) = self.states.borrow().get(&number) {
            return Ok(state.clone());
        }
        let stage = &self.dockerfile.stages[number];
        // a stage that only a trigger names is not among the steps that were counted
        let counted = self.site.plan.order.contains(&number);
        let step = self.start(&stage.source, counted);
        let (mut state, shown) = self
            .base(number)
            .map_err(|problem| self.fail(step, problem, stage.span.start, &stage.source))?;
        self.done(step, false, shown);
        self.triggers(number, stage, &mut state)?;
        for (instruction, located) in stage.instructions.iter().enumerate() {
            let step = self.start(&located.source, counted);
            let place = Place {
                stage: number,
                instruction,
                step,
            };
            self.instruction(located, &mut state, place)
                .map_err(|problem| self.fail(step, problem, located.span.start, &located.source))?;
        }
        let state = Rc::new(state);
        self.states.borrow_mut().insert(number, state.clone());
        Ok(state)
    }

    /// Carries out what the base left to be done on top of it.
    fn triggers(&self, number: usize, stage: &Stage, state: &mut State) -> Result<(), Error> {
        let triggers = state.image.config.on_build.take().unwrap_or_default();
        if !triggers.is_empty() {
            self.site.reporter.report(Event::Triggers {
                count: triggers.len(),
            });
        }
        for text in &triggers {
            let step = self.start(text, false);
            let place = Place {
                stage: number,
                instruction: 0,
                step,
            };
            parse_trigger(text, self.dockerfile.directives.escape)
                .map_err(|e| StepError::Invalid(format!("ONBUILD: {e}")))
                .and_then(|trigger| self.instruction(&trigger, state, place))
                .map_err(|problem| self.fail(step, problem, stage.span.start, &format!("ONBUILD {text}")))?;
        }
        Ok(())
    }

    /// What a stage starts from, and the twelve digits that name it.
    fn base(&self, stage: usize) -> Result<(State, String), StepError> {
        Ok(match &self.site.plan.bases[stage] {
            Base::Scratch => (State::scratch(&self.site.plan.platform), String::new()),
            Base::Stage(below) => {
                let state = State::on(self.finished(*below)?.as_ref());
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

    /// A stage the plan put before this one. One that only a trigger names is carried out now.
    fn finished(&self, stage: usize) -> Result<Rc<State>, StepError> {
        self.state_of(stage).map_err(|e| StepError::Stage(Box::new(e)))
    }

    fn image(&self, name: &str, platform: Option<&Platform>) -> Result<BaseImage, StepError> {
        let platform = platform.or(self.site.scope.options.platform.as_ref());
        let asked = (name.to_owned(), platform.map(Platform::to_string));
        if let Some(image) = self.resolved.borrow().get(&asked) {
            return Ok(image.clone());
        }
        let image = self
            .images
            .resolve(name, platform, self.site.layers.lease)
            .map_err(StepError::Image)?;
        self.resolved.borrow_mut().insert(asked, image.clone());
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
            state.note_layer(created_by, outcome.layer, outcome.created);
            outcome
        });
        let digest = self.digest(state);
        let known = self.site.seen.note(digest) && !self.site.layers.no_cache;
        let cached = outcome.map_or(known, |outcome| outcome.cached);
        if outcome.is_none() && !cached {
            self.site.executing(place, true);
        }
        self.done(place.step, cached, digest.short());
        Ok(())
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
            From::Image(image) => (self.image(&image, None)?.layers, format!("image {image}")),
        };
        Ok(Origin::Layers { layers, place })
    }

    fn start(&self, name: &str, numbered: bool) -> StepId {
        let step = self.steps.get();
        self.steps.set(step + 1);
        let position = numbered.then_some((step + 1, self.site.plan.steps));
        self.site.reporter.report(Event::Started {
            step,
            position,
            name: name.to_owned(),
        });
        step
    }

    fn done(&self, step: StepId, cached: bool, state: String) {
        self.site.reporter.report(Event::Done { step, cached, state });
    }

    fn fail(&self, step: StepId, problem: StepError, line: u32, source: &str) -> Error {
        self.site.reporter.report(Event::Failed { step });
        // readers and writers that were told to stop fail with errors of their own
        if self.site.layers.cancel.is_cancelled() {
            return Error::Cancelled;
        }
        problem.at(line, source)
    }
}
