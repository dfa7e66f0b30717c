//! The daemon's gRPC as BuildKit's clients use it: a client of our own plays them, honest ones and others.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it measured"
)]

mod build;
mod cache;
mod client;
mod content;
mod folder;
mod full_disk;
mod gone;
mod history;
mod hostile;
mod lend;
mod order;
mod over_http;
mod plain;
mod platform_outputs;
mod platforms;
mod results;
mod session;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long anything may take that should not take long.
const LONG: Duration = Duration::from_secs(100);

/// A name that nothing else in this run has.
fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}x{count:06}", std::process::id())
}

/// What comes of this, which must not take longer.
#[track_caller]
fn within<T>(time: Duration, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(time, work).await {
            Ok(done) => done,
            Err(_) => panic!("{place}: not done after {time:?}"),
        }
    }
}
