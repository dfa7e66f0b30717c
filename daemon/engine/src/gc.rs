//! What goes from the build cache when someone asks to prune it.

use jiff::Timestamp;
use mica_oci::CacheKey;

use crate::cache_list::CacheItem;
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Subject;
use crate::keeping::{PATIENCE, doomed};
use crate::pruning::{PruneWatch, Watched};

/// Which records of the build cache go; everything that is set has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheSelection {
    /// Records whose layer an image has too; removing them frees no bytes.
    pub all: bool,
    /// Last used before this time.
    pub unused_since: Option<Timestamp>,
    /// Beginnings of the record's key, in hexadecimal; one must match.
    pub ids: Vec<String>,
    /// Beginnings of the key of the record it was made on; one must match.
    pub parents: Vec<String>,
    /// Pieces of the description; one must be in it.
    pub descriptions: Vec<String>,
    /// Kinds of records, `regular` or `exec.cachemount`; any other selects nothing.
    pub types: Vec<String>,
    /// Whether a build is using it now. Those never go, so `true` selects nothing.
    pub in_use: Option<bool>,
    /// Whether an image has the layer too.
    pub shared: Option<bool>,
    /// How far it goes.
    pub budget: Budget,
}

/// How far a prune goes: the least recently used records go first, and as many stay as all that is set lets stay. What images
/// have too counts nowhere. Without anything set there is no end to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// So many bytes always stay, whatever the other two say; alone, all above goes.
    pub reserved: Option<u64>,
    /// More than so many bytes do not stay.
    pub most: Option<u64>,
    /// So many bytes of the disk are to be free; nothing goes once they are.
    pub free: Option<u64>,
}

impl Budget {
    /// How many of `total` bytes have to go, where `available` bytes of the disk are free; `None` if there is no end.
    pub(crate) fn excess(self, total: u64, available: u64) -> Option<u64> {
        let room = self
            .free
            .map(|wanted| total.saturating_sub(wanted.saturating_sub(available)));
        let limit = [self.most, room].into_iter().flatten().min();
        let limit = match self.reserved {
            Some(reserved) => Some(limit.unwrap_or(0).max(reserved)),
            None => limit,
        };
        limit.map(|limit| total.saturating_sub(limit))
    }
}

/// What a prune of the build cache did.
#[derive(Debug, Clone, Default)]
pub struct PrunedCache {
    /// The records that are gone.
    pub keys: Vec<CacheKey>,
    /// Bytes freed on disk.
    pub bytes: u64,
}

impl Engine {
    /// Removes records of the build cache, the least recently used first. Images keep their layers; a cache mount in use
    /// stays whatever is asked. If everything is to go, so do the logs of builds that have ended, and what is remembered of
    /// folders and steps.
    ///
    /// # Errors
    /// If it is cancelled, or the store fails; what is gone by then is gone.
    pub fn prune_cache(
        &self,
        selection: &CacheSelection,
        watch: &mut PruneWatch<'_>,
    ) -> Result<PrunedCache, Error> {
        let mut watched = Watched::new(watch);
        let mut gone = PrunedCache::default();
        let result = self.prune_selected(selection, &mut watched, &mut gone);
        if result.is_ok() || !gone.keys.is_empty() {
            self.feed().prune(Subject::Cache, gone.bytes);
        }
        result.map(|()| gone)
    }

    fn prune_selected(
        &self,
        selection: &CacheSelection,
        watched: &mut Watched<'_, '_>,
        gone: &mut PrunedCache,
    ) -> Result<(), Error> {
        // their layers are in use as long as they are kept
        self.workshop().forget_failed_steps();
        if selection.budget.free.is_some() {
            // what is on its way out already need not be made up for
            watched.wait_for_room(self.store(), PATIENCE)?;
        }
        let items = self.cache()?;
        let total = items.iter().map(CacheItem::own_bytes).sum();
        let excess = selection.budget.excess(total, self.disk()?.available);
        let doomed = doomed(&items, excess, selection);
        watched.check()?;
        watched.removes("removing build cache", doomed.len());
        let _until = self.remove_from_cache(&doomed, &mut |some| {
            let flow = watched.gone_records(&some);
            gone.bytes += some.bytes;
            gone.keys.extend(some.keys);
            flow
        })?;
        watched.check()?;
        watched.gone(doomed.len().saturating_sub(gone.keys.len()), 0);
        if selection.is_everything() {
            let bytes = self.store().forget_notes()?;
            gone.bytes += bytes;
            watched.gone(0, bytes);
        }
        watched.begins("making the store small");
        self.shrink();
        Ok(())
    }
}

impl CacheSelection {
    /// Whether nothing is left out.
    fn is_everything(&self) -> bool {
        let all = Self {
            all: true,
            ..Self::default()
        };
        *self == all
    }

    pub(crate) fn admits(&self, item: &CacheItem) -> bool {
        let begins = |key: &CacheKey, wanted: &str| {
            key.digest()
                .hex()
                .starts_with(wanted.trim_start_matches("sha256:"))
        };
        let any = |wanted: &[String], holds: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|one| holds(one))
        };
        !item.in_use
            && self.in_use != Some(true)
            && (self.all || self.shared == Some(true) || !item.shared)
            && self.shared.is_none_or(|wanted| wanted == item.shared)
            && self.unused_since.is_none_or(|limit| item.last_used < limit)
            && any(&self.ids, &|id| begins(&item.id, id))
            && any(&self.parents, &|id| {
                item.parent.as_ref().is_some_and(|parent| begins(parent, id))
            })
            && any(&self.types, &|kind| kind == item.kind.as_str())
            && any(&self.descriptions, &|part| item.description.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_say_how_much_goes() {
        let budget = |reserved: u64, most: u64, free: u64| {
            let set = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
            Budget {
                reserved: set(reserved),
                most: set(most),
                free: set(free),
            }
        };
        // of 100 bytes of cache, with 50 bytes of disk free
        for (given, expected) in [
            (budget(0, 0, 0), None),
            (budget(30, 0, 0), Some(70)),
            (budget(130, 0, 0), Some(0)),
            (budget(0, 30, 0), Some(70)),
            (budget(0, 130, 0), Some(0)),
            (budget(40, 30, 0), Some(60)),
            (budget(30, 40, 0), Some(60)),
            (budget(0, 0, 50), Some(0)),
            (budget(0, 0, 60), Some(10)),
            (budget(0, 0, 1000), Some(100)),
            (budget(80, 0, 1000), Some(20)),
            (budget(80, 0, 10), Some(0)),
            (budget(0, 95, 60), Some(10)),
            (budget(0, 70, 60), Some(30)),
            (budget(97, 95, 60), Some(3)),
        ] {
            assert_eq!(given.excess(100, 50), expected, "{given:?}");
        }
    }
}
