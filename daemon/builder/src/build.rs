//! The whole of a build, read in one sitting.

use jiff::Timestamp;
use mica_dockerfile::lint::{Checks, Warning};
use mica_dockerfile::{Dockerfile, Instruction};
use mica_oci::{Attested, BuildId, ImageId, Platform, PlatformImage, Reference};
use mica_store::{Lease, Store};
use mica_task::{Cancel, Chore, Event, Finding, Reporter};

use crate::chore::{Failure, chore};
use crate::definition::{Definition, Opening};
use crate::error::{Error, StepError};
use crate::findings::{Known, violation};
use crate::imports::Imports;
use crate::inline;
use crate::input::Input;
use crate::layers::Layers;
use crate::materials::{Materials, Origins};
use crate::named::{Named, Opener};
use crate::ops::remote::Remotes;
use crate::ops::run::is_proxy;
use crate::options::Options;
use crate::places::Places;
use crate::plan::{Plan, is_automatic};
use crate::ports::{Caches, Executor, Fetch, Images};
use crate::prepared::{Finished, Prepared};
use crate::refuse::refuse_unsupported;
use crate::workshop::Workshop;

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
    /// Who reads and writes caches that lie elsewhere.
    pub caches: &'a dyn Caches,
    /// What it shares with the other builds of this process.
    pub workshop: &'a Workshop,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image that has the names: of several that for this machine, or the first.
    pub image: ImageId,
    /// All images, in the order in which their platforms were asked for.
    pub images: Vec<PlatformImage>,
    /// Build arguments that no instruction asked for.
    pub unused_args: Vec<String>,
    /// What is to be said of each image, the lists of what is in it first.
    pub attestations: Attested,
}

