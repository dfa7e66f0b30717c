//! What can go wrong between asking for a process and knowing how it ended.

use std::io;
use std::path::PathBuf;

use crate::wire::describe;

/// Why a process could not be run to its end.
///
/// A process that ran and failed is no error: that is an [`Outcome`](crate::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec asks for something that cannot be.
    #[error("sandbox spec: {field}: {reason}")]
    Spec {
        /// The field of [`Spec`](crate::Spec) at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The copy of the helper's program that nobody can write to could not be made.
    #[error("cannot make a sealed copy of {path}")]
    Seal {
        /// The helper's program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The helper could not be started.
    #[error("cannot start the sandbox helper {path}")]
    Start {
        /// The helper's program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What was asked for cannot be limited: there is no control group for it, or none that can be written.
    #[error(
        "cannot limit {about}: {path}: {reason}; run micad where it may write to control groups (as root on the host, or \
         with Delegate=yes in a service of systemd), or build without limits",
        path = path.display(), reason = describe(source)
    )]
    Limit {
        /// What was to be limited.
        about: String,
        /// The file or folder of the group.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Talking to the helper, or reading the process' output, failed.
    #[error("lost the sandbox helper")]
    Control {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The helper ended without saying how the process ended.
    #[error("the sandbox helper died: {status}")]
    HelperDied {
        /// How it ended, in words.
        status: String,
    },
    /// The sandbox could not be made; the process was never started.
    #[error("{step}: {text}")]
    SetUp {
        /// The step that failed, and the path it was about.
        step: String,
        /// The number of the system's error, if there was one.
        errno: Option<i32>,
        /// The system's text, with the kernel's own words where it gave some.
        text: String,
    },
    /// The user is not in the image. The text is docker's.
    #[error("{text}")]
    User {
        /// For example `unable to find user X: no matching entries in passwd file`.
        text: String,
    },
    /// The caller asked for an end; the process and all its children are gone.
    #[error("cancelled")]
    Cancelled,
}
