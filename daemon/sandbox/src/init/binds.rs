//! What the spec wants mounted inside the root: hosts, resolv.conf, and the mounts of a RUN.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, fstat};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use crate::init::lent::{self, Part, Taken};
use crate::init::stubs;
use crate::spec::{MountSpec, Security, Spec};
use crate::sys;
use crate::wire::{AtStep, Failure, Stub};

const INERT: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// A mount whose source has been taken from the host, while its paths could still be named.
pub(crate) struct Prepared {
    target: PathBuf,
    source: Source,
}

enum Source {
    Tree { mount: OwnedFd, dir: bool },
    Tmpfs { options: CString, flags: MountFlags },
}

impl Prepared {
    fn of(target: &Path, (mount, dir): Taken) -> Self {
        Prepared {
            target: target.to_owned(),
            source: Source::Tree { mount, dir },
        }
    }
}

/// Takes all sources; to be called before the host's root is left.
pub(crate) fn prepare(spec: &Spec) -> Result<Vec<Prepared>, Failure> {
    let files = [
        ("/etc/resolv.conf", &spec.resolv_conf),
        ("/etc/hosts", &spec.hosts),
    ];
    let files = files
        .into_iter()
        .filter_map(|(target, source)| Some((Path::new(target), source.as_deref()?)));
    // See base::fence_devices.
    let (no_devices, no_device_flag) = match spec.security {
        Security::Sandbox => (libc::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        Security::Insecure => (0, MountFlags::empty()),
    };
    let mut prepared = Vec::new();
    for (target, source) in files {
        prepared.push(Prepared::of(
            target,
            take(source, INERT | libc::MOUNT_ATTR_RDONLY)?,
        ));
    }
    for mount in &spec.mounts {
        prepared.push(match mount {
            MountSpec::Bind {
                source,
                target,
                read_only,
                inert,
            } => {
                let read_only = if *read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
                let attributes = read_only | no_devices | if *inert { INERT } else { 0 };
                Prepared::of(target, take(source, attributes)?)
            }
            MountSpec::Layers {
                lowers,
                path,
                target,
                scratch,
            } => {
                let part = Part {
                    lowers,
                    path,
                    scratch: scratch.as_ref(),
                };
                Prepared::of(target, lent::take_part(&part, &spec.work, no_devices)?)
            }
            MountSpec::File {
                content,
                target,
                mode,
                uid,
                gid,
            } => {
                let owner = (*uid, *gid);
                let taken = lent::take_file(content.expose(), *mode, owner, &spec.work)?;
                Prepared::of(target, taken)
            }
            MountSpec::Tmpfs { target, size, mode } => {
                let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
                let options =
                    CString::new(format!("mode={mode:o}{size}")).at(|| "tmpfs options".to_owned())?;
                Prepared {
                    target: target.clone(),
                    source: Source::Tmpfs {
                        options,
                        flags: MountFlags::NOSUID | no_device_flag,
                    },
                }
            }
        });
    }
    Ok(prepared)
}

/// Clones one mount, without those below it.
fn take(source: &Path, attributes: u64) -> Result<Taken, Failure> {
    let step = || format!("mount source {}", source.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let mount = open_tree(CWD, source, flags).at(step)?;
    if attributes != 0 {
        sys::set_mount_attributes(&mount, attributes).at(step)?;
    }
    let dir = FileType::from_raw_mode(fstat(&mount).at(step)?.st_mode) == FileType::Directory;
    Ok((mount, dir))
}

/// Puts them all in place, in order; the mount points that had to be made.
pub(crate) fn attach(prepared: Vec<Prepared>) -> Result<Vec<Stub>, Failure> {
    let mut made = Vec::new();
    for Prepared { target, source } in prepared {
        let step = || format!("mount on {}", target.display());
        let dir = !matches!(source, Source::Tree { dir: false, .. });
        let path = stubs::make_target(&target, dir, &mut made)?;
        match source {
            Source::Tree { mount, .. } => {
                move_mount(&mount, "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(step)?;
            }
            Source::Tmpfs { options, flags } => {
                mount("tmpfs", &path, "tmpfs", flags, Some(options.as_c_str())).at(step)?;
            }
        }
    }
    // The device directory is in memory.
    made.retain(|stub| !stub.path.starts_with("/dev"));
    Ok(made)
}
