//! What answers have in them by the version of the API that is asked for: a table of versions against fields.

use mica_tests::{Context, Daemon};
use serde_json::{Value, json};

/// The versions looked at, and the number their answers go by; without one, the highest is meant.
const VERSIONS: [(&str, u32); 9] = [
    ("/v1.22", 22),
    ("/v1.24", 24),
    ("/v1.41", 41),
    ("/v1.43", 43),
    ("/v1.44", 44),
    ("/v1.47", 47),
    ("/v1.50", 50),
    ("/v1.51", 51),
    ("", 51),
];

/// A field is there from the first version on and up to before the second.
struct Field {
    pointer: &'static str,
    from: u32,
    until: u32,
}

const ALWAYS: u32 = u32::MAX;

const fn field(pointer: &'static str, from: u32, until: u32) -> Field {
    Field { pointer, from, until }
}

#[track_caller]
fn check(answer: &Value, fields: &[Field], version: u32, what: &str) {
    for field in fields {
        let there = answer.pointer(field.pointer).is_some();
        let expected = (field.from..field.until).contains(&version);
        assert_eq!(
            there, expected,
            "{} of {what} in 1.{version}: {answer}",
            field.pointer
        );
    }
}

/// A daemon with a tagged image and one that lost its tag, and a record of the build cache on another.
fn daemon() -> Daemon {
    let daemon = Daemon::start();
    for label in ["old", "new"] {
        let context = Context::new(&format!(
            "FROM scratch\nCOPY Dockerfile /a\nCOPY Dockerfile /b\nLABEL l={label}\n"
        ));
        daemon.mica(["build", "-q", "-t", "x:1", context.arg()]).ok();
    }
    daemon
}

/// A platform that no image here is for.
const ELSEWHERE: &str = r#"{"os":"linux","architecture":"s390x"}"#;

#[test]
fn a_list_has_the_fields_of_its_version() {
    let daemon = daemon();
    let fields = [
        field("/0/Id", 0, ALWAYS),
        field("/0/ParentId", 0, ALWAYS),
        field("/0/RepoTags", 0, ALWAYS),
        field("/0/RepoDigests", 0, ALWAYS),
        field("/0/Created", 0, ALWAYS),
        field("/0/Size", 0, ALWAYS),
        field("/0/SharedSize", 0, ALWAYS),
        field("/0/Labels/l", 0, ALWAYS),
        field("/0/Containers", 0, ALWAYS),
        field("/0/VirtualSize", 0, 44),
        field("/0/Descriptor", ALWAYS, ALWAYS),
        field("/0/Manifests", ALWAYS, ALWAYS),
    ];
    for (prefix, version) in VERSIONS {
        let list = daemon
            .get(&format!("{prefix}/images/json?manifests=1&shared-size=1"))
            .json();
        check(&list, &fields, version, "a list");
        let images = list.as_array().unwrap();
        assert_eq!(images.len(), 2, "{list}");
        let lost = images.iter().find(|image| image["Labels"]["l"] == "old").unwrap();
        let (tags, digests) = match version < 43 {
            true => (json!(["<none>:<none>"]), json!(["<none>@<none>"])),
            false => (json!([]), json!([])),
        };
        assert_eq!(
            (&lost["RepoTags"], &lost["RepoDigests"]),
            (&tags, &digests),
            "1.{version}"
        );
        for image in images {
            assert_eq!(
                image["Containers"],
                if version < 51 { -1 } else { 0 },
                "1.{version}"
            );
            assert_eq!(image["SharedSize"] == -1, version < 42, "1.{version}");
        }
        let named = daemon.get(&format!("{prefix}/images/json?filter=nope")).json();
        assert_eq!(named == json!([]), version < 41, "1.{version}");
        let filtered = format!("{prefix}/images/json?filter=nope&filters={{\"reference\":[\"x\"]}}");
        assert_eq!(
            daemon.get(&filtered).json().as_array().unwrap().len(),
            1,
            "1.{version}"
        );
    }
}

