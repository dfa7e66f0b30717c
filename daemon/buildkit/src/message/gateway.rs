//! What is asked of the service `moby.buildkit.v1.frontend.LLBBridge` and what it answers.

use std::collections::HashMap;

use prost::{Message, Oneof};

use crate::message::control::CacheOptionsEntry;
use crate::message::session::Stat;
use crate::message::solver::{Definition, Platform, Range, SourceInfo, Status, WorkerRecord};

/// Asks what can be asked.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PingRequest {}

/// What can be asked.
#[derive(Clone, PartialEq, Message)]
pub struct PongResponse {
    /// Of this service.
    #[prost(message, repeated, tag = "1")]
    pub frontend_api_caps: Vec<ApiCap>,
    /// In a plan.
    #[prost(message, repeated, tag = "2")]
    pub llb_caps: Vec<ApiCap>,
    /// Who does it.
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<WorkerRecord>,
}

/// Something that can be asked.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ApiCap {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it can.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
}

/// Asks for a build.
#[derive(Clone, PartialEq, Message)]
pub struct SolveRequest {
    /// A plan of BuildKit's own.
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Definition>,
    /// Who reads the plan: `dockerfile.v0`.
    #[prost(string, tag = "2")]
    pub frontend: String,
    /// What it is told.
    #[prost(map = "string, string", tag = "3")]
    pub frontend_opt: HashMap<String, String>,
    /// Whether a result is understood.
    #[prost(bool, tag = "5")]
    pub allow_result_return: bool,
    /// Whether a result with plans in it is understood.
    #[prost(bool, tag = "6")]
    pub allow_result_array_ref: bool,
    /// Whether this is what the build comes to.
    #[prost(bool, tag = "10")]
    pub last: bool,
    /// Caches to read.
    #[prost(message, repeated, tag = "12")]
    pub cache_imports: Vec<CacheOptionsEntry>,
    /// Plans that stand for named contexts.
    #[prost(map = "string, message", tag = "13")]
    pub frontend_inputs: HashMap<String, Definition>,
    /// Whether it is to be done now.
    #[prost(bool, tag = "14")]
    pub evaluate: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Message)]
pub struct SolveResponse {
    /// Its name, for clients that understand no more.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// The result.
    #[prost(message, optional, tag = "3")]
    pub result: Option<BuildResult>,
}

/// A result.
#[derive(Clone, PartialEq, Message)]
pub struct BuildResult {
    /// By what names it goes on.
    #[prost(oneof = "ResultRef", tags = "1, 2, 3, 4")]
    pub result: Option<ResultRef>,
    /// What is known of it.
    #[prost(map = "string, bytes", tag = "10")]
    pub metadata: HashMap<String, Vec<u8>>,
}

/// By what names a result goes on.
#[derive(Clone, PartialEq, Oneof)]
pub enum ResultRef {
    /// One, as older clients say it.
    #[prost(string, tag = "1")]
    Name(String),
    /// Several, as older clients say it.
    #[prost(message, tag = "2")]
    Names(NameMap),
    /// One.
    #[prost(message, tag = "3")]
    Ref(Ref),
    /// Several, by platform.
    #[prost(message, tag = "4")]
    Refs(RefMap),
}

/// Names by platform.
#[derive(Clone, PartialEq, Message)]
pub struct NameMap {
    /// The names.
    #[prost(map = "string, string", tag = "1")]
    pub refs: HashMap<String, String>,
}

/// Names by platform.
#[derive(Clone, PartialEq, Message)]
pub struct RefMap {
    /// The names.
    #[prost(map = "string, message", tag = "1")]
    pub refs: HashMap<String, Ref>,
}

/// A name.
#[derive(Clone, PartialEq, Message)]
pub struct Ref {
    /// The name; empty for nothing at all.
    #[prost(string, tag = "1")]
    pub id: String,
    /// A plan that leads to it.
    #[prost(message, optional, tag = "2")]
    pub def: Option<Definition>,
}

/// Says what a build comes to.
#[derive(Clone, PartialEq, Message)]
pub struct ReturnRequest {
    /// The result.
    #[prost(message, optional, tag = "1")]
    pub result: Option<BuildResult>,
    /// Or why there is none.
    #[prost(message, optional, tag = "2")]
    pub error: Option<Status>,
}

/// That it was heard.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReturnResponse {}

/// Asks for the plans that stand for named contexts.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct InputsRequest {}

/// Those plans.
#[derive(Clone, PartialEq, Message)]
pub struct InputsResponse {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub definitions: HashMap<String, Definition>,
}

/// Asks for the config of an image.
#[derive(Clone, PartialEq, Message)]
pub struct ResolveImageConfigRequest {
    /// The image.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// For what.
    #[prost(message, optional, tag = "2")]
    pub platform: Option<Platform>,
    /// `default`, `pull` or `local`.
    #[prost(string, tag = "3")]
    pub resolve_mode: String,
}

/// The config of an image.
#[derive(Clone, PartialEq, Message)]
pub struct ResolveImageConfigResponse {
    /// The digest of its manifest.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// The config as it is stored.
    #[prost(bytes = "vec", tag = "2")]
    pub config: Vec<u8>,
    /// What it is called.
    #[prost(string, tag = "3")]
    pub reference: String,
}

/// Asks for a file of a result.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadFileRequest {
    /// The result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// The path in it.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Which bytes.
    #[prost(message, optional, tag = "3")]
    pub range: Option<FileRange>,
}

/// Which bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct FileRange {
    /// From here.
    #[prost(int64, tag = "1")]
    pub offset: i64,
    /// So many.
    #[prost(int64, tag = "2")]
    pub length: i64,
}

/// The bytes.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadFileResponse {
    /// The bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// Asks for the files of a directory.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReadDirRequest {
    /// The result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// The path in it.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Only files with names like this.
    #[prost(string, tag = "3")]
    pub include_pattern: String,
}

/// The files of a directory.
#[derive(Clone, PartialEq, Message)]
pub struct ReadDirResponse {
    /// The files.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Stat>,
}

/// Asks what a file is.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StatFileRequest {
    /// The result.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// The path in it.
    #[prost(string, tag = "2")]
    pub path: String,
}

/// What a file is.
#[derive(Clone, PartialEq, Message)]
pub struct StatFileResponse {
    /// The file.
    #[prost(message, optional, tag = "1")]
    pub stat: Option<Stat>,
}

/// Asks that a result be there.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct EvaluateRequest {
    /// The result.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// That it is.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct EvaluateResponse {}

/// Tells the user something.
#[derive(Clone, PartialEq, Message)]
pub struct WarnRequest {
    /// The step it is about.
    #[prost(string, tag = "1")]
    pub digest: String,
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
    /// The file.
    #[prost(message, optional, tag = "6")]
    pub info: Option<SourceInfo>,
    /// The lines.
    #[prost(message, repeated, tag = "7")]
    pub ranges: Vec<Range>,
}

/// That it was heard.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct WarnResponse {}
