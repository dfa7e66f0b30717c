//! What a build is handed over beside its query: descriptors, and the words that say what they are.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mica_api::{BuildInput, ContextInput};

use crate::commands::build_context::{Named, open_folder};
use crate::commands::build_options::Options;
use crate::commands::build_secret::{Agent, Secret, in_memory};
use crate::error::Error;
use crate::handed::MAX_DESCRIPTORS;

/// What a build is handed over.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) input: BuildInput,
    descriptors: Vec<OwnedFd>,
}

impl Handed {
    /// Opens what the flags name.
    pub(super) fn of(options: &Options) -> Result<Self, Error> {
        let mut handed = Self::default();
        for text in &options.build_context {
            let (name, named) = Named::parse(text)?;
            let context = handed.context(&name, named)?;
            handed.input.contexts.insert(name, context);
        }
        for text in &options.secret {
            let secret = Secret::parse(text, |name| std::env::var_os(name).is_some())?;
            let number = handed.add(secret.open()?);
            handed.input.secrets.insert(secret.id, number);
        }
        for text in &options.ssh {
            let own = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
            let agent = Agent::parse(text, own)?;
            let number = handed.add(agent.open()?);
            handed.input.agents.insert(agent.id, number);
        }
        handed.input.cache_to = options.cache_targets()?.registries;
        handed.input.no_cache_filter = list(&options.no_cache_filter);
        handed.input.allow = list(&options.allow);
        handed.input.explain = options.explain;
        handed.input.verify = options.verify;
        handed.input.attest = options.attestations();
        Ok(handed)
    }

    fn context(&mut self, name: &str, named: Named) -> Result<ContextInput, Error> {
        let what = format!("failed to get build context {name}");
        Ok(match named {
            Named::Address(address) => ContextInput::Address(address),
            Named::Image(image) => ContextInput::Image(image),
            Named::Layout { folder, image } => ContextInput::Layout {
                folder: self.add(open_folder(Path::new(&folder), &what)?),
                image,
            },
            Named::Folder(folder) => ContextInput::Folder(self.add(open_folder(Path::new(&folder), &what)?)),
        })
    }

    fn add(&mut self, descriptor: OwnedFd) -> usize {
        self.descriptors.push(descriptor);
        self.descriptors.len() - 1
    }

    /// Hands over the Dockerfile apart.
    pub(super) fn dockerfile(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let number = self.add(in_memory("Dockerfile", bytes)?);
        self.input.dockerfile = Some(number);
        Ok(())
    }

    /// What it takes that the plain `/build` has no place for, as a flag; nothing if that would do.
    pub(super) fn needs(&self) -> Option<&'static str> {
        let input = &self.input;
        let named = [
            ("--build-context", !input.contexts.is_empty()),
            ("--secret", !input.secrets.is_empty()),
            ("--ssh", !input.agents.is_empty()),
            ("--cache-to", !input.cache_to.is_empty()),
            ("--no-cache-filter", !input.no_cache_filter.is_empty()),
            ("--allow", !input.allow.is_empty()),
            ("--explain", input.explain),
            ("--verify", input.verify),
            ("--attest", !input.attest.is_empty()),
        ];
        named
            .into_iter()
            .find(|(_, needed)| *needed)
            .map(|(flag, _)| flag)
    }

    /// Whether a folder beside the context is handed over.
    pub(super) fn has_named_folder(&self) -> bool {
        let folder =
            |context: &ContextInput| matches!(context, ContextInput::Folder(_) | ContextInput::Layout { .. });
        self.input.contexts.values().any(folder)
    }

    /// The words and the descriptors for one request, with `context` as the context and, for a folder, its descriptor as
    /// the last.
    pub(super) fn request(
        &self,
        context: ContextInput,
        folder: Option<OwnedFd>,
    ) -> Result<(String, Vec<OwnedFd>), Error> {
        let failed = |source: std::io::Error| Error::Transport {
            action: "keeping what is handed over",
            source: source.into(),
        };
        let mut descriptors = Vec::new();
        for descriptor in &self.descriptors {
            descriptors.push(descriptor.try_clone().map_err(failed)?);
        }
        descriptors.extend(folder);
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(Error::Usage {
                message: format!(
                    "{} contexts, secrets and agents: at most {MAX_DESCRIPTORS} can be handed over",
                    descriptors.len()
                ),
            });
        }
        let input = BuildInput {
            context,
            ..self.input.clone()
        };
        let words = serde_json::to_string(&input).map_err(|source| Error::Transport {
            action: "making the request",
            source: source.into(),
        })?;
        Ok((words, descriptors))
    }

    /// The number the context's folder gets.
    pub(super) fn next(&self) -> usize {
        self.descriptors.len()
    }
}

/// Values of a flag that takes several at once, separated by commas.
fn list(values: &[String]) -> Vec<String> {
    let all = values.iter().flat_map(|value| value.split(','));
    all.map(str::trim)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect()
}
