//! /sys/fs/cgroup, as far as the host has one.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use rustix::fs::{Mode, mkdir, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};

use crate::init::base::INERT;

const ROOT: &str = "/sys/fs/cgroup";

/// Mounts the control groups as seen from the process' own namespace: one tree on a host of
/// version 2, one for each hierarchy on one of version 1 or both.
///
/// A build does not depend on them, and what kernels allow here differs, so what cannot be mounted
/// is left out.
pub(crate) fn mount_groups(flags: MountFlags) {
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
        return;
    };
    // Whatever this gives, the next step works on what is there.
    let _ = match hierarchies(&own)[..] {
        [] => Ok(()),
        [Hierarchy::Unified] => mount("cgroup", ROOT, "cgroup2", flags, None),
        ref several => mount_several(several, flags),
    };
}

/// One line of `/proc/self/cgroup`, see `cgroups(7)`.
#[derive(Debug, PartialEq, Eq)]
enum Hierarchy<'a> {
    Unified,
    /// Controllers, or `name=…`.
    Legacy(&'a str),
}

fn hierarchies(own: &str) -> Vec<Hierarchy<'_>> {
    own.lines()
        .filter_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, _path) = rest.split_once(':')?;
            Some(if number == "0" {
                Hierarchy::Unified
            } else {
                Hierarchy::Legacy(controllers)
            })
        })
        .collect()
}

fn mount_several(hierarchies: &[Hierarchy<'_>], flags: MountFlags) -> Result<(), Errno> {
    mount("tmpfs", ROOT, "tmpfs", INERT, Some(c"mode=755"))?;
    for hierarchy in hierarchies {
        // A hierarchy that cannot be mounted leaves an empty directory.
        let _ = mount_hierarchy(hierarchy, flags);
    }
    if flags.contains(MountFlags::RDONLY) {
        mount_remount(ROOT, MountFlags::BIND | flags, "")?;
    }
    Ok(())
}

fn mount_hierarchy(hierarchy: &Hierarchy<'_>, flags: MountFlags) -> Result<(), Errno> {
    let (name, kind, options) = match hierarchy {
        Hierarchy::Unified => ("unified", "cgroup2", None),
        Hierarchy::Legacy(controllers) => {
            let name = controllers.strip_prefix("name=").unwrap_or(controllers);
            (
                name,
                "cgroup",
                Some(CString::new(*controllers).map_err(|_| Errno::INVAL)?),
            )
        }
    };
    let path = Path::new(ROOT).join(name);
    mkdir(&path, Mode::from_raw_mode(0o755))?;
    mount("cgroup", &path, kind, flags, options.as_deref())?;
    for alias in name.split(',').filter(|alias| *alias != name) {
        symlink(name, Path::new(ROOT).join(alias))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Hierarchy, hierarchies};

    #[test]
    fn tells_the_versions_apart() {
        assert_eq!(hierarchies("0::/user.slice\n"), [Hierarchy::Unified]);
        assert_eq!(
            hierarchies("9:name=systemd:/\n2:cpu,cpuacct:/a:b\n0::/\n"),
            [
                Hierarchy::Legacy("name=systemd"),
                Hierarchy::Legacy("cpu,cpuacct"),
                Hierarchy::Unified
            ]
        );
        assert_eq!(hierarchies(""), []);
    }
}
