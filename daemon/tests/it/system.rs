//! What the daemon says of itself, and what it says to the wrong questions.

use crate::http::Answer;
use crate::micad::Micad;

fn expect_common_headers(answer: &Answer) {
    for (name, value) in [
        ("Api-Version", "1.51"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        (
            "Server",
            concat!("Docker/", env!("CARGO_PKG_VERSION"), " (linux)"),
        ),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {answer:?}");
    }
}

#[test]
fn ping_answers_get_and_head() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    for (method, path) in [
        ("HEAD", "/_ping"),
        ("GET", "/_ping"),
        ("GET", "/v1.22/_ping"),
        ("HEAD", "/v1.51/_ping"),
    ] {
        let answer = connection.ask(method, path, b"");
        assert_eq!(answer.status, 200);
        expect_common_headers(&answer);
        assert_eq!(
            answer.header("Cache-Control"),
            Some("no-cache, no-store, must-revalidate")
        );
        assert_eq!(answer.header("Pragma"), Some("no-cache"));
        assert_eq!(answer.header("Swarm"), Some("inactive"));
        assert!(answer.header("Builder-Version").is_some());
        assert_eq!(
            answer.header("Content-Length"),
            Some(if method == "HEAD" { "0" } else { "2" })
        );
        assert_eq!(answer.text(), if method == "HEAD" { "" } else { "OK" });
    }
}

#[test]
fn version_and_info_have_what_clients_read() {
    let micad = Micad::start();
    let answer = micad.get("/version");
    expect_common_headers(&answer);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let version = answer.json();
    assert_eq!(version["ApiVersion"], "1.51");
    assert_eq!(version["MinAPIVersion"], "1.22");
    assert_eq!(version["Components"][0]["Name"], "Engine");
    assert_eq!(version["Components"][0]["Details"]["Experimental"], "false");
    for key in ["GoVersion", "Arch", "KernelVersion", "Version"] {
        assert!(
            version[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    let info = micad.get("/v1.40/info").json();
    assert_eq!(info["Images"], 0);
    assert_eq!(info["OSType"], "linux");
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    assert_eq!(info["IndexServerAddress"], "https://index.docker.io/v1/");
    assert_eq!(
        info["DockerRootDir"],
        micad.folder.path().join("store").to_str().unwrap()
    );
    assert!(info["MemTotal"].as_u64().unwrap() > 0 && info["NCPU"].as_u64().unwrap() > 0);
    assert_eq!(info["ID"], micad.get("/info").json()["ID"]);
}

#[test]
fn versions_are_negotiated() {
    let micad = Micad::start();
    micad.get("/v1.52/images/json").expect_error(
        400,
        "client version 1.52 is too new. Maximum supported API version is 1.51",
    );
    micad.get("/v1.9/images/json").expect_error(
        400,
        "client version 1.9 is too old. Minimum supported API version is 1.22, please upgrade your client to a newer version",
    );
    for path in ["/v1.22/images/json", "/v1.51/images/json", "/images/json"] {
        assert_eq!(micad.get(path).status, 200, "{path}");
    }
}

#[test]
fn there_is_nothing_behind_other_doors() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    for (method, path) in [
        ("GET", "/nope"),
        ("GET", "/"),
        ("POST", "/version"),
        ("PUT", "/images/json"),
        ("GET", "/v1.41/nope"),
        ("GET", "/v1.99/nope"),
        ("GET", "/vx.y/version"),
    ] {
        let answer = connection.ask(method, path, b"{}");
        answer.expect_error(404, "page not found");
        expect_common_headers(&answer);
    }
    let options = connection.ask("OPTIONS", "*", b"");
    assert_eq!((options.status, options.text().as_str()), (200, ""));
}

#[test]
fn questions_about_containers_get_honest_answers() {
    let micad = Micad::start();
    let mut connection = micad.connect();
    for (method, path, status, text) in [
        ("GET", "/containers/json", 200, "[]"),
        ("GET", "/containers/x/json", 404, "No such container: x"),
        ("DELETE", "/containers/x", 404, "No such container: x"),
        ("POST", "/containers/x/start", 404, "No such container: x"),
        ("POST", "/commit?container=x", 404, "No such container: x"),
        ("POST", "/containers/create", 501, "micad does not run containers"),
        (
            "POST",
            "/containers/prune",
            200,
            r#"{"ContainersDeleted":null,"SpaceReclaimed":0}"#,
        ),
        ("POST", "/networks/prune", 200, r#"{"NetworksDeleted":null}"#),
        (
            "POST",
            "/volumes/prune",
            200,
            r#"{"VolumesDeleted":null,"SpaceReclaimed":0}"#,
        ),
        ("GET", "/networks", 200, "[]"),
        ("GET", "/volumes", 200, r#"{"Volumes":[],"Warnings":null}"#),
        ("GET", "/plugins", 200, "[]"),
        ("GET", "/networks/x", 404, "x"),
        ("GET", "/volumes/x", 404, "x"),
        ("GET", "/plugins/x/json", 404, "x"),
        ("GET", "/services", 503, "This node is not a swarm manager."),
        ("GET", "/secrets/x", 503, "This node is not a swarm manager."),
        (
            "POST",
            "/images/create?fromImage=Busybox",
            400,
            "must be lowercase",
        ),
        (
            "POST",
            "/images/create?fromImage=scratch&tag=latest",
            403,
            "reserved name",
        ),
        ("POST", "/images/a@b/push", 400, "invalid reference format"),
        ("GET", "/distribution/A/json", 400, "must be lowercase"),
        ("GET", "/images/search?term=", 400, "search term is required"),
        ("POST", "/session", 400, "no upgrade proto in request"),
        ("POST", "/grpc", 400, "no upgrade proto in request"),
    ] {
        let answer = connection.ask(method, path, b"{\"a\":1}");
        if status == 200 {
            assert_eq!((answer.status, answer.text().trim_end()), (200, text), "{path}");
        } else {
            answer.expect_error(status, text);
        }
    }
}
