//! Pid 1 of the sandbox, from its first instruction to the image's program, step by step.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{
    Signal, chdir, getcwd, ioctl_tiocsctty, pivot_root, set_parent_process_death_signal, setsid, umask,
};
use rustix::stdio::{dup2_stdin, stderr, stdout};
use rustix::system::sethostname;

use crate::group::Folders;
use crate::init::user::Identity;
use crate::init::{base, binds, exec, filter, overlay, rights, user, walk};
use crate::spec::{Network, Security, Spec};
use crate::sys;
use crate::wire::{AtStep, Failure, Progress, describe, send};

/// Why the program is not running.
enum Refusal {
    SetUp(Failure),
    NotExecuted(exec::NotExecuted),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::SetUp(failure)
    }
}

/// Makes the sandbox around this process and becomes the program of the spec. Does not return.
pub(crate) fn become_process(spec: &Spec, group: &Folders, helper: &UnixStream) -> ! {
    let result = catch_unwind(AssertUnwindSafe(|| steps(spec, group, helper)));
    let (progress, code) = match result {
        Ok(Err(Refusal::SetUp(failure))) => (Progress::Failed(failure), 125),
        Ok(Err(Refusal::NotExecuted(refusal))) => {
            // Should nobody read it, the outcome still says it.
            let _ = writeln!(std::io::stderr(), "{}", refusal.text);
            (Progress::NotExecuted(refusal.text), refusal.code)
        }
        Err(_) => (Progress::Failed(Failure::plain("set-up", "panicked")), 125),
    };
    // A helper that cannot be told is gone, and this process goes now anyway.
    let _ = send(helper, &progress);
    sys::exit_now(code)
}

fn steps(spec: &Spec, group: &Folders, helper: &UnixStream) -> Result<Infallible, Refusal> {
    die_with(helper)?;
    setsid().at(|| "setsid".to_owned())?;
    enter_group(group)?;

    // Nothing mounted from here on is seen by the host, and nothing the host mounts is seen here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at(|| "private mounts".to_owned())?;
    let prepared = binds::prepare(spec)?;
    if spec.network == Network::None {
        sys::raise_loopback().at(|| "loopback device".to_owned())?;
    }
    overlay::mount_root(
        &spec.lowers,
        &spec.upper,
        &spec.work,
        spec.security == Security::Insecure,
    )?;
    enter_root(&spec.work)?;

    // From here on every path is the image's.
    umask(Mode::empty());
    let identity = user::find(&spec.user)?;
    base::mount_all(spec)?;
    if spec.security == Security::Sandbox {
        base::mask_all()?;
    }
    take_standard_streams(&identity, spec.terminal)?;
    // After the masks and the input, which both need the /dev/null that these may cover.
    let stubs = binds::attach(prepared)?;
    send(helper, &Progress::Stubs(stubs)).at(|| "progress socket".to_owned())?;
    sethostname(spec.hostname.as_bytes()).at(|| format!("hostname {}", spec.hostname))?;
    sys::leave_session_keyring().at(|| "session keyring".to_owned())?;
    enter_directory(&spec.cwd, &identity)?;
    umask(Mode::WGRP | Mode::WOTH);
    rights::limit(&spec.rlimits)?;

    // Loading a filter without no_new_privs, which has to stay off for setuid programs, needs
    // CAP_SYS_ADMIN, and the next step gives that away.
    if spec.security == Security::Sandbox {
        filter_calls()?;
    }
    rights::drop_to(&identity, spec.security)?;
    // Changing the user has cleared it.
    die_with(helper)?;
    sys::reset_signals();
    execute(spec, &identity).map_err(Refusal::NotExecuted)
}

/// Joins the control group, and makes that what this process sees as the top of all groups.
fn enter_group(group: &Folders) -> Result<(), Failure> {
    group.enter().map_err(|(folder, error)| Failure {
        step: format!("control group {}", folder.display()),
        errno: error.raw_os_error(),
        text: describe(&error),
    })?;
    match sys::leave_group_namespace() {
        // A kernel without such namespaces shows the host's groups, read-only.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.at(|| "namespace of control groups".to_owned()),
    }
}

/// Refuses system calls that docker's default profile does not list from here on, to this process and
/// all it starts.
fn filter_calls() -> Result<(), Failure> {
    const STEP: &str = "seccomp filter";
    if filter::NATIVE.is_empty() {
        let text = format!(
            "there is no table of the system calls of {}",
            std::env::consts::ARCH
        );
        return Err(Failure::plain(STEP, text));
    }
    sys::load_filter(&filter::program(filter::NATIVE)).at(|| STEP.to_owned())
}

/// Asks the kernel to kill this process when the helper ends, and looks whether it is too late.
///
/// The helper has one thread, so the signal cannot come from a thread that merely ends.
fn die_with(helper: &UnixStream) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).at(|| "parent death signal".to_owned())?;
    let mut polled = [PollFd::new(helper, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&now)).at(|| "poll".to_owned())?;
    if polled[0].revents().contains(PollFlags::HUP) {
        return Err(Failure::plain("set-up", "the helper is gone"));
    }
    Ok(())
}

/// Makes the mount at this path the root and leaves the host's behind.
fn enter_root(path: &Path) -> Result<(), Failure> {
    let step = || format!("pivot_root {}", path.display());
    chdir(path).at(step)?;
    // The old root ends up on top of the new one, without a directory of its own (pivot_root(2)).
    pivot_root(".", ".").at(step)?;
    unmount(".", UnmountFlags::DETACH).at(step)?;
    chdir("/").at(step)
}

/// The terminal, or the sandbox' own /dev/null, as input, and output streams that the user may open again by name.
fn take_standard_streams(identity: &Identity, terminal: bool) -> Result<(), Failure> {
    if terminal {
        dup2_stdin(stdout()).at(|| "standard input".to_owned())?;
        ioctl_tiocsctty(stdout()).at(|| "controlling terminal".to_owned())?;
    } else {
        let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .at(|| "open /dev/null".to_owned())?;
        dup2_stdin(null).at(|| "standard input".to_owned())?;
    }
    for stream in [stdout(), stderr()] {
        match fchown(
            stream,
            Some(Uid::from_raw(identity.uid)),
            Some(Gid::from_raw(identity.gid)),
        ) {
            // Some kinds of descriptors cannot be owned; then there is nothing to give.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            Err(errno) => return Err(errno).at(|| "owner of the output".to_owned()),
        }
    }
    Ok(())
}

fn enter_directory(cwd: &Path, identity: &Identity) -> Result<(), Failure> {
    let step = || format!("working directory {}", cwd.display());
    let owner = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let cwd = walk::make_directories(cwd, owner)?;
    chdir(&cwd).at(step)?;
    // CVE-2024-21626: a directory outside the root has no path in it.
    let seen = getcwd(Vec::new()).at(step)?;
    if seen.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::plain(step(), "outside the root"))
    }
}

fn execute(spec: &Spec, identity: &Identity) -> Result<Infallible, exec::NotExecuted> {
    let env = exec::complete_env(&spec.env, &identity.home);
    let program = exec::find_program(&spec.argv[0], &env)?;
    let words = |list: &[String]| {
        list.iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<Vec<CString>, _>>()
    };
    match (words(&spec.argv), exec::with_hidden(&env, &spec.hidden_env)) {
        (Ok(argv), Ok(env)) => Err(exec::NotExecuted::refused(
            &program,
            &sys::execute(&program, &argv, &env),
        )),
        _ => Err(exec::NotExecuted::refused(
            &program,
            &std::io::ErrorKind::InvalidInput.into(),
        )),
    }
}
