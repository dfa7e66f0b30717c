//! The verb build.

pub use mica_builder::{
    Agent, Attesting, Blobs, ClientFile, ClientFolder, FileSender, Handed, Input, Lender, Secret, Source,
};
use mica_builder::{Builder, Options};
use mica_oci::{Attested, BuildId, ImageId, Platform, PlatformImage, Reference};
use mica_registry::Keyring;
use mica_task::{Cancel, Event, Reporter};

use crate::adapters::caches::RemoteCaches;
use crate::adapters::exec::SandboxExecutor;
use crate::adapters::fetch::Fetcher;
use crate::adapters::images::BaseImages;
use crate::bridge::Runtime;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;
use crate::log::BuildLog;
use crate::transfer::CacheExport;

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
pub use mica_builder::ports::{Limits, Ulimit};

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
    /// `--cache-to`: caches that are written once the image is built.
    pub cache_to: Vec<CacheExport>,
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
    /// How much of the machine every RUN may use.
    pub limits: Limits,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// What the images are for; one image for this machine's platform if there are none.
    pub platforms: Vec<Platform>,
    /// Whether the ignore file is applied here: clients of the classic API apply it themselves.
    pub filter_context: bool,
    /// What is to be said of the image beside it.
    pub attesting: Attesting,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutcome {
    /// The image that has the names: of several that for this machine, or the first.
    pub image: ImageId,
    /// All images, in the order in which their platforms were asked for.
    pub images: Vec<PlatformImage>,
    /// Build arguments that no instruction asked for.
    pub unused_args: Vec<String>,
    /// What is to be said of each image where it goes.
    pub attestations: Attested,
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
        let built = self.build_logged(
            request,
            input,
            log.build(),
            &self.counting(&log.tee(&reporter)),
            &cancel,
        );
        let built = self.told(built);
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
            insecure_allowed: request.insecure_allowed && self.is_insecure_allowed(),
            explain: request.explain,
            verify: request.verify,
            network: match request.network {
                NetworkMode::None => mica_builder::ports::Network::None,
                NetworkMode::Default | NetworkMode::Host => mica_builder::ports::Network::Host,
            },
            host_network_allowed: request.network == NetworkMode::Host,
            extra_hosts: request.extra_hosts,
            ulimits: request.ulimits,
            limits: request.limits,
            shm_size: request.shm_size,
            platforms: request.platforms,
            filter_context: request.filter_context,
            attesting: request.attesting,
        };
        let runtime = Runtime::current();
        let caches = RemoteCaches::new(self, &request.credentials, reporter, &runtime);
        let builder = Builder {
            caches: &caches,
            store: self.store(),
            images: &BaseImages {
                engine: self,
                pull: request.pull,
                main: main(&options.platforms),
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
        self.count_built(&built.image)?;
        for other in built.images.iter().filter(|other| other.image != built.image) {
            self.tell_built(&other.image, &[])?;
        }
        self.tell_built(&built.image, &request.tags)?;
        caches.write(&request.cache_to, cancel)?;
        for (image, said) in &built.attestations {
            self.keep_attestations(*image, said);
        }
        Ok(BuildOutcome {
            image: built.image,
            images: built.images,
            unused_args: built.unused_args,
            attestations: built.attestations,
        })
    }

    /// Bytes are of all that the image is made of, whatever of it was there before.
    fn count_built(&self, id: &ImageId) -> Result<(), Error> {
        if let Some(image) = self.store().image(id)? {
            self.tally().built(image.size);
        }
        Ok(())
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

/// Of several platforms the one whose images have names here: this machine's, or the first.
fn main(platforms: &[Platform]) -> Option<Platform> {
    let host = Platform::host();
    match platforms {
        [] | [_] => None,
        several if several.contains(&host) => Some(host),
        [first, ..] => Some(first.clone()),
    }
}
