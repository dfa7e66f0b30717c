//! What a process has of the machine: memory, descriptors, threads, children.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Descriptors that are made when many ask at once, and stay: the store has up to eight connections to its database for reading, and
/// each has the file and its log open.
const STAYING: usize = 16;

/// What a process has at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Memory in MiB (`VmRSS`).
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: u64,
    /// Children, dead ones that nobody waited for too.
    pub children: usize,
}

impl Holdings {
    /// Of the process with this number, which is running.
    pub(super) fn of(process: u32) -> Self {
        let folder = Path::new("/proc").join(process.to_string());
        let status = fs_err::read_to_string(folder.join("status")).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<u64>().ok()).unwrap_or_default()
        };
        Self {
            memory: number("VmRSS:") / 1024,
            descriptors: fs_err::read_dir(folder.join("fd")).map_or(0, Iterator::count),
            threads: number("Threads:"),
            children: children(process),
        }
    }

    /// Whether these are no more than those, memory aside; of descriptors as many more as are made once and stay.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.descriptors <= other.descriptors + STAYING
            && self.threads <= other.threads
            && self.children <= other.children
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, {} descriptors, {} threads, {} children",
            self.memory, self.descriptors, self.threads, self.children
        )
    }
}

/// What the descriptors of a process lead to, and how many to each.
pub(super) fn open_files(process: u32) -> BTreeMap<String, usize> {
    let links = fs_err::read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found = BTreeMap::new();
    for link in links {
        // a descriptor may be closed while it is looked at
        if let Ok(target) = std::fs::read_link(link.path()) {
            let target = target.to_string_lossy();
            // sockets and pipes are numbered, one by one
            let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
            *found.entry(kind.to_owned()).or_default() += 1;
        }
    }
    found
}

/// Whether a process of this machine has this command line.
pub(super) fn runs(words: &[&str]) -> bool {
    let wanted: String = words.iter().flat_map(|word| [word, "\0"]).collect();
    let entries = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    let mut commands = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands.any(|command| command == wanted.as_bytes())
}

/// How many processes have this one as their parent: the second number behind the name in `stat` (proc(5)).
fn children(process: u32) -> usize {
    let entries = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    let parents = entries.filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse::<u32>().ok()
    });
    parents.filter(|parent| *parent == process).count()
}

/// What is left of jobs in a store: files on their way, scratch space, rubbish.
pub(super) fn scratch(store: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for folder in ["ingest", "work", "trash"] {
        let entries = fs_err::read_dir(store.join("mica").join(folder))
            .into_iter()
            .flatten()
            .flatten();
        left.extend(entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())));
    }
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|place| Path::new(place).starts_with(store));
    left.extend(below.map(|place| format!("the mount {place}")));
    left
}

/// Blobs whose bytes are not those of their names.
pub(super) fn damaged_blobs(store: &Path) -> Vec<String> {
    use sha2::Digest as _;
    let entries = fs_err::read_dir(store.join("blobs/sha256"))
        .into_iter()
        .flatten()
        .flatten();
    let damaged = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs_err::read(entry.path()).ok()?;
        (crate::conformance::hex(&sha2::Sha256::digest(bytes)) != name).then_some(name)
    });
    damaged.collect()
}
