//! Why the daemon cannot start or go on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the daemon cannot start or go on.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The settings file cannot be read.
    #[error("cannot read the configuration file")]
    ReadConfig {
        /// What the system said, with the path.
        #[source]
        source: io::Error,
    },
    /// The settings file is not what it should be.
    #[error("the configuration file {} is not valid", path.display())]
    ParseConfig {
        /// The file.
        path: PathBuf,
        /// What serde found.
        #[source]
        source: serde_json::Error,
    },
    /// A value in the settings file is not what it should be.
    #[error("the configuration file {}, line {line}: {reason}", path.display())]
    Option {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{reason}")]
    Setting {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Engine(#[source] mica_engine::Error),
    /// The database cannot be made again.
    #[error("cannot make the database again")]
    Rebuild(#[source] mica_engine::Error),
    /// Somebody answers at the address already.
    #[error("another daemon answers at {}", path.display())]
    Occupied {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken by something that is no socket.
    #[error("{} exists and is no socket", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// A socket cannot be made.
    #[error("cannot {action} {}", path.display())]
    Socket {
        /// What was being done.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not do what every Linux does.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The failure and its causes in one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }

    /// Whether the command line or the settings are at fault, rather than the machine.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting { .. } | Self::Option { .. } | Self::ParseConfig { .. } | Self::ReadConfig { .. }
        )
    }
}
