//! The helper itself: starts pid 1 of the sandbox and watches it and the daemon.

use std::ffi::CStr;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{DumpableBehavior, Signal, pidfd_send_signal, set_dumpable_behavior, setsid};
use rustix::stdio::{dup2_stdin, stdin};
use rustix::thread::set_name;

use crate::group::Folders;
use crate::init::{process, stubs};
use crate::outcome::Outcome;
use crate::spec::{Network, Spec};
use crate::sys::{self, Child, Side};
use crate::wire::{AtStep, Failure, Inbox, Order, Progress, Report, Stub, encode, receive, send};

/// What `ps` shows: the name of a file in memory is a number. At most 15 bytes (`PR_SET_NAME`).
const NAME: &CStr = c"mica-sandbox";

/// The helper's main, to be called before anything else when the first argument is
/// [`HELPER_ARGUMENT`](crate::HELPER_ARGUMENT), while the program has one thread.
///
/// Standard input is the socket to the daemon, standard output and error are the process'. The
/// exit code is a success if the daemon was told how it went, whatever that was.
#[must_use]
pub fn init_main() -> ExitCode {
    let told = take_control().and_then(|control| {
        let Some(Order { spec, group }) = receive::<Order>(&control)? else {
            return Ok(());
        };
        // Whatever happens to the daemon, the group goes with what ran in it.
        let report = match supervise(&spec, &group, &control) {
            Ok(outcome) => Report::Ended(outcome),
            Err(failure) => Report::Failed(failure),
        };
        group.remove();
        send(&control, &report)
    });
    if told.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Moves the socket away from descriptor 0 and leaves nothing there.
fn take_control() -> io::Result<UnixStream> {
    // A session of its own: what is typed at the daemon's terminal is not meant for it.
    setsid()?;
    set_name(NAME)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    sys::close_rest_on_exec()?;
    let control = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(open(
        "/dev/null",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)?;
    Ok(control.into())
}

fn supervise(spec: &Spec, group: &Folders, control: &UnixStream) -> Result<Outcome, Failure> {
    let (ours, theirs) = UnixStream::pair().at(|| "socketpair".to_owned())?;
    match sys::clone_process(namespaces(spec)).at(|| "clone3".to_owned())? {
        Side::Child => {
            drop(ours);
            process::become_process(spec, group, &theirs)
        }
        Side::Parent(child) => {
            drop(theirs);
            announce(control, child.pidfd.as_fd()).at(|| "control socket".to_owned())?;
            watch(spec, group, child, control, ours)
        }
    }
}

fn namespaces(spec: &Spec) -> libc::c_int {
    // That for control groups is made by the process itself, once it is in its group.
    let always = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    match spec.network {
        Network::Host => always,
        Network::None => always | libc::CLONE_NEWNET,
    }
}

/// Gives the daemon a handle on pid 1, for the case that this helper is killed.
fn announce(control: &UnixStream, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let message = encode(&Report::Started)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [pidfd];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(
        control,
        &[IoSlice::new(&message)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
    match sent {
        // A daemon that is gone already shows as the end of the control socket.
        Ok(_) | Err(Errno::PIPE) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits for the process' end, and brings it about when the daemon closes the control socket.
fn watch(
    spec: &Spec,
    group: &Folders,
    child: Child,
    control: &UnixStream,
    progress: UnixStream,
) -> Result<Outcome, Failure> {
    let mut heard = Heard {
        socket: Some(progress),
        inbox: Inbox::default(),
        stubs: Vec::new(),
        last: None,
    };
    let mut control_open = true;
    loop {
        let control_fd = control_open.then_some(control.as_fd());
        let progress_fd = heard.socket.as_ref().map(AsFd::as_fd);
        let [ended, closed, spoke] = readable([Some(child.pidfd.as_fd()), control_fd, progress_fd])?;
        if ended {
            break;
        }
        if closed {
            // After the spec the daemon has nothing more to say, so this is the end of the socket.
            control_open = false;
            kill(&child.pidfd)?;
        }
        if spoke {
            heard.listen()?;
        }
    }
    let (exit, usage) = child.wait().at(|| "wait4".to_owned())?;
    heard.listen_to_end()?;
    let out_of_memory = group.ran_out_of_memory();
    stubs::remove(&spec.upper, &heard.stubs)?;
    match heard.last {
        Some(Progress::Failed(failure)) => Err(failure),
        Some(Progress::NotExecuted(note)) => Ok(Outcome {
            exit,
            usage,
            note: Some(note),
            out_of_memory,
        }),
        Some(Progress::Stubs(_)) | None => Ok(Outcome {
            exit,
            usage,
            note: None,
            out_of_memory,
        }),
    }
}

fn kill(pidfd: &OwnedFd) -> Result<(), Failure> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno).at(|| "pidfd_send_signal".to_owned()),
    }
}

fn readable(sources: [Option<BorrowedFd<'_>>; 3]) -> Result<[bool; 3], Failure> {
    let mut polled: Vec<PollFd<'_>> = sources
        .iter()
        .flatten()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    retry_on_intr(|| poll(&mut polled, None)).at(|| "poll".to_owned())?;
    let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(sources.map(|source| source.is_some() && answers.next().unwrap_or(false)))
}

/// What the process has said before it executed the program.
struct Heard {
    socket: Option<UnixStream>,
    inbox: Inbox,
    stubs: Vec<Stub>,
    last: Option<Progress>,
}

impl Heard {
    fn listen(&mut self) -> Result<(), Failure> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        let mut buffer = [0; 16 << 10];
        match socket.read(&mut buffer) {
            Ok(0) => self.socket = None,
            Ok(count) => self.inbox.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at(|| "progress socket".to_owned()),
        }
        while let Some(progress) = self.inbox.next().at(|| "progress socket".to_owned())? {
            match progress {
                Progress::Stubs(stubs) => self.stubs.extend(stubs),
                last => self.last = Some(last),
            }
        }
        Ok(())
    }

    fn listen_to_end(&mut self) -> Result<(), Failure> {
        while self.socket.is_some() {
            self.listen()?;
        }
        Ok(())
    }
}
