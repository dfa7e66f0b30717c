//! Images on their way in and out: as archives, from registries and to them.

mod archive;
mod cache_export;
mod cache_import;
mod cache_target;
mod distribution;
mod download;
mod layer_source;
mod manifest;
mod parcel;
pub(crate) mod pull;
mod push;
mod push_index;
mod search;
mod sink;
mod words;

pub use archive::{Saving, SavingIndex};
pub(crate) use cache_export::Made;
pub use cache_target::{BadCacheExport, CacheExport, CacheForm};
pub use distribution::Distribution;
pub(crate) use download::Downloads;
pub(crate) use pull::or_latest;
pub use pull::{PullRequest, Pulled};
pub use push::{PushRequest, Pushed};
pub use push_index::{IndexRequest, PushedIndex};
pub use search::SearchRequest;
pub use sink::{Events as TransferEvents, Sink, sink};
