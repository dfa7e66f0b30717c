//! What builds here, as clients are told.

use std::collections::HashMap;

use mica_buildkit::message::solver::{BuildkitVersion, Platform, WorkerRecord};
use mica_engine::Engine;

/// The label by which buildx knows that all exporters, caches and several platforms are there, and that what is to be pushed is
/// pushed by the daemon (engine API contract, section 6.4).
const WHOLE: &str = "org.mobyproject.buildkit.worker.snapshotter";

/// The one worker.
pub(super) fn worker(engine: &Engine) -> WorkerRecord {
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "mica".to_owned()),
        (
            "org.mobyproject.buildkit.worker.hostname",
            rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ),
        (WHOLE, "overlayfs".to_owned()),
    ];
    WorkerRecord {
        id: format!("mica-{}", engine.root().display()),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<HashMap<_, _>>(),
        platforms: mica_engine::platforms().into_iter().map(platform).collect(),
        version: Some(version()),
    }
}

fn platform(platform: mica_oci::Platform) -> Platform {
    Platform {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        os_version: platform.os_version,
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
