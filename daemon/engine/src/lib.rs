//! The verbs: build, list, inspect, tag, remove, prune, save, load are blocking, and `bridge` joins them to sockets; pull,
//! push and login await registries.

mod adapters;
mod attested;
mod beside;
mod bridge;
mod build;
mod cache_list;
mod check;
mod debug;
mod engine;
mod error;
#[cfg(test)]
mod family;
mod feed;
mod gc;
mod glob;
mod images;
mod import;
mod keeping;
mod log;
mod logs;
mod machine;
mod pruning;
mod rebuild;
mod remove;
mod repair;
mod resolve;
mod room;
mod root;
mod roots;
mod select;
mod system;
mod tally;
mod transfer;
mod usage;

pub use bridge::{
    BodyReader, BodySender, CancelOnDrop, ChunkWriter, Chunks, Events, Unwanted, blocking, body, chunks,
    events,
};
pub use build::{
    Agent, Attesting, Blobs, BuildOutcome, BuildRequest, ClientFile, ClientFolder, FileSender, Handed, Input,
    Lender, Limits, NetworkMode, Secret, Source, Ulimit,
};
pub use cache_list::{CacheItem, CacheKind};
pub use check::{CheckNews, CheckNewsReceiver, CheckOutcome, CheckRequest, check_news};
pub use engine::{Config, Engine};
pub use error::{Error, Kind};
pub use feed::{Action, Feed, Follower, Happening, Next, Subject};
pub use gc::{Budget, CacheSelection, PrunedCache};
pub use images::{HeldImage, Step, tag_target};
pub use import::ImportRequest;
pub use keeping::{Disk, Keeping, Leftovers, Space};
pub use machine::platforms;
pub use mica_dockerfile::answer::{Answer, Examined, Question, answer};
pub use mica_dockerfile::ignore::IgnorePatterns;
pub use mica_layer::{ImagePath, Kind as FileType, Meta as FileMeta, Mtime};
pub use mica_registry::{
    CheckAnswer, Credential, Credentials, Fetched, Folders, Hit, Keyring, Proxies, PushCheck,
    Settings as RegistrySettings, Trouble, registry_of_server,
};
pub use mica_store::archive::{BlobSink, LoadEvent, Loaded};
pub use mica_store::{
    Cure, DiskUsage, Fault, Finding, Harm, Harmed, Image, ImageEntry, LayerUsage, Level, LogEntry, LostImage,
    Origin, RebuildProgress, Rebuilt, Remedy, Thing,
};
pub use pruning::{PruneProgress, PruneWatch};
pub use rebuild::rebuild;
pub use remove::{PrunedImages, Removal, RemoveOptions};
pub use repair::{RepairOutcome, Repaired};
pub use room::Free;
pub use root::{FileTree, ImageRoot, RootFile};
pub use roots::Roots;
pub use select::{LabelMatch, Listed, Selection};
pub use system::{Info, Version, version};
pub use tally::Counted;
pub use transfer::{
    BadCacheExport, CacheExport, CacheForm, Distribution, IndexRequest, PullRequest, Pulled, PushRequest,
    Pushed, PushedIndex, Saving, SavingIndex, SearchRequest, Sink, TransferEvents, sink,
};
pub use usage::ImageUsage;
