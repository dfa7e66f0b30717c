//! What can go wrong between a tar and a tree.

use std::io;

use thiserror::Error;

use crate::path::{ImagePath, shown};

/// What can go wrong between a tar and a tree.
#[derive(Debug, Error)]
pub enum Error {
    /// The disk or the stream failed.
    #[error("{action}")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tar is not one, or is damaged; `at` is the offset in bytes of the header in question.
    #[error("invalid tar at byte {at}: {reason}")]
    Tar {
        /// Offset of the header.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The archive is not in a compression that is known, or its compressed data is damaged.
    #[error("invalid compressed data: {0}")]
    Compression(String),
    /// More of something than is accepted.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What there is too much of, with the path.
        what: String,
        /// The most that is accepted.
        limit: u64,
    },
    /// One layer changes more than can be held in memory.
    #[error(
        "/{}: the names and attributes of all that one layer changes take more than {limit} bytes: split the step, or \
         remove or pack in it what the image does not need as single files",
        shown(path.as_bytes())
    )]
    Changes {
        /// The first path that was too much.
        path: ImagePath,
        /// The most that is accepted.
        limit: u64,
    },
    /// A path does not lead to what it should.
    #[error("/{}: {reason}", shown(path.as_bytes()))]
    Path {
        /// The path in the image.
        path: ImagePath,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
