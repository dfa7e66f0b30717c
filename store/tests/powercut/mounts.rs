//! Mounts that only this thread sees, and the programs that make them. The harness of the end-to-end tests takes this file too.
#![allow(unsafe_code)]

use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Has this thread, and what it starts, see mounts of its own; why not, where that cannot be.
pub(crate) fn hide_mounts() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can mount a disk".to_owned());
    }
    // SAFETY: descriptors stay shared; this thread gets a working directory of its own, which is the same.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    unshared
        .and_then(|()| mount_change("/", private))
        .map_err(|error| format!("no mounts of its own: {error}"))
}

/// Runs a program to its end; what it said, where it fails.
pub(crate) fn run_tool(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
