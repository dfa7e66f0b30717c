//! The root: an overlay of the layers with the writable directory on top.

use std::ffi::CString;
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};
use rustix::process::chdir;

use crate::wire::{AtStep, Failure};

/// The longest string `fsconfig(2)` takes, without the zero byte.
const MAX_VALUE: usize = 255;

/// What would make the upper directory hold anything but plain files: hard link indices, files
/// without their data, and renamed directories that point to where they came from.
const OFF: [&str; 3] = ["index", "metacopy", "redirect_dir"];

/// Mounts the overlay on `work`. The first of `lowers` is the topmost.
pub(crate) fn mount_root(lowers: &[impl AsRef<Path>], upper: &Path, work: &Path) -> Result<(), Failure> {
    let dirs = Dirs {
        upper: open_dir("upper", upper)?,
        work: open_dir("work", work)?,
        mount_point: work,
    };
    let lowers: Vec<&Path> = lowers.iter().map(AsRef::as_ref).collect();
    if lowers.is_empty() {
        // Overlayfs wants at least one lower directory: an empty one, hidden under the root's mount.
        mount(
            "none",
            work,
            "tmpfs",
            MountFlags::RDONLY,
            Some(c"mode=755,nr_inodes=4"),
        )
        .at(|| format!("empty layer on {}", work.display()))?;
        return mount_layers(&[work], &dirs);
    }
    mount_layers(&lowers, &dirs)
}

/// The two directories that belong to the run, held open because the mount point hides one.
struct Dirs<'a> {
    upper: OwnedFd,
    work: OwnedFd,
    mount_point: &'a Path,
}

fn mount_layers(lowers: &[&Path], dirs: &Dirs<'_>) -> Result<(), Failure> {
    match mount_one_by_one(lowers, dirs)? {
        Support::Mounted => Ok(()),
        Support::Missing => mount_all_at_once(lowers, dirs),
    }
}

enum Support {
    Mounted,
    /// The kernel is older than 6.5 and takes all layers in one string only.
    Missing,
}

fn mount_one_by_one(lowers: &[&Path], dirs: &Dirs<'_>) -> Result<Support, Failure> {
    let fs = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NOSYS) => return Ok(Support::Missing),
        other => other.at(|| "fsopen overlay".to_owned())?,
    };
    for (index, lower) in lowers.iter().enumerate() {
        let result = add_layer(&fs, lower);
        if index == 0 && result == Err(Errno::INVAL) && !kernel_words(&fs).contains("lowerdir") {
            return Ok(Support::Missing);
        }
        explain(&fs, result, || format!("overlay layer {}", lower.display()))?;
    }
    for (name, dir) in [("upperdir", &dirs.upper), ("workdir", &dirs.work)] {
        let value = descriptor_path(dir);
        explain(&fs, fsconfig_set_string(&fs, name, value), || {
            format!("overlay {name}")
        })?;
    }
    for name in OFF {
        explain(&fs, fsconfig_set_string(&fs, name, "off"), || {
            format!("overlay {name}=off")
        })?;
    }
    // A build that a crash interrupts is thrown away, so nothing needs to reach the disk for it.
    explain(&fs, fsconfig_set_flag(&fs, "volatile"), || {
        "overlay volatile".to_owned()
    })?;
    explain(&fs, fsconfig_create(&fs), || {
        format!("overlay of {} layers", lowers.len())
    })?;
    let mounted = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
    let mounted = explain(&fs, mounted, || "fsmount overlay".to_owned())?;
    move_mount(
        &mounted,
        "",
        CWD,
        dirs.mount_point,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .at(|| format!("overlay on {}", dirs.mount_point.display()))?;
    Ok(Support::Mounted)
}

/// Adds a layer below those added before. The kernel looks the path up at once.
fn add_layer(fs: &OwnedFd, lower: &Path) -> Result<(), Errno> {
    let bytes = lower.as_os_str().as_bytes();
    // Some kernels take these characters for separators.
    if bytes.len() <= MAX_VALUE && !bytes.iter().any(|byte| matches!(byte, b':' | b',' | b'\\')) {
        return fsconfig_set_string(fs, "lowerdir+", lower);
    }
    let dir = open(
        lower,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    fsconfig_set_string(fs, "lowerdir+", descriptor_path(&dir))
}

/// `mount(2)`, whose options have to fit into one page: so the layers are named by the numbers of
/// their descriptors, relative to the directory that lists them.
fn mount_all_at_once(lowers: &[&Path], dirs: &Dirs<'_>) -> Result<(), Failure> {
    let lowers = lowers
        .iter()
        .map(|lower| open_dir("layer", lower))
        .collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<String> = lowers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},{}=off,volatile",
        numbers.join(":"),
        dirs.upper.as_raw_fd(),
        dirs.work.as_raw_fd(),
        OFF.join("=off,"),
    );
    let options = CString::new(options).at(|| "overlay options".to_owned())?;
    chdir("/proc/self/fd").at(|| "/proc/self/fd".to_owned())?;
    mount(
        "overlay",
        dirs.mount_point,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .at(|| {
        format!(
            "overlay of {} layers on {}",
            lowers.len(),
            dirs.mount_point.display()
        )
    })
}

fn open_dir(what: &str, path: &Path) -> Result<OwnedFd, Failure> {
    open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(|| format!("overlay {what} {}", path.display()))
}

fn descriptor_path(dir: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", dir.as_raw_fd())
}

/// Adds the kernel's own words to an error.
fn explain<T>(fs: &OwnedFd, result: Result<T, Errno>, step: impl FnOnce() -> String) -> Result<T, Failure> {
    result.at(step).map_err(|mut failure| {
        let words = kernel_words(fs);
        if !words.is_empty() {
            failure.text = join(&failure.text, &words);
        }
        failure
    })
}

fn join(text: &dyn Display, words: &dyn Display) -> String {
    format!("{text} ({words})")
}

/// The messages the kernel left on a file system descriptor, see `fsopen(2)`.
fn kernel_words(fs: impl AsFd) -> String {
    let mut words = Vec::new();
    let mut buffer = [0; 4096];
    // Each read gives one message, and an error when there are no more.
    while let Ok(count) = read(&fs, &mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..count]);
        // "e overlay: text": the kind of message, then the file system's name.
        words.push(
            message
                .trim()
                .trim_start_matches("e ")
                .trim_start_matches("overlay: ")
                .to_owned(),
        );
    }
    words.join("; ")
}
