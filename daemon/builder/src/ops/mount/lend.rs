//! What a process gets for the mounts of its RUN, held until it has ended.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mica_dockerfile::MountOptions;
use mica_oci::CacheKey;
use mica_store::{HeldMount, Sharing};

use crate::error::StepError;
use crate::input::Secret;
use crate::ops::mount::part::Part;
use crate::ops::mount::{Mount, Mounts, What};
use crate::ports::{self, Access, MountSource, Scratch};
use crate::site::{Place, Site};

/// Who finds an agent by it (`ssh-agent(1)`).
const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";

/// Mode of a file in memory that nobody says anything of.
const FILE_MODE: u32 = 0o400;
/// Mode of an agent's socket.
const SOCKET_MODE: u32 = 0o600;
/// Mode of the root of a file system in memory (`tmpfs(5)`).
const MEMORY_MODE: u32 = 0o1777;

/// What a process gets.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    /// What it sees, in this order.
    pub mounts: Vec<ports::Mount>,
    /// Variables whose values are secrets.
    pub secret_env: Vec<(String, Secret)>,
    /// Where its first agent answers, or would if it were there.
    agent: Option<String>,
    _caches: Vec<HeldMount>,
}

impl Lent {
    /// The variables the process gets, if it does not have them: `SSH_AUTH_SOCK`.
    pub(crate) fn complete(&self, env: &mut Vec<String>) {
        let prefix = format!("{SSH_AUTH_SOCK}=");
        if let Some(socket) = &self.agent
            && !env.iter().any(|entry| entry.starts_with(&prefix))
        {
            env.push(format!("{prefix}{socket}"));
        }
    }
}

impl Mounts<'_> {
    /// Makes everything the process is going to see; `work` is the step's own scratch space.
    pub(crate) fn lend(&self, site: &Site<'_>, place: Place, work: &Path) -> Result<Lent, StepError> {
        let caches = self.take_caches(site, place)?;
        let mut lent = Lent::default();
        for (number, mount) in self.0.iter().enumerate() {
            let source = match &mount.what {
                What::Part(part) => {
                    let folder = work.join(format!("mount-{number}"));
                    Some(show(part, mount.options.readonly, site, place, &folder)?)
                }
                What::Cache(cache) => caches.get(&cache.key()).map(|held| MountSource::Host {
                    path: held.path(),
                    read_only: mount.options.readonly,
                }),
                What::Memory => Some(MountSource::Memory {
                    size: mount.options.size,
                    mode: MEMORY_MODE,
                }),
                What::Secret(id) => secret(id, mount, site, &mut lent)?,
                What::Agent(id) => agent(id, mount, site, &mut lent)?,
            };
            if let (Some(source), Some(target)) = (source, mount.target.path()) {
                let target = target.to_owned();
                lent.mounts.push(ports::Mount { target, source });
            }
        }
        lent._caches = caches.into_values().collect();
        Ok(lent)
    }

    /// Takes each cache once, in an order that is the same for all steps: two that want the same ones cannot then wait for
    /// each other.
    fn take_caches(&self, site: &Site<'_>, place: Place) -> Result<BTreeMap<CacheKey, HeldMount>, StepError> {
        let mut wanted: BTreeMap<CacheKey, (&_, Sharing)> = BTreeMap::new();
        for mount in &self.0 {
            if let What::Cache(cache) = &mount.what {
                let entry = wanted.entry(cache.key()).or_insert((cache, cache.sharing()));
                entry.1 = entry.1.max(cache.sharing());
            }
        }
        wanted
            .into_iter()
            .map(|(key, (cache, sharing))| Ok((key, cache.take(sharing, site, place)?)))
            .collect()
    }
}

/// Shows a part; what is written to it, where it may be, ends in `folder`.
fn show(
    part: &Part<'_>,
    read_only: bool,
    site: &Site<'_>,
    place: Place,
    folder: &Path,
) -> Result<MountSource, StepError> {
    let make = |name: &str| -> Result<PathBuf, StepError> {
        let path = folder.join(name);
        fs_err::create_dir_all(&path)?;
        // the root of an overlay is like the upper folder
        fs_err::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    };
    let trees = part.trees(site, place, &make("empty")?)?;
    let scratch = match read_only {
        true => None,
        false => Some(Scratch {
            upper: make("upper")?,
            work: make("work")?,
        }),
    };
    Ok(MountSource::Layers {
        lowers: trees.lowers,
        path: trees.path,
        scratch,
    })
}

fn access(options: &MountOptions, mode: u32) -> Access {
    Access {
        mode: options.mode.unwrap_or(mode),
        uid: options.uid.unwrap_or_default(),
        gid: options.gid.unwrap_or_default(),
    }
}

fn secret(
    id: &str,
    mount: &Mount<'_>,
    site: &Site<'_>,
    lent: &mut Lent,
) -> Result<Option<MountSource>, StepError> {
    let asked = site.lender.secret(id);
    let unheard = |reason| StepError::Invalid(format!("secret {id}: {reason}"));
    let Some(secret) = asked.map_err(unheard)? else {
        return match mount.options.required {
            true => Err(StepError::NoSecret(id.to_owned())),
            false => Ok(None),
        };
    };
    if let Some(name) = &mount.options.env {
        lent.secret_env.push((name.clone(), secret.clone()));
    }
    Ok(Some(MountSource::Secret {
        secret,
        access: access(&mount.options, FILE_MODE),
    }))
}

fn agent(
    id: &str,
    mount: &Mount<'_>,
    site: &Site<'_>,
    lent: &mut Lent,
) -> Result<Option<MountSource>, StepError> {
    // the variable tells where an agent would answer: a process may not depend on whether one was lent
    if let Some(target) = mount.target.path() {
        let target = target.to_string_lossy().into_owned();
        lent.agent.get_or_insert(target);
    }
    let asked = site.lender.agent(id);
    let unheard = |reason| StepError::Invalid(format!("ssh agent {id}: {reason}"));
    let Some(agent) = asked.map_err(unheard)? else {
        return match mount.options.required {
            true => Err(StepError::NoAgent(id.to_owned())),
            false => Ok(None),
        };
    };
    Ok(Some(MountSource::Agent {
        agent,
        access: access(&mount.options, SOCKET_MODE),
    }))
}
