//! What can go wrong on the way to the daemon and back, and the exit code each failure ends with.

use std::io;
use std::path::PathBuf;

use crate::program;

/// A failure of a command. Texts are docker's where docker has one, since scripts look for them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon refused.
    #[error("Error response from daemon: {message}")]
    Daemon { status: u16, message: String },
    /// The work failed after it had begun; `code` is the exit code of the command that failed.
    #[error("{message}")]
    Work { message: String, code: Option<i64> },
    /// Nobody listens.
    #[error("{}", program::absence(socket))]
    Connect { socket: PathBuf, source: io::Error },
    /// The daemon was started and does not answer.
    #[error("micad did not start: {reason}{log}")]
    Start { reason: String, log: String },
    /// The connection broke.
    #[error("error during connect: {action}")]
    Transport {
        action: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon answered something that is no answer.
    #[error("the daemon's answer to {path} cannot be read")]
    Answer { path: String, source: serde_json::Error },
    /// An answer or a line of one is longer than this program takes.
    #[error("the daemon's answer to {path} is longer than {limit} bytes")]
    TooLong { path: String, limit: usize },
    /// Flags or arguments that make no sense.
    #[error("{message}")]
    Usage { message: String },
    /// What is not done here and will not be, with the exit code docker gives where it fails.
    #[error("{message}")]
    Elsewhere { message: String, code: u8 },
    /// A name the flag knows but this program does not do yet.
    #[error("{what} is not supported yet")]
    Unsupported { what: String },
    /// `MICA_HOST`, `DOCKER_HOST` or `--host` cannot be used.
    #[error("{message}")]
    Host { message: String },
    /// A name that is none.
    #[error(transparent)]
    Reference(#[from] mica_oci::ReferenceError),
    /// A file of credentials that cannot be understood; its text is not repeated, it holds secrets.
    #[error("{origin}: line {line}, column {column}: {reason}")]
    Config {
        origin: String,
        line: usize,
        column: usize,
        reason: String,
    },
    /// An entry of such a file.
    #[error("{origin}: the credentials of {key} cannot be used: {reason}")]
    Entry {
        origin: String,
        key: String,
        reason: &'static str,
    },
    /// A credential helper that is not installed.
    #[error("the credential helper {program} is not in PATH")]
    HelperMissing { program: String },
    /// A credential helper that did not do what it was asked.
    #[error("{program} {action}: {reason}")]
    Helper {
        program: String,
        action: &'static str,
        reason: String,
    },
    /// A login, push or pull that cannot even be tried.
    #[error("{message}")]
    Refused { message: String },
    /// A `--format` that cannot be read or filled.
    #[error("{message}")]
    Template { message: String },
    /// A file of the user's.
    #[error("{action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The build context cannot be read.
    #[error("error checking context: {message}")]
    Context {
        message: String,
        source: Option<io::Error>,
    },
    /// The Dockerfile or its ignore file cannot be read.
    #[error("unable to prepare context: {message}")]
    Prepare { message: String },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output { source: io::Error },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Input { source: io::Error },
    /// The user was asked and said no; nothing more is said.
    #[error("cancelled")]
    Declined,
    /// A signal ended the command.
    #[error("interrupted")]
    Interrupted { signal: u8 },
    /// A command that was run for the user ended with another code than 0; it said what it had to say.
    #[error("exit code {code}")]
    Ended { code: i32 },
    /// The checks of a Dockerfile found something; everything has been said already.
    #[error("the checks found something")]
    Found,
    /// Several things failed; everything has been said already.
    #[error("{message}")]
    Several { message: String },
}

impl Error {
    /// The exit code: 1 in general, 125 for wrong usage, a failed build step's own, 128 + signal.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Unsupported { .. } => 125,
            Self::Work { code: Some(code), .. } => match u8::try_from(*code) {
                Ok(code) if code > 0 => code,
                _ => 1,
            },
            Self::Ended { code } => u8::try_from(*code).unwrap_or(1),
            Self::Elsewhere { code, .. } => *code,
            Self::Declined => 0,
            Self::Interrupted { signal } => 128 + signal,
            Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe => 141,
            _ => 1,
        }
    }

    /// The same failure where no command of the user's ran, so that no exit code is to be passed on.
    #[must_use]
    pub(crate) fn without_code(self) -> Self {
        match self {
            Self::Work { message, .. } => Self::Work { message, code: None },
            other => other,
        }
    }

    /// Whether the user is to be told: not of a reader that went away, nor of what they did themselves.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Declined | Self::Interrupted { .. } | Self::Found | Self::Ended { .. } => true,
            Self::Output { source } => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// The text and those of all causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        // "Cannot connect … Is micad running?" says it all.
        if matches!(self, Self::Connect { source, .. } if is_absent(source)) {
            return text;
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let layer = error.to_string();
            if !text.ends_with(&layer) {
                text.push_str(": ");
                text.push_str(&layer);
            }
            cause = error.source();
        }
        text
    }
}

/// Whether a failure to connect means that nobody listens.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_exit_code() {
        let work = |code| Error::Work {
            message: String::new(),
            code,
        };
        let output = |kind: io::ErrorKind| Error::Output { source: kind.into() };
        for (error, code) in [
            (work(None), 1),
            (work(Some(7)), 7),
            (work(Some(0)), 1),
            (work(Some(300)), 1),
            (work(Some(-1)), 1),
            (
                Error::Usage {
                    message: String::new(),
                },
                125,
            ),
            (Error::Unsupported { what: String::new() }, 125),
            (
                Error::Daemon {
                    status: 404,
                    message: String::new(),
                },
                1,
            ),
            (Error::Interrupted { signal: 2 }, 130),
            (output(io::ErrorKind::BrokenPipe), 141),
            (output(io::ErrorKind::StorageFull), 1),
            (Error::Declined, 0),
            (Error::Found, 1),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
        assert!(output(io::ErrorKind::BrokenPipe).is_quiet());
        assert!(!output(io::ErrorKind::StorageFull).is_quiet());
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let source = io::Error::from_raw_os_error(13);
        let error = Error::File {
            action: "cannot open",
            path: "/x".into(),
            source,
        };
        assert_eq!(error.chain(), "cannot open /x: Permission denied (os error 13)");
    }
}
