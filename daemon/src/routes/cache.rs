//! `GET /mica/cache`: what is in the build cache.

use hyper::StatusCode;
use mica_api::CacheRecord;
use mica_engine::{CacheItem, blocking};

use crate::routes::Call;
use crate::wire::reply::{Failure, Reply, json};

/// All records, the least recently used first.
pub(crate) async fn list(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let items = blocking(move || engine.cache()).await?;
    let records: Vec<CacheRecord> = items.into_iter().map(record).collect();
    json(StatusCode::OK, &records)
}

fn record(item: CacheItem) -> CacheRecord {
    CacheRecord {
        id: item.id.digest().hex(),
        kind: item.kind.as_str().to_owned(),
        description: item.description,
        in_use: item.in_use,
        shared: item.shared,
        size: item.size,
        created_at: item.created.to_string(),
        last_used_at: item.last_used.to_string(),
        usage_count: item.use_count,
    }
}
