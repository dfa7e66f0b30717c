//! What a build is asked for, beside its Dockerfile and context.

use mica_oci::Platform;

use crate::attesting::Attesting;
use crate::ports::{Limits, Network, Ulimit};

/// What a build is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Path of the Dockerfile in the context; falls back to `dockerfile` where it is `Dockerfile`.
    pub dockerfile: String,
    /// The stage to build; the last one if `None`.
    pub target: Option<String>,
    /// `--build-arg`; `None` declares without a value.
    pub build_args: Vec<(String, Option<String>)>,
    /// `--label`, applied last.
    pub labels: Vec<(String, String)>,
    /// Whether RUN, COPY and ADD are done again whatever was done before.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages, in lower case, for which `no_cache` holds.
    pub no_cache_filter: Vec<String>,
    /// `--cache-from`: images whose steps need not be done.
    pub cache_from: Vec<String>,
    /// Whether `RUN --security=insecure` is allowed.
    pub insecure_allowed: bool,
    /// Whether every step that runs says which of its inputs changed.
    pub explain: bool,
    /// Whether everything is built a second time and must come to the same image.
    pub verify: bool,
    /// What RUN sees unless it says otherwise.
    pub network: Network,
    /// Whether the caller allowed `RUN --network=host`.
    pub host_network_allowed: bool,
    /// `(name, address)` for /etc/hosts.
    pub extra_hosts: Vec<(String, String)>,
    /// Limits of every RUN.
    pub ulimits: Vec<Ulimit>,
    /// How much of the machine every RUN may use.
    pub limits: Limits,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// What the images are for, each once; one image for this machine's platform if there are none.
    pub platforms: Vec<Platform>,
    /// Whether the ignore file is applied here. Clients of the classic API apply it themselves.
    pub filter_context: bool,
    /// What is to be said of the image beside it.
    pub attesting: Attesting,
}

impl Options {
    /// What each image that is built is asked to be for; `None` for whatever its base is.
    pub(crate) fn targets(&self) -> Vec<Option<&Platform>> {
        match &self.platforms[..] {
            [] => vec![None],
            platforms => platforms.iter().map(Some).collect(),
        }
    }

    /// The value of a build argument; `None` if it was not given, or without a value.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .and_then(|(_, value)| value.as_deref())
    }
}
