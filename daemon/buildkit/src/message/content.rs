//! What is asked of the service `containerd.services.content.v1.Content` and what it answers: blobs by their digests. A client's
//! session offers it for several stores, and the metadata of a call says which is meant.

use std::collections::HashMap;

use bytes::Bytes;
use prost::{Enumeration, Message};

/// Asks for a blob.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadContentRequest {
    /// Which.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// From here.
    #[prost(int64, tag = "2")]
    pub offset: i64,
    /// So many bytes; all if 0.
    #[prost(int64, tag = "3")]
    pub size: i64,
}

/// A piece of a blob.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadContentResponse {
    /// Where it is in what was asked for.
    #[prost(int64, tag = "1")]
    pub offset: i64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// What is to be done with a blob that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum WriteAction {
    /// Say how far it is.
    Stat = 0,
    /// Take bytes.
    Write = 1,
    /// Take bytes, and keep it.
    Commit = 2,
}

/// A step in writing a blob. Each is answered.
#[derive(Clone, PartialEq, Message)]
pub struct WriteContentRequest {
    /// What is to be done.
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    /// What the writing is called; the first step must say it.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// How many bytes it will be; 0 if that is not known.
    #[prost(int64, tag = "3")]
    pub total: i64,
    /// What its digest will be. A blob that is there already is an error with the code "already exists".
    #[prost(string, tag = "4")]
    pub expected: String,
    /// Where the bytes go; those of before are given up if it is 0.
    #[prost(int64, tag = "5")]
    pub offset: i64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "6")]
    pub data: Bytes,
    /// What is said of the blob.
    #[prost(map = "string, string", tag = "7")]
    pub labels: HashMap<String, String>,
}

/// How far a blob is.
#[derive(Clone, PartialEq, Message)]
pub struct WriteContentResponse {
    /// What was done.
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    /// How many bytes there are.
    #[prost(int64, tag = "4")]
    pub offset: i64,
    /// How many there will be.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// The digest of those that are there.
    #[prost(string, tag = "6")]
    pub digest: String,
}

/// Gives up a blob that is being written.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct AbortRequest {
    /// What the writing is called.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// `google.protobuf.Empty`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct AbortResponse {}
