//! Real answers of a running daemon fit the description, and all that is described is seen in one of them.

use std::collections::BTreeSet;

use base64::Engine as _;
use mica_tests::registry::{Action, Door, Options, User};
use mica_tests::servers::{SearchReply, SearchServer, SlowProxy};
use mica_tests::{Context, FakeRegistry};
use serde_json::Value;

use crate::client::Answer;
use crate::world::{World, tar};

/// Versions of the API between which answers differ.
const VERSIONS: [&str; 6] = ["/v1.22", "/v1.42", "/v1.43", "/v1.44", "/v1.49", ""];

/// A Dockerfile that sets all there is to set.
const EVERYTHING: &str = "FROM base\n\
    MAINTAINER somebody\nENV A=b\nEXPOSE 80/tcp\nVOLUME /v\nUSER 1\nWORKDIR /w\nLABEL k=v\nSTOPSIGNAL SIGINT\n\
    SHELL [\"/bin/sh\", \"-c\"]\nHEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD x\n\
    COPY large /\nONBUILD RUN true\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\n\
    RUN --mount=type=cache,target=/c echo told\n";

/// Bytes of a file in an image; more than are sent between two lines of progress.
const LARGE: u32 = 32 << 20;

/// What is described and in no answer of these tests, and why.
const UNSEEN: [(&str, &str); 10] = [
    (
        "PruneLine/properties/errorDetail",
        "of a prune whose store fails under it",
    ),
    (
        "CheckLine/properties/errorDetail",
        "of a check whose database cannot be read any more",
    ),
    (
        "DebugReport",
        "its request needs a terminal; tests of `mica debug` read it",
    ),
    ("ProgressDetail/properties/start", "docker's, for other daemons"),
    (
        "ProgressDetail/properties/hidecounts",
        "docker's, for other daemons",
    ),
    ("ProgressDetail/properties/units", "docker's, for other daemons"),
    (
        "BuildStatus/properties/statuses/items/properties/name",
        "of layers of a base image that come; micad's tests of statuses read it",
    ),
    (
        "BuildStatus/properties/statuses/items/properties/total",
        "of layers of a base image that come; micad's tests of statuses read it",
    ),
    ("properties/OsVersion", "of Windows"),
    ("properties/os.version", "of Windows"),
];

fn id(answer: &Answer) -> String {
    let image: Value = serde_json::from_slice(&answer.body).unwrap();
    image["Id"].as_str().unwrap().to_owned()
}

/// The daemon itself, before it has anything.
fn system(world: &mut World) {
    for version in VERSIONS {
        for (method, path) in [
            ("GET", "/_ping"),
            ("HEAD", "/_ping"),
            ("GET", "/version"),
            ("GET", "/info"),
            ("GET", "/images/json"),
            ("GET", "/mica/cache"),
            ("GET", "/mica/logs"),
            ("GET", "/mica/metrics"),
            ("GET", "/mica/openapi.json"),
            ("GET", "/containers/json"),
            ("GET", "/networks"),
            ("GET", "/volumes"),
            ("GET", "/plugins"),
            ("POST", "/containers/prune"),
            ("POST", "/networks/prune"),
            ("POST", "/volumes/prune"),
            ("POST", "/images/prune"),
            ("POST", "/build/prune"),
        ] {
            world.ask(&format!("{method} {path}"), &format!("{version}{path}"));
        }
    }
}

