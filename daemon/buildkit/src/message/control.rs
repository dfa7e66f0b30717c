//! What is asked of the service `moby.buildkit.v1.Control` and what it answers.

use std::collections::HashMap;

use prost::{Enumeration, Message};

use crate::message::solver::{
    BuildkitVersion, Definition, Range, SourceInfo, Status, Timestamp, WorkerRecord,
};

/// Asks for a build, and waits for its end.
#[derive(Clone, PartialEq, Message)]
pub struct SolveRequest {
    /// What the client calls it.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// A plan of BuildKit's own.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
    /// Where the image goes, as older clients say it.
    #[prost(string, tag = "3")]
    pub exporter: String,
    /// How it goes there, as older clients say it.
    #[prost(map = "string, string", tag = "4")]
    pub exporter_attrs: HashMap<String, String>,
    /// The session that answers for the client.
    #[prost(string, tag = "5")]
    pub session: String,
    /// Who reads the plan; empty if the client does it by the gateway.
    #[prost(string, tag = "6")]
    pub frontend: String,
    /// What it is told.
    #[prost(map = "string, string", tag = "7")]
    pub frontend_attrs: HashMap<String, String>,
    /// Caches to read and write.
    #[prost(message, optional, tag = "8")]
    pub cache: Option<CacheOptions>,
    /// What the client allows.
    #[prost(string, repeated, tag = "9")]
    pub entitlements: Vec<String>,
    /// Plans that stand for named contexts.
    #[prost(map = "string, message", tag = "10")]
    pub frontend_inputs: HashMap<String, Definition>,
    /// Whether it is no build of the user's.
    #[prost(bool, tag = "11")]
    pub internal: bool,
    /// Where the image goes.
    #[prost(message, repeated, tag = "13")]
    pub exporters: Vec<Exporter>,
}

/// Where an image goes.
#[derive(Clone, PartialEq, Message)]
pub struct Exporter {
    /// `moby`, `local`, `tar`, ….
    #[prost(string, tag = "1")]
    pub kind: String,
    /// How.
    #[prost(map = "string, string", tag = "2")]
    pub attrs: HashMap<String, String>,
}

/// Caches.
#[derive(Clone, PartialEq, Message)]
pub struct CacheOptions {
    /// To be written.
    #[prost(message, repeated, tag = "4")]
    pub exports: Vec<CacheOptionsEntry>,
    /// To be read.
    #[prost(message, repeated, tag = "5")]
    pub imports: Vec<CacheOptionsEntry>,
}

/// A cache.
#[derive(Clone, PartialEq, Message)]
pub struct CacheOptionsEntry {
    /// `registry`, `inline`, ….
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Where and how.
    #[prost(map = "string, string", tag = "2")]
    pub attrs: HashMap<String, String>,
}

/// What came of a build.
#[derive(Clone, PartialEq, Message)]
pub struct SolveResponse {
    /// By key: `containerimage.digest` and the like.
    #[prost(map = "string, string", tag = "1")]
    pub exporter_response: HashMap<String, String>,
}

/// Asks how a build goes.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StatusRequest {
    /// What the client calls it.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// How a build goes.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    /// Steps that changed.
    #[prost(message, repeated, tag = "1")]
    pub vertexes: Vec<Vertex>,
    /// What they do.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<VertexStatus>,
    /// What they said.
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<VertexLog>,
    /// What the user should know.
    #[prost(message, repeated, tag = "4")]
    pub warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Message)]
pub struct Vertex {
    /// Names it.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// What it stands on.
    #[prost(string, repeated, tag = "2")]
    pub inputs: Vec<String>,
    /// What it is called.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Whether it need not be done.
    #[prost(bool, tag = "4")]
    pub cached: bool,
    /// When it began.
    #[prost(message, optional, tag = "5")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "6")]
    pub completed: Option<Timestamp>,
    /// Why it failed.
    #[prost(string, tag = "7")]
    pub error: String,
}

/// A part of a step.
#[derive(Clone, PartialEq, Message)]
pub struct VertexStatus {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The step.
    #[prost(string, tag = "2")]
    pub vertex: String,
    /// What goes on.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Bytes so far.
    #[prost(int64, tag = "4")]
    pub current: i64,
    /// Bytes in all.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// When this was so.
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    /// When it began.
    #[prost(message, optional, tag = "7")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "8")]
    pub completed: Option<Timestamp>,
}

/// Output of a step.
#[derive(Clone, PartialEq, Message)]
pub struct VertexLog {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// When it came.
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    /// 1 or 2: standard output or standard error.
    #[prost(int64, tag = "3")]
    pub stream: i64,
    /// As it came.
    #[prost(bytes = "vec", tag = "4")]
    pub msg: Vec<u8>,
}

/// What the user should know of a step.
#[derive(Clone, PartialEq, Message)]
pub struct VertexWarning {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// How bad.
    #[prost(int64, tag = "2")]
    pub level: i64,
    /// In a line.
    #[prost(bytes = "vec", tag = "3")]
    pub short: Vec<u8>,
    /// At length.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub detail: Vec<Vec<u8>>,
    /// Where to read on.
    #[prost(string, tag = "5")]
    pub url: String,
    /// The Dockerfile.
    #[prost(message, optional, tag = "6")]
    pub info: Option<SourceInfo>,
    /// The lines.
    #[prost(message, repeated, tag = "7")]
    pub ranges: Vec<Range>,
}

/// A piece of a connection inside the connection.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BytesMessage {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Asks for the workers.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ListWorkersRequest {}

/// The workers.
#[derive(Clone, PartialEq, Message)]
pub struct ListWorkersResponse {
    /// All of them.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<WorkerRecord>,
}

