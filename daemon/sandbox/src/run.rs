//! The daemon's side: starts the helper, passes the output on, learns how it ended.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::Error;
use crate::group::Group;
use crate::outcome::{Outcome, Stream};
use crate::seal::Sealed;
use crate::spec::{HELPER_ARGUMENT, Spec};
use crate::wire::{Inbox, Order, Report, STEP_USER, send};

/// How often the caller's wish to cancel is looked at while nothing happens.
const WAKE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// How long a cancelled helper may take to clear up before it is killed itself.
const GRACE: Duration = Duration::from_millis(1500);

/// Bytes read from a pipe at once: what a pipe holds by default.
const CHUNK: usize = 64 << 10;

/// Runs one process to its end, passing on what it writes as it comes.
///
/// `helper` is a program that calls [`init_main`](crate::init_main) when its first argument is
/// [`HELPER_ARGUMENT`], normally `/proc/self/exe`; a sealed copy of it is what is executed. `cancel`
/// is asked at least ten times a second. The call blocks; many threads may be in it at once, and no
/// part of it forks the calling program.
///
/// # Errors
/// [`Error::Cancelled`] after `cancel` said yes, with everything gone; the others tell what could
/// not be set up. A process that fails, or cannot be executed, is an [`Outcome`].
pub fn run(
    spec: &Spec,
    helper: &Path,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &dyn Fn() -> bool,
) -> Result<Outcome, Error> {
    spec.check()?;
    if cancel() {
        return Err(Error::Cancelled);
    }
    let group = Group::make(&spec.limits, spec.processes)?;
    attend(spec, &group, Running::start(helper, None)?, output, cancel)
}

/// Runs one process on a terminal: its three standard streams are `terminal`, the slave's side of a pseudo-terminal that
/// nobody else has as theirs, and it becomes the process' controlling terminal. Otherwise as [`run`].
///
/// # Errors
/// As [`run`].
pub fn run_on(
    spec: &Spec,
    helper: &Path,
    terminal: OwnedFd,
    cancel: &dyn Fn() -> bool,
) -> Result<Outcome, Error> {
    let spec = Spec {
        terminal: true,
        ..spec.clone()
    };
    spec.check()?;
    let group = Group::make(&spec.limits, spec.processes)?;
    attend(
        &spec,
        &group,
        Running::start(helper, Some(terminal))?,
        &mut |_, _| {},
        cancel,
    )
}

fn attend(
    spec: &Spec,
    group: &Group,
    mut running: Running,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &dyn Fn() -> bool,
) -> Result<Outcome, Error> {
    // A helper that dies at once makes this fail; its end tells more than a broken pipe.
    let order = Order {
        spec: spec.clone(),
        group: group.folders().clone(),
    };
    let sent = send(&running.control, &order);
    let ended = running.attend(output, cancel);
    let status = running.finish()?;
    match ended? {
        End::Cancelled => Err(Error::Cancelled),
        End::Reported(Report::Ended(outcome)) => Ok(outcome),
        End::Reported(Report::Failed(failure)) if failure.step == STEP_USER => {
            Err(Error::User { text: failure.text })
        }
        End::Reported(Report::Failed(failure)) => Err(Error::SetUp {
            step: failure.step,
            errno: failure.errno,
            text: failure.text,
        }),
        End::Reported(Report::Started) | End::Silent => {
            sent.map_err(control)?;
            Err(Error::HelperDied { status })
        }
    }
}

/// How the talk with the helper ended.
enum End {
    Reported(Report),
    Cancelled,
    Silent,
}

/// A helper and the three ways it speaks.
struct Running {
    helper: Child,
    control: UnixStream,
    /// Pid 1 of the sandbox, once it exists.
    pidfd: Option<OwnedFd>,
    inbox: Inbox,
    report: Option<Report>,
    control_open: bool,
    pipes: [Option<Pipe>; 2],
}

struct Pipe {
    stream: Stream,
    file: File,
}

