//! The table of doors: which method and path lead where.

mod table;

use hyper::Method;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Options,
    Version,
    Info,
    Events,
    Images,
    ImagesSearch,
    ImageInspect(String),
    ImageHistory(String),
    ImageTag(String),
    ImageRemove(String),
    ImageSave(String),
    ImagesSave,
    ImagesLoad,
    ImagesPrune,
    ImageCreate,
    ImagePush(String),
    Distribution(String),
    /// Ours: the manifest as the registry has it.
    RemoteManifest(String),
    /// Ours: what is served, as OpenAPI describes it.
    Description,
    /// Ours: what is counted.
    Metrics,
    /// Ours: whether a registry would take a push.
    PushCheck(String),
    /// Ours: what the build cache holds.
    Cache,
    /// Ours: the store looked over.
    Check,
    DiskUsage,
    Auth,
    Build,
    /// Ours: a build of what a client of this machine hands over.
    BuildHere,
    BuildPrune,
    BuildCancel,
    Session,
    Grpc,
    /// Ours: the logs of builds.
    Logs,
    Log(String),
    /// Ours: a shell where a build failed.
    Debug(String),
    Containers,
    NoContainer(String),
    ContainerCreate,
    ContainersPrune,
    Networks,
    NoNetwork(String),
    NetworksPrune,
    Volumes,
    NoVolume(String),
    VolumesPrune,
    Plugins,
    NoPlugin(String),
    Commit,
    Swarm,
    NotHere(&'static str),
}

