//! Forwards what a step says to its agent socket to the client's own agent, for as long as the step runs.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use mica_builder::Agent;
use mica_builder::ports::Access;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// The most connections of one socket at a time; one that comes when there are as many is closed at once. Each holds a
/// thread and twice [`CHUNK`].
const CONNECTIONS: usize = 32;

/// Bytes taken from a connection at once: few messages of an agent are longer.
const CHUNK: usize = 16 << 10;

/// A socket at which an agent answers. Dropping it ends all connections.
pub(super) struct Forwarding {
    path: PathBuf,
    /// Readable once it is over, for ever.
    end: Arc<OwnedFd>,
    listener: Option<JoinHandle<()>>,
}

impl Forwarding {
    /// Listens at `folder`/`name`.
    pub(super) fn start(agent: &Agent, access: Access, folder: &Path, name: &str) -> io::Result<Self> {
        // an address holds 108 bytes, and the store may lie deeper
        let directory = fs_err::File::open(folder)?;
        let socket = UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))?;
        let path = folder.join(name);
        chown(&path, Some(access.uid), Some(access.gid))?;
        fs_err::set_permissions(&path, Permissions::from_mode(access.mode))?;
        socket.set_nonblocking(true)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (told, agent) = (end.clone(), agent.clone());
        let listener = Builder::new()
            .name("agent".to_owned())
            .spawn(move || listen(&socket, &told, &agent))?;
        Ok(Self {
            path,
            end,
            listener: Some(listener),
        })
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // fails only if it was told before
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        if let Some(listener) = self.listener.take() {
            // a panic there was reported by the thread itself
            let _ = listener.join();
        }
        // the step may run once more, and its folder goes in any case
        let _ = fs_err::remove_file(&self.path);
    }
}

/// Takes connections until the end, and then waits for theirs, which they know of too.
fn listen(socket: &UnixListener, end: &Arc<OwnedFd>, agent: &Agent) {
    let mut served: Vec<JoinHandle<()>> = Vec::new();
    while let Ok([true, false]) = readable([socket.as_fd(), end.as_fd()]) {
        let Ok((step, _)) = socket.accept() else {
            continue;
        };
        served.retain(|thread| !thread.is_finished());
        if served.len() >= CONNECTIONS {
            continue;
        }
        let (end, agent) = (end.clone(), agent.clone());
        let thread = Builder::new().name("agent".to_owned()).spawn(move || {
            // however it breaks off, the step sees its connection end
            let _ = open(&agent).and_then(|theirs| converse(&step, &theirs, &end));
        });
        served.extend(thread);
    }
    for thread in served {
        // a panic there was reported by the thread itself
        let _ = thread.join();
    }
}

