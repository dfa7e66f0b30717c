//! Keeping the build cache within what the disk has room for, without being asked.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use mica_oci::CacheKey;
use mica_store::Pruned;

use crate::cache_list::{CacheItem, CacheKind};
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Subject;
use crate::gc::{Budget, CacheSelection, PrunedCache};

/// How long what was removed may take to give its room back; what takes longer is not waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// So much of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the whole disk.
    Percent(u8),
}

impl Space {
    /// Bytes of a disk that has so many.
    fn of(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk / 100 * u64::from(percent),
        }
    }
}

impl FromStr for Space {
    type Err = String;

    /// `10%`, bytes, or bytes with a unit, each of which is 1024 times the one before, as docker reads them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no amount of space: say bytes, 20GB or 10%");
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim_end().parse().ok().filter(|percent| *percent <= 100);
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (amount, unit) = text.split_at(digits);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(wrong()),
        };
        let (whole, part) = amount.split_once('.').unwrap_or((amount, "0"));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let tenths = part.get(..1).and_then(|digit| digit.parse::<u64>().ok());
        // more digits than one say less than anybody means
        let tenths = tenths.filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
        let unit = 1_u64 << shift;
        let part = tenths.ok_or_else(wrong)? * unit / 10;
        let bytes = whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part));
        bytes.map(Self::Bytes).ok_or_else(wrong)
    }
}

/// What the build cache is kept within. What is not said is as BuildKit has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Whether anything goes without being asked for.
    pub enabled: bool,
    /// So much always stays; without it a tenth of the disk, at most 10 GB.
    pub reserved: Option<Space>,
    /// More than so much does not stay; without it 80 % of the disk, at most 100 GB.
    pub most: Option<Space>,
    /// So much of the disk is to be free; without it a fifth, at most 20 GB.
    pub free: Option<Space>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            enabled: true,
            reserved: None,
            most: None,
            free: None,
        }
    }
}

impl Keeping {
    /// What that is of a disk of so many bytes.
    #[must_use]
    pub fn budget(&self, disk: u64) -> Budget {
        let of = |said: Option<Space>, percent: u8, gigabytes: u64| match said {
            Some(space) => space.of(disk),
            None => Space::Percent(percent).of(disk).min(gigabytes * 1_000_000_000),
        };
        Budget {
            reserved: Some(of(self.reserved, 10, 10)),
            most: Some(of(self.most, 80, 100)),
            free: Some(of(self.free, 20, 20)),
        }
    }
}

/// How full a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that may be used.
    pub available: u64,
}

impl Disk {
    /// The disk that a folder is on.
    pub(crate) fn of(folder: &Path) -> Result<Self, Error> {
        let disk = rustix::fs::statvfs(folder).map_err(|source| Error::Io {
            action: "read how much of the disk is free",
            source: source.into(),
        })?;
        Ok(Self {
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }
}

/// What is left behind in the store that nothing needs, and when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// It stays: a download may go on with it.
    Stay,
    /// It goes, but what is left of a download only if it was not written to for so long.
    Go(Duration),
}

impl Engine {
    /// The disk the store is on.
    pub fn disk(&self) -> Result<Disk, Error> {
        Disk::of(self.root())
    }

    /// Whether less of the disk is free than is to be.
    pub fn is_short(&self, keeping: &Keeping) -> Result<bool, Error> {
        let disk = self.disk()?;
        Ok(keeping.enabled && keeping.budget(disk.size).free > Some(disk.available))
    }

    /// Removes records of the build cache until it is within its budget, the least recently used first; before that, if less of
    /// the disk is free than is to be, what failed steps left, and the leftovers if they are to go. Never an image, nor what a build uses. `tell` hears how many bytes are gone so far; what is gone is gone
    /// if it is given up in the middle.
    pub fn keep_within(
        &self,
        keeping: &Keeping,
        leftovers: Leftovers,
        tell: &mut dyn FnMut(u64),
    ) -> Result<PrunedCache, Error> {
        let mut gone = PrunedCache::default();
        self.workshop().forget_old_failed_steps();
        if !keeping.enabled {
            return Ok(gone);
        }
        if leftovers != Leftovers::Stay || self.is_short(keeping)? {
            gone.bytes += self.workshop().forget_failed_steps();
        }
        if let Leftovers::Go(age) = leftovers {
            gone.bytes += self.store().collect_older(age)?;
        }
        if gone.bytes > 0 {
            tell(gone.bytes);
        }
        let result = self.keep(keeping, &mut gone, tell);
        if gone.bytes > 0 || !gone.keys.is_empty() {
            self.shrink();
            self.feed().prune(Subject::Cache, gone.bytes);
        }
        result.map(|()| gone)
    }

