//! What daemon, helper and process say to each other: length-prefixed JSON over a socket pair.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::group::Folders;
use crate::outcome::Outcome;
use crate::spec::Spec;

/// The most bytes of one message: 500 layers of the longest paths are an eighth of it, the most secrets, four bytes for one, half.
const MAX_MESSAGE: usize = 16 << 20;

/// Daemon to helper: the one thing that is said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// What is to be run.
    pub spec: Spec,
    /// The group it runs in; the helper removes it.
    pub group: Folders,
}

/// Helper to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Pid 1 exists; its pidfd comes along with the message's first byte.
    Started,
    /// It is over.
    Ended(Outcome),
    /// The process was never executed.
    Failed(Failure),
}

/// Process to helper, before it executes the program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// These did not exist and have to go again, the first made first.
    Stubs(Vec<Stub>),
    /// Set-up failed.
    Failed(Failure),
    /// The program could not be executed; the reason in docker's words.
    NotExecuted(String),
}

/// A mount point that the image did not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stub {
    /// Its path inside the root, without symbolic links.
    pub path: PathBuf,
    /// A directory, or else a file.
    pub dir: bool,
}

/// The step of set-up that failed, and why.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was being done, with the path.
    pub step: String,
    /// The system's error number.
    pub errno: Option<i32>,
    /// The reason.
    pub text: String,
}

/// The step of a [`Failure`] that is about the image's users.
pub(crate) const STEP_USER: &str = "user";

impl Failure {
    /// A failure that no system call reported.
    pub(crate) fn plain(step: impl Into<String>, text: impl Into<String>) -> Self {
        Failure {
            step: step.into(),
            errno: None,
            text: text.into(),
        }
    }
}

/// Names the step a result belongs to.
pub(crate) trait AtStep<T> {
    /// Turns the error into a [`Failure`] of the step.
    fn at(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> AtStep<T> for Result<T, E> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            Failure {
                step: step(),
                errno: error.raw_os_error(),
                text: describe(&error),
            }
        })
    }
}

/// The system's text for an error as Go prints it: a small letter first, no number behind.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The bytes of one message.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4)
        .ok()
        .filter(|length| *length as usize <= MAX_MESSAGE);
    let length = length.ok_or_else(|| io::Error::other("a sandbox message is too long"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Writes one message.
pub(crate) fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Reads one message; none if the other side closed before one began.
pub(crate) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut inbox = Inbox::default();
    let mut buffer = [0; 64 << 10];
    loop {
        if let Some(message) = inbox.next()? {
            return Ok(Some(message));
        }
        match from.read(&mut buffer) {
            Ok(0) if inbox.bytes.is_empty() => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => inbox.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes that came in, on their way to becoming messages.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Adds what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// When the bytes are no message, or one over the limit.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::other("a sandbox message is too long"));
        }
        let Some(body) = self.bytes.get(4..4 + length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Inbox, Progress, Stub, describe, encode, receive};

    #[test]
    fn messages_come_out_as_they_went_in() {
        let stub = Stub {
            path: "/etc/hosts".into(),
            dir: false,
        };
        let first = encode(&Progress::Stubs(vec![stub.clone()])).unwrap();
        let second = encode(&Progress::NotExecuted("no".to_owned())).unwrap();
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for byte in first.iter().chain(&second) {
            inbox.push(&[*byte]);
            seen.extend(inbox.next::<Progress>().unwrap());
        }
        assert!(matches!(&seen[..], [Progress::Stubs(stubs), Progress::NotExecuted(_)] if stubs[0] == stub));
    }

    #[test]
    fn refuses_lies_about_the_length() {
        let mut inbox = Inbox::default();
        inbox.push(&u32::MAX.to_le_bytes());
        assert!(inbox.next::<Progress>().is_err());
        assert!(receive::<Progress>(&[9, 0, 0, 0, b'{'][..]).is_err());
        assert!(receive::<Progress>(&[][..]).unwrap().is_none());
    }

    #[test]
    fn errors_read_as_in_go() {
        assert_eq!(
            describe(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(describe(&io::Error::from_raw_os_error(8)), "exec format error");
        assert_eq!(describe(&io::Error::other("Plain words")), "plain words");
    }
}