fn readable<const N: usize>(sources: [std::os::fd::BorrowedFd<'_>; N]) -> io::Result<[bool; N]> {
    let mut polled = sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
    retry_on_intr(|| poll(&mut polled, None))?;
    Ok(polled.map(|fd| !fd.revents().is_empty()))
}

/// Connects to the agent; fails rather than waits if it takes no more connections.
fn open(agent: &Agent) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // an open path is connected to through the link that shows it (proc(5))
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", agent.socket.as_raw_fd()))?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// What goes one way and was not passed on yet.
#[derive(Default)]
struct Way {
    pending: Vec<u8>,
    over: bool,
}

impl Way {
    /// Moves what can be moved without waiting.
    fn advance(&mut self, mut from: &UnixStream, mut to: &UnixStream) -> io::Result<()> {
        loop {
            while !self.pending.is_empty() {
                match to.write(&self.pending) {
                    Ok(count) => drop(self.pending.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.over {
                return Ok(());
            }
            self.pending.resize(CHUNK, 0);
            let count = from.read(&mut self.pending);
            self.pending.truncate(*count.as_ref().unwrap_or(&0));
            match count {
                Ok(0) => {
                    self.over = true;
                    return to.shutdown(Shutdown::Write);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Passes on what either side says, until both have said all or it is over.
fn converse(step: &UnixStream, theirs: &UnixStream, end: &OwnedFd) -> io::Result<()> {
    step.set_nonblocking(true)?;
    let mut ways = [Way::default(), Way::default()];
    while !ways.iter().all(|way| way.over && way.pending.is_empty()) {
        let mut polled = vec![PollFd::new(end, PollFlags::IN)];
        for (side, (own, other)) in [(step, (0, 1)), (theirs, (1, 0))] {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, ways[own].pending.is_empty() && !ways[own].over);
            wanted.set(PollFlags::OUT, !ways[other].pending.is_empty());
            // a side that nothing is wanted of would still report that it hung up, again and again
            if !wanted.is_empty() {
                polled.push(PollFd::new(side, wanted));
            }
        }
        retry_on_intr(|| poll(&mut polled, None))?;
        if !polled[0].revents().is_empty() {
            return Ok(());
        }
        ways[0].advance(step, theirs)?;
        ways[1].advance(theirs, step)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::fs::{Mode, OFlags};

    use super::*;

    /// More than an end takes on any machine.
    const LONG: Duration = Duration::from_secs(60);

    const ACCESS: Access = Access {
        mode: 0o640,
        uid: 0,
        gid: 0,
    };

    /// An agent that answers every message with the same in capitals.
    fn agent(folder: &Path) -> Agent {
        let path = folder.join("real");
        let socket = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        buffer.make_ascii_uppercase();
                        stream.write_all(&buffer[..count]).unwrap();
                    }
                });
            }
        });
        let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Agent {
            id: "default".to_owned(),
            socket: Arc::new(socket),
        }
    }

    fn access() -> Access {
        Access {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..ACCESS
        }
    }

    #[test]
    fn all_connections_reach_the_agent_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(150));
        fs_err::create_dir(&deep).unwrap();
        let real = agent(folder.path());
        let forwarding = Forwarding::start(&real, access(), &deep, "agent-0").unwrap();
        let mode = fs_err::metadata(deep.join("agent-0"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        let directory = fs_err::File::open(&deep).unwrap();
        let path = format!("/proc/self/fd/{}/agent-0", directory.as_raw_fd());
        let mut streams: Vec<UnixStream> = (0..CONNECTIONS)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let long = "x".repeat(200_000);
        for (number, stream) in streams.iter_mut().enumerate() {
            let text = format!("hello {number} {long}");
            let mut writer = stream.try_clone().unwrap();
            let sent = text.clone();
            let writing = thread::spawn(move || writer.write_all(sent.as_bytes()).unwrap());
            let mut answer = vec![0; text.len()];
            stream.read_exact(&mut answer).unwrap();
            writing.join().unwrap();
            assert_eq!(answer, text.to_ascii_uppercase().as_bytes());
        }
        // one too many sees its end
        let mut more = UnixStream::connect(&path).unwrap();
        assert_eq!(more.read(&mut [0]).unwrap(), 0);
        let start = Instant::now();
        drop(forwarding);
        assert!(start.elapsed() < LONG);
        for stream in &mut streams {
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        }
        assert!(UnixStream::connect(&path).is_err());
        // a step that failed can be entered, with the same place for its socket
        Forwarding::start(&real, access(), &deep, "agent-0").unwrap();
    }

    #[test]
    fn one_that_does_not_listen_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("real");
        // never accepts, never reads
        let _deaf = UnixListener::bind(&path).unwrap();
        let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let agent = Agent {
            id: "default".to_owned(),
            socket: Arc::new(socket),
        };
        let forwarding = Forwarding::start(&agent, access(), folder.path(), "agent-0").unwrap();
        let mut stream = UnixStream::connect(folder.path().join("agent-0")).unwrap();
        stream.set_nonblocking(true).unwrap();
        let chunk = vec![0; 64 << 10];
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            let _ = stream.write(&chunk);
        }
        let start = Instant::now();
        drop(forwarding);
        assert!(start.elapsed() < LONG);
    }
}
