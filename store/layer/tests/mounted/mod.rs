//! An overlay that is mounted as long as it is held.
#![allow(dead_code, reason = "no test uses all of it")]

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

pub(crate) struct Overlay {
    root: PathBuf,
    upper: PathBuf,
}

impl Overlay {
    /// Mounts `trees`, the bottom one first, with a new upper directory, all in `scratch` under names with `name` in them.
    pub(crate) fn mount(trees: &[PathBuf], scratch: &Path, name: &str) -> rustix::io::Result<Self> {
        let make = |what: &str| {
            let place = scratch.join(format!("{name}-{what}"));
            std::fs::create_dir(&place).unwrap();
            place
        };
        let (root, upper, work, empty) = (make("root"), make("upper"), make("work"), make("empty"));
        let lower: Vec<_> = trees
            .iter()
            .rev()
            .chain([&empty])
            .map(|place| place.to_str().unwrap())
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=off",
            lower.join(":"),
            upper.display(),
            work.display()
        );
        let options = CString::new(options).unwrap();
        mount(
            "overlay",
            &root,
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )?;
        Ok(Self { root, upper })
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Its upper directory, no longer mounted.
    pub(crate) fn into_upper(self) -> PathBuf {
        self.upper.clone()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(&self.root, UnmountFlags::DETACH).unwrap();
    }
}