/// Asks what is asked.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct InfoRequest {}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct InfoResponse {
    /// What it is.
    #[prost(message, optional, tag = "1")]
    pub version: Option<BuildkitVersion>,
}

/// Asks what the build cache holds.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct DiskUsageRequest {
    /// Filters, each as containerd writes them.
    #[prost(string, repeated, tag = "1")]
    pub filter: Vec<String>,
    /// Only what was unused as long as this, in nanoseconds.
    #[prost(int64, tag = "2")]
    pub age_limit: i64,
}

/// What the build cache holds.
#[derive(Clone, PartialEq, Message)]
pub struct DiskUsageResponse {
    /// Its records.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<UsageRecord>,
}

/// A record of the build cache.
#[derive(Clone, PartialEq, Message)]
pub struct UsageRecord {
    /// Names it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it may change.
    #[prost(bool, tag = "2")]
    pub mutable: bool,
    /// Whether a build is using it.
    #[prost(bool, tag = "3")]
    pub in_use: bool,
    /// Bytes.
    #[prost(int64, tag = "4")]
    pub size: i64,
    /// When it was made.
    #[prost(message, optional, tag = "6")]
    pub created_at: Option<Timestamp>,
    /// When it was last used.
    #[prost(message, optional, tag = "7")]
    pub last_used_at: Option<Timestamp>,
    /// How often.
    #[prost(int64, tag = "8")]
    pub usage_count: i64,
    /// The instruction.
    #[prost(string, tag = "9")]
    pub description: String,
    /// `regular`, `exec.cachemount`, ….
    #[prost(string, tag = "10")]
    pub record_type: String,
    /// Whether an image has its layer too.
    #[prost(bool, tag = "11")]
    pub shared: bool,
}

/// Asks for room.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PruneRequest {
    /// Filters, each as containerd writes them.
    #[prost(string, repeated, tag = "1")]
    pub filter: Vec<String>,
    /// Whether what images have too goes as well.
    #[prost(bool, tag = "2")]
    pub all: bool,
    /// Only what was unused as long as this, in nanoseconds.
    #[prost(int64, tag = "3")]
    pub keep_duration: i64,
    /// Bytes that stay in any case.
    #[prost(int64, tag = "4")]
    pub reserved_space: i64,
    /// Bytes that are not to be exceeded.
    #[prost(int64, tag = "5")]
    pub max_used_space: i64,
    /// Bytes of the disk that are to be free.
    #[prost(int64, tag = "6")]
    pub min_free_space: i64,
}

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HealthRequest {
    /// Of what; of all if empty.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct HealthResponse {
    /// 1 if it answers.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Asks for builds of before and those that go on.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BuildHistoryRequest {
    /// Only those that go on, and what changes.
    #[prost(bool, tag = "1")]
    pub active_only: bool,
    /// Only this one, if it is not empty.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// Not what changes from now on.
    #[prost(bool, tag = "3")]
    pub early_exit: bool,
    /// Only those that one of these admits.
    #[prost(string, repeated, tag = "4")]
    pub filter: Vec<String>,
    /// At most so many of those that have ended, if it is not 0; the youngest.
    #[prost(int32, tag = "5")]
    pub limit: i32,
}

/// What became of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum BuildHistoryEventKind {
    /// It goes on.
    Started = 0,
    /// It has ended.
    Complete = 1,
    /// It is known no more.
    Deleted = 2,
}

/// A build, and what became of it.
#[derive(Clone, PartialEq, Message)]
pub struct BuildHistoryEvent {
    /// What became of it.
    #[prost(enumeration = "BuildHistoryEventKind", tag = "1")]
    pub kind: i32,
    /// The build.
    #[prost(message, optional, tag = "2")]
    pub record: Option<BuildHistoryRecord>,
}

/// A build. Logs, results and traces in a content store are not among what is told here.
#[derive(Clone, PartialEq, Message)]
pub struct BuildHistoryRecord {
    /// What its client called it.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Who read the plan.
    #[prost(string, tag = "2")]
    pub frontend: String,
    /// What it was told.
    #[prost(map = "string, string", tag = "3")]
    pub frontend_attrs: HashMap<String, String>,
    /// Where its result went.
    #[prost(message, repeated, tag = "4")]
    pub exporters: Vec<Exporter>,
    /// Why it failed.
    #[prost(message, optional, tag = "5")]
    pub error: Option<Status>,
    /// When it began.
    #[prost(message, optional, tag = "6")]
    pub created_at: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "7")]
    pub completed_at: Option<Timestamp>,
    /// What came of it.
    #[prost(map = "string, string", tag = "9")]
    pub exporter_response: HashMap<String, String>,
    /// Whether it is to be kept longer than others.
    #[prost(bool, tag = "14")]
    pub pinned: bool,
    /// Steps that needed not be done.
    #[prost(int32, tag = "15")]
    pub cached_steps: i32,
    /// All steps.
    #[prost(int32, tag = "16")]
    pub total_steps: i32,
    /// Steps that have ended.
    #[prost(int32, tag = "17")]
    pub completed_steps: i32,
    /// Things the user should know.
    #[prost(int32, tag = "19")]
    pub warnings: i32,
}

/// Changes what is kept of a build.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct UpdateBuildHistoryRequest {
    /// What its client called it.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Whether it is to be kept longer than others.
    #[prost(bool, tag = "2")]
    pub pinned: bool,
    /// Whether it is to be known no more.
    #[prost(bool, tag = "3")]
    pub delete: bool,
    /// Whether all that will ever be known of it is to be there.
    #[prost(bool, tag = "4")]
    pub finalize: bool,
}

/// That it was done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct UpdateBuildHistoryResponse {}
