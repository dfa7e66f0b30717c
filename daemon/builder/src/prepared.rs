//! A build of which everything was read, carried out for all its platforms side by side.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;

use jiff::Timestamp;
use mica_dockerfile::lint::excerpt;
use mica_dockerfile::{Dockerfile, Span};
use mica_oci::{Attestation, ImageConfig, ImageId, Platform, Raw};
use mica_task::Event;

use crate::assemble::assemble;
use crate::attesting::Attesting;
use crate::bases::Bases;
use crate::build::Builder;
use crate::error::Error;
use crate::input::Lender;
use crate::layers::Layers;
use crate::materials::{Materials, Origins};
use crate::named::{Named, Opener};
use crate::ops::config::Scope;
use crate::options::Options;
use crate::plan::Plan;
use crate::ports::MadeStep;
use crate::provenance::{self, provenance};
use crate::selection::Tree;
use crate::site::Site;
use crate::state::State;
use crate::verify;
use crate::walk::Walk;

/// How many lines of an instruction that failed are shown.
const LINES_SHOWN: u32 = 20;

/// What came of all steps for one platform.
pub(crate) struct Finished {
    /// What the target stage came to.
    state: Arc<State>,
    pub(crate) config: Raw<ImageConfig>,
    /// What is to be said of the image.
    pub(crate) said: Vec<Attestation>,
}

impl Finished {
    /// The image.
    pub(crate) fn id(&self) -> ImageId {
        ImageId(self.config.digest())
    }
}

/// The same, and the steps that led there.
type Outcome = (Finished, Vec<MadeStep>);

/// What the walks for all platforms share.
struct Shared<'a> {
    bases: Bases<'a>,
    /// Steps so far that no plan has.
    surplus: AtomicU32,
}

/// A build of which everything was read that is known before its first step.
pub(crate) struct Prepared<'a> {
    pub(crate) builder: &'a Builder<'a>,
    /// Name and text of the Dockerfile.
    pub(crate) file: (&'a str, &'a [u8]),
    pub(crate) dockerfile: &'a Dockerfile,
    /// One for each platform.
    pub(crate) plans: &'a [Plan<'a>],
    pub(crate) tree: &'a Tree,
    /// Named contexts, and who opens them.
    pub(crate) named: (&'a Named, &'a Opener<'a>),
    pub(crate) lender: &'a dyn Lender,
    pub(crate) materials: &'a Materials,
    pub(crate) epoch: Option<Timestamp>,
}

