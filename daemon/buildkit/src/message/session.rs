//! What a daemon asks of the services in a client's session, and what they answer.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use prost::{Enumeration, Message};

/// `fsutil.types.Stat`: a file.
#[derive(Clone, PartialEq, Message)]
pub struct Stat {
    /// Where it is, slashes in between, none in front.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Type and permissions in the bits of Go's `fs.FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Its owner.
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    /// Its group.
    #[prost(uint32, tag = "4")]
    pub gid: u32,
    /// Bytes.
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// In nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub mod_time: i64,
    /// Where a link leads; of a file, the first name of its hard links.
    #[prost(string, tag = "7")]
    pub linkname: String,
    /// Of a device.
    #[prost(int64, tag = "8")]
    pub devmajor: i64,
    /// Of a device.
    #[prost(int64, tag = "9")]
    pub devminor: i64,
    /// Extended attributes.
    #[prost(map = "string, bytes", tag = "10")]
    pub xattrs: HashMap<String, Vec<u8>>,
}

/// `fsutil.types.Packet`: a step of the exchange of files.
#[derive(Clone, PartialEq, Message)]
pub struct Packet {
    /// Which step.
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub kind: i32,
    /// The file, of a `Stat`.
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// Which file, by its place among all that were told, from 0.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    /// Its bytes, of `Data`; a text, of `Err`.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// A step of the exchange of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum PacketKind {
    /// The sender has this file; without one, that was the last.
    Stat = 0,
    /// The receiver wants the file's bytes.
    Req = 1,
    /// Bytes of it; none for its end.
    Data = 2,
    /// That was all.
    Fin = 3,
    /// It cannot go on.
    Err = 4,
}

/// Asks for the credentials of a registry.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CredentialsRequest {
    /// The registry's host.
    #[prost(string, tag = "1")]
    pub host: String,
}

/// The credentials of a registry. Its `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[prost(skip_debug)]
pub struct CredentialsResponse {
    /// The user; empty with a token.
    #[prost(string, tag = "1")]
    pub username: String,
    /// The password or token.
    #[prost(string, tag = "2")]
    pub secret: String,
}

/// Asks for a secret.
#[derive(Clone, PartialEq, Message)]
pub struct GetSecretRequest {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// The secret. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[prost(skip_debug)]
pub struct GetSecretResponse {
    /// Its value.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// Asks whether there is an agent.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CheckAgentRequest {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// That there is.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CheckAgentResponse {}

impl fmt::Debug for CredentialsResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsResponse").finish_non_exhaustive()
    }
}

impl fmt::Debug for GetSecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetSecretResponse").finish_non_exhaustive()
    }
}
