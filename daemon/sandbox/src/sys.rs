//! The system calls that no safe wrapper exists for; the only unsafe code of the crate.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::outcome::{Exit, Usage};

/// Which side of [`clone_process`] this is.
pub(crate) enum Side {
    /// The caller; it has a new child.
    Parent(Child),
    /// The new process.
    Child,
}

/// A process made by [`clone_process`] that has not been waited for.
pub(crate) struct Child {
    pid: libc::pid_t,
    /// Becomes readable when the process has ended.
    pub pidfd: OwnedFd,
}

/// Copies this process into new namespaces (`CLONE_NEW*` of `clone(2)`).
///
/// # Errors
/// The system's; `EBUSY` if this process has more than one thread.
pub(crate) fn clone_process(namespaces: libc::c_int) -> io::Result<Side> {
    // A copy has one thread only: locks that others held would stay locked for ever.
    // The link count of this directory is two more than there are threads.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero means "not asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (namespaces | libc::CLONE_PIDFD) as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    let size = size_of::<libc::clone_args>();
    // SAFETY: args is valid for its size, and pidfd outlives the call. Without CLONE_VM the child
    // has its own copy of all memory, and there is no other thread whose state it could miss.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: the kernel has just put a new descriptor here that nobody else knows.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
            Ok(Side::Parent(Child { pid, pidfd }))
        }
    }
}

impl Child {
    /// Waits for its end.
    pub(crate) fn wait(self) -> io::Result<(Exit, Usage)> {
        let mut status = 0;
        // SAFETY: rusage is plain integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: both pointers are to live locals of the right type.
            let pid = unsafe { libc::wait4(self.pid, &raw mut status, 0, &raw mut usage) };
            if pid == self.pid {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let exit = if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status))
        } else {
            Exit::Code(libc::WEXITSTATUS(status))
        };
        let ms = |time: libc::timeval| time.tv_sec.unsigned_abs() * 1000 + time.tv_usec.unsigned_abs() / 1000;
        let usage = Usage {
            user_ms: ms(usage.ru_utime),
            system_ms: ms(usage.ru_stime),
            max_rss_kib: usage.ru_maxrss.unsigned_abs(),
        };
        Ok((exit, usage))
    }
}

/// Gives this process a namespace for control groups, with the groups it is in as the top.
pub(crate) fn leave_group_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers, and changes what paths of groups are relative to, nothing else.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets attributes (`MOUNT_ATTR_*` of `mount_setattr(2)`) on a detached mount.
pub(crate) fn set_mount_attributes(mount: impl AsFd, attributes: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string and the structure is valid for the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor above the three standard ones to be closed on exec.
pub(crate) fn close_rest_on_exec() -> io::Result<()> {
    // SAFETY: changes flags of descriptors only; nothing is closed now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives every signal its default action and blocks none: both survive an exec, and Rust's start-up
/// code ignores `SIGPIPE`.
pub(crate) fn reset_signals() {
    /// The kernel's `struct sigaction`; all zero is the default action on every architecture.
    type RawAction = [u64; 4];
    /// The size of the kernel's signal sets, in bytes.
    const SET_SIZE: usize = 8;
    let action: RawAction = [0; 4];
    for signal in 1..=64 {
        // The C library keeps some of the real-time signals for itself and refuses to touch them.
        // SAFETY: the structure is at least as large as the kernel's. SIG_DFL is valid for every
        // signal; those that cannot be set are refused, for they are never anything but default.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0, SET_SIZE) };
    }
    let none = 0_u64;
    // SAFETY: the kernel reads eight bytes of the set, and writes no old one.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            0,
            SET_SIZE,
        )
    };
}

/// Leaves the session keyring of the daemon for a new, empty one. A kernel without keyrings, or
/// one that refuses, is no error: then nothing can be read from them either.
pub(crate) fn leave_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is read.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) };
    if result != -1 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Loads a seccomp filter (`seccomp(2)`) for this thread and what it becomes or starts; needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// The system's; a kernel made without seccomp filters has `ENOSYS` or `EINVAL`.
pub(crate) fn load_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // Before Linux 5.16 a filter would by default also switch off a kind of speculation, which makes
    // everything slower and protects a process from itself only. Docker's runtime asks for the same.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel reads `len` instructions from the slice, which outlives the call, checks
    // them, and keeps a copy.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Switches the loopback device of this network namespace on.
pub(crate) fn raise_loopback() -> io::Result<()> {
    // SAFETY: makes a descriptor; no memory is involved.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else knows.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is a name and a union of plain integers and addresses; zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Becomes another program; returns only if that failed.
pub(crate) fn execute(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| {
        list.iter()
            .map(|word| word.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<*const libc::c_char>>()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer, and the strings they point to outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// How many supplementary groups a first question has room for.
const GROUPS: usize = 64;

/// The supplementary groups that whoever connected to a Unix socket had when they connected (`SO_PEERGROUPS`, Linux 4.13): the
/// kernel kept them, so no process that has their number by now is mistaken for them.
///
/// # Errors
/// The system's, for what is no Unix socket.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS];
    loop {
        let mut bytes = libc::socklen_t::try_from(groups.len() * size_of::<libc::gid_t>())
            .map_err(|_| io::Error::from_raw_os_error(libc::ERANGE))?;
        // SAFETY: the kernel writes at most `bytes` bytes to `groups`, which is that long, and the length to `bytes`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let told = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(told);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // it says how much room it needs
        if error.raw_os_error() != Some(libc::ERANGE) || told <= groups.len() {
            return Err(error);
        }
        groups.resize(told, 0);
    }
}

/// Ends this process at once, without the handlers of the process it is a copy of.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Gives this thread a mount namespace and a working directory of its own.
#[cfg(test)]
pub(crate) fn leave_mount_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers, and leaves memory and descriptors shared as they are.
    if unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", private)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_a_socket_has_groups() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let own: Vec<u32> = rustix::process::getgroups()
            .unwrap()
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        assert_eq!(peer_groups(one.as_fd()).unwrap(), own);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(peer_groups(file.as_fd()).is_err());
    }
}