impl Prepared<'_> {
    /// Does all steps, and once more all that is not there yet as often as a cache elsewhere does not have what it promised.
    pub(crate) fn carry_out_with_caches(
        &self,
        options: &Options,
        layers: &Layers<'_>,
    ) -> Result<(Vec<Finished>, Vec<MadeStep>), Error> {
        loop {
            let attempt = layers.cancel.part();
            let layers = Layers {
                cancel: &attempt,
                ..*layers
            };
            let result = self.carry_out(options, &layers).and_then(|outcomes| {
                let (finished, made): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
                for one in &finished {
                    layers.bring(&one.state.layers)?;
                }
                Ok((finished, made.into_iter().flatten().collect()))
            });
            match (result, layers.imports.take_broken()) {
                (Err(Error::Cancelled), Some(text)) if !self.builder.cancel.is_cancelled() => {
                    self.builder.reporter.report(Event::Note { step: None, text });
                }
                (result, _) => return result,
            }
        }
    }

    /// Does all steps for all platforms, side by side. The first step that fails stops all others.
    fn carry_out(&self, options: &Options, layers: &Layers<'_>) -> Result<Vec<Outcome>, Error> {
        let shared = &Shared {
            bases: Bases::new(self.builder.images),
            surplus: AtomicU32::new(0),
        };
        let results: Vec<Result<Outcome, Error>> = thread::scope(|scope| {
            let (first, others) = match self.plans.split_first() {
                Some((first, others)) => (Some(first), others),
                None => (None, self.plans),
            };
            let begin = |plan| {
                let work = move || self.carry_out_plan(plan, options, layers, shared);
                // with fewer threads it takes longer, that is all
                (plan, thread::Builder::new().spawn_scoped(scope, work))
            };
            let begun: Vec<_> = others.iter().map(begin).collect();
            let first = first.map(|plan| self.carry_out_plan(plan, options, layers, shared));
            let rest = begun.into_iter().map(|(plan, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or(Err(Error::Cancelled)),
                Err(_) => self.carry_out_plan(plan, options, layers, shared),
            });
            first.into_iter().chain(rest).collect()
        });
        // what was stopped because something else failed has nothing to tell
        let (failed, stopped): (Vec<_>, Vec<_>) = results
            .into_iter()
            .partition(|result| !matches!(result, Ok(_) | Err(Error::Cancelled)));
        let told = failed.into_iter().next().into_iter();
        told.chain(stopped).collect()
    }

    /// Does all steps of a plan; gives what came of them and the image's config.
    fn carry_out_plan(
        &self,
        plan: &Plan<'_>,
        options: &Options,
        layers: &Layers<'_>,
        shared: &Shared<'_>,
    ) -> Result<Outcome, Error> {
        let builder = self.builder;
        let scope = Scope {
            globals: &plan.globals,
            options,
            escape: self.dockerfile.directives.escape,
        };
        let site = Site {
            plan,
            scope,
            layers,
            executor: builder.executor,
            fetch: builder.fetch,
            reporter: builder.reporter,
            workshop: builder.workshop,
            build: builder.build,
            materials: self.materials,
            lender: self.lender,
        };
        let walk = Walk::new(
            self.dockerfile,
            self.tree,
            self.named,
            &shared.bases,
            &shared.surplus,
            site,
        );
        let state = walk.run().inspect_err(|error| self.show_lines(error))?;
        builder.cancel.check()?;
        let mut config = assemble(&state, &options.labels, self.epoch);
        if let Some(asked) = plan.asked {
            make_for(asked, &mut config);
        }
        let inline = options.build_arg("BUILDKIT_INLINE_CACHE");
        if inline.is_some_and(|value| matches!(value, "1" | "true")) {
            state.origins.write(&mut config);
        }
        let made = walk.made(&state);
        let config = Raw::of(config)?;
        let said = match &options.attesting.sbom {
            Some(asked) => walk.list(asked, &state)?,
            None => Vec::new(),
        };
        Ok((Finished { state, config, said }, made))
    }

    /// Says how each image was made, if that is asked: when the build `began`, and where the client's part of it was from.
    pub(crate) fn tell_how(
        &self,
        finished: &mut [Finished],
        options: &Options,
        (began, origins): (Timestamp, &Origins),
    ) -> Result<(), Error> {
        let Some(asked) = &options.attesting.provenance else {
            return Ok(());
        };
        let (ended, taken) = (Timestamp::now(), self.materials.taken());
        for (plan, one) in self.plans.iter().zip(finished) {
            let build = provenance::Finished {
                build: self.builder.build,
                began,
                ended,
                options,
                origins,
                taken: &taken,
                file: self.file,
                dockerfile: self.dockerfile,
                plan,
            };
            one.said.push(provenance(asked, &build)?);
        }
        Ok(())
    }

    /// Does all steps again, and fails if they come to something else.
    pub(crate) fn verify(
        &self,
        finished: &[Finished],
        options: &Options,
        layers: Layers<'_>,
    ) -> Result<(), Error> {
        self.builder.reporter.report(Event::Note {
            step: None,
            text: "everything is built a second time and compared".to_owned(),
        });
        let again = Options {
            no_cache: true,
            attesting: Attesting::default(),
            ..options.clone()
        };
        let layers = Layers {
            begun: Timestamp::now(),
            ..layers
        };
        let (second, _) = self.carry_out_with_caches(&again, &layers)?;
        for (first, second) in finished.iter().zip(&second) {
            verify::compare(
                [&first.state, &second.state],
                [first.config.digest(), second.config.digest()],
                &layers,
            )?;
        }
        Ok(())
    }

    /// Shows the lines of the instruction that failed among those around it.
    fn show_lines(&self, error: &Error) {
        let Some(line) = error.line() else { return };
        let instructions = self
            .dockerfile
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions);
        let mut spans = instructions.map(|located| located.span);
        let end = spans
            .find(|span| span.start == line)
            .map_or(line, |span| span.end);
        let span = Span {
            start: line,
            end: end.min(line.saturating_add(LINES_SHOWN)),
        };
        let (name, bytes) = self.file;
        self.builder.reporter.report(Event::Excerpt {
            text: excerpt(span, name, bytes),
        });
    }
}

/// Says in the config of an image what it was asked to be for, where its base is for something else (dockerfile contract 5.9).
fn make_for(asked: &Platform, config: &mut ImageConfig) {
    if (&config.os, &config.architecture) != (&asked.os, &asked.architecture) {
        config.os.clone_from(&asked.os);
        config.architecture.clone_from(&asked.architecture);
        config.variant.clone_from(&asked.variant);
        config.os_version.clone_from(&asked.os_version);
    }
}
