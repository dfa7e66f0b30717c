//! The table of rights: what each door needs, and what it is called where requests are counted.

use crate::rights::Right;
use crate::router::Route;

impl Route {
    /// The right that the door needs. Two need more for some requests: `DELETE /images/{name}` for what the user did not name
    /// (`names.rs`), and builds that push or ask for all rights (`rights.rs` of `grpc`, `routes/build.rs`).
    pub(crate) fn right(&self) -> Right {
        self.row().0
    }

    /// The path with its parameters by name, as the description of the API has it; of doors with several paths the first.
    pub(crate) fn template(&self) -> &'static str {
        self.row().1
    }

    /// No route can be left out: this would not compile.
    fn row(&self) -> (Right, &'static str) {
        use Right::{Build, Full, Read};
        match self {
            Self::Ping => (Read, "/_ping"),
            Self::Options => (Read, "*"),
            Self::Version => (Read, "/version"),
            Self::Info => (Read, "/info"),
            Self::Events => (Read, "/events"),
            Self::Images => (Read, "/images/json"),
            Self::ImageInspect(_) => (Read, "/images/{name}/json"),
            Self::ImageHistory(_) => (Read, "/images/{name}/history"),
            Self::ImageSave(_) => (Read, "/images/{name}/get"),
            Self::ImagesSave => (Read, "/images/get"),
            Self::Description => (Read, "/mica/openapi.json"),
            Self::Metrics => (Read, "/mica/metrics"),
            Self::Cache => (Read, "/mica/cache"),
            Self::DiskUsage => (Read, "/system/df"),
            Self::Logs => (Read, "/mica/logs"),
            Self::Log(_) => (Read, "/mica/logs/{build}"),
            // what goes over it has a right for each method
            Self::Grpc => (Read, "/grpc"),

            // what makes the daemon speak to a registry of the client's choice is no mere looking
            Self::ImagesSearch => (Build, "/images/search"),
            Self::Distribution(_) => (Build, "/distribution/{name}/json"),
            Self::RemoteManifest(_) => (Build, "/mica/manifest/{name}"),
            Self::PushCheck(_) => (Build, "/mica/push-check/{name}"),
            Self::Auth => (Build, "/auth"),
            Self::ImageTag(_) => (Build, "/images/{name}/tag"),
            // only names one gave oneself
            Self::ImageRemove(_) => (Build, "/images/{name}"),
            Self::ImagesLoad => (Build, "/images/load"),
            Self::ImageCreate => (Build, "/images/create"),
            Self::Build => (Build, "/build"),
            Self::BuildHere => (Build, "/mica/build"),
            Self::BuildCancel => (Build, "/build/cancel"),
            Self::Session => (Build, "/session"),

            Self::ImagePush(_) => (Full, "/images/{name}/push"),
            Self::ImagesPrune => (Full, "/images/prune"),
            Self::BuildPrune => (Full, "/build/prune"),
            // it reads the whole disk
            Self::Check => (Full, "/mica/check"),
            // a build somebody else made may hold what is not for all
            Self::Debug(_) => (Full, "/mica/debug/{build}"),

            // there are none of these, and nothing is done
            Self::Containers => (Read, "/containers/json"),
            Self::NoContainer(_) => (Read, "/containers/{id}"),
            Self::ContainerCreate => (Read, "/containers/create"),
            Self::ContainersPrune => (Full, "/containers/prune"),
            Self::Networks => (Read, "/networks"),
            Self::NoNetwork(_) => (Read, "/networks/{id}"),
            Self::NetworksPrune => (Full, "/networks/prune"),
            Self::Volumes => (Read, "/volumes"),
            Self::NoVolume(_) => (Read, "/volumes/{id}"),
            Self::VolumesPrune => (Full, "/volumes/prune"),
            Self::Plugins => (Read, "/plugins"),
            Self::NoPlugin(_) => (Read, "/plugins/{name}/json"),
            Self::Commit => (Read, "/commit"),
            Self::Swarm => (Read, "/swarm"),
            Self::NotHere(_) => (Read, "/exec/{id}"),
        }
    }
}
