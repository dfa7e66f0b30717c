//! What is remembered of files between builds, so that one that did not change need not be read again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mica_oci::Digest;
use rustix::fs::Statx;

use crate::entry::Mtime;

/// How much older than the look at it a file must be for that look to count later, in seconds: a change within the same
/// tick of the file system's clock leaves no trace in its times (git calls such files racily clean).
const SETTLED: i64 = 2;

/// The first bytes of a file of fingerprints; the last one is the version of what follows.
const MAGIC: &[u8; 8] = b"micafp\0\x01";

/// Bytes of one record: the identity, what is known, the digest.
const RECORD: usize = 8 + 8 + 8 + 12 + 12 + 4 + 4 + 32;

/// Where a record's knowledge begins: all before is the identity.
const KNOWN: usize = RECORD - 36;

const HAS_DIGEST: u32 = 1;
const PLAIN: u32 = 2;

/// Which file it is, and all that changes when its bytes or attributes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// When its bytes changed last, as its owner says.
    pub mtime: Mtime,
    /// When anything of it changed last, as the kernel says.
    pub ctime: Mtime,
    /// Type and permission bits.
    pub mode: u32,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The digest of its bytes.
    pub digest: Option<Digest>,
    /// Whether it has no extended attributes of its user's.
    pub plain: bool,
}

impl Identity {
    /// What statx(2) says.
    pub(crate) fn of(stat: &Statx) -> Self {
        let time = |time: rustix::fs::StatxTimestamp| Mtime {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec,
        };
        Self {
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            mode: stat.stx_mode.into(),
        }
    }

    /// Whether a look at `seen` shows every later change: nothing of the file is so young that another change could leave
    /// the same times.
    fn is_settled(&self, seen: Mtime) -> bool {
        let limit = Mtime {
            seconds: seen.seconds.saturating_sub(SETTLED),
            ..seen
        };
        self.mtime < limit && self.ctime < limit
    }

    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.size] {
            out.extend(number.to_le_bytes());
        }
        for time in [self.mtime, self.ctime] {
            out.extend(time.seconds.to_le_bytes());
            out.extend(time.nanoseconds.to_le_bytes());
        }
        out.extend(self.mode.to_le_bytes());
    }

    fn bytes(&self) -> [u8; KNOWN] {
        let mut out = Vec::with_capacity(KNOWN);
        self.write(&mut out);
        out.try_into().unwrap_or([0; KNOWN])
    }
}

/// The time by the system's clock, which also stamps files.
pub(crate) fn now() -> Mtime {
    // a clock before 1970 makes every file too young to be remembered, which is only slow
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Mtime {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: now.subsec_nanos(),
    }
}

/// The fingerprints of one folder: those of earlier builds, and what this one learns.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// Records of [`RECORD`] bytes, going up.
    old: Vec<u8>,
    /// For each of them whether its file was met.
    met: Vec<AtomicBool>,
    new: Mutex<HashMap<Identity, Known>>,
}

impl Fingerprints {
    /// Reads what [`bytes`](Self::bytes) gave. Bytes that are damaged, or of another version, tell nothing.
    pub fn read(bytes: &[u8]) -> Self {
        let Some(old) = checked(bytes) else {
            return Self::default();
        };
        Self {
            met: (0..old.len() / RECORD).map(|_| AtomicBool::new(false)).collect(),
            old: old.to_vec(),
            new: Mutex::default(),
        }
    }

    /// What is known of a file.
    pub fn get(&self, file: &Identity) -> Known {
        match self.find(&file.bytes()) {
            Some((at, known)) => {
                self.met[at].store(true, Ordering::Relaxed);
                known
            }
            None => Known::default(),
        }
    }

    /// Learns of a file that was looked at, at the time `seen`, before any of its bytes were read. What is too young is
    /// not remembered.
    pub fn learn(&self, file: &Identity, known: Known, seen: Mtime) {
        if file.is_settled(seen) {
            let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
            new.insert(*file, known);
        }
    }

