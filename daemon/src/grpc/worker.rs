//! What builds here, as clients are told.

use std::collections::HashMap;

use mica_buildkit::message::solver::{BuildkitVersion, Platform, WorkerRecord};
use mica_engine::Engine;

/// The one worker. It has not the label that makes clients ask for exporters and caches which are not there
/// (engine API contract, section 6.4).
pub(super) fn worker(engine: &Engine) -> WorkerRecord {
    let own = mica_engine::version();
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "mica".to_owned()),
        (
            "org.mobyproject.buildkit.worker.hostname",
            rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ),
    ];
    WorkerRecord {
        id: format!("mica-{}", engine.root().display()),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<HashMap<_, _>>(),
        platforms: vec![Platform {
            architecture: own.platform.architecture.clone(),
            os: own.platform.os.clone(),
            ..Platform::default()
        }],
        version: Some(version()),
    }
}

/// What this is.
pub(super) fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "mica".to_owned(),
        version: format!("v{}", mica_engine::version().version),
        revision: String::new(),
    }
}
