//! The root: an overlay of the layers with the writable directory on top.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};
use rustix::process::chdir;

use crate::spec::Scratch;
use crate::wire::{AtStep, Failure};

/// The longest string `fsconfig(2)` takes, without the zero byte.
const MAX_VALUE: usize = 255;

/// What would make the upper directory hold anything but plain files: hard link indices, files
/// without their data, and renamed directories that point to where they came from.
const OFF: [&str; 3] = ["index", "metacopy", "redirect_dir"];

/// Mounts the overlay on `work`. The first of `lowers` is the topmost. Without `devices` the nodes
/// in it cannot be opened.
pub(crate) fn mount_root(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    devices: bool,
) -> Result<(), Failure> {
    let stack = Stack {
        top: Some(Top::open(upper, work)?),
        mount_point: work,
        lowers: lowers.iter().map(PathBuf::as_path).collect(),
        devices,
    };
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
        return mount_any_way(&Stack {
            lowers: vec![work],
            ..stack
        });
    }
    mount_any_way(&stack)
}

/// Mounts an overlay that is not the root on `place`: one that takes writes, or else one of at least two layers.
pub(crate) fn mount_layers(
    lowers: &[PathBuf],
    scratch: Option<&Scratch>,
    place: &Path,
) -> Result<(), Failure> {
    let top = scratch.map(|scratch| Top::open(&scratch.upper, &scratch.work));
    mount_any_way(&Stack {
        lowers: lowers.iter().map(PathBuf::as_path).collect(),
        top: top.transpose()?,
        mount_point: place,
        devices: true,
    })
}

/// Where writes go. Held open because the mount point may hide one of them.
struct Top {
    upper: OwnedFd,
    work: OwnedFd,
}

impl Top {
    fn open(upper: &Path, work: &Path) -> Result<Self, Failure> {
        Ok(Top {
            upper: open_dir("upper", upper)?,
            work: open_dir("work", work)?,
        })
    }
}

/// What is to be mounted, and where.
struct Stack<'a> {
    lowers: Vec<&'a Path>,
    top: Option<Top>,
    mount_point: &'a Path,
    devices: bool,
}

/// Kernels before 6.7 do not take layers one by one; how they say so depends on their age, but it is
/// always this error.
fn mount_any_way(stack: &Stack<'_>) -> Result<(), Failure> {
    const TOO_OLD: [Option<i32>; 2] = [Some(libc::EINVAL), Some(libc::ENOSYS)];
    match mount_one_by_one(stack) {
        Err(first) if TOO_OLD.contains(&first.errno) => mount_all_at_once(stack).map_err(|second| Failure {
            text: format!("{}; all at once: {}", first.text, second.text),
            ..first
        }),
        other => other,
    }
}

fn mount_one_by_one(stack: &Stack<'_>) -> Result<(), Failure> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(|| "fsopen overlay".to_owned())?;
    for lower in &stack.lowers {
        explain(&fs, add_layer(&fs, lower), || {
            format!("overlay layer {}", lower.display())
        })?;
    }
    let top = stack.top.iter();
    for (name, dir) in top.flat_map(|top| [("upperdir", &top.upper), ("workdir", &top.work)]) {
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
    if stack.top.is_some() {
        explain(&fs, fsconfig_set_flag(&fs, "volatile"), || {
            "overlay volatile".to_owned()
        })?;
    }
    explain(&fs, fsconfig_create(&fs), || {
        format!("overlay of {} layers", stack.lowers.len())
    })?;
    let attributes = if stack.devices {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_NODEV
    };
    let mounted = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    let mounted = explain(&fs, mounted, || "fsmount overlay".to_owned())?;
    move_mount(
        &mounted,
        "",
        CWD,
        stack.mount_point,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .at(|| format!("overlay on {}", stack.mount_point.display()))
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
fn mount_all_at_once(stack: &Stack<'_>) -> Result<(), Failure> {
    let lowers = stack
        .lowers
        .iter()
        .map(|lower| open_dir("layer", lower))
        .collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<String> = lowers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut options = format!("lowerdir={},{}=off", numbers.join(":"), OFF.join("=off,"));
    if let Some(Top { upper, work }) = &stack.top {
        let (upper, work) = (upper.as_raw_fd(), work.as_raw_fd());
        options.push_str(&format!(",upperdir={upper},workdir={work},volatile"));
    }
    let options = CString::new(options).at(|| "overlay options".to_owned())?;
    chdir("/proc/self/fd").at(|| "/proc/self/fd".to_owned())?;
    let flags = if stack.devices {
        MountFlags::empty()
    } else {
        MountFlags::NODEV
    };
    mount(
        "overlay",
        stack.mount_point,
        "overlay",
        flags,
        Some(options.as_c_str()),
    )
    .at(|| {
        format!(
            "overlay of {} layers on {}",
            lowers.len(),
            stack.mount_point.display()
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
            failure.text = format!("{} ({words})", failure.text);
        }
        failure
    })
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::thread;

    use super::{Stack, Top, mount_all_at_once, mount_any_way};
    use crate::sys;
    use crate::wire::Failure;

    /// Makes layers and mounts them in a mount namespace of its own; what is then in `top`.
    fn top_of(layers: usize, mount: fn(&Stack<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
        let base = tempfile::tempdir().unwrap();
        let lowers: Vec<PathBuf> = (0..layers)
            .map(|number| base.path().join(number.to_string()))
            .collect();
        for (number, lower) in lowers.iter().enumerate() {
            fs::create_dir(lower).unwrap();
            fs::write(lower.join("top"), number.to_string()).unwrap();
        }
        let [upper, work] = ["upper", "work"].map(|name| base.path().join(name));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let mount_here = || {
            sys::leave_mount_namespace().unwrap();
            mount(&Stack {
                lowers: lowers.iter().map(PathBuf::as_path).collect(),
                top: Some(Top::open(&upper, &work)?),
                mount_point: &work,
                devices: true,
            })?;
            Ok(fs::read_to_string(work.join("top")).unwrap())
        };
        thread::scope(|scope| scope.spawn(mount_here).join().unwrap())
    }

    #[test]
    fn old_kernels_take_as_many_layers() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        for layers in [1, 2, 128, 500] {
            assert_eq!(top_of(layers, mount_all_at_once).unwrap(), "0", "{layers}");
        }
    }

    #[test]
    fn the_kernels_words_are_in_the_error() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let failure = top_of(501, mount_any_way).unwrap_err();
        assert!(failure.text.contains("too many lower directories"), "{failure:?}");
        assert!(!Path::new("/top").exists());
    }
}
