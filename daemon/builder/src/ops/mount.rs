//! `RUN --mount`: what the mounts of a step mean, what of them identifies it, and what its process sees of them.

mod cache;
mod lend;
mod part;

use std::path::{Path, PathBuf};

use mica_dockerfile::{MountError, MountKind, MountOptions, Run};
use mica_layer::ImagePath;
use mica_oci::CacheKey;

use crate::error::StepError;
use crate::key::{KeyWriter, StepKey};
use crate::ops::mount::cache::Cache;
use crate::ops::mount::part::Part;
use crate::ops::transfer::Origin;
use crate::site::Site;
use crate::state::State;

/// Gives what `from` of a mount names; the context for `None`.
pub(crate) type OriginOf<'o, 'a> = dyn Fn(Option<&str>) -> Result<Origin<'a>, StepError> + 'o;

/// The mounts of one RUN, in the order in which they are made.
pub(crate) struct Mounts<'a>(Vec<Mount<'a>>);

struct Mount<'a> {
    target: Target,
    options: MountOptions,
    what: What<'a>,
}

/// Where a mount is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// At an absolute path.
    At(PathBuf),
    /// Nowhere: it is a variable only.
    Nowhere,
}

/// What a mount shows that has to be looked up.
enum What<'a> {
    Part(Box<Part<'a>>),
    Cache(Box<Cache<'a>>),
    Memory,
    /// Its id.
    Secret(String),
    /// Its id.
    Agent(String),
}

impl<'a> Mounts<'a> {
    /// Works out what the mounts of `run` mean on top of `state`.
    pub(crate) fn read(
        run: &Run,
        origin: &OriginOf<'_, 'a>,
        state: &State,
        site: &Site<'_>,
    ) -> Result<Self, StepError> {
        let mut mounts = Vec::new();
        let mut sockets = 0;
        for mount in &run.mounts {
            let options = mount.resolve(site.scope.escape, &state.env.lookup())?;
            let target = target(&options, state.cwd(), &mut sockets)?;
            let what = What::of(&options, &target, origin, site)?;
            match &what {
                What::Secret(id) => site.materials.secret(id, !options.required),
                What::Agent(id) => site.materials.agent(id, !options.required),
                What::Part(_) | What::Cache(_) | What::Memory => {}
            }
            mounts.push(Mount {
                target,
                options,
                what,
            });
        }
        // one below another's target comes after it; secrets and sockets lie on top of all (as BuildKit orders them)
        mounts.sort_by(|a, b| a.place().cmp(&b.place()));
        Ok(Self(mounts))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of the step with what is cheap to know of its mounts: layers that files come from, not the files. `None` if
    /// that is no cheaper.
    pub(crate) fn key_by_layers(
        &self,
        key: KeyWriter,
        site: &Site<'_>,
    ) -> Result<Option<CacheKey>, StepError> {
        let from_layers = |mount: &Mount<'_>| matches!(&mount.what, What::Part(part) if part.is_of_layers());
        if !self.0.iter().any(from_layers) {
            return Ok(None);
        }
        let key = self.defined(key.field("mounts by layers"), &mut |part| part.by_layers(site))?;
        Ok(Some(key.finish().key))
    }

    /// The key of the step with the content of all its mounts.
    pub(crate) fn key_by_content(&self, key: KeyWriter, site: &Site<'_>) -> Result<StepKey, StepError> {
        if self.is_empty() {
            return Ok(key.finish());
        }
        let key = self.defined(key.field("mounts"), &mut |part| part.by_content(site))?;
        Ok(key.finish())
    }

    /// Adds how the mounts are defined: all but values of secrets, and names of caches (dockerfile contract 13.1).
    fn defined(
        &self,
        mut key: KeyWriter,
        identify: &mut dyn FnMut(&Part<'a>) -> Result<[u8; 32], StepError>,
    ) -> Result<KeyWriter, StepError> {
        for Mount {
            target,
            options,
            what,
        } in &self.0
        {
            let number = |value: Option<u32>| value.map(u32::to_le_bytes);
            key = key
                .field(options.kind.as_str())
                .option(target.path().map(|path| path.as_os_str().as_encoded_bytes()))
                .field([u8::from(options.readonly), u8::from(options.required)])
                .option(number(options.mode))
                .option(number(options.uid))
                .option(number(options.gid))
                .option(options.size.map(u64::to_le_bytes))
                .option(options.env.as_ref())
                .field(format!("{:?}", options.sharing));
            key = match what {
                What::Part(part) => key.field(identify(part)?),
                What::Cache(cache) => key.option(cache.seed_identity(&mut *identify)?),
                What::Memory => key,
                What::Secret(id) | What::Agent(id) => key.field(id),
            };
        }
        Ok(key)
    }
}

impl Mount<'_> {
    /// Where it stands in the order.
    fn place(&self) -> (bool, Option<&Path>) {
        match self.what {
            What::Secret(_) | What::Agent(_) => (true, None),
            What::Part(_) | What::Cache(_) | What::Memory => (false, self.target.path()),
        }
    }
}

impl Target {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::At(path) => Some(path),
            Self::Nowhere => None,
        }
    }
}

