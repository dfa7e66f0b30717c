//! What plans, workers and results have in common (packages `pb`, `moby.buildkit.v1.types`, `google.rpc`).

use std::collections::HashMap;

use prost::Message;

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// On top of them.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.rpc.Status`: how a call failed.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// One of gRPC's codes.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
    /// More of it, each of a type of its own.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A plan of BuildKit's own, which only the client that sends it understands.
#[derive(Clone, PartialEq, Message)]
pub struct Definition {
    /// Its operations, the last one names the result.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub def: Vec<Vec<u8>>,
    /// What is said of operations, by the digests of their bytes. Clients take a plan without any for none at all.
    #[prost(map = "string, message", tag = "2")]
    pub metadata: HashMap<String, OpMetadata>,
}

/// What is said of an operation; nothing of it is read here.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OpMetadata {}

/// A platform.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Platform {
    /// As Go calls it.
    #[prost(string, tag = "1")]
    pub architecture: String,
    /// As Go calls it.
    #[prost(string, tag = "2")]
    pub os: String,
    /// Of the architecture.
    #[prost(string, tag = "3")]
    pub variant: String,
    /// Of Windows.
    #[prost(string, tag = "4")]
    pub os_version: String,
}

/// Where in a file.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Range {
    /// Its beginning.
    #[prost(message, optional, tag = "1")]
    pub start: Option<Position>,
    /// Its end.
    #[prost(message, optional, tag = "2")]
    pub end: Option<Position>,
}

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Position {
    /// From 1.
    #[prost(int32, tag = "1")]
    pub line: i32,
    /// From 0.
    #[prost(int32, tag = "2")]
    pub character: i32,
}

/// A file that something is about.
#[derive(Clone, PartialEq, Message)]
pub struct SourceInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub filename: String,
    /// Its text.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
    /// `Dockerfile`
    #[prost(string, tag = "4")]
    pub language: String,
}

/// `errdefs.Source`, in the details of a failed call: what of which file it failed at.
#[derive(Clone, PartialEq, Message)]
pub struct FailedSource {
    /// The file.
    #[prost(message, optional, tag = "1")]
    pub info: Option<SourceInfo>,
    /// The lines.
    #[prost(message, repeated, tag = "2")]
    pub ranges: Vec<Range>,
}

impl FailedSource {
    /// What [`Any`] calls it.
    pub const TYPE_URL: &str = "errdefs.Source";
}

/// `types.WorkerRecord`: what builds.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerRecord {
    /// Names it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What it says of itself; clients go by some of them.
    #[prost(map = "string, string", tag = "2")]
    pub labels: HashMap<String, String>,
    /// What it builds for.
    #[prost(message, repeated, tag = "3")]
    pub platforms: Vec<Platform>,
    /// What it is.
    #[prost(message, optional, tag = "5")]
    pub version: Option<BuildkitVersion>,
}

/// `types.BuildkitVersion`
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BuildkitVersion {
    /// Whose.
    #[prost(string, tag = "1")]
    pub package: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Of which commit.
    #[prost(string, tag = "3")]
    pub revision: String,
}

/// `pb.Op`, as far as it is read here: where a plan takes its files from.
#[derive(Clone, PartialEq, Message)]
pub struct Op {
    /// What it stands on.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<OpInput>,
    /// What it takes.
    #[prost(message, optional, tag = "3")]
    pub source: Option<SourceOp>,
}

/// What an operation stands on.
#[derive(Clone, PartialEq, Message)]
pub struct OpInput {
    /// The digest of another operation's bytes.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Which of its outputs.
    #[prost(int64, tag = "2")]
    pub index: i64,
}

/// Something from elsewhere.
#[derive(Clone, PartialEq, Message)]
pub struct SourceOp {
    /// What.
    #[prost(string, tag = "1")]
    pub identifier: String,
}
