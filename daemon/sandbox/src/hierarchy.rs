//! Where this host's control groups are mounted, and how a group is made in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The hierarchies that can be seen; a host can have those of version 1 and the unified one at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Controllers and where they are mounted.
    legacy: Vec<(Vec<String>, PathBuf)>,
    /// Where it is mounted, and the controllers it has.
    unified: Option<(PathBuf, Vec<String>)>,
}

/// The top of the hierarchy that has a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Of version 1.
    Legacy(PathBuf),
    /// Of version 2.
    Unified(PathBuf),
}

impl Hierarchies {
    /// Looks at the mounts of this process.
    pub(crate) fn read() -> io::Result<Self> {
        let mut found = Self::parse(&fs::read_to_string("/proc/thread-self/mountinfo")?);
        if let Some((top, controllers)) = &mut found.unified {
            let text = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
            *controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// Reads `proc_pid_mountinfo(5)`.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            // spaces in it would be written as octal numbers; there are none where groups are mounted
            let Some(path) = left.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if found.unified.is_none() => found.unified = Some((path, Vec::new())),
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<String> = options.split(',').map(str::to_owned).collect();
                    if !found.legacy.iter().any(|(known, _)| *known == controllers) {
                        found.legacy.push((controllers, path));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The unified one alone.
    #[cfg(test)]
    pub(crate) fn unified(top: &Path, controllers: &[&str]) -> Self {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Self {
            legacy: Vec::new(),
            unified: Some((top.to_owned(), controllers)),
        }
    }

    /// Where the controller is; a controller is in one hierarchy at a time.
    pub(crate) fn place(&self, controller: &str) -> Option<Place> {
        let has = |controllers: &Vec<String>| controllers.iter().any(|known| known == controller);
        let legacy = self.legacy.iter().find(|(controllers, _)| has(controllers));
        if let Some((_, top)) = legacy {
            return Some(Place::Legacy(top.clone()));
        }
        let (top, controllers) = self.unified.as_ref()?;
        has(controllers).then(|| Place::Unified(top.clone()))
    }

    /// All of them.
    pub(crate) fn places(&self) -> Vec<Place> {
        let legacy = self.legacy.iter().map(|(_, top)| Place::Legacy(top.clone()));
        legacy
            .chain(self.unified.iter().map(|(top, _)| Place::Unified(top.clone())))
            .collect()
    }

    /// Where all of them are.
    pub(crate) fn tops(&self) -> Vec<PathBuf> {
        let top = |place| match place {
            Place::Legacy(top) | Place::Unified(top) => top,
        };
        self.places().into_iter().map(top).collect()
    }

    /// Where one of them is, or would be.
    pub(crate) fn top(&self) -> PathBuf {
        self.tops().pop().unwrap_or_else(|| "/sys/fs/cgroup".into())
    }
}

impl Place {
    /// Makes the group and those above it, ready to be entered, and for limits of the controller; gives its folder.
    pub(crate) fn make(
        &self,
        group: &Path,
        controller: Option<&str>,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let (Place::Legacy(top) | Place::Unified(top)) = self;
        let mut folder = top.clone();
        for part in group {
            if let (Place::Unified(_), Some(controller)) = (self, controller) {
                delegate(&folder, controller)?;
            }
            let above = folder.clone();
            folder.push(part);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err((folder, error)),
                _ => {}
            }
            if matches!(self, Place::Legacy(_)) && folder.join("cpuset.cpus").exists() {
                inherit(&above, &folder)?;
            }
        }
        Ok(folder)
    }

    /// The file that counts what was killed for want of memory.
    pub(crate) fn kills(&self) -> &'static str {
        match self {
            Place::Legacy(_) => "memory.oom_control",
            Place::Unified(_) => "memory.events",
        }
    }
}

/// Lets the groups below have the controller.
fn delegate(folder: &Path, controller: &str) -> Result<(), (PathBuf, io::Error)> {
    let path = folder.join("cgroup.subtree_control");
    let at = |error| (path.clone(), error);
    let given = fs::read_to_string(&path).map_err(at)?;
    if given.split_ascii_whitespace().any(|known| known == controller) {
        return Ok(());
    }
    fs::write(&path, format!("+{controller}")).map_err(at)
}

/// In version 1 a group has no processors and no memory until it is given some, and nobody can enter it.
fn inherit(above: &Path, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let path = folder.join(file);
        let at = |error| (path.clone(), error);
        if fs::read_to_string(&path).map_err(at)?.trim().is_empty() {
            let value = fs::read_to_string(above.join(file)).map_err(at)?;
            fs::write(&path, value.trim()).map_err(at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Hierarchies, Place};

    #[test]
    fn finds_what_is_mounted() {
        let legacy = "30 20 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n\
            32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n\
            33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            34 30 0:29 / /elsewhere rw - cgroup cgroup rw,memory\n";
        let found = Hierarchies::parse(legacy);
        let place = |controller| found.place(controller);
        let at = |path: &str| Some(Place::Legacy(path.into()));
        assert_eq!(place("memory"), at("/sys/fs/cgroup/memory"));
        assert_eq!(place("cpu"), at("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(place("pids"), None);
        assert_eq!(found.tops().len(), 3);

        let mut found = Hierarchies::parse("31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(found.place("memory"), None);
        found.unified.as_mut().unwrap().1.push("memory".to_owned());
        assert_eq!(
            found.place("memory"),
            Some(Place::Unified("/sys/fs/cgroup".into()))
        );
        assert_eq!(Hierarchies::parse("").tops().len(), 0);
    }

    /// The unified hierarchy of a host that has controllers of version 1 too has few, and they are made the same way.
    #[test]
    fn groups_of_version_2_are_given_their_controllers() {
        let Some((top, controllers)) = Hierarchies::read().unwrap().unified else {
            return;
        };
        let (Some(controller), true) = (controllers.last(), rustix::process::geteuid().is_root()) else {
            return;
        };
        let name = format!("mica-test-{}", std::process::id());
        let place = Place::Unified(top.clone());
        let inner = place
            .make(&Path::new(&name).join("inner"), Some(controller))
            .unwrap();
        let given = std::fs::read_to_string(inner.join("cgroup.controllers")).unwrap();
        std::fs::remove_dir(&inner).unwrap();
        std::fs::remove_dir(top.join(name)).unwrap();
        assert!(given.contains(controller.as_str()), "{given}");
    }
}