    fn keep(
        &self,
        keeping: &Keeping,
        gone: &mut PrunedCache,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        loop {
            if self.is_short(keeping)? {
                // what is on its way out already need not be made up for
                self.store().wait_for_room(PATIENCE);
            }
            let disk = self.disk()?;
            let items = self.cache()?;
            let total = items.iter().map(CacheItem::own_bytes).sum();
            let excess = keeping.budget(disk.size).excess(total, disk.available);
            let doomed = doomed(&items, excess, &CacheSelection::default());
            if doomed.is_empty() {
                return Ok(());
            }
            let before = gone.keys.len();
            let _whole = self.remove_from_cache(&doomed, &mut |some| {
                gone.bytes += some.bytes;
                gone.keys.extend(some.keys);
                tell(gone.bytes);
                ControlFlow::Continue(())
            })?;
            // those that are left came to be used in this moment
            if gone.keys.len() == before {
                return Ok(());
            }
        }
    }

    /// Gives the disk back what the store keeps for no use since something went.
    pub(crate) fn shrink(&self) {
        // what cannot be had now is had the next time
        let _ = self.store().shrink();
    }

    /// Removes these records; `tell` hears of some at a time, and no more go if it breaks off. Gives what it said last.
    pub(crate) fn remove_from_cache(
        &self,
        doomed: &HashSet<(CacheKind, CacheKey)>,
        tell: &mut dyn FnMut(Pruned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let is_doomed = |kind, key| doomed.contains(&(kind, key));
        let store = self.store();
        let records =
            store.prune_cache_telling(&mut |entry| is_doomed(CacheKind::Regular, entry.key), tell)?;
        if records.is_break() {
            return Ok(records);
        }
        Ok(store.prune_mounts_telling(&mut |entry| is_doomed(CacheKind::Mount, entry.id), tell)?)
    }
}

/// The records that go, of a list with the least recently used first: so many of those that are selected that `excess` bytes
/// are free, or all of them.
pub(crate) fn doomed(
    items: &[CacheItem],
    mut excess: Option<u64>,
    selection: &CacheSelection,
) -> HashSet<(CacheKind, CacheKey)> {
    let mut doomed = HashSet::new();
    for item in items {
        if excess == Some(0) {
            break;
        }
        if selection.admits(item) {
            doomed.insert((item.kind, item.id));
            excess = excess.map(|bytes| bytes.saturating_sub(item.own_bytes()));
        }
    }
    doomed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_read_as_docker_reads_it() {
        for (text, expected) in [
            ("0", Some(Space::Bytes(0))),
            ("1024", Some(Space::Bytes(1024))),
            ("20GB", Some(Space::Bytes(20 << 30))),
            ("1.5 g", Some(Space::Bytes(3 << 29))),
            ("512mib", Some(Space::Bytes(512 << 20))),
            ("10%", Some(Space::Percent(10))),
            ("100 %", Some(Space::Percent(100))),
            ("101%", None),
            ("-1", None),
            ("", None),
            ("GB", None),
            ("1.", None),
            ("1.x", None),
            ("5 apples", None),
            ("99999999999PB", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn budgets_are_shares_of_the_disk_up_to_a_limit() {
        let gigabytes = |reserved: u64, most: u64, free: u64| Budget {
            reserved: Some(reserved * 1_000_000_000),
            most: Some(most * 1_000_000_000),
            free: Some(free * 1_000_000_000),
        };
        let keeping = Keeping::default();
        assert_eq!(keeping.budget(50_000_000_000), gigabytes(5, 40, 10));
        assert_eq!(keeping.budget(2_000_000_000_000), gigabytes(10, 100, 20));
        let said = Keeping {
            reserved: Some(Space::Bytes(0)),
            most: Some(Space::Percent(90)),
            free: Some(Space::Bytes(1_000_000_000)),
            ..keeping
        };
        assert_eq!(said.budget(1_000_000_000_000), gigabytes(0, 900, 1));
    }
}
