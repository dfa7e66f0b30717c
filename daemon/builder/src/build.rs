//! The whole of a build, read in one sitting.

use std::sync::Arc;

use jiff::Timestamp;
use mica_dockerfile::lint::{Checks, excerpt};
use mica_dockerfile::{Dockerfile, Instruction, Span};
use mica_oci::{Attestation, BuildId, ImageConfig, ImageId, Raw, Reference};
use mica_store::Store;
use mica_task::{Cancel, Chore, Event, Finding, Reporter};

use crate::assemble::assemble;
use crate::attesting::Attesting;
use crate::chore::chore;
use crate::definition::{Definition, Opening};
use crate::error::{Error, StepError};
use crate::findings::{Known, violation};
use crate::inline;
use crate::input::{Input, Lender};
use crate::layers::Layers;
use crate::materials::{Materials, Origins};
use crate::named::{Named, Opener};
use crate::ops::config::Scope;
use crate::ops::remote::Remotes;
use crate::ops::run::is_proxy;
use crate::options::Options;
use crate::plan::{Plan, is_automatic};
use crate::ports::{Executor, Fetch, Images};
use crate::provenance::{Finished, provenance};
use crate::refuse::refuse_unsupported;
use crate::selection::Tree;
use crate::site::Site;
use crate::state::State;
use crate::verify;
use crate::walk::Walk;
use crate::workshop::Workshop;

/// How many lines of an instruction that failed are shown.
const LINES_SHOWN: u32 = 20;

/// Builds images into a store.
pub struct Builder<'a> {
    /// Where layers, images and the cache are.
    pub store: &'a Store,
    /// Where base images come from.
    pub images: &'a dyn Images,
    /// Who runs processes.
    pub executor: &'a dyn Executor,
    /// Who fetches what lies at addresses.
    pub fetch: &'a dyn Fetch,
    /// Who wants to know.
    pub reporter: &'a Reporter,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// The build's name.
    pub build: BuildId,
    /// What it shares with the other builds of this process.
    pub workshop: &'a Workshop,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub image: ImageId,
    /// Build arguments that no instruction asked for.
    pub unused_args: Vec<String>,
    /// What is to be said of it, the lists of what is in it first.
    pub attestations: Vec<Attestation>,
}

impl Builder<'_> {
    /// Builds the image that `options` ask for from what a client hands over, and gives it `tags`.
    pub fn build(&self, options: &Options, tags: &[Reference], input: Input) -> Result<Built, Error> {
        let began = Timestamp::now();
        let lease = self.store.lease();
        let materials = Materials::default();
        let origins = Origins::of(&input);
        let remotes = Remotes {
            fetch: self.fetch,
            store: self.store,
            lease: &lease,
            cancel: self.cancel,
            materials: &materials,
            reporter: self.reporter,
            step: None,
        };
        let named = Named::new(input.named)?;
        let opener = Opener::new(remotes, self.images, options);
        let opening = Opening::new(&opener, input.context, input.dockerfile)?;
        let Definition {
            name,
            bytes,
            dockerfile,
        } = opening.definition(self.reporter, options)?;
        let plan = Plan::new(&dockerfile, options, &named.names)?;
        refuse_unsupported(&dockerfile, &plan)?;
        self.refuse_run(&dockerfile, &plan)?;
        let ignore = chore(self.reporter, &Chore::Ignore, || {
            opening.context.ignore_file(&name)
        })?;
        let tree = opening.tree(self.reporter, &name, options.filter_context)?;
        // two builds can only be the same if they are of the same time
        let epoch = epoch(options)?.or_else(|| options.verify.then(whole_second));
        // one step that fails stops the others, but not what else its client wants
        let cancel = self.cancel.part();
        let layers = Layers {
            store: self.store,
            lease: &lease,
            cancel: &cancel,
            epoch: epoch.map(Timestamp::as_second),
            begun: Timestamp::now(),
        };
        self.tell_findings(
            (&name, &dockerfile),
            &Known {
                store: self.store,
                plan: &plan,
                options,
                ignore: ignore.as_ref().map(|(_, patterns)| patterns),
            },
        )?;
        for name in &options.cache_from {
            self.take_cache(name, options, &layers);
        }
        let opener = Opener::new(
            Remotes {
                cancel: &cancel,
                ..remotes
            },
            self.images,
            options,
        );
        let prepared = Prepared {
            builder: self,
            file: (&name, &bytes),
            dockerfile: &dockerfile,
            plan: &plan,
            tree: &tree,
            named: (&named, &opener),
            lender: &*input.lender,
            materials: &materials,
            epoch,
        };
        let carried = prepared.carry_out(options, &layers)?;
        if options.verify {
            prepared.verify(&carried, options, layers)?;
        }
        let Carried { config, lists, .. } = carried;
        let mut attestations = lists;
        if let Some(asked) = &options.attesting.provenance {
            attestations.push(provenance(
                asked,
                &Finished {
                    build: self.build,
                    began,
                    ended: Timestamp::now(),
                    options,
                    origins: &origins,
                    taken: &materials.taken(),
                    file: (&name, &bytes),
                    dockerfile: &dockerfile,
                    plan: &plan,
                },
            )?);
        }
        let image = chore(self.reporter, &Chore::Export, || {
            let committed = self.store.commit_image(&lease, &config, None, tags)?;
            let image = committed.image.id;
            self.reporter.report(Event::Built { image });
            for reference in tags {
                self.reporter.report(Event::Tagged {
                    reference: reference.clone(),
                });
            }
            Ok::<_, Error>(image)
        })?;
        Ok(Built {
            image,
            unused_args: unused_args(options, &dockerfile),
            attestations,
        })
    }
}

