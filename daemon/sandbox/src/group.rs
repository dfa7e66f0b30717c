//! The control group of one run: made before it, left to nobody after it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hierarchy::{Hierarchies, Place};
use crate::limits::{Limits, MEMORY, Setting, processes};

/// The group that those of runs are made in, unless they ask for another.
const PARENT: &str = "mica";

/// What the names of groups of runs begin with; process and start of the daemon and a number follow.
const NAME: &str = "mica-run-";

/// The most folders looked at for groups that were left behind.
const MOST_FOLDERS: usize = 10_000;

/// The folders of one run's group; they are removed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Group {
    folders: Folders,
}

/// What the helper has to know of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folders {
    /// One for each hierarchy.
    all: Vec<Folder>,
    /// The file in which the kernel counts what it killed for want of memory.
    kills: Option<PathBuf>,
}

/// The group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Folder {
    path: PathBuf,
    /// Whether somebody asked for what is limited there; else it is no harm if it cannot be entered.
    asked: bool,
}

impl Group {
    /// Makes the group that a run with these limits and so many processes needs: an error if what is asked for cannot be
    /// limited, the number of processes aside.
    pub(crate) fn make(limits: &Limits, most: Option<u64>) -> Result<Self, Error> {
        let mut group = Group::default();
        if limits.is_empty() && most.is_none() {
            return Ok(group);
        }
        let hierarchies = Hierarchies::read()
            .map_err(|error| failed("anything", Path::new("/proc/self/mountinfo"), error))?;
        group.enroll(&hierarchies, limits, most)?;
        Ok(group)
    }

    /// Makes its folders.
    fn enroll(&mut self, hierarchies: &Hierarchies, limits: &Limits, most: Option<u64>) -> Result<(), Error> {
        let parent = parent(limits.parent.as_deref())?;
        let own = parent.join(own_name());
        for setting in limits.settings() {
            self.apply(hierarchies, &own, &setting, true)
                .map_err(|(path, error)| failed(setting.about, &path, error))?;
        }
        // Version 2 counts what was killed for want of memory only in groups that have the controller, limited or not. Nobody asked
        // for it, so a host that does not give it is left as it is.
        if let Some(place) = hierarchies.place(MEMORY) {
            let _ = self.join(&place, &own, Some(MEMORY), false);
        }
        // One in the others too: else they would show the groups of the host.
        for place in hierarchies.places() {
            let asked = limits.parent.is_some();
            match self.join(&place, &own, None, asked) {
                Err((path, error)) if asked => return Err(failed("to a parent group", &path, error)),
                _ => {}
            }
        }
        if let Some(most) = most {
            // Nobody asked for this one, so a host that does not let it be set is left as it is.
            let _ = self.apply(hierarchies, &own, &processes(most), false);
        }
        Ok(())
    }

    /// What the helper has to know.
    pub(crate) fn folders(&self) -> &Folders {
        &self.folders
    }

    fn apply(
        &mut self,
        hierarchies: &Hierarchies,
        own: &Path,
        setting: &Setting,
        asked: bool,
    ) -> Result<(), (PathBuf, io::Error)> {
        let Some(place) = hierarchies.place(setting.controller) else {
            let text = format!("this host has no control groups for {}", setting.controller);
            return Err((hierarchies.top(), io::Error::other(text)));
        };
        let folder = self.join(&place, own, Some(setting.controller), asked)?;
        let (file, value) = match place {
            Place::Legacy(_) => &setting.legacy,
            Place::Unified(_) => &setting.unified,
        };
        let path = folder.join(file);
        match fs::write(&path, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && setting.optional => Ok(()),
            other => other.map_err(|error| (path, error)),
        }
    }

    /// Makes the group in the hierarchy, if it is not there yet.
    fn join(
        &mut self,
        place: &Place,
        own: &Path,
        controller: Option<&str>,
        asked: bool,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let folder = place.make(own, controller)?;
        match self.folders.all.iter_mut().find(|known| known.path == folder) {
            Some(known) => known.asked |= asked,
            None => self.folders.all.push(Folder {
                path: folder.clone(),
                asked,
            }),
        }
        let kills = folder.join(place.kills());
        if self.folders.kills.is_none() && kills.exists() {
            self.folders.kills = Some(kills);
        }
        Ok(folder)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.folders.remove();
    }
}

impl Folders {
    /// Puts the calling process into the group.
    pub(crate) fn enter(&self) -> Result<(), (&Path, io::Error)> {
        for folder in &self.all {
            let entered = fs::write(folder.path.join("cgroup.procs"), "0");
            if folder.asked {
                entered.map_err(|error| (folder.path.as_path(), error))?;
            }
        }
        Ok(())
    }

    /// Whether the kernel killed something in it because there was no more memory to be had.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(path) = &self.kills else { return false };
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut counts = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
        counts.next().is_some_and(|count| count.trim() != "0")
    }

    /// Removes it. It is empty when the run is over, though the kernel may take a moment to see that.
    pub(crate) fn remove(&self) {
        const PATIENCE: u32 = 50;
        for folder in &self.all {
            for _ in 0..PATIENCE {
                match fs::remove_dir(&folder.path) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        sleep(Duration::from_millis(10))
                    }
                    _ => break,
                }
            }
        }
    }
}

fn failed(about: &str, path: &Path, source: io::Error) -> Error {
    Error::Limit {
        about: about.to_owned(),
        path: path.to_owned(),
        source,
    }
}

