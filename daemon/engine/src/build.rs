//! The verb build.

use std::sync::Arc;

pub use mica_builder::{
    Agent, Attesting, ClientFile, ClientFolder, FileSender, Handed, Input, Lender, Secret, Source,
};
use mica_builder::{Builder, Options};
use mica_oci::{Attestation, BuildId, ImageId, Platform, Reference};
use mica_registry::Keyring;
use mica_task::{Cancel, Event, Reporter};

use crate::adapters::exec::SandboxExecutor;
use crate::adapters::fetch::Fetcher;
use crate::adapters::images::BaseImages;
use crate::bridge::Runtime;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;
use crate::log::BuildLog;

/// Which network a build's RUN steps see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// The host's, which is all there is for now.
    #[default]
    Default,
    /// The host's, and `RUN --network=host` is allowed.
    Host,
    /// Loopback only.
    None,
}

/// A resource limit of RUN steps.
pub use mica_builder::ports::Ulimit;

/// What a client asks to be built.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// Path of the Dockerfile in the context; empty for `Dockerfile`.
    pub dockerfile: String,
    /// Names for the image.
    pub tags: Vec<Reference>,
    /// The stage to build; the last one if `None`.
    pub target: Option<String>,
    /// `--build-arg`; `None` declares without a value.
    pub build_args: Vec<(String, Option<String>)>,
    /// `--label`
    pub labels: Vec<(String, String)>,
    /// Whether every step is done again.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages of which every step is done again.
    pub no_cache_filter: Vec<String>,
    /// `--cache-from`: images whose steps need not be done.
    pub cache_from: Vec<String>,
    /// Whether the client allows `RUN --security=insecure`; the daemon must do so too.
    pub insecure_allowed: bool,
    /// Whether every step that runs says which of its inputs changed.
    pub explain: bool,
    /// Whether everything is built twice and must come to the same image.
    pub verify: bool,
    /// Whether base images are to be fetched again even if they are here.
    pub pull: bool,
    /// Who asks for base images that are not here.
    pub credentials: Keyring,
    /// Which network RUN sees.
    pub network: NetworkMode,
    /// `(name, address)` for /etc/hosts.
    pub extra_hosts: Vec<(String, String)>,
    /// Limits of every RUN.
    pub ulimits: Vec<Ulimit>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// What the image is for; this machine's platform if `None`.
    pub platform: Option<Platform>,
    /// Whether the ignore file is applied here: clients of the classic API apply it themselves.
    pub filter_context: bool,
    /// What is to be said of the image beside it.
    pub attesting: Attesting,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutcome {
    /// The image.
    pub image: ImageId,
    /// Build arguments that no instruction asked for.
    pub unused_args: Vec<String>,
    /// What is to be said of it where it goes.
    pub attestations: Arc<[Attestation]>,
}

impl Engine {
    /// Builds an image from what a client hands over. Blocks until it is in the store.
    pub fn build(
        &self,
        request: BuildRequest,
        input: Input,
        reporter: Reporter,
        cancel: Cancel,
    ) -> Result<BuildOutcome, Error> {
        let log = BuildLog::new(self.store());
        let built = self.build_logged(request, input, log.build(), &log.tee(&reporter), &cancel);
        let last = built.as_ref().err().map(Error::describe);
        if log.finish(last.as_deref()) && last.is_some() {
            reporter.report(Event::Kept {
                build: log.build(),
                enterable: self.workshop().failed_step(&log.build()).is_some(),
            });
        }
        built
    }

    fn build_logged(
        &self,
        request: BuildRequest,
        input: Input,
        build: BuildId,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<BuildOutcome, Error> {
        let options = Options {
            dockerfile: request.dockerfile,
            target: request.target,
            build_args: request.build_args,
            labels: request.labels,
            no_cache: request.no_cache,
            no_cache_filter: request
                .no_cache_filter
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            cache_from: request.cache_from,
            insecure_allowed: request.insecure_allowed && self.config().insecure_allowed,
            explain: request.explain,
            verify: request.verify,
            network: match request.network {
                NetworkMode::None => mica_builder::ports::Network::None,
                NetworkMode::Default | NetworkMode::Host => mica_builder::ports::Network::Host,
            },
            host_network_allowed: request.network == NetworkMode::Host,
            extra_hosts: request.extra_hosts,
            ulimits: request.ulimits,
            shm_size: request.shm_size,
            platform: request.platform,
            filter_context: request.filter_context,
            attesting: request.attesting,
        };
        let runtime = Runtime::current();
        let builder = Builder {
            store: self.store(),
            images: &BaseImages {
                engine: self,
                pull: request.pull,
                credentials: &request.credentials,
                reporter,
                runtime: &runtime,
            },
            fetch: &Fetcher {
                engine: self,
                runtime: &runtime,
            },
            executor: &SandboxExecutor {
                helper: &self.config().helper,
            },
            reporter,
            cancel,
            build,
            workshop: self.workshop(),
        };
        let built = builder.build(&options, &request.tags, input)?;
        self.tell_built(&built.image, &request.tags)?;
        let attestations: Arc<[Attestation]> = built.attestations.into();
        self.keep_attestations(built.image, &attestations);
        Ok(BuildOutcome {
            image: built.image,
            unused_args: built.unused_args,
            attestations,
        })
    }

    fn tell_built(&self, id: &ImageId, tags: &[Reference]) -> Result<(), Error> {
        // an image that was removed in this very moment is not said to be there
        if let Some(image) = self.store().image(id)? {
            self.feed().image(Action::Create, &image, id.to_string());
            for tag in tags {
                self.feed().image(Action::Tag, &image, tag.familiar());
            }
        }
        Ok(())
    }
}
