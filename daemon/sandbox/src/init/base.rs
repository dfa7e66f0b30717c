//! The file systems every process expects, as docker mounts them: /proc, /dev, /sys.

use std::ffi::{CStr, CString};

use rustix::fs::{CWD, FileType, Mode, lstat, makedev, mkdir, mknodat, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};

use crate::init::cgroup;
use crate::spec::{Security, Spec};
use crate::wire::{AtStep, Failure};

/// Programs, devices and other users' rights have no place here.
pub(crate) const INERT: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

const DEV_FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::STRICTATIME);

/// Hidden: what tells about the host or reaches into it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Readable only: what changes the host when written to.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The devices, with the numbers of the kernel's `devices.txt`.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Mounts them on the image, which is the root already. Mount points it lacks are made and stay.
pub(crate) fn mount_all(spec: &Spec) -> Result<(), Failure> {
    for dir in ["/proc", "/sys", "/dev"] {
        make_mount_point(dir)?;
    }
    let sysfs = match spec.security {
        Security::Sandbox => INERT | MountFlags::RDONLY,
        Security::Insecure => INERT,
    };
    attach("proc", "/proc", INERT, None)?;
    attach(
        "tmpfs",
        "/dev",
        MountFlags::NOSUID | MountFlags::STRICTATIME,
        Some(c"mode=755,size=65536k"),
    )?;
    make_devices()?;
    if spec.security == Security::Sandbox {
        fence_devices()?;
    }
    let devpts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    attach(
        "devpts",
        "/dev/pts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(devpts),
    )?;
    let shm =
        CString::new(format!("mode=1777,size={}", spec.shm_size)).at(|| "size of /dev/shm".to_owned())?;
    attach("tmpfs", "/dev/shm", INERT, Some(&shm))?;
    attach("mqueue", "/dev/mqueue", INERT, None)?;
    attach("sysfs", "/sys", sysfs, None)?;
    cgroup::mount_groups(sysfs);
    Ok(())
}

/// Hides and write-protects what is there of the listed paths.
pub(crate) fn mask_all() -> Result<(), Failure> {
    for path in MASKED {
        mask(path).at(|| format!("mask {path}"))?;
    }
    for path in READ_ONLY {
        protect(path).at(|| format!("protect {path}"))?;
    }
    Ok(())
}

fn mask(path: &str) -> Result<(), Errno> {
    match mount_bind("/dev/null", path) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR) => mount(
            "tmpfs",
            path,
            "tmpfs",
            INERT | MountFlags::RDONLY,
            Some(c"nr_inodes=2"),
        ),
        other => other,
    }
}

fn protect(path: &str) -> Result<(), Errno> {
    match mount_bind_recursive(path, path) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | INERT, ""),
    }
}

/// An image that has a link or a file there could make the mounts land anywhere inside it.
fn make_mount_point(path: &str) -> Result<(), Failure> {
    let step = || format!("mount point {path}");
    match lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(()),
        Ok(_) => Err(Failure::plain(step(), "is not a directory")),
        Err(Errno::NOENT) => mkdir(path, Mode::from_raw_mode(0o755)).at(step),
        Err(errno) => Err(errno).at(step),
    }
}

fn make_devices() -> Result<(), Failure> {
    for (path, major, minor) in DEVICES {
        mknodat(
            CWD,
            path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(major, minor),
        )
        .at(|| format!("device {path}"))?;
    }
    for (target, path) in LINKS {
        symlink(target, path).at(|| format!("link {path}"))?;
    }
    for path in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        mkdir(path, Mode::from_raw_mode(0o755)).at(|| format!("directory {path}"))?;
    }
    Ok(())
}

/// Leaves only the devices in `/dev` to be opened, and lets nodes be made anywhere all the same.
///
/// The process has `CAP_MKNOD`, as docker gives it; the host's disk is one `mknod` away. Docker stops
/// the opening with a device cgroup. Here everything the process can write to is mounted `nodev`, and
/// each device has a mount of its own that is not. That needs no control groups, so it holds on every
/// host; what it takes away is the use of a harmless node elsewhere, such as `/jail/dev/null`.
fn fence_devices() -> Result<(), Failure> {
    for (path, ..) in DEVICES {
        mount_bind(path, path).at(|| format!("device {path}"))?;
    }
    mount_remount("/dev", MountFlags::BIND | DEV_FLAGS | MountFlags::NODEV, "")
        .at(|| "mount nodev on /dev".to_owned())
}

fn attach(kind: &str, path: &str, flags: MountFlags, options: Option<&CStr>) -> Result<(), Failure> {
    mount(kind, path, kind, flags, options).at(|| format!("mount {kind} on {path}"))
}