impl Running {
    /// Starts the helper; its output goes to `terminal`, or else into pipes.
    fn start(program: &Path, terminal: Option<OwnedFd>) -> Result<Self, Error> {
        let sealed = Sealed::of(program)?;
        let failed = |source| Error::Start {
            path: program.to_owned(),
            source,
        };
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let [stdout, stderr] = match terminal {
            None => [Stdio::piped(), Stdio::piped()],
            Some(terminal) => [terminal.try_clone().map_err(failed)?.into(), terminal.into()],
        };
        // Nothing here needs code between fork and exec, so the standard library takes
        // posix_spawn: its cost does not grow with the daemon's memory, and it takes no locks.
        let mut helper = Command::new(sealed.path())
            .arg(HELPER_ARGUMENT)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        let stdout = helper.stdout.take().map(|pipe| Pipe {
            stream: Stream::Stdout,
            file: OwnedFd::from(pipe).into(),
        });
        let stderr = helper.stderr.take().map(|pipe| Pipe {
            stream: Stream::Stderr,
            file: OwnedFd::from(pipe).into(),
        });
        Ok(Running {
            helper,
            control,
            pidfd: None,
            inbox: Inbox::default(),
            report: None,
            control_open: true,
            pipes: [stdout, stderr],
        })
    }

    /// Passes on output until the helper is gone and the pipes are empty, or until told to stop.
    fn attend(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &dyn Fn() -> bool,
    ) -> Result<End, Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            if cancel() {
                self.cancel(&mut buffer)?;
                return Ok(End::Cancelled);
            }
            let idle = !self.step(&mut buffer, output)?;
            // All that wrote to the pipes is dead by now. Their end need not come: the process may
            // have given a descriptor away over a socket.
            if idle && !self.control_open {
                return Ok(self.report.take().map_or(End::Silent, End::Reported));
            }
        }
    }

    /// Waits for something to happen, though not for long, and deals with it; whether something did.
    fn step(&mut self, buffer: &mut [u8], output: &mut dyn FnMut(Stream, &[u8])) -> Result<bool, Error> {
        let ready = self.wait().map_err(control)?;
        if ready[0] {
            self.listen(buffer).map_err(control)?;
        }
        for (pipe, ready) in self.pipes.iter_mut().zip(&ready[1..]) {
            let Some(open) = pipe.as_mut().filter(|_| *ready) else {
                continue;
            };
            match open.file.read(buffer) {
                Ok(0) => *pipe = None,
                Ok(count) => output(open.stream, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(control(error)),
            }
        }
        Ok(ready.contains(&true))
    }

    /// Which of control socket, stdout and stderr have something to read or are at their end.
    fn wait(&self) -> io::Result<[bool; 3]> {
        let control = self.control_open.then(|| self.control.as_fd());
        let pipe = |index: usize| self.pipes[index].as_ref().map(|pipe| pipe.file.as_fd());
        let sources = [control, pipe(0), pipe(1)];
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        let limit = if self.control_open { WAKE } else { NOW };
        retry_on_intr(|| poll(&mut polled, Some(&limit)))?;
        let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
        Ok(sources.map(|source| source.is_some() && answers.next().unwrap_or(false)))
    }

    fn listen(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let count = match recvmsg(
            &self.control,
            &mut slices,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => message.bytes,
            Err(Errno::INTR) => return Ok(()),
            // The helper died with something unread in its socket.
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.pidfd = descriptors.last().or(self.pidfd.take());
            }
        }
        self.inbox.push(&buffer[..count]);
        while let Some(report) = self.inbox.next()? {
            self.report = Some(report);
        }
        if count == 0 {
            self.control_open = false;
            if let None | Some(Report::Started) = self.report {
                self.end_orphan()?;
            }
        }
        Ok(())
    }

    /// Closes our half of the control socket and waits for the helper to clear up.
    fn cancel(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.control.shutdown(Shutdown::Write).map_err(control)?;
        let start = Instant::now();
        while self.control_open && start.elapsed() < GRACE {
            self.step(buffer, &mut |_, _| {})?;
        }
        Ok(())
    }

    /// Sees to it that helper and process are gone; how the helper ended, in words.
    fn finish(mut self) -> Result<String, Error> {
        if self.control_open {
            self.helper.kill().map_err(control)?;
        }
        let status = self.helper.wait().map_err(control)?;
        if !status.success() {
            self.end_orphan().map_err(control)?;
        }
        Ok(status.to_string())
    }

    /// Kills a pid 1 whose helper is gone, and waits for its end.
    ///
    /// The kernel does so itself (`PR_SET_PDEATHSIG`), but not for a setuid program, which has lost
    /// that setting.
    fn end_orphan(&self) -> io::Result<()> {
        let Some(pidfd) = &self.pidfd else { return Ok(()) };
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) => {}
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        let limit = Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        retry_on_intr(|| poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)))?;
        Ok(())
    }
}

fn control(source: io::Error) -> Error {
    Error::Control { source }
}
