//! Questions about containers, networks and the like: image tools ask them, and the honest answer is that there are none.

use hyper::StatusCode;
use serde_json::json;

use crate::router::Route;
use crate::wire::reply::{self, Failure, Reply};

/// Answers what needs no engine. Lists are empty, what is looked up is not found, making something is refused: clients take 404 for
/// "look elsewhere" and 5xx for the end.
pub(crate) fn answer(route: &Route) -> Result<Reply, Failure> {
    let missing = |kind: &str, name: &str| {
        Err(Failure::new(
            StatusCode::NOT_FOUND,
            format!("No such {kind}: {name}"),
        ))
    };
    let body = match route {
        Route::Containers | Route::Networks | Route::Plugins => json!([]),
        Route::Volumes => json!({"Volumes": [], "Warnings": null}),
        Route::ContainersPrune => json!({"ContainersDeleted": null, "SpaceReclaimed": 0}),
        Route::NetworksPrune => json!({"NetworksDeleted": null}),
        Route::VolumesPrune => json!({"VolumesDeleted": null, "SpaceReclaimed": 0}),
        Route::NoContainer(name) => return missing("container", name),
        Route::NoNetwork(name) => {
            return Err(Failure::new(
                StatusCode::NOT_FOUND,
                format!("network {name} not found"),
            ));
        }
        Route::NoVolume(name) => {
            return Err(Failure::new(
                StatusCode::NOT_FOUND,
                format!("get {name}: no such volume"),
            ));
        }
        Route::NoPlugin(name) => {
            return Err(Failure::new(
                StatusCode::NOT_FOUND,
                format!("plugin {name:?} not found"),
            ));
        }
        Route::ContainerCreate => return Err(Failure::unsupported("micad does not run containers")),
        Route::Swarm => {
            return Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "This node is not a swarm manager. micad knows no swarm",
            ));
        }
        _ => return Err(Failure::no_route()),
    };
    reply::json(StatusCode::OK, &body)
}