impl<'a> What<'a> {
    fn of(
        options: &MountOptions,
        target: &Target,
        origin: &OriginOf<'_, 'a>,
        site: &Site<'_>,
    ) -> Result<Self, StepError> {
        let part = || Part::find(options, origin);
        Ok(match options.kind {
            MountKind::Bind => Self::Part(Box::new(part()?)),
            MountKind::Cache => {
                let seed = match (&options.from, &options.source) {
                    (None, Some(source)) => {
                        return Err(StepError::Invalid(format!(
                            "invalid cache mount: source={source} needs a from: name the stage or image to fill a new cache with"
                        )));
                    }
                    (None, None) => None,
                    (Some(_), _) => Some(part()?),
                };
                let place = target.path().unwrap_or(Path::new("/"));
                Self::Cache(Box::new(Cache::new(options, place, seed, site)?))
            }
            MountKind::Tmpfs if options.readonly => {
                return Err(StepError::Unsupported("a read-only tmpfs mount".into()));
            }
            MountKind::Tmpfs => Self::Memory,
            MountKind::Secret => Self::Secret(secret_id(options)),
            MountKind::Ssh => Self::Agent(options.id.clone().unwrap_or_else(|| "default".to_owned())),
        })
    }
}

/// The id of a secret: said, or the old way as its source, or the last part of its target.
fn secret_id(options: &MountOptions) -> String {
    let said = options.id.as_ref().or(options.source.as_ref());
    let target = options.target.as_deref().unwrap_or_default();
    said.cloned().unwrap_or_else(|| base_name(target).to_owned())
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Where a mount is seen; `sockets` counts those that have places of their own.
fn target(options: &MountOptions, cwd: &str, sockets: &mut u32) -> Result<Target, StepError> {
    let said = match (options.kind, &options.target) {
        (_, Some(target)) => target.clone(),
        (MountKind::Bind | MountKind::Cache | MountKind::Tmpfs, None) => cwd.to_owned(),
        (MountKind::Secret, None) if options.env.is_some() => return Ok(Target::Nowhere),
        (MountKind::Secret, None) => format!("/run/secrets/{}", base_name(&secret_id(options))),
        (MountKind::Ssh, None) => {
            let number = *sockets;
            *sockets += 1;
            format!("/run/buildkit/ssh_agent.{number}")
        }
    };
    let whole = match said.starts_with('/') {
        true => said,
        false => format!("{cwd}/{said}"),
    };
    let path = ImagePath::clamped(whole.as_bytes());
    if path.is_root() {
        return Err(MountError::RootTarget.into());
    }
    Ok(Target::At(Path::new("/").join(path.as_path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: MountKind, target: Option<&str>) -> MountOptions {
        MountOptions {
            kind,
            target: target.map(str::to_owned),
            source: None,
            from: None,
            readonly: true,
            id: None,
            sharing: mica_dockerfile::CacheSharing::Shared,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            env: None,
            required: false,
        }
    }

    fn at(options: &MountOptions, cwd: &str) -> Option<String> {
        match target(options, cwd, &mut 0) {
            Ok(Target::At(path)) => Some(path.display().to_string()),
            _ => None,
        }
    }

    #[test]
    fn targets_are_below_the_working_directory_and_never_the_root() {
        let table = [
            (Some("x/../y"), "/w", Some("/w/y")),
            (Some("/a//b/."), "/w", Some("/a/b")),
            (None, "/w", Some("/w")),
            (None, "/", None),
            (Some("../.."), "/w", None),
        ];
        for (said, cwd, expected) in table {
            let found = at(&options(MountKind::Bind, said), cwd);
            assert_eq!(found.as_deref(), expected, "{said:?}");
        }
    }

    #[test]
    fn secrets_and_sockets_have_places_of_their_own() {
        let mut secret = options(MountKind::Secret, None);
        secret.id = Some("a/b".into());
        assert_eq!(at(&secret, "/w").unwrap(), "/run/secrets/b");
        secret.env = Some("X".into());
        assert_eq!(at(&secret, "/w"), None);
        let by_target = options(MountKind::Secret, Some("/etc/token"));
        assert_eq!(secret_id(&by_target), "token");
        let mut sockets = 0;
        let ssh = options(MountKind::Ssh, None);
        for number in 0..2 {
            let place = target(&ssh, "/", &mut sockets).unwrap();
            assert_eq!(
                place,
                Target::At(format!("/run/buildkit/ssh_agent.{number}").into())
            );
        }
    }
}