#[test]
fn an_inspection_has_the_fields_of_its_version() {
    let daemon = daemon();
    let mut fields: Vec<Field> = [
        "/Id",
        "/RepoTags",
        "/RepoDigests",
        "/Parent",
        "/Comment",
        "/Created",
        "/DockerVersion",
        "/Author",
        "/Config",
        "/Architecture",
        "/Os",
        "/Size",
        "/GraphDriver/Name",
        "/GraphDriver/Data",
        "/RootFS/Type",
        "/RootFS/Layers",
        "/Metadata/LastTagTime",
        "/Config/User",
        "/Config/Env",
        "/Config/Cmd",
        "/Config/Entrypoint",
        "/Config/Labels",
        "/Config/OnBuild",
        "/Config/Volumes",
        "/Config/WorkingDir",
    ]
    .map(|pointer| field(pointer, 0, ALWAYS))
    .into();
    fields.extend(
        [
            "/Config/Hostname",
            "/Config/Domainname",
            "/Config/AttachStdin",
            "/Config/AttachStdout",
            "/Config/AttachStderr",
            "/Config/Tty",
            "/Config/OpenStdin",
            "/Config/StdinOnce",
            "/Config/Image",
        ]
        .map(|pointer| field(pointer, 0, 50)),
    );
    fields.extend(
        [
            "/Config/ExposedPorts",
            "/Config/Healthcheck",
            "/Config/StopSignal",
            "/Config/Shell",
            "/Config/ArgsEscaped",
            "/Descriptor",
            "/Manifests",
            "/Variant",
            "/OsVersion",
        ]
        .map(|pointer| field(pointer, ALWAYS, ALWAYS)),
    );
    fields.push(field("/VirtualSize", 0, 44));
    fields.push(field("/Container", 0, 45));
    fields.push(field("/ContainerConfig/Cmd", 0, 45));
    for (prefix, version) in VERSIONS {
        let image = daemon
            .get(&format!("{prefix}/images/x:1/json?manifests=1"))
            .json();
        check(&image, &fields, version, "an inspection");
        let elsewhere = daemon.get(&format!("{prefix}/images/x:1/json?platform={ELSEWHERE}"));
        assert_eq!(
            elsewhere.status,
            if version < 49 { 200 } else { 404 },
            "1.{version}"
        );
        let both = daemon.get(&format!(
            "{prefix}/images/x:1/json?manifests=1&platform={ELSEWHERE}"
        ));
        assert_eq!(both.status, if version < 49 { 200 } else { 400 }, "1.{version}");
        let history = daemon.get(&format!("{prefix}/images/x:1/history?platform={ELSEWHERE}"));
        assert_eq!(
            history.status,
            if version < 48 { 200 } else { 404 },
            "1.{version}"
        );
        if version < 48 {
            for key in ["Id", "Created", "CreatedBy", "Tags", "Size", "Comment"] {
                assert!(history.json()[0].get(key).is_some(), "{key} in 1.{version}");
            }
        }
    }
}

