//! Who may do what, by the user at the other end of the socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::archive::{small_image, tar};
use crate::build::may_run;
use crate::micad::{Micad, wait_until};

/// Users and groups that no machine has.
const READER: u32 = 700_001;
const BUILDER: u32 = 700_002;
const MASTER: u32 = 700_003;
const STRANGER: u32 = 700_004;
const READERS: u32 = 700_005;

const SETTINGS: &str = r#"{"rights": {"read": {"users": ["700001"], "groups": ["700005"]},
    "build": {"users": ["700002"]}, "full": {"users": ["700003"]}}}"#;

/// A daemon with these settings, whose socket all users can reach as far as its mode lets them.
fn start(settings: &str) -> (Micad, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let micad = Micad::start_with(&["--config-file", file.path().to_str().unwrap()]);
    std::fs::set_permissions(micad.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    (micad, file)
}

/// Asks as somebody else: a status, and what else was said.
fn ask(micad: &Micad, user: u32, group: u32, arguments: &[&str], path: &str) -> (u16, String) {
    let output = Command::new("setpriv")
        .args([
            &format!("--reuid={user}"),
            "--regid=700000",
            &format!("--groups={group}"),
            "curl",
        ])
        .args(["-sS", "-i", "-m", "60", "--unix-socket"])
        .arg(micad.socket())
        .args(arguments)
        .arg(format!("http://mica{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let errors = String::from_utf8_lossy(&output.stderr);
    (status.unwrap_or(0), format!("{text}{errors}"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn users_and_groups_may_do_what_the_settings_say() {
    if !may_run() {
        return;
    }
    let (micad, _file) = start(SETTINGS);
    assert_eq!(mode(&micad.socket()), 0o666);
    micad.load(&small_image(&["a:1"]));
    let post = &["-X", "POST"][..];
    for (method, path, needed) in [
        (&[][..], "/_ping", 1),
        (&[], "/images/json", 1),
        (&[], "/v1.41/images/a:1/json", 1),
        (&[], "/mica/metrics", 1),
        (post, "/images/a:1/tag?repo=b", 2),
        (post, "/auth", 2),
        (post, "/build?remote=nowhere", 2),
        (post, "/build?version=2&remote=nowhere", 2),
        (post, "/session", 2),
        (post, "/images/prune", 3),
        (post, "/build/prune", 3),
        (post, "/images/a:1/push", 3),
        (post, "/mica/debug/000000000000", 3),
        (&["-X", "DELETE"], "/images/nope", 3),
        (&[], "/nope", 1),
    ] {
        for (user, group, has) in [
            (STRANGER, STRANGER, 0),
            (READER, STRANGER, 1),
            (STRANGER, READERS, 1),
            (BUILDER, READERS, 2),
            (MASTER, STRANGER, 3),
        ] {
            let (status, text) = ask(&micad, user, group, method, path);
            assert_eq!(status == 403, has < needed, "{user} {group} {path}: {text}");
            if status == 403 {
                // what the door needs comes before what the image needs
                let needed = if method.contains(&"DELETE") && has < 2 {
                    2
                } else {
                    needed
                };
                let right = ["read", "build", "full"][needed - 1];
                assert!(text.contains("{\"message\":"), "{text}");
                for part in [
                    &format!("uid {user}"),
                    &format!("needs \\\"{right}\\\""),
                    "the setting \\\"rights\\\" of ",
                ] {
                    assert!(text.contains(part), "{part}: {text}");
                }
            }
        }
    }
}

#[test]
fn grpc_has_a_right_for_each_method() {
    if !may_run() {
        return;
    }
    let (micad, _file) = start(SETTINGS);
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let body = |name: &str, message: &[u8]| {
        let path = folder.path().join(name);
        let head = [&[0_u8][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
        std::fs::write(&path, [&head, message].concat()).unwrap();
        format!("@{}", path.display())
    };
    let empty = body("empty", b"");
    // reference "r", one exporter (13) of kind "image" with {"push": "true"}, and a frontend that is refused at once
    let push = body(
        "push",
        b"\x0a\x01r\x6a\x15\x0a\x05image\x12\x0c\x0a\x04push\x12\x04true\x32\x01x",
    );
    let insecure = body("insecure", b"\x0a\x01r\x4a\x11security.insecure");
    for (user, method, message, is_denied) in [
        (STRANGER, "Control/Info", &empty, true),
        (READER, "Control/Info", &empty, false),
        (READER, "Control/DiskUsage", &empty, false),
        (READER, "Control/Solve", &empty, true),
        (READER, "Control/Session", &empty, true),
        (READER, "frontend.LLBBridge/Ping", &empty, true),
        (BUILDER, "Control/Solve", &empty, false),
        (BUILDER, "Control/Prune", &empty, true),
        (BUILDER, "Control/Solve", &push, true),
        (BUILDER, "Control/Solve", &insecure, true),
        (MASTER, "Control/Solve", &push, false),
        (MASTER, "Control/Prune", &empty, false),
    ] {
        let arguments = [
            "--http2-prior-knowledge",
            "-X",
            "POST",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "--data-binary",
            message,
        ];
        let path = format!("/moby.buildkit.v1.{method}");
        let (status, text) = ask(&micad, user, STRANGER, &arguments, &path);
        assert_eq!(status, 200, "{text}");
        assert_eq!(
            text.contains("grpc-status: 7"),
            is_denied,
            "{user} {method}: {text}"
        );
        assert!(!is_denied || text.contains("rights"), "{text}");
    }
}

#[test]
fn one_s_own_names_may_be_removed_with_the_right_to_build() {
    if !may_run() {
        return;
    }
    let (micad, _file) = start(SETTINGS);
    micad.load(&small_image(&["a:1"]));
    let context = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(context.path(), tar(&[("Dockerfile", b"FROM a:1\nLABEL x=y\n")])).unwrap();
    std::fs::set_permissions(context.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let send = format!("@{}", context.path().display());
    let (status, text) = ask(
        &micad,
        BUILDER,
        BUILDER,
        &["--data-binary", &send],
        "/build?t=mine:1",
    );
    assert!(
        status == 200 && text.contains("Successfully tagged mine:1"),
        "{text}"
    );
    let (status, text) = ask(
        &micad,
        BUILDER,
        BUILDER,
        &["-X", "POST"],
        "/images/a:1/tag?repo=mine&tag=2",
    );
    assert_eq!(status, 201, "{text}");
    let delete = &["-X", "DELETE"][..];
    let id = micad.get("/images/mine:1/json").json()["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (path, expected) in [
        ("/images/a:1".to_owned(), 403),
        (format!("/images/{id}"), 403),
        ("/images/mine:1?force=1".to_owned(), 403),
        ("/images/mine:1".to_owned(), 200),
        ("/images/mine:2".to_owned(), 200),
        ("/images/mine:2".to_owned(), 404),
    ] {
        let (status, text) = ask(&micad, BUILDER, BUILDER, delete, &path);
        assert_eq!(status, expected, "{path}: {text}");
    }
    micad.post("/images/a:1/tag?repo=mine&tag=2", b"");
    let (status, text) = ask(&micad, BUILDER, BUILDER, delete, "/images/mine:2");
    assert_eq!(status, 403, "somebody else gave it since: {text}");
    assert_eq!(micad.get("/images/a:1/json").status, 200);
}

#[test]
fn nobody_else_can_connect_until_the_settings_name_them() {
    if !may_run() {
        return;
    }
    let (micad, file) = start("{}");
    assert_eq!(mode(&micad.socket()), 0o660);
    let (status, text) = ask(&micad, READER, READER, &[], "/_ping");
    assert!(status == 0 && text.contains("curl: "), "{text}");
    std::fs::write(file.path(), SETTINGS).unwrap();
    micad.signal("HUP");
    wait_until("the socket is open", || mode(&micad.socket()) == 0o666);
    wait_until("the rights are there", || {
        ask(&micad, READER, READER, &[], "/_ping").0 == 200
    });
    std::fs::write(file.path(), "{\"rights\": {\"read\": {\"users\": [\"700003\"]}}}").unwrap();
    micad.signal("HUP");
    wait_until("the rights are gone", || {
        ask(&micad, READER, READER, &[], "/_ping").0 == 403
    });
    std::fs::write(file.path(), "{}").unwrap();
    micad.signal("HUP");
    wait_until("the socket is closed", || mode(&micad.socket()) == 0o660);
}
