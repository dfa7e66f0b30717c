//! `GET /mica/metrics`: what is counted, in Prometheus' text format.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use mica_engine::{CacheItem, blocking};

use crate::metrics::Seen;
use crate::routes::Call;
use crate::wire::reply::{Failure, Reply, whole};

/// The text format that every Prometheus reads.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /mica/metrics`
pub(crate) async fn metrics(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let keeping = call.daemon.settings.get().keeping;
    let seen = blocking(move || {
        let disk = engine.disk()?;
        Ok(Seen {
            info: engine.info()?,
            counted: engine.counted(),
            free: disk.available,
            cache_bytes: engine.cache()?.iter().map(CacheItem::own_bytes).sum(),
            on_disk: engine.disk_usage()?,
            budget: keeping.enabled.then(|| keeping.budget(disk.size)),
            listeners: engine.feed().followers() as u64,
        })
    })
    .await?;
    let text = call.daemon.metrics.expose(&seen);
    Ok(whole(StatusCode::OK, EXPOSITION, text))
}
