//! BuildKit's gRPC as its clients speak it: the messages, and the sessions in which a client answers for its files, secrets and
//! credentials. What is done with them is decided elsewhere.

mod content;
pub mod message;
mod send;
mod service;
mod session;
mod sync;

pub use content::{BlobRead, BlobWrite, ContentStore};
pub use send::{ArchiveSend, DirSend, Teller, Wanted};
pub use service::{Messages, Method, Methods, Next};
pub use session::{Answers, Attached, Session, SessionError};
pub use sync::{DirSync, FileKind, Stat, SyncError, SyncRequest};

/// The longest message either side sends, in bytes (engine API contract, section 6.3).
pub const MESSAGE_LIMIT: usize = 16 << 20;

/// How much of what one call brings may wait here to be read, in bytes.
pub(crate) const STREAM_WINDOW: u32 = 512 << 10;
/// The same for a whole connection. h2 takes a peer for a flood whose waiting frames fall short of 256 bytes each by more than half
/// of this, and ends the connection. A client tells of each file in a frame of 30 bytes or more: of a folder of a hundred thousand
/// the windows hold back what would come to that, for nine calls at once.
pub(crate) const CONNECTION_WINDOW: u32 = 64 << 20;
