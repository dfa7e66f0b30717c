//! Containers, networks and the like, which micad has none of.

use hyper::Method;

use crate::ask::Ask;

/// Lists, and lookups of what is not there.
pub(crate) fn asks() -> Vec<Ask> {
    let mut asks = vec![
        Ask::get("containers", "/containers/json"),
        Ask::get("containers/all", "/containers/json")
            .with("all", "1")
            .with("size", "1"),
        Ask::get("containers/bad-filters", "/containers/json").with("filters", "{"),
        Ask::post("containers/prune", "/containers/prune"),
        Ask::get("networks", "/networks").loose(&["body"]),
        Ask::post("networks/prune", "/networks/prune"),
        Ask::get("volumes", "/volumes"),
        Ask::post("volumes/prune", "/volumes/prune"),
        Ask::get("plugins", "/plugins"),
        Ask::post("commit", "/commit").with("container", "nope"),
        Ask::post("commit/no-container", "/commit"),
        Ask::post("create", "/containers/create").json(r#"{"Image":"nope"}"#),
        Ask::post("create/no-body", "/containers/create"),
        Ask::post("session", "/session"),
        Ask::post("session/other", "/session")
            .header("connection", "upgrade")
            .header("upgrade", "other"),
        Ask::other(
            "containers/head-archive",
            Method::HEAD,
            "/containers/nope/archive?path=/",
        ),
        Ask::other(
            "containers/put-archive",
            Method::PUT,
            "/containers/nope/archive?path=/",
        ),
        Ask::post("networks/create", "/networks/create").json(r#"{"Name":"n","Driver":"null"}"#),
        Ask::post("containers/resize", "/containers/nope/resize?h=1&w=1"),
        Ask::post("containers/update", "/containers/nope/update").json("{}"),
        Ask::post("containers/exec", "/containers/nope/exec").json(r#"{"Cmd":["x"]}"#),
        Ask::post("containers/rename", "/containers/nope/rename?name=other"),
        Ask::get("exec/inspect", "/exec/nope/json"),
        Ask::post("exec/start", "/exec/nope/start").json("{}"),
    ];
    for what in [
        "json",
        "top",
        "logs?stdout=1",
        "changes",
        "export",
        "stats?stream=0",
        "archive?path=/",
    ] {
        asks.push(Ask::get(
            &format!("containers/get-{what}"),
            format!("/containers/nope/{what}"),
        ));
    }
    for what in ["start", "stop", "restart", "kill", "pause", "unpause", "wait"] {
        asks.push(Ask::post(
            &format!("containers/{what}"),
            format!("/containers/nope/{what}"),
        ));
    }
    for path in [
        "/networks/nope",
        "/volumes/nope",
        "/plugins/nope/json",
        "/containers/nope/json",
    ] {
        asks.push(Ask::get(&format!("lookup{path}"), path));
    }
    for path in ["/networks/nope", "/volumes/nope", "/containers/nope"] {
        asks.push(Ask::delete(&format!("remove{path}"), path));
    }
    for path in [
        "/swarm",
        "/services",
        "/services/nope",
        "/nodes",
        "/nodes/nope",
        "/tasks",
        "/tasks/nope",
        "/secrets",
        "/secrets/nope",
        "/configs",
        "/configs/nope",
    ] {
        asks.push(Ask::get(&format!("swarm{path}"), path));
    }
    asks
}