impl Builder<'_> {
    /// Builds the images that `options` ask for from what a client hands over, and gives one of them `tags`.
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
        let plans = Plan::all(&dockerfile, options, &named.names)?;
        for plan in &plans {
            refuse_unsupported(&dockerfile, plan)?;
            self.refuse_run(&dockerfile, plan)?;
        }
        let ignore = chore(self.reporter, &Chore::Ignore, || {
            opening.context.ignore_file(&name)
        })?;
        let tree = opening.tree(self.reporter, &name, options.filter_context)?;
        // two builds can only be the same if they are of the same time
        let epoch = epoch(options)?.or_else(|| options.verify.then(whole_second));
        // one step that fails stops the others, but not what else its client wants
        let opening = self.cancel.part();
        let imports = Imports::new(self.caches);
        let layers = Layers {
            store: self.store,
            lease: &lease,
            cancel: &opening,
            epoch: epoch.map(Timestamp::as_second),
            begun: Timestamp::now(),
            imports: &imports,
        };
        self.tell_findings(
            (&name, &dockerfile),
            &plans,
            &Known {
                store: self.store,
                options,
                ignore: ignore.as_ref().map(|(_, patterns)| patterns),
            },
        )?;
        for name in &options.cache_from {
            self.take_cache(name, options, &layers);
        }
        let opener = Opener::new(
            Remotes {
                cancel: &opening,
                ..remotes
            },
            self.images,
            options,
        );
        let prepared = Prepared {
            builder: self,
            file: (&name, &bytes),
            dockerfile: &dockerfile,
            plans: &plans,
            tree: &tree,
            named: (&named, &opener),
            lender: &*input.lender,
            materials: &materials,
            epoch,
        };
        self.reporter.report(Event::Planned {
            steps: plans
                .iter()
                .flat_map(|plan| Places::new(&dockerfile, plan).planned())
                .collect(),
        });
        let (mut finished, mut made) = prepared.carry_out_with_caches(options, &layers)?;
        if options.verify {
            prepared.verify(&finished, options, layers)?;
        }
        prepared.tell_how(&mut finished, options, (began, &origins))?;
        let (image, images) = chore(self.reporter, &Chore::Export, || {
            self.keep(&lease, &plans, &finished, tags)
        })?;
        for step in &mut made {
            // only what is known by other inputs too is lost if this cannot be read
            step.keys
                .extend(self.store.keys_alike(&step.record).unwrap_or_default());
            step.keys.extend(imports.keys_alike(&step.record));
        }
        self.caches.keep(made, &lease);
        Ok(Built {
            image,
            images,
            unused_args: unused_args(options, &dockerfile),
            attestations: attested(finished),
        })
    }

    /// Puts the images into the store, that which has the names last.
    fn keep(
        &self,
        lease: &Lease,
        plans: &[Plan<'_>],
        finished: &[Finished],
        tags: &[Reference],
    ) -> Result<(ImageId, Vec<PlatformImage>), Error> {
        let made = plans.iter().zip(finished).map(|(plan, one)| PlatformImage {
            platform: plan.platform.clone(),
            image: one.id(),
        });
        let images: Vec<PlatformImage> = made.collect();
        let main = PlatformImage::main(&images).ok_or(Error::Cancelled)?.image;
        for other in finished.iter().filter(|one| one.id() != main) {
            let committed = self.store.commit_image(lease, &other.config, None, &[])?;
            let image = committed.image.id;
            self.reporter.report(Event::Built { image });
        }
        if let Some(one) = finished.iter().find(|one| one.id() == main) {
            self.store.commit_image(lease, &one.config, None, tags)?;
        }
        self.reporter.report(Event::Built { image: main });
        for reference in tags {
            self.reporter.report(Event::Tagged {
                reference: reference.clone(),
            });
        }
        Ok((main, images))
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

    /// Makes the steps of a cache known. One that is not there or has none costs time and not the build.
    fn take_cache(&self, name: &str, options: &Options, layers: &Layers<'_>) {
        let import = Chore::CacheImport {
            name: name.to_owned(),
        };
        let known = chore(self.reporter, &import, || {
            let known = self.caches.known(name, layers.lease, layers.cancel);
            layers.cancel.check()?;
            known.map_err(StepError::Image)
        });
        let text = match known {
            Ok(None) => {
                for platform in options.targets() {
                    let text = self.take_inline_cache(name, platform, layers);
                    self.reporter.report(Event::Note { step: None, text });
                }
                return;
            }
            Ok(Some(steps)) if steps.is_empty() => format!(
                "the cache {name} knows no steps: it is empty, or was written by another program than mica"
            ),
            Ok(Some(steps)) => {
                let text = format!("{name} knows {} steps", steps.len());
                layers.imports.add(name, steps);
                text
            }
            Err(error) => format!("no cache from {name}: {}", error.reason()),
        };
        self.reporter.report(Event::Note { step: None, text });
    }

    /// Makes the steps of an image known; gives what is to be told of that.
    fn take_inline_cache(&self, name: &str, platform: Option<&Platform>, layers: &Layers<'_>) -> String {
        let image = self.images.resolve(name, platform, layers.lease, layers.cancel);
        match image.map(|image| inline::import(&image, self.store, layers.lease)) {
            Ok(Ok(0)) => format!(
                "{name} has no cache inside: it was built without BUILDKIT_INLINE_CACHE=1 or by another program"
            ),
            Ok(Ok(count)) => format!("{name} knows {count} steps"),
            Ok(Err(error)) => format!("the cache inside {name} cannot be used: {error}"),
            Err(error) => format!("no cache from {name}: {error}"),
        }
    }

    /// Tells what the checks of the Dockerfile found, as far as it and the build arguments let them.
    fn tell_findings(
        &self,
        (name, dockerfile): (&str, &Dockerfile),
        plans: &[Plan<'_>],
        known: &Known<'_>,
    ) -> Result<(), Error> {
        let checks = Checks::of(&dockerfile.directives, &known.options.build_args)
            .map_err(|e| Error::Check(e.to_string()))?;
        let fails = checks.error;
        let mut found: Vec<Warning> = Vec::new();
        for plan in plans {
            let new = known.find(dockerfile, plan, checks.clone());
            // most are the same for all platforms
            let known: Vec<Warning> = new.into_iter().filter(|new| !found.contains(new)).collect();
            found.extend(known);
        }
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

/// What is to be said, by image. Platforms that came to one image say it once, as the first did.
fn attested(finished: Vec<Finished>) -> Attested {
    let mut attested = Attested::new();
    for one in finished.into_iter().filter(|one| !one.said.is_empty()) {
        attested.entry(one.id()).or_insert_with(|| one.said.into());
    }
    attested
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