/// Builds that succeed and fail; the name of one that failed.
fn builds(world: &mut World) -> String {
    let context = Context::with_shell(EVERYTHING);
    // nothing that can be made small, or is sent in no time (xorshift, Marsaglia 2003)
    let mut state = 1_u64;
    let noise = (0..LARGE / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.collect();
    fs_err::write(context.path().join("large"), noise).unwrap();
    let tar_of = |dockerfile: &str| {
        context.write("other", dockerfile);
        tar(&context)
    };
    let base = fs_err::read_to_string(context.path().join("Dockerfile")).unwrap();
    let built = world.send(
        "POST /build",
        "/build?t=all:1&buildid=x&memory=8000000",
        "",
        &tar_of(&base),
    );
    assert!(
        built.text().contains("Successfully tagged all:1"),
        "{}",
        built.text()
    );
    let foreign = tar_of("FROM scratch\nCOPY Dockerfile /\n");
    let target = "/build?dockerfile=other&t=arm:1&platform=linux/arm/v7";
    world.send("POST /build", target, "", &foreign);
    let several = "/build?dockerfile=other&platform=linux/arm64,linux/s390x";
    world.send("POST /build", several, "", &foreign);
    let failing = tar_of(&format!("{base}RUN echo more; exit 7\n"));
    let failed = world.send("POST /build", "/v1.41/build?dockerfile=other", "", &failing);
    let text = failed.text();
    assert!(text.contains("\"code\":7"), "{text}");
    let child = tar_of("FROM all:1\nRUN true\n");
    world.send(
        "POST /build",
        "/build?dockerfile=other&t=child:1&rm=0&q=1",
        "",
        &child,
    );
    let input = "/mica/build?dockerfile=other&input=%7B%22context%22:%22body%22,%22explain%22:true%7D";
    world.ask("HEAD /mica/build", "/mica/build");
    world.send("POST /mica/build", input, "", &child);
    let told = "/mica/build?dockerfile=other&progress=status&input=%7B%22context%22:%22body%22%7D";
    // something to warn of, to say, to fail at, and to take from the cache
    let spoken = tar_of("FROM all:1 as one\nRUN true\nRUN echo so; exit 3\n");
    world.send("POST /mica/build", told, "", &child);
    world.send("POST /mica/build", told, "", &spoken);
    world.ask("POST /build/cancel", "/build/cancel?id=x");
    for version in VERSIONS {
        world.ask("GET /mica/cache", &format!("{version}/mica/cache"));
    }
    text.split_once("mica logs ").unwrap().1[..12].to_owned()
}

/// Images as they are listed, shown, named, saved and loaded; an archive of some.
fn images(world: &mut World) -> Vec<u8> {
    for version in VERSIONS {
        world.ask(
            "GET /images/json",
            &format!("{version}/images/json?all=1&shared-size=1"),
        );
        for name in ["all:1", "child:1", "arm:1"] {
            world.ask(
                "GET /images/{name}/json",
                &format!("{version}/images/{name}/json"),
            );
            world.ask(
                "GET /images/{name}/history",
                &format!("{version}/images/{name}/history"),
            );
        }
    }
    world.ask("POST /images/{name}/tag", "/images/all:1/tag?repo=named&tag=2");
    let archive = world.ask("GET /images/get", "/images/get?names=named:2&names=child:1");
    world.ask("GET /images/{name}/get", "/images/all:1/get");
    world.ask("DELETE /images/{name}", "/images/named:2");
    world.ask("DELETE /images/{name}", "/images/child:1");
    for quiet in [0, 1] {
        let target = format!("/images/load?quiet={quiet}");
        let loaded = world.send("POST /images/load", &target, "", &archive.body);
        assert!(
            loaded.text().contains("Loaded image: named:2"),
            "{}",
            loaded.text()
        );
    }
    world.send("POST /images/load", "/images/load", "", b"no archive");
    let files = tar(&Context::new("x"));
    let imported = world.send(
        "POST /images/create",
        "/images/create?fromSrc=-&repo=imported",
        "",
        &files,
    );
    assert!(imported.text().contains("sha256:"), "{}", imported.text());
    archive.body
}

/// A registry with a user: what comes from it and goes to it.
fn registries(world: &mut World) {
    let registry = FakeRegistry::with(Options {
        door: Some(Door::Basic),
        users: vec![
            User::new("u", "p").may("*", &[Action::Pull, Action::Push]),
            User::new("r", "r").may("*", &[Action::Pull]),
        ],
        ..Options::default()
    });
    // far enough away for bars to be drawn
    let way = SlowProxy::start(&registry.host());
    let host = way.address();
    // {"username":"u","password":"p"}
    let auth = "X-Registry-Auth: eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==\r\n";
    let login = |password| format!(r#"{{"username":"u","password":"{password}","serveraddress":"{host}"}}"#);
    assert_eq!(
        world
            .send("POST /auth", "/auth", "", login("p").as_bytes())
            .status,
        200
    );
    assert_eq!(
        world
            .send("POST /auth", "/auth", "", login("q").as_bytes())
            .status,
        401
    );

    for (image, tag) in [("all:1", "1"), ("arm:1", "arm")] {
        let target = format!("/images/{image}/tag?repo={host}/a&tag={tag}");
        world.ask("POST /images/{name}/tag", &target);
    }
    // {"username":"r","password":"r"}
    let reader = "X-Registry-Auth: eyJ1c2VybmFtZSI6InIiLCJwYXNzd29yZCI6InIifQ==\r\n";
    let check = "POST /mica/push-check/{name}";
    assert_eq!(
        world
            .send(check, &format!("/mica/push-check/{host}/a"), auth, b"")
            .status,
        200
    );
    for version in ["/v1.22", ""] {
        let target = format!("{version}/mica/push-check/{host}/a");
        let refused = world.send(check, &target, reader, b"");
        assert_eq!(refused.status, 200);
        assert!(
            refused.text().contains(r#""Trouble":"refused""#),
            "{}",
            refused.text()
        );
    }
    let push = format!("/images/{host}/a/push");
    let pushed = world.send("POST /images/{name}/push", &push, auth, b"");
    assert!(pushed.text().contains("\"aux\""), "{}", pushed.text());
    let refused = world.send("POST /images/{name}/push", &push, "", b"");
    assert!(refused.text().contains("errorDetail"), "{}", refused.text());

    let image = id(&world.ask("GET /images/{name}/json", &format!("/images/{host}/a:1/json")));
    // with what stands on its layers, so that they are fetched
    for name in ["child:1", &image] {
        world.ask("DELETE /images/{name}", &format!("/images/{name}?force=1"));
    }
    world.ask("POST /build/prune", "/build/prune?all=1");
    let pull = format!("/images/create?fromImage={host}/a&tag=1");
    let pulled = world.send("POST /images/create", &pull, auth, b"");
    assert!(
        pulled.text().contains("Downloaded newer image"),
        "{}",
        pulled.text()
    );
    world.send("POST /images/create", &pull, "", b"");
    for blob in fs_err::read_dir(world.daemon.root().join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let bytes = fs_err::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            fs_err::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let config = format!(r#"{{"{host}":{{"username":"r","password":"r"}}}}"#);
    let config = base64::engine::general_purpose::URL_SAFE.encode(config);
    let config = format!("X-Registry-Config: {config}\r\n");
    let fetched = world.send("POST /mica/check", "/mica/check?repair=true", &config, b"");
    assert!(fetched.text().contains("\"From\""), "{}", fetched.text());
    for name in ["a:1", "a:arm", "no:1"].map(|name| format!("{host}/{name}")) {
        let target = format!("/distribution/{name}/json");
        world.send("GET /distribution/{name}/json", &target, auth, b"");
        let target = format!("/mica/manifest/{name}");
        world.send("GET /mica/manifest/{name}", &target, auth, b"");
    }
}

/// A registry that can be searched.
fn search(world: &mut World) {
    let hit = r#"{"name":"a","description":"b","star_count":1,"is_official":true,"is_automated":false}"#;
    let hits = format!(r#"{{"results":[{hit}]}}"#).into_bytes();
    let server = SearchServer::start([SearchReply::Bytes(200, hits)]);
    let target = format!("/images/search?term={}/a", server.host());
    let found = world.ask("GET /images/search", &target);
    assert!(found.text().contains("star_count"), "{}", found.text());
}

/// What tells of all that was done, and what takes it away.
fn rest(world: &mut World) {
    for version in VERSIONS {
        world.ask("GET /system/df", &format!("{version}/system/df"));
        let verbose = format!("{version}/system/df?type=image&type=build-cache&verbose=1");
        world.ask("GET /system/df", &verbose);
        world.ask("GET /system/df", &format!("{version}/system/df?on-disk=1"));
        let refused = world.ask("GET /images/{name}/json", &format!("{version}/images/nope/json"));
        assert_eq!(refused.status, 404);
    }
    world.ask("GET /events", "/events?since=0&until=1");
    world.ask(
        "GET /events",
        &format!("/events?since=0&until={}", i64::from(u32::MAX >> 1).min(now())),
    );
    let lines = "Accept: application/x-ndjson\r\n";
    let all = "/images/prune?filters=%7B%22dangling%22:%5B%22false%22%5D%7D";
    for (route, target) in [
        ("POST /images/prune", all),
        ("POST /build/prune", "/build/prune?all=1"),
    ] {
        let told = world.send(route, target, lines, b"");
        assert!(told.text().contains("\"Progress\""), "{}", told.text());
        world.ask(route, target);
    }
}

/// A store of which an image's layer has gone bad.
fn damage(world: &mut World) {
    let whole = world.ask("POST /mica/check", "/mica/check?level=trees");
    assert!(whole.text().contains("\"Findings\":0"), "{}", whole.text());
    let blobs = fs_err::read_dir(world.daemon.root().join("blobs/sha256")).unwrap();
    let largest = blobs
        .map(Result::unwrap)
        .max_by_key(|blob| blob.metadata().unwrap().len());
    fs_err::write(largest.unwrap().path(), "no layer").unwrap();
    let found = world.ask("POST /mica/check", "/mica/check?level=full");
    assert!(found.text().contains("\"Finding\""), "{}", found.text());
    let config = "X-Registry-Config: e30=\r\n";
    let repaired = world.send("POST /mica/check", "/mica/check?level=full&repair=1", config, b"");
    assert!(repaired.text().contains("\"Repair\""), "{}", repaired.text());
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn answers_are_what_the_description_says() {
    let mut world = World::start();
    system(&mut world);
    if !rustix::process::geteuid().is_root() {
        println!("skipped: answers about images, only root can start the sandbox");
        return;
    }
    let failed = builds(&mut world);
    // a prune of everything takes the logs of builds, too
    world.ask("GET /mica/logs", "/mica/logs");
    world.ask("GET /mica/logs/{build}", &format!("/mica/logs/{failed}"));
    let archive = images(&mut world);
    registries(&mut world);
    search(&mut world);
    rest(&mut world);
    world.send("POST /images/load", "/images/load?quiet=0", "", &archive);
    damage(&mut world);

    let never: Vec<String> = world.never(&[200, 201]);
    let never: Vec<&str> = never
        .iter()
        .map(String::as_str)
        .filter(|one| !one.contains("/mica/debug/"))
        .collect();
    assert_eq!(never, [""; 0], "described, and no answer of these tests");
    let mut unseen: BTreeSet<String> = BTreeSet::new();
    for answered in world.answered() {
        unseen.extend(world.schemas.unseen(&answered));
    }
    unseen.retain(|pointer| !UNSEEN.iter().any(|(part, _)| pointer.contains(part)));
    assert!(unseen.is_empty(), "in no answer of these tests: {unseen:#?}");
}