#[test]
fn disk_usage_has_the_fields_of_its_version() {
    let daemon = daemon();
    let fields = [
        field("/LayersSize", 0, ALWAYS),
        field("/Images/0/SharedSize", 0, ALWAYS),
        field("/Images/0/VirtualSize", 0, 44),
        field("/Containers", 0, ALWAYS),
        field("/Volumes", 0, ALWAYS),
        field("/BuilderSize", 0, 42),
        field("/BuildCache/1/ID", 0, ALWAYS),
        field("/BuildCache/1/Parent", 0, 42),
        field("/BuildCache/1/Parents", 42, ALWAYS),
        field("/BuildCache/1/Type", 0, ALWAYS),
        field("/BuildCache/1/Description", 0, ALWAYS),
        field("/BuildCache/1/InUse", 0, ALWAYS),
        field("/BuildCache/1/Shared", 0, ALWAYS),
        field("/BuildCache/1/Size", 0, ALWAYS),
        field("/BuildCache/1/CreatedAt", 0, ALWAYS),
        field("/BuildCache/1/LastUsedAt", 0, ALWAYS),
        field("/BuildCache/1/UsageCount", 0, ALWAYS),
        field("/ImageUsage/TotalSize", 51, ALWAYS),
        field("/BuildCacheUsage/Reclaimable", 51, ALWAYS),
    ];
    for (prefix, version) in VERSIONS {
        let usage = daemon.get(&format!("{prefix}/system/df")).json();
        check(&usage, &fields, version, "disk usage");
        let volumes = daemon.get(&format!("{prefix}/system/df?type=volume")).json();
        assert_eq!(volumes["Images"] == json!([]), version >= 42, "1.{version}");
        let unknown = daemon.get(&format!("{prefix}/system/df?type=x"));
        assert_eq!(
            unknown.status,
            if version < 42 { 200 } else { 400 },
            "1.{version}"
        );
    }
}

#[test]
fn a_platform_is_removed_since_1_50() {
    let daemon = daemon();
    let own = daemon.get("/images/x:1/json").json();
    let own = json!({"os": own["Os"], "architecture": own["Architecture"]}).to_string();
    for (prefix, version) in VERSIONS {
        daemon.mica(["tag", "x:1", "y:1"]).ok();
        let elsewhere = format!("{prefix}/images/y:1?platforms={own}&platforms={ELSEWHERE}");
        let answer = daemon.ask("DELETE", &elsewhere, b"");
        if version < 50 {
            assert_eq!(answer.json(), json!([{"Untagged": "y:1"}]), "1.{version}");
            continue;
        }
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(
            answer
                .text()
                .contains("does not match the specified platform (linux/s390x)"),
            "{}",
            answer.text()
        );
        let wrong = daemon.ask(
            "DELETE",
            &format!("{prefix}/images/y:1?platforms=linux/amd64"),
            b"",
        );
        assert_eq!(wrong.status, 400, "{}", wrong.text());
        let answer = daemon.ask("DELETE", &format!("{prefix}/images/y:1?platforms={own}"), b"");
        assert_eq!(answer.json(), json!([{"Untagged": "y:1"}]), "1.{version}");
    }
    let gone = daemon
        .ask("DELETE", &format!("/images/x:1?platforms={own}"), b"")
        .json();
    assert_eq!(gone[0], json!({"Untagged": "x:1"}));
    assert!(gone[1]["Deleted"].is_string(), "{gone}");
}

#[test]
fn failures_are_json_since_1_24_and_every_answer_names_the_highest_version() {
    let daemon = daemon();
    for (prefix, version) in VERSIONS {
        let answer = daemon.get(&format!("{prefix}/images/nope/json"));
        assert_eq!(answer.status, 404);
        let (kind, body) = match version < 24 {
            true => ("text/plain; charset=utf-8", "No such image: nope:latest\n"),
            false => (
                "application/json",
                "{\"message\":\"No such image: nope:latest\"}\n",
            ),
        };
        assert_eq!(answer.header("content-type"), Some(kind), "1.{version}");
        assert_eq!(answer.text(), body, "1.{version}");
        assert_eq!(answer.header("api-version"), Some("1.51"));
        assert_eq!(daemon.get(&format!("{prefix}/nonsense")).status, 404);
    }
    for (prefix, part) in [
        (
            "/v1.21",
            "client version 1.21 is too old. Minimum supported API version is 1.22",
        ),
        (
            "/v1.52",
            "client version 1.52 is too new. Maximum supported API version is 1.51",
        ),
    ] {
        let answer = daemon.get(&format!("{prefix}/images/json"));
        assert_eq!(answer.status, 400);
        assert!(
            answer.json()["message"].as_str().unwrap().contains(part),
            "{}",
            answer.text()
        );
    }
}
