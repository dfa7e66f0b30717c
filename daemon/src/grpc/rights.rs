//! The table of rights of gRPC: what each method needs, and what makes a build need more.

use mica_buildkit::message::control::SolveRequest;
use mica_engine::BuildRequest;
use tonic::Status;

use crate::daemon::Daemon;
use crate::rights::{Peer, Right};

const CONTROL: &str = "/moby.buildkit.v1.Control/";
const BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge/";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Service, method, and the right it needs.
const METHODS: [(&str, &str, Right); 20] = [
    (HEALTH, "Check", Right::Read),
    (CONTROL, "Info", Right::Read),
    (CONTROL, "ListWorkers", Right::Read),
    (CONTROL, "DiskUsage", Right::Read),
    (CONTROL, "Status", Right::Read),
    (CONTROL, "ListenBuildHistory", Right::Read),
    (CONTROL, "Solve", Right::Build),
    (CONTROL, "Session", Right::Build),
    (CONTROL, "Prune", Right::Full),
    (CONTROL, "UpdateBuildHistory", Right::Full),
    (BRIDGE, "Ping", Right::Build),
    (BRIDGE, "Solve", Right::Build),
    (BRIDGE, "Return", Right::Build),
    (BRIDGE, "Inputs", Right::Build),
    (BRIDGE, "Evaluate", Right::Build),
    (BRIDGE, "Warn", Right::Build),
    (BRIDGE, "ReadFile", Right::Build),
    (BRIDGE, "ReadDir", Right::Build),
    (BRIDGE, "StatFile", Right::Build),
    (BRIDGE, "ResolveImageConfig", Right::Build),
];

/// The right that a method needs; all for one that nobody thought of.
pub(super) fn right(path: &str) -> Right {
    METHODS
        .iter()
        .find(|(service, method, _)| path.strip_prefix(service) == Some(method))
        .map_or(Right::Full, |(_, _, right)| *right)
}

/// Whether a client may do something.
pub(super) fn may(daemon: &Daemon, peer: &Peer, right: Right, what: &str) -> Result<(), Status> {
    let rights = &daemon.settings.get().rights;
    let checked = rights.check(peer, right, || what.to_owned());
    checked.map_err(|denied| Status::permission_denied(denied.0))
}

/// The right that a build needs, and for what: more than most where its result or its cache goes to a registry, or a `RUN` is to
/// have all rights of the daemon.
pub(super) fn solve_right(request: &SolveRequest) -> (Right, &'static str) {
    let pushes =
        request.exporters.iter().any(|exporter| is_push(&exporter.attrs)) || is_push(&request.exporter_attrs);
    let caches = request
        .cache
        .iter()
        .flat_map(|cache| &cache.exports)
        .any(|export| export.kind != "inline");
    let insecure = request
        .entitlements
        .iter()
        .any(|name| name == "security.insecure");
    needed(pushes, caches, insecure)
}

/// The same of a build of the other API.
pub(crate) fn build_right(request: &BuildRequest, pushes: bool) -> (Right, &'static str) {
    needed(pushes, !request.cache_to.is_empty(), request.insecure_allowed)
}

fn needed(pushes: bool, caches: bool, insecure: bool) -> (Right, &'static str) {
    match (pushes, caches, insecure) {
        (true, _, _) => (Right::Full, "a build that pushes its result"),
        (_, true, _) => (Right::Full, "a build that writes its cache to a registry"),
        (_, _, true) => (Right::Full, "a build that allows security.insecure"),
        _ => (Right::Build, "a build"),
    }
}

/// Whether an output with these attributes is pushed.
pub(crate) fn is_push(attrs: &std::collections::HashMap<String, String>) -> bool {
    // whatever is not clearly a no may be read as a yes elsewhere
    attrs
        .get("push")
        .is_some_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_buildkit::message::control::{CacheOptions, CacheOptionsEntry, Exporter};

    #[test]
    fn methods_have_their_rights() {
        assert_eq!(right("/moby.buildkit.v1.Control/Info"), Right::Read);
        assert_eq!(right("/moby.buildkit.v1.Control/Solve"), Right::Build);
        assert_eq!(right("/moby.buildkit.v1.Control/Prune"), Right::Full);
        assert_eq!(right("/moby.buildkit.v1.Control/Nope"), Right::Full);
    }

    #[test]
    fn what_leaves_the_machine_or_the_sandbox_needs_all_rights() {
        let exporter = |push: &str| Exporter {
            kind: "image".to_owned(),
            attrs: [("push".to_owned(), push.to_owned())].into(),
        };
        let cache = |kind: &str| {
            Some(CacheOptions {
                exports: vec![CacheOptionsEntry {
                    kind: kind.to_owned(),
                    ..CacheOptionsEntry::default()
                }],
                ..CacheOptions::default()
            })
        };
        let plain = SolveRequest::default();
        for (request, right) in [
            (plain.clone(), Right::Build),
            (
                SolveRequest {
                    exporters: vec![exporter("false")],
                    cache: cache("inline"),
                    entitlements: vec!["network.host".to_owned()],
                    ..plain.clone()
                },
                Right::Build,
            ),
            (
                SolveRequest {
                    exporters: vec![exporter("true")],
                    ..plain.clone()
                },
                Right::Full,
            ),
            (
                SolveRequest {
                    cache: cache("registry"),
                    ..plain.clone()
                },
                Right::Full,
            ),
            (
                SolveRequest {
                    entitlements: vec!["security.insecure".to_owned()],
                    ..plain
                },
                Right::Full,
            ),
        ] {
            assert_eq!(solve_right(&request).0, right, "{request:?}");
        }
    }
}
