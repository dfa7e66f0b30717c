//! `type=cache`: which directory a mount names, and what a new one begins with.

use std::path::Path;

use mica_dockerfile::{CacheSharing, MountOptions};
use mica_oci::{CacheKey, ChainId};
use mica_store::{CacheMount, HeldMount, Seed, Sharing};

use crate::error::StepError;
use crate::key::KeyWriter;
use crate::ops::mount::part::Part;
use crate::site::{Place, Site};

/// The mode of a cache that nobody says anything of.
const MODE: u32 = 0o755;

/// Tells the caches of one Dockerfile from those of another that use the same ids.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// A directory that outlives the build.
pub(crate) struct Cache<'a> {
    mount: CacheMount,
    sharing: Sharing,
    seed: Option<Part<'a>>,
}

impl<'a> Cache<'a> {
    /// The cache that `options` name; `target` does where they do not.
    pub(crate) fn new(
        options: &MountOptions,
        target: &Path,
        seed: Option<Part<'a>>,
        site: &Site<'_>,
    ) -> Result<Self, StepError> {
        let name = options
            .id
            .clone()
            .unwrap_or_else(|| target.to_string_lossy().into_owned());
        let owner = match (options.uid, options.gid, &seed) {
            (None, None, Some(_)) => None,
            (uid, gid, _) => Some((uid.unwrap_or_default(), gid.unwrap_or_default())),
        };
        let mode = options.mode.or_else(|| seed.is_none().then_some(MODE));
        let begins_with = seed.as_ref().map(|part| part.by_layers(site)).transpose()?;
        let namespace = site.scope.options.build_arg(NAMESPACE);
        Ok(Self {
            mount: CacheMount {
                key: key(namespace, &name, begins_with, owner, mode),
                name,
                mode,
                owner,
            },
            sharing: match options.sharing {
                CacheSharing::Shared => Sharing::Shared,
                CacheSharing::Private => Sharing::Private,
                CacheSharing::Locked => Sharing::Locked,
            },
            seed,
        })
    }

    /// Tells it from all other caches.
    pub(crate) fn key(&self) -> CacheKey {
        self.mount.key
    }

    /// How it is shared.
    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Identifies what a new one begins with.
    pub(crate) fn seed_identity(
        &self,
        identify: &mut dyn FnMut(&Part<'a>) -> Result<[u8; 32], StepError>,
    ) -> Result<Option<[u8; 32]>, StepError> {
        self.seed.as_ref().map(identify).transpose()
    }

    /// Takes it, waiting until it is free where that is asked for.
    pub(crate) fn take(
        &self,
        sharing: Sharing,
        site: &Site<'_>,
        place: Place,
    ) -> Result<HeldMount, StepError> {
        let mut told = false;
        let mut wait = || {
            site.layers.cancel.check()?;
            if !std::mem::replace(&mut told, true) {
                site.note(place, format!("waiting for cache mount {}", self.mount.name));
            }
            Ok(())
        };
        let store = site.layers.store;
        match &self.seed {
            None => store.cache_mount(&self.mount, sharing, None, &mut wait),
            Some(part) => {
                let mut fill = |folder: &Path| part.copy_to(folder, site);
                let fill: &mut Seed<'_, StepError> = &mut fill;
                store.cache_mount(&self.mount, sharing, Some(fill), &mut wait)
            }
        }
    }
}

/// All that tells one cache from another (dockerfile contract 9.3).
fn key(
    namespace: Option<&str>,
    name: &str,
    seed: Option<[u8; 32]>,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
) -> CacheKey {
    KeyWriter::new("cache mount", &ChainId::empty())
        .field(namespace.unwrap_or_default())
        .field(name)
        .option(seed)
        .option(owner.map(|(uid, gid)| [uid.to_le_bytes(), gid.to_le_bytes()].concat()))
        .option(mode.map(u32::to_le_bytes))
        .finish()
        .key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (String, String, Option<[u8; 32]>, Option<(u32, u32)>, Option<u32>);

    fn parts() -> impl Strategy<Value = Parts> {
        // few values, so that equal ones and those that differ in one place both occur
        let seed = prop::option::of((0_u8..2).prop_map(|byte| [byte; 32]));
        let owner = prop::option::of((0_u32..2, 0_u32..2));
        ("[a/]{0,2}", "[a/]{0,3}", seed, owner, prop::option::of(0_u32..2))
    }

    fn key_of((namespace, name, seed, owner, mode): &Parts) -> CacheKey {
        key(Some(namespace), name, *seed, *owner, *mode)
    }

    proptest! {
        #[test]
        fn equal_parts_and_nothing_else_give_one_cache(a in parts(), b in parts()) {
            prop_assert_eq!(a == b, key_of(&a) == key_of(&b));
        }
    }

    #[test]
    fn no_namespace_is_an_empty_one() {
        assert_eq!(
            key(None, "a", None, None, None),
            key(Some(""), "a", None, None, None)
        );
    }
}
