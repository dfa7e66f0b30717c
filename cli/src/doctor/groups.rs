//! Control groups, by which a `RUN` is kept to its share of the machine.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::doctor::Finding;

const ABOUT: &str = "control groups";
const REMEDY: &str =
    "limits (build --memory, --cpu-…) cannot be had until they are mounted for writing at /sys/fs/cgroup";
/// What limits need.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// Looks at the hierarchies of the machine.
pub(crate) fn groups() -> Vec<Finding> {
    vec![look(
        Path::new("/sys/fs/cgroup"),
        rustix::process::geteuid().is_root(),
    )]
}

fn look(root: &Path, is_root: bool) -> Finding {
    let controllers = std::fs::read_to_string(root.join("cgroup.controllers"));
    let (version, there): (u8, Vec<&str>) = match &controllers {
        Ok(text) => {
            let all: Vec<&str> = text.split_whitespace().collect();
            (2, WANTED.into_iter().filter(|name| all.contains(name)).collect())
        }
        Err(_) => (
            1,
            WANTED
                .into_iter()
                .filter(|name| root.join(name).is_dir())
                .collect(),
        ),
    };
    if there.is_empty() {
        return Finding::warn(ABOUT, "none are mounted", REMEDY);
    }
    let found = format!("version {version}: {}", there.join(", "));
    let place = match version {
        2 => root.to_owned(),
        _ => root.join(there[0]),
    };
    if is_root && access(&place, Access::WRITE_OK).is_err() {
        return Finding::warn(ABOUT, format!("{found}, but not for writing"), REMEDY);
    }
    match WANTED
        .iter()
        .filter(|name| !there.contains(name))
        .copied()
        .collect::<Vec<_>>()[..]
    {
        [] => Finding::ok(ABOUT, found),
        ref missing => Finding::warn(
            ABOUT,
            format!("{found}; {} not there", missing.join(", ")),
            "the kernel's cgroup_disable= or the parent group's cgroup.subtree_control decides which there are",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn both_versions_are_known() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(look(root.path(), false).grade, Grade::Warn);
        std::fs::create_dir(root.path().join("memory")).unwrap();
        let one = look(root.path(), false);
        assert!(
            one.found.starts_with("version 1: memory; cpu, pids not there"),
            "{one:?}"
        );
        std::fs::write(
            root.path().join("cgroup.controllers"),
            "cpuset cpu io memory pids\n",
        )
        .unwrap();
        let two = look(root.path(), false);
        assert_eq!(
            (two.grade, two.found.as_str()),
            (Grade::Ok, "version 2: cpu, memory, pids")
        );
    }
}