/// The path of a parent group, from the top of its hierarchy.
fn parent(asked: Option<&str>) -> Result<PathBuf, Error> {
    let asked = asked.unwrap_or(PARENT);
    let mut path = PathBuf::new();
    for part in Path::new(asked).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Spec {
                    field: "limits",
                    reason: format!("the parent group {asked:?} must not hold \"..\""),
                });
            }
        }
    }
    Ok(path)
}

/// A name that no other run has, and that tells whether the daemon it is of still runs.
fn own_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("{NAME}{pid}-{}-{number}", started(pid).unwrap_or_default())
}

/// When a process started, in the kernel's ticks since it started itself (`proc_pid_stat(5)`).
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name of the program, in brackets, can hold anything
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether a folder is the group of a run whose daemon is gone.
fn is_orphan(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(NAME) else {
        return false;
    };
    let mut fields = rest.split('-').map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(pid)), Some(Ok(start))) => u32::try_from(pid).ok().and_then(started) != Some(start),
        _ => false,
    }
}

/// Removes the groups of runs whose daemon was killed together with its helpers, as far as that can be done;
/// how many. To be called when a daemon starts.
pub fn sweep_groups() -> usize {
    let Ok(hierarchies) = Hierarchies::read() else {
        return 0;
    };
    let mut removed = 0;
    for top in hierarchies.tops() {
        let mut ahead = vec![top];
        let mut looked = 0;
        while let Some(folder) = ahead.pop() {
            looked += 1;
            if looked > MOST_FOLDERS {
                break;
            }
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let orphan = entry.file_name().to_str().is_some_and(is_orphan);
                // one in which something still runs stays: it cannot be removed
                if orphan && fs::remove_dir(entry.path()).is_ok() {
                    removed += 1;
                } else if !orphan {
                    ahead.push(entry.path());
                }
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::mount::{MountFlags, mount_bind, mount_remount};

    use super::{Group, is_orphan, own_name, parent};
    use crate::hierarchy::Hierarchies;
    use crate::limits::Limits;
    use crate::sys;

    /// What was asked for is an error that says what to do; what nobody asked for is left out.
    #[test]
    fn groups_that_cannot_be_written() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let check = || {
            sys::leave_mount_namespace().unwrap();
            for top in Hierarchies::read().unwrap().tops() {
                mount_bind(&top, &top).unwrap();
                mount_remount(&top, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
            }
            let limits = Limits {
                memory: Some(1 << 26),
                ..Limits::default()
            };
            let text = Group::make(&limits, None).unwrap_err().to_string();
            assert!(text.starts_with("cannot limit memory: /sys/fs/cgroup"), "{text}");
            for part in ["read-only file system", "micad", "build without limits"] {
                assert!(text.contains(part), "{text}");
            }
            let group = Group::make(&Limits::default(), Some(100)).unwrap();
            assert!(group.folders.all.is_empty(), "{group:?}");
        };
        thread::spawn(check).join().unwrap();
    }

    /// Folders as of version 2: the kernel's files are plain ones.
    #[test]
    fn killed_for_want_of_memory_without_a_limit() {
        let top = tempfile::tempdir().unwrap();
        let given = |folder: &str| top.path().join(folder).join("cgroup.subtree_control");
        let hierarchies = Hierarchies::unified(top.path(), &["cpu", "memory", "pids"]);
        let limits = Limits::default();
        // one whose controllers cannot be given on
        let mut bare = Group::default();
        bare.enroll(&hierarchies, &limits, Some(100)).unwrap();
        assert_eq!(bare.folders.all.len(), 1, "{bare:?}");
        assert!(bare.folders.all[0].path.starts_with(top.path().join("mica")));
        assert!(!bare.folders.ran_out_of_memory());

        std::fs::write(given(""), "cpu pids").unwrap();
        std::fs::write(given("mica"), "memory pids").unwrap();
        let mut group = Group::default();
        group.enroll(&hierarchies, &limits, None).unwrap();
        assert_eq!(std::fs::read_to_string(given("")).unwrap(), "+memory");
        let folder = group.folders.all[0].path.clone();
        assert_eq!(group.folders.all.len(), 1, "{group:?}");
        let events = folder.join("memory.events");
        std::fs::write(&events, "low 0\noom 1\noom_kill 0\n").unwrap();
        let place = hierarchies.place("memory").unwrap();
        let own = folder.strip_prefix(top.path()).unwrap();
        group.join(&place, own, Some("memory"), false).unwrap();
        assert!(!group.folders.ran_out_of_memory());
        std::fs::write(&events, "low 0\noom 0\noom_kill 2\n").unwrap();
        assert!(group.folders.ran_out_of_memory());
    }

    #[test]
    fn own_groups_are_no_orphans() {
        let name = own_name();
        assert!(!is_orphan(&name), "{name}");
        assert_ne!(name, own_name());
        // as if another process had the number by now
        let (start, number) = name.rsplit_once('-').unwrap();
        assert!(is_orphan(&format!("{start}1-{number}")));
        assert!(is_orphan("mica-run-4294967295-1-0"));
        for other in ["mica", "mica-run-", "mica-run-x-1-0", "user.slice"] {
            assert!(!is_orphan(other), "{other}");
        }
    }

    #[test]
    fn parents_stay_below_the_top() {
        for (asked, path) in [
            (None, "mica"),
            (Some("/a/b"), "a/b"),
            (Some("a//./b/"), "a/b"),
            (Some("/"), ""),
        ] {
            assert_eq!(parent(asked).unwrap().to_str(), Some(path), "{asked:?}");
        }
        assert!(parent(Some("a/../..")).is_err());
    }
}
