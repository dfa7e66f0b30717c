//! The log tells what is done, and none of the secrets that it is done with.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use crate::archive::{small_image, tar};
use crate::locked::Locked;
use crate::micad::Micad;
use crate::running::{settings, start};

/// What must not be told, wherever it stands in a request.
const SECRET: &str = "hunter2-secret";

/// What a registry is shown of a user with the secret as a password.
fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("u:{SECRET}")))
}

/// Pushes, pulls, builds and logs in with credentials, at a registry that takes none of them.
fn show_credentials(micad: &Micad) {
    let registry = Locked::start();
    let host = registry.host();
    let password = format!(r#"{{"username":"u","password":"{SECRET}"}}"#);
    let token = format!(r#"{{"registrytoken":"{SECRET}"}}"#);
    micad.post(&format!("/images/a:1/tag?repo={host}/pushed"), b"");
    let all = format!(r#"{{"{host}":{password}}}"#);
    let context = tar(&[("Dockerfile", format!("FROM {host}/base\n").as_bytes())]);
    for (path, header, value, body) in [
        (
            format!("/images/{host}/pushed/push"),
            "X-Registry-Auth",
            &password,
            &[][..],
        ),
        (
            format!("/images/create?fromImage={host}/pulled&tag=1"),
            "X-Registry-Auth",
            &password,
            &[],
        ),
        (
            format!("/images/create?fromImage={host}/token&tag=1"),
            "X-Registry-Auth",
            &token,
            &[],
        ),
        ("/build?t=d:1".to_owned(), "X-Registry-Config", &all, &context),
    ] {
        let mut connection = micad.connect();
        let headers = format!(
            "{header}: {}\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: {}\r\n",
            URL_SAFE.encode(value),
            body.len()
        );
        connection.send_head("POST", &path, &headers);
        connection.send(body);
        let answer = connection.answer(false);
        assert!(answer.text().contains("denied"), "{path}: {}", answer.text());
    }
    let login = format!(r#"{{"username":"u","password":"{SECRET}","serveraddress":"{host}"}}"#);
    assert_eq!(micad.post("/auth", login.as_bytes()).status, 401);
    // the registry saw them, so the daemon read them
    for (asked, shown) in [
        ("/v2/pushed/blobs/uploads/", basic()),
        (" /v2/ ", basic()),
        ("/v2/pulled/manifests/1", basic()),
        ("/v2/token/manifests/1", format!("Bearer {SECRET}")),
        ("/v2/base/manifests/latest", basic()),
    ] {
        assert!(
            registry.shown(asked).contains(&shown),
            "{asked}: {:?}",
            registry.shown("")
        );
    }
}

/// Makes a daemon do all sorts of things, with secrets in all of them.
pub(crate) fn be_busy(micad: &Micad) {
    micad.load(&small_image(&["a:1"]));
    let context = tar(&[("Dockerfile", b"FROM a:1\nARG TOKEN\nENV A=$TOKEN\nCOPY nope /\n")]);
    let args = format!("%7B%22TOKEN%22:%22{SECRET}%22%7D");
    let failed = micad.post(&format!("/build?t=b:1&buildargs={args}"), &context);
    assert!(failed.text().contains("nope"), "{}", failed.text());
    let context = tar(&[("Dockerfile", b"FROM a:1\nLABEL a=b\n")]);
    micad.post("/build?t=c:1", &context);
    show_credentials(micad);
    micad.post(&format!("/build?remote=http://u:{SECRET}@127.0.0.1:1/x"), b"");
    micad.post("/build/prune", b"");
    assert_eq!(micad.get(&format!("/images/nope/json?x={SECRET}")).status, 404);
}

#[test]
fn work_and_requests_are_told_without_their_secrets() {
    let file = settings("{}");
    for format in ["text", "json"] {
        let (mut micad, log) = start(file.path(), &["--log-format", format, "--log-level", "debug"]);
        be_busy(&micad);
        micad.signal("TERM");
        assert!(micad.left().success());
        log.wait_for("micad leaves");
        let text = log.text();
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains(basic().trim_start_matches("Basic ")), "{text}");
        for value in [r#"{"username":"u","#, r#"{"registrytoken":"#] {
            let header = URL_SAFE.encode(value);
            assert!(!text.contains(&header[..16]), "{header}: {text}");
        }
        match format {
            "text" => {
                for part in [
                    "info  micad: build done work=build request=",
                    "info  micad: build failed work=build",
                    "names=c:1 outcome=done seconds=",
                    "info  micad: push failed work=push",
                    "info  micad: pull failed work=pull",
                    "info  micad: load done work=load",
                    "names=a:1",
                    "info  micad: prune done work=prune",
                    "debug micad: request request=",
                    "method=GET path=/images/nope/json status=404 uid=",
                ] {
                    assert!(text.contains(part), "{part}: {text}");
                }
            }
            _ => {
                let lines = text.lines().filter(|line| line.starts_with('{'));
                let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
                assert_eq!(lines.len(), text.lines().count(), "{text}");
                let built = lines.iter().find(|line| line["message"] == "build done").unwrap();
                assert_eq!(built["names"], "c:1");
                assert_eq!(built["level"], "info");
                let number = built["request"].as_u64().unwrap();
                let request = lines
                    .iter()
                    .find(|line| line["message"] == "request" && line["request"] == number)
                    .unwrap();
                assert_eq!(request["path"], "/build");
                assert_eq!(request["status"], 200);
            }
        }
    }
}

#[test]
fn by_default_requests_are_not_told() {
    let file = settings("{}");
    let (mut micad, log) = start(file.path(), &[]);
    be_busy(&micad);
    micad.signal("TERM");
    assert!(micad.left().success());
    log.wait_for("micad leaves");
    let text = log.text();
    assert!(
        text.contains("build done") && !text.contains("request request="),
        "{text}"
    );
}
