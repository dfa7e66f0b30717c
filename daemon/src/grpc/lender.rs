//! What a client's session lends to a build: secrets, agents, credentials. It is asked on the builder's threads, when a step
//! wants it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mica_buildkit::message::control::BytesMessage;
use mica_buildkit::{Session, SessionError};
use mica_engine::{Agent, Credential, Keyring, Lender, Secret};
use mica_task::Cancel;
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::grpc::job::cancelled;

/// The longest secret, in bytes; as BuildKit's.
const SECRET_LIMIT: usize = 500 << 10;
/// Bytes taken from an agent's connection at once.
const CHUNK: usize = 16 << 10;
/// How many messages wait on their way to an agent.
const WAITING: usize = 4;

/// The name under which clients keep the credentials of Docker Hub.
const HUB: &str = "registry-1.docker.io";

/// Lends what a session has.
pub(super) struct SessionLender {
    session: Session,
    cancel: Cancel,
    runtime: Handle,
}

impl SessionLender {
    /// Asks this session, whose connection the current runtime drives.
    pub(super) fn new(session: Session, cancel: Cancel) -> Self {
        Self {
            session,
            cancel,
            runtime: Handle::current(),
        }
    }
}

/// What the client answers; an error if the build is stopped before it does.
pub(super) fn wait<T>(
    runtime: &Handle,
    cancel: &Cancel,
    answer: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, String> {
    runtime.block_on(async {
        tokio::select! {
            answer = answer => answer.map_err(|error| error.to_string()),
            () = cancelled(cancel) => Err("the build was stopped before the client answered".to_owned()),
        }
    })
}

impl Lender for SessionLender {
    fn secret(&self, id: &str) -> Result<Option<Secret>, String> {
        let found = wait(&self.runtime, &self.cancel, self.session.secret(id))?;
        match found {
            Some(value) if value.len() > SECRET_LIMIT => Err(format!(
                "it is longer than the {SECRET_LIMIT} bytes a secret may have"
            )),
            found => Ok(found.map(|value| Secret {
                id: id.to_owned(),
                value: value.into(),
            })),
        }
    }

    fn agent(&self, id: &str) -> Result<Option<Agent>, String> {
        let has = wait(&self.runtime, &self.cancel, self.session.has_agent(id))?;
        if !has {
            return Ok(None);
        }
        let socket = forward(&self.runtime, &self.session, id)
            .map_err(|error| format!("cannot make a socket for it: {error}"))?;
        Ok(Some(Agent {
            id: id.to_owned(),
            socket: Arc::new(socket),
        }))
    }
}

/// Knows the credentials that a session's client has.
pub(super) fn keyring(session: Session, cancel: Cancel) -> Keyring {
    let runtime = Handle::current();
    Keyring::new(move |registry| {
        let host = if registry == "docker.io" { HUB } else { registry };
        // a client that cannot be asked has none: the registry says so if it wants some
        match wait(&runtime, &cancel, session.credentials(host)) {
            Ok(Some((user, token))) if user.is_empty() => Credential::Identity { user, token },
            Ok(Some((user, password))) => Credential::Basic { user, password },
            Ok(None) | Err(_) => Credential::Anonymous,
        }
    })
}

/// A socket, open as a path, at which a client's agent answers as long as the session lives.
fn forward(runtime: &Handle, session: &Session, id: &str) -> io::Result<OwnedFd> {
    let folder = Folder::new()?;
    let path = folder.0.join("agent");
    let listener = StdListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (session, id) = (session.clone(), id.to_owned());
    runtime.spawn(async move {
        let Ok(listener) = UnixListener::from_std(listener) else {
            return;
        };
        let gone = session.gone();
        tokio::pin!(gone);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(join(stream, session.clone(), id.clone()));
                    }
                }
                () = &mut gone => return,
            }
        }
    });
    // it is known by its descriptor from here on
    drop(folder);
    Ok(socket)
}

/// Carries one connection to the client's agent.
async fn join(stream: UnixStream, session: Session, id: String) {
    let (mut from, mut to) = stream.into_split();
    let (sender, sent) = mpsc::channel(WAITING);
    // an agent that hangs up ends the connection, and that is all there is to say
    let Ok(mut answers) = session.agent(&id, ReceiverStream::new(sent)).await else {
        return;
    };
    let asking = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let data = Bytes::copy_from_slice(&buffer[..count]);
            if sender.send(BytesMessage { data }).await.is_err() {
                return;
            }
        }
    };
    // an agent that ends the connection ends it for the step too
    let answering = async move {
        while let Ok(Some(message)) = answers.next().await {
            if to.write_all(&message.data).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(asking, answering);
}

/// A folder of its own in the temporary folder, gone when this is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let mut bytes = [0; 12];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("mica-agent-{name}"));
        rustix::fs::mkdir(&path, Mode::RWXU)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// What stays behind is an empty folder of a few bytes.
fn remove(folder: &Path) {
    let _ = fs_err::remove_dir_all(folder);
}
