//! Where a client of BuildKit's service wants the cache of its build to be kept.

use mica_buildkit::message::control::{CacheOptionsEntry, SolveRequest};
use mica_engine::{BadCacheExport, CacheExport};
use tonic::Status;

/// Where a build's cache goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caching {
    /// Whether the image is to know the steps that made it.
    pub(crate) inline: bool,
    /// To registries.
    pub(crate) exports: Vec<CacheExport>,
}

impl Caching {
    /// Reads what a build asks for.
    pub(super) fn of(request: &SolveRequest) -> Result<Self, Status> {
        let mut caching = Self::default();
        for export in request.cache.iter().flat_map(|cache| &cache.exports) {
            match export.kind.as_str() {
                "inline" => caching.inline = true,
                _ => caching.exports.push(read(export)?),
            }
        }
        Ok(caching)
    }
}

fn read(export: &CacheOptionsEntry) -> Result<CacheExport, Status> {
    let attribute = |name: &str| export.attrs.get(name).map(String::as_str);
    CacheExport::read(&export.kind, attribute).map_err(|error| match error {
        BadCacheExport::Unsupported(_) => Status::unimplemented(error.to_string()),
        BadCacheExport::Attribute { .. } => Status::invalid_argument(error.to_string()),
    })
}
