//! The Docker Engine API's wire types, shared by daemon and command line.
//!
//! Every type reads what daemons of other makes send too: absent and `null` fields read as empty.

mod auth;
mod build;
mod cache;
mod check;
mod distribution;
mod error;
mod event;
mod image;
mod message;
mod null;
mod prune;
mod search;
mod status;
mod system;
mod usage;

pub use auth::{AuthConfig, AuthReply};
pub use build::{
    BuildInput, BuildLog, BuildPruneReport, ContextInput, DESCRIPTORS_HEADER, DebugReport, DescriptorIndex,
    FOLDER_REFUSED,
};
pub use cache::CacheRecord;
pub use check::{CheckFinding, CheckImage, CheckLine, CheckProgress, CheckRepair, CheckSummary};
pub use distribution::{
    CheckAnswer, Descriptor, DistributionInspect, DistributionPlatform, PushCheck, RegistryTrouble,
};
pub use error::ErrorBody;
pub use event::{Actor, EventMessage};
pub use image::{
    DeleteItem, GraphDriver, HistoryItem, ImageInspect, ImageSummary, InspectConfig, InspectHealthcheck,
    LegacyConfig, Metadata, PruneReport, RootFs,
};
pub use message::{BuiltImage, ErrorDetail, IdAux, Message, ProgressDetail};
pub use prune::{LINES_TYPE, PruneLine, PruneProgress};
pub use search::SearchResult;
pub use status::{
    Base64, CANCELED, STATUS_ID, SourceInfo, SourcePosition, SourceRange, Status, Vertex, VertexLog,
    VertexStatus, VertexWarning,
};
pub use system::{
    Commit, Component, IndexConfig, Info, Platform, Plugins, RegistryConfig, Runtime, Swarm, Version,
};
pub use usage::{DiskUsage, OnDisk, UsageSum};

/// All that is served, as OpenAPI 3.1 describes it: JSON, the content of `openapi.json` beside this crate's manifest.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

/// The highest version of the API that is spoken.
pub const API_VERSION: &str = "1.51";

/// The lowest version of the API that is spoken (Debian 12's skopeo asks for exactly this one).
pub const MIN_API_VERSION: &str = "1.22";

/// The time that stands for "never" and "unknown" in Go's JSON.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