/// A build of which everything was read that is known before its first step.
struct Prepared<'a> {
    builder: &'a Builder<'a>,
    /// Name and text of the Dockerfile.
    file: (&'a str, &'a [u8]),
    dockerfile: &'a Dockerfile,
    plan: &'a Plan<'a>,
    tree: &'a Tree,
    /// Named contexts, and who opens them.
    named: (&'a Named, &'a Opener<'a>),
    lender: &'a dyn Lender,
    materials: &'a Materials,
    epoch: Option<Timestamp>,
}

/// What came of all steps.
struct Carried {
    state: Arc<State>,
    config: Raw<ImageConfig>,
    /// What is in the image, where it was asked.
    lists: Vec<Attestation>,
}

impl Prepared<'_> {
    /// Does all steps.
    fn carry_out(&self, options: &Options, layers: &Layers<'_>) -> Result<Carried, Error> {
        let builder = self.builder;
        let scope = Scope {
            globals: &self.plan.globals,
            options,
            escape: self.dockerfile.directives.escape,
        };
        let site = Site {
            plan: self.plan,
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
        let walk = Walk::new(self.dockerfile, self.tree, self.named, builder.images, site);
        let state = walk.run().inspect_err(|error| self.show_lines(error))?;
        builder.cancel.check()?;
        let mut config = assemble(&state, &options.labels, self.epoch);
        let inline = options.build_arg("BUILDKIT_INLINE_CACHE");
        if inline.is_some_and(|value| matches!(value, "1" | "true")) {
            state.origins.write(&mut config);
        }
        let config = Raw::of(config)?;
        let lists = match &options.attesting.sbom {
            Some(asked) => walk.list(asked, &state)?,
            None => Vec::new(),
        };
        Ok(Carried { state, config, lists })
    }

    /// Does all steps again, and fails if they come to something else.
    fn verify(&self, first: &Carried, options: &Options, layers: Layers<'_>) -> Result<(), Error> {
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
        let second = self.carry_out(&again, &layers)?;
        verify::compare(
            [&first.state, &second.state],
            [first.config.digest(), second.config.digest()],
            &layers,
        )
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

impl Builder<'_> {
    /// Fails at the first RUN where no process can be run, before anything else is done.
    fn refuse_run(&self, dockerfile: &Dockerfile, plan: &Plan<'_>) -> Result<(), Error> {
        let instructions = plan
            .order
            .iter()
            .flat_map(|stage| plan.instructions(dockerfile, *stage));
        let mut runs = instructions.filter(|located| matches!(located.instruction, Instruction::Run(_)));
        match runs.next().map(|located| (located, self.executor.ready())) {
            Some((located, Err(reason))) => {
                Err(StepError::Execute(reason).at(located.span.start, &located.source))
            }
            _ => Ok(()),
        }
    }

    /// Makes the steps of an image known. An image that is not there or has none costs time and not the build.
    fn take_cache(&self, name: &str, options: &Options, layers: &Layers<'_>) {
        let image = self
            .images
            .resolve(name, options.platform.as_ref(), layers.lease, layers.cancel);
        let told = match image.map(|image| inline::import(&image, self.store, layers.lease)) {
            Ok(Ok(0)) => format!(
                "{name} has no cache inside: it was built without BUILDKIT_INLINE_CACHE=1 or by another program"
            ),
            Ok(Ok(count)) => format!("{name} knows {count} steps"),
            Ok(Err(error)) => format!("the cache inside {name} cannot be used: {error}"),
            Err(error) => format!("no cache from {name}: {error}"),
        };
        self.reporter.report(Event::Note {
            step: None,
            text: told,
        });
    }

    /// Tells what the checks of the Dockerfile found, as far as it and the build arguments let them.
    fn tell_findings(&self, (name, dockerfile): (&str, &Dockerfile), known: &Known<'_>) -> Result<(), Error> {
        let checks = Checks::of(&dockerfile.directives, &known.options.build_args)
            .map_err(|e| Error::Check(e.to_string()))?;
        let fails = checks.error;
        let found = known.find(dockerfile, checks);
        for warning in &found {
            let line = warning.span.start;
            self.reporter.report(Event::Warning {
                text: format!("{}: {} (line {line})", warning.rule, warning.text),
                line: Some(line),
                finding: Some(Box::new(Finding {
                    file: name.to_owned(),
                    lines: (line, warning.span.end),
                    detail: warning.rule.description().to_owned(),
                    url: warning.rule.address(),
                })),
            });
        }
        if fails && !found.is_empty() {
            return Err(Error::Check(violation(&found)));
        }
        Ok(())
    }
}

/// Now, without a fraction.
fn whole_second() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// SOURCE_DATE_EPOCH: seconds since 1970, empty for none (reproducible-builds.org specification).
fn epoch(options: &Options) -> Result<Option<Timestamp>, Error> {
    let Some(text) = options
        .build_arg("SOURCE_DATE_EPOCH")
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let seconds = text.parse().ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or_else(|| Error::Epoch(text.to_owned()))
}

/// Build arguments that neither an ARG declares nor the builder knows by itself.
fn unused_args(options: &Options, dockerfile: &Dockerfile) -> Vec<String> {
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let in_stages = stages.filter_map(|located| match &located.instruction {
        Instruction::Arg(args) => Some(args),
        _ => None,
    });
    let declared: Vec<&str> = dockerfile
        .globals
        .iter()
        .map(|line| &line.args)
        .chain(in_stages)
        .flatten()
        .map(|arg| arg.name.as_str())
        .collect();
    let known = |name: &str| {
        declared.contains(&name)
            || name == "SOURCE_DATE_EPOCH"
            || name.starts_with("BUILDKIT_")
            || is_proxy(name)
            || is_automatic(name)
    };
    options
        .build_args
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !known(name))
        .cloned()
        .collect()
}
