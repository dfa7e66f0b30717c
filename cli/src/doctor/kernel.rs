//! What the kernel offers: its version, overlayfs, namespaces, system calls.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;
use rustix::process::PidfdFlags;

use crate::doctor::{Finding, text};

/// The first with `mount_setattr(2)`.
const OLDEST: (u32, u32) = (5, 12);
/// `CAP_SYS_ADMIN` in the bits of proc_pid_status(5).
const SYS_ADMIN: u64 = 1 << 21;

/// Looks at the kernel.
pub(crate) fn kernel() -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    vec![
        version(&release),
        overlay(
            rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).err(),
            &text("/proc/filesystems"),
        ),
        namespaces(),
        user_namespaces(&text("/proc/sys/user/max_user_namespaces")),
        calls(),
        filters(&text("/proc/sys/kernel/seccomp/actions_avail")),
        capabilities(&text("/proc/self/status"), rustix::process::geteuid().is_root()),
    ]
}

fn version(release: &str) -> Finding {
    let mut numbers = release
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = OLDEST;
    match version >= OLDEST {
        true => Finding::ok("kernel", release),
        false => Finding::fail(
            "kernel",
            format!("{release}, and RUN needs {major}.{minor} (mount_setattr)"),
            "boot a newer kernel; builds without RUN work here",
        ),
    }
}

fn overlay(error: Option<Errno>, known: &str) -> Finding {
    let is_known = known
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    match error {
        None => Finding::ok("overlayfs", "the kernel has it"),
        Some(_) if is_known => Finding::ok("overlayfs", "the kernel has it"),
        Some(Errno::PERM) => Finding::warn(
            "overlayfs",
            "not loaded, and only root can tell whether it can be",
            "run mica doctor as root",
        ),
        Some(error) => Finding::fail(
            "overlayfs",
            format!("the kernel does not have it: {error}"),
            "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS; builds without RUN work here",
        ),
    }
}

fn namespaces() -> Finding {
    let missing: Vec<&str> = ["mnt", "pid", "uts", "ipc", "net"]
        .into_iter()
        .filter(|name| !std::path::Path::new("/proc/self/ns").join(name).exists())
        .collect();
    match missing.is_empty() {
        true => Finding::ok("namespaces", "mnt, pid, uts, ipc, net"),
        false => Finding::fail(
            "namespaces",
            format!("the kernel lacks {}", missing.join(", ")),
            "a kernel with CONFIG_NAMESPACES, or mount /proc; builds without RUN work here",
        ),
    }
}

/// A daemon of root's does without them; they are told because other tools need them.
fn user_namespaces(most: &str) -> Finding {
    match most.trim().parse::<u64>() {
        Ok(most @ 1..) => Finding::ok(
            "user namespaces",
            format!("at most {most}; micad does not need them"),
        ),
        Ok(0) => Finding::ok("user namespaces", "switched off; micad does not need them"),
        Err(_) => Finding::ok(
            "user namespaces",
            "the kernel does not have them; micad does not need them",
        ),
    }
}

fn calls() -> Finding {
    let own = rustix::process::getpid();
    let tried = [
        (
            "openat2",
            rustix::fs::openat2(CWD, "/", OFlags::PATH, Mode::empty(), ResolveFlags::empty()).err(),
        ),
        (
            "pidfd_open",
            rustix::process::pidfd_open(own, PidfdFlags::empty()).err(),
        ),
        (
            "fsopen",
            rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).err(),
        ),
    ];
    let names: Vec<&str> = tried.iter().map(|(name, _)| *name).collect();
    let refused: Vec<String> = tried
        .iter()
        .filter_map(|(name, error)| Some((name, (*error)?)))
        // rights are looked at elsewhere
        .filter(|(name, error)| !(*error == Errno::PERM && **name == "fsopen"))
        .map(|(name, error)| format!("{name}: {error}"))
        .collect();
    match refused.is_empty() {
        true => Finding::ok("system calls", names.join(", ")),
        false => Finding::fail(
            "system calls",
            refused.join("; "),
            "a newer kernel; in a container, one whose seccomp filter lets them through",
        ),
    }
}

fn filters(actions: &str) -> Finding {
    match actions.split_whitespace().any(|action| action == "errno") {
        true => Finding::ok("seccomp", "filters work"),
        false => Finding::fail(
            "seccomp",
            "the kernel has no filters",
            "a kernel with CONFIG_SECCOMP_FILTER; builds without RUN work here",
        ),
    }
}

fn capabilities(status: &str, is_root: bool) -> Finding {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    match (is_root, bits & SYS_ADMIN != 0) {
        (true, true) => Finding::ok(
            "capabilities",
            "root with CAP_SYS_ADMIN: a daemon started here can RUN",
        ),
        (true, false) => Finding::fail(
            "capabilities",
            "root without CAP_SYS_ADMIN: a daemon started here cannot RUN",
            "in a container: --privileged, or --cap-add SYS_ADMIN and a seccomp filter that allows mounts",
        ),
        (false, _) => Finding::warn(
            "capabilities",
            "not root: a daemon started by this user cannot RUN",
            "use root's daemon (the group mica may), or build without RUN",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn kernels_are_old_or_not() {
        for (release, grade) in [
            ("5.12.0", Grade::Ok),
            ("6.1.0-18-amd64", Grade::Ok),
            ("10.0", Grade::Ok),
            ("5.11.22+", Grade::Fail),
            ("4.19.0", Grade::Fail),
            ("odd", Grade::Fail),
        ] {
            assert_eq!(version(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn overlayfs_is_there_or_not() {
        assert_eq!(overlay(None, "").grade, Grade::Ok);
        assert_eq!(overlay(Some(Errno::PERM), "nodev\toverlay\n").grade, Grade::Ok);
        assert_eq!(overlay(Some(Errno::PERM), "nodev\toverlayx\n").grade, Grade::Warn);
        assert_eq!(overlay(Some(Errno::NODEV), "\text4\n").grade, Grade::Fail);
    }

    #[test]
    fn rights_are_those_of_the_process() {
        let status = |bits: &str| format!("Name:\tx\nCapEff:\t{bits}\n");
        assert_eq!(capabilities(&status("000001ffffffffff"), true).grade, Grade::Ok);
        assert_eq!(capabilities(&status("00000000a80425fb"), true).grade, Grade::Fail);
        assert_eq!(
            capabilities(&status("0000000000000000"), false).grade,
            Grade::Warn
        );
        assert_eq!(filters("kill errno allow\n").grade, Grade::Ok);
        assert_eq!(filters("").grade, Grade::Fail);
    }
}