/// Finds the way. `path` is decoded and has no version in front. Names of images may have slashes in them.
pub(crate) fn route(method: &Method, path: &str) -> Option<Route> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    let name = |segments: &[&str]| segments.join("/");
    Some(match (method.as_str(), &segments[..]) {
        ("OPTIONS", _) => Route::Options,
        ("GET" | "HEAD", ["_ping"]) => Route::Ping,
        ("GET", ["version"]) => Route::Version,
        ("GET", ["info"]) => Route::Info,

        ("GET", ["images", "json"]) => Route::Images,
        ("GET", ["images", "get"]) => Route::ImagesSave,
        ("GET", ["images", "search"]) => Route::ImagesSearch,
        ("GET", ["images", of @ .., "json"]) => Route::ImageInspect(name(of)),
        ("GET", ["images", of @ .., "history"]) => Route::ImageHistory(name(of)),
        ("GET", ["images", of @ .., "get"]) => Route::ImageSave(name(of)),
        ("POST", ["images", "load"]) => Route::ImagesLoad,
        ("POST", ["images", "prune"]) => Route::ImagesPrune,
        ("POST", ["images", "create"]) => Route::ImageCreate,
        ("POST", ["images", of @ .., "tag"]) if !of.is_empty() => Route::ImageTag(name(of)),
        ("POST", ["images", of @ .., "push"]) if !of.is_empty() => Route::ImagePush(name(of)),
        ("DELETE", ["images", of @ ..]) if !of.is_empty() => Route::ImageRemove(name(of)),

        ("POST", ["build"]) => Route::Build,
        // whether the next one is known here
        ("HEAD", ["mica", "build"]) => Route::Ping,
        ("POST", ["mica", "build"]) => Route::BuildHere,
        ("POST", ["build", "prune"]) => Route::BuildPrune,
        ("POST", ["build", "cancel"]) => Route::BuildCancel,
        ("POST", ["session"]) => Route::Session,
        ("POST" | "GET", ["grpc"]) => Route::Grpc,
        ("POST", ["auth"]) => Route::Auth,
        ("GET", ["distribution", of @ .., "json"]) if !of.is_empty() => Route::Distribution(name(of)),
        ("GET", ["mica", "manifest", of @ ..]) if !of.is_empty() => Route::RemoteManifest(name(of)),
        ("POST", ["mica", "debug", build]) => Route::Debug(build.to_string()),
        ("GET", ["mica", "logs"]) => Route::Logs,
        ("GET", ["mica", "logs", build]) => Route::Log(build.to_string()),
        ("GET", ["mica", "cache"]) => Route::Cache,
        ("POST", ["mica", "check"]) => Route::Check,
        ("GET", ["mica", "openapi.json"]) => Route::Description,
        ("GET", ["mica", "metrics"]) => Route::Metrics,
        ("POST", ["mica", "push-check", of @ ..]) if !of.is_empty() => Route::PushCheck(name(of)),
        ("GET", ["system", "df"]) => Route::DiskUsage,
        ("GET", ["events"]) => Route::Events,

        ("GET", ["containers", "json"]) => Route::Containers,
        ("POST", ["containers", "create"]) => Route::ContainerCreate,
        ("POST", ["containers", "prune"]) => Route::ContainersPrune,
        ("GET" | "HEAD" | "POST" | "PUT" | "DELETE", ["containers", of, ..]) if !of.is_empty() => {
            Route::NoContainer(of.to_string())
        }
        // committing is about a container, and whichever it is, it is not here
        ("POST", ["commit"]) => Route::Commit,
        ("GET", ["networks"]) => Route::Networks,
        ("POST", ["networks", "prune"]) => Route::NetworksPrune,
        ("POST", ["networks", "create"]) => {
            Route::NotHere("micad does not run containers, so it has no networks")
        }
        ("GET" | "DELETE" | "POST", ["networks", of, ..]) if !of.is_empty() => {
            Route::NoNetwork(of.to_string())
        }
        ("GET", ["volumes"]) => Route::Volumes,
        ("POST", ["volumes", "prune"]) => Route::VolumesPrune,
        ("POST", ["volumes", "create"]) => {
            Route::NotHere("micad does not run containers, so it has no volumes")
        }
        ("GET" | "DELETE" | "PUT", ["volumes", of]) if !of.is_empty() => Route::NoVolume(of.to_string()),
        ("GET", ["plugins"]) => Route::Plugins,
        ("GET", ["plugins", of @ .., "json"]) if !of.is_empty() => Route::NoPlugin(name(of)),
        ("POST", ["exec", _, ..]) | ("GET", ["exec", _, "json"]) => {
            Route::NotHere("micad does not run containers")
        }
        (
            _,
            [
                "swarm" | "services" | "nodes" | "tasks" | "secrets" | "configs",
                ..,
            ],
        ) => Route::Swarm,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: &str, path: &str) -> Option<Route> {
        route(&method.parse().unwrap(), path)
    }

    #[test]
    fn every_door_leads_somewhere() {
        for (method, path, expected) in [
            ("GET", "/_ping", Route::Ping),
            ("HEAD", "/_ping", Route::Ping),
            ("OPTIONS", "*", Route::Options),
            ("GET", "/version", Route::Version),
            ("GET", "/images/json", Route::Images),
            ("GET", "/events", Route::Events),
            (
                "GET",
                "/images/busybox/json",
                Route::ImageInspect("busybox".into()),
            ),
            (
                "GET",
                "/images/localhost:5000/a/b:c@sha256:00/json",
                Route::ImageInspect("localhost:5000/a/b:c@sha256:00".into()),
            ),
            ("GET", "/images/json/json", Route::ImageInspect("json".into())),
            ("GET", "/images//json", Route::ImageInspect("".into())),
            ("GET", "/images/a//b/json", Route::ImageInspect("a//b".into())),
            ("GET", "/images/a/history", Route::ImageHistory("a".into())),
            ("GET", "/images/get", Route::ImagesSave),
            ("GET", "/images/search", Route::ImagesSearch),
            ("GET", "/images/a/get", Route::ImageSave("a".into())),
            ("POST", "/images/a/b/tag", Route::ImageTag("a/b".into())),
            ("DELETE", "/images/a/b:c", Route::ImageRemove("a/b:c".into())),
            ("DELETE", "/images/json", Route::ImageRemove("json".into())),
            ("DELETE", "/images/", Route::ImageRemove("".into())),
            ("POST", "/images/create", Route::ImageCreate),
            (
                "POST",
                "/images/ghcr.io/o/n/push",
                Route::ImagePush("ghcr.io/o/n".into()),
            ),
            (
                "GET",
                "/distribution/a/b:c/json",
                Route::Distribution("a/b:c".into()),
            ),
            (
                "GET",
                "/mica/manifest/a/b:c",
                Route::RemoteManifest("a/b:c".into()),
            ),
            ("GET", "/mica/cache", Route::Cache),
            ("POST", "/mica/check", Route::Check),
            ("GET", "/mica/openapi.json", Route::Description),
            ("GET", "/system/df", Route::DiskUsage),
            ("POST", "/auth", Route::Auth),
            ("POST", "/build", Route::Build),
            ("HEAD", "/mica/build", Route::Ping),
            ("POST", "/mica/build", Route::BuildHere),
            ("POST", "/build/prune", Route::BuildPrune),
            ("GET", "/containers/json", Route::Containers),
            ("GET", "/containers/x/json", Route::NoContainer("x".into())),
            ("DELETE", "/containers/x", Route::NoContainer("x".into())),
            ("POST", "/containers/create", Route::ContainerCreate),
            ("GET", "/services", Route::Swarm),
            ("GET", "/plugins/a/b:c/json", Route::NoPlugin("a/b:c".into())),
        ] {
            assert_eq!(at(method, path), Some(expected), "{method} {path}");
        }
    }

    #[test]
    fn there_is_no_door_for_the_wrong_method_or_path() {
        for (method, path) in [
            ("POST", "/_ping"),
            ("HEAD", "/version"),
            ("POST", "/images/json"),
            ("GET", "/images/a"),
            ("GET", "/images"),
            ("DELETE", "/images"),
            ("GET", "/build"),
            ("GET", "/"),
            ("GET", ""),
            ("GET", "//images/json"),
            ("GET", "/images/json/"),
            ("PATCH", "/images/a/tag"),
            ("GET", "/nonsense"),
            ("GET", "/containers//json"),
        ] {
            assert_eq!(at(method, path), None, "{method} {path}");
        }
    }
}