    /// Whether anything was learned.
    pub fn has_news(&self) -> bool {
        !self.new.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// All that is worth being kept, for [`read`](Self::read): files that were not met are kept as long as they are no
    /// more than those that were.
    pub fn bytes(&self) -> Vec<u8> {
        let new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records: Vec<[u8; RECORD]> = new.iter().map(|(file, known)| record(file, known)).collect();
        let news = records.len();
        let mut idle = Vec::new();
        for (old, met) in self.old.chunks_exact(RECORD).zip(&self.met) {
            let Ok(old) = <[u8; RECORD]>::try_from(old) else {
                continue;
            };
            match met.load(Ordering::Relaxed) {
                true => records.push(old),
                false => idle.push(old),
            }
        }
        if idle.len() <= records.len() {
            records.append(&mut idle);
        }
        // what was learned comes first among equals, and the sort keeps it there
        debug_assert!(news <= records.len());
        records.sort_by(|a, b| a[..KNOWN].cmp(&b[..KNOWN]));
        records.dedup_by(|later, first| later[..KNOWN] == first[..KNOWN]);
        let mut bytes = Vec::with_capacity(MAGIC.len() + records.len() * RECORD + 32);
        bytes.extend(MAGIC);
        records.iter().for_each(|record| bytes.extend(record));
        let digest = Digest::of(&bytes);
        bytes.extend(digest.as_raw());
        bytes
    }

    fn find(&self, wanted: &[u8; KNOWN]) -> Option<(usize, Known)> {
        let (mut low, mut high) = (0, self.met.len());
        while low < high {
            let middle = low.midpoint(high);
            let record = &self.old[middle * RECORD..(middle + 1) * RECORD];
            match record[..KNOWN].cmp(wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some((middle, known(&record[KNOWN..])?)),
            }
        }
        None
    }
}

/// The records, if the bytes are whole.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let records = rest.strip_prefix(MAGIC)?;
    (records.len().is_multiple_of(RECORD) && Digest::of(rest).as_raw() == digest).then_some(records)
}

fn record(file: &Identity, known: &Known) -> [u8; RECORD] {
    let mut out = Vec::with_capacity(RECORD);
    file.write(&mut out);
    let flags = if known.digest.is_some() { HAS_DIGEST } else { 0 } | if known.plain { PLAIN } else { 0 };
    out.extend(flags.to_le_bytes());
    out.extend(known.digest.map_or([0; 32], |digest| *digest.as_raw()));
    out.try_into().unwrap_or([0; RECORD])
}

fn known(bytes: &[u8]) -> Option<Known> {
    let (flags, digest) = bytes.split_at_checked(4)?;
    let flags = u32::from_le_bytes(flags.try_into().ok()?);
    let digest = Digest::from_raw(digest.try_into().ok()?);
    Some(Known {
        digest: (flags & HAS_DIGEST != 0).then_some(digest),
        plain: flags & PLAIN != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Mtime {
        Mtime {
            seconds,
            nanoseconds: 5,
        }
    }

    fn file(inode: u64) -> Identity {
        Identity {
            device: 1,
            inode,
            size: 3,
            mtime: at(50),
            ctime: at(60),
            mode: 0o100_644,
        }
    }

    fn known(text: &str) -> Known {
        Known {
            digest: Some(Digest::of(text.as_bytes())),
            plain: true,
        }
    }

    #[test]
    fn what_was_learned_is_known_by_the_next_build() {
        let prints = Fingerprints::default();
        for inode in 0..100 {
            prints.learn(&file(inode), known(&inode.to_string()), at(100));
        }
        assert_eq!(prints.get(&file(7)), Known::default(), "only the next one");
        let next = Fingerprints::read(&prints.bytes());
        for inode in 0..100 {
            assert_eq!(next.get(&file(inode)), known(&inode.to_string()));
        }
        assert!(!next.has_news());
        let mut other = file(7);
        other.ctime.nanoseconds += 1;
        assert_eq!(next.get(&other), Known::default());
        next.learn(&file(7), known("again"), at(100));
        assert_eq!(Fingerprints::read(&next.bytes()).get(&file(7)), known("again"));
    }

    #[test]
    fn what_is_too_young_is_not_remembered() {
        for (seen, remembered) in [(60, false), (61, false), (62, false), (63, true)] {
            let prints = Fingerprints::default();
            prints.learn(&file(1), known("x"), at(seen));
            assert_eq!(prints.has_news(), remembered, "{seen}");
        }
        let prints = Fingerprints::default();
        let ahead = Identity {
            mtime: at(1000),
            ..file(1)
        };
        prints.learn(&ahead, known("x"), at(100));
        assert!(!prints.has_news(), "a time that is still to come");
    }

    #[test]
    fn files_that_are_gone_are_forgotten_in_time() {
        let prints = Fingerprints::default();
        (0..10).for_each(|inode| prints.learn(&file(inode), known("x"), at(100)));
        let next = Fingerprints::read(&prints.bytes());
        next.get(&file(0));
        next.learn(&file(20), known("y"), at(100));
        let last = Fingerprints::read(&next.bytes());
        assert_eq!(last.get(&file(5)), Known::default());
        assert_eq!(last.get(&file(0)), known("x"));
        assert_eq!(last.get(&file(20)), known("y"));
    }

    proptest! {
        #[test]
        fn damaged_bytes_tell_nothing(at in 0usize..400, bit in 0u8..8, cut in 0usize..400) {
            let prints = Fingerprints::default();
            (0..3).for_each(|inode| prints.learn(&file(inode), known("x"), super::tests::at(100)));
            let mut bytes = prints.bytes();
            let short = Fingerprints::read(&bytes[..cut.min(bytes.len() - 1)]);
            prop_assert_eq!(short.get(&file(1)), Known::default());
            let place = at % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(Fingerprints::read(&bytes).get(&file(1)), Known::default());
        }
    }
}
