//! Listing, looking at, naming, removing and pruning images.

use serde_json::{Value, json};

use crate::archive::{image, small_image};
use crate::micad::Micad;

fn quote(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn names(list: &Value) -> Vec<String> {
    let images = list.as_array().unwrap();
    images
        .iter()
        .map(|image| image["RepoTags"][0].as_str().unwrap_or("-").to_owned())
        .collect()
}

fn filtered(micad: &Micad, filters: &Value) -> Vec<String> {
    let answer = micad.get(&format!("/images/json?filters={}", quote(&filters.to_string())));
    assert_eq!(answer.status, 200, "{}", answer.text());
    names(&answer.json())
}

/// Three images, one day after the other, and one without a name.
fn four_images() -> Micad {
    let micad = Micad::start();
    for (at, tags) in [&["old:1"][..], &["me/mid:1", "me/mid:2"], &["host.io/new:1"], &[]]
        .iter()
        .enumerate()
    {
        let created = format!("2026-01-0{}T00:00:00Z", at + 1);
        let labels = json!({"n": at.to_string()});
        micad.load(&image(tags, &created, &labels, &[&[("f", created.as_bytes())]]));
    }
    micad
}

#[test]
fn a_list_has_docker_s_shape() {
    let micad = Micad::start();
    assert_eq!(micad.get("/images/json").text(), "[]\n");
    let loaded = small_image(&["a:1", "b:1"]);
    micad.load(&loaded);
    let list = micad.get("/images/json?all=1&digests=1&manifests=1").json();
    assert_eq!(
        list,
        json!([{
            "Id": loaded.id, "ParentId": "", "RepoTags": ["a:1", "b:1"], "RepoDigests": [],
            "Created": 1767323045, "Size": 2048, "SharedSize": -1, "Labels": {"k": "v"}, "Containers": 0,
        }])
    );
    let older = micad.get("/v1.42/images/json?shared-size=1").json();
    assert_eq!(older[0]["VirtualSize"], 2048);
    assert_eq!(
        (&older[0]["Containers"], &older[0]["SharedSize"]),
        (&json!(-1), &json!(0))
    );
    assert_eq!(micad.get("/info").json()["Images"], 1);
}

#[test]
fn filters_choose() {
    let micad = four_images();
    let all = ["-", "host.io/new:1", "me/mid:1", "old:1"];
    assert_eq!(filtered(&micad, &json!({})), all);
    for (filters, expected) in [
        (json!({"dangling": ["true"]}), &["-"][..]),
        (json!({"dangling": {"false": true}}), &all[1..]),
        (json!({"label": ["n=1"]}), &["me/mid:1"]),
        (json!({"label": ["n"]}), &all),
        (json!({"label": ["n=1", "n=2"]}), &[]),
        (json!({"label!": ["n=1", "n=3"]}), &["host.io/new:1", "old:1"]),
        (json!({"before": ["me/mid:2"]}), &["old:1"]),
        (json!({"since": ["me/mid:1"]}), &["-", "host.io/new:1"]),
        (
            json!({"since": ["old:1", "me/mid:1"], "before": ["host.io/new:1"]}),
            &[],
        ),
        (json!({"until": ["2026-01-02T00:00:00Z"]}), &["me/mid:1", "old:1"]),
        (json!({"until": ["1h"]}), &all),
        (json!({"reference": ["me/*"]}), &["me/mid:1"]),
        (
            json!({"reference": ["old", "*/new:*"]}),
            &["host.io/new:1", "old:1"],
        ),
        (json!({"reference": ["docker.io/library/old"]}), &["old:1"]),
        (json!({"reference": ["*"]}), &["old:1"]),
        (json!({"reference": ["nope"]}), &[]),
    ] {
        assert_eq!(filtered(&micad, &filters), expected, "{filters}");
    }
    let only = format!("/images/json?filters={}", quote(r#"{"reference":["me/mid:2"]}"#));
    assert_eq!(micad.get(&only).json()[0]["RepoTags"], json!(["me/mid:2"]));
    assert_eq!(
        names(&micad.get("/v1.30/images/json?filter=old").json()),
        ["old:1"]
    );
    let nameless = format!("/v1.42/images/json?filters={}", quote(r#"{"dangling":["1"]}"#));
    assert_eq!(
        micad.get(&nameless).json()[0]["RepoTags"],
        json!(["<none>:<none>"])
    );
    let unknown = format!("/images/json?filters={}", quote(r#"{"since":["me/mid"]}"#));
    micad
        .get(&unknown)
        .expect_error(404, "No such image: me/mid:latest");
    for (filters, message) in [
        ("x", "invalid filter"),
        (r#"{"x":["y"]}"#, "invalid filter 'x'"),
        (r#"{"dangling":["x"]}"#, "invalid filter 'dangling=[x]'"),
        (r#"{"reference":["["]}"#, "invalid filter"),
    ] {
        micad
            .get(&format!("/images/json?filters={}", quote(filters)))
            .expect_error(400, message);
    }
}

#[test]
fn an_image_is_found_by_all_its_names() {
    let micad = Micad::start();
    let loaded = small_image(&["localhost:5000/me/app:v1", "plain"]);
    micad.load(&loaded);
    let hex = &loaded.id["sha256:".len()..];
    for name in [
        "plain",
        "plain:latest",
        "docker.io/library/plain",
        "localhost:5000/me/app:v1",
        "localhost%3A5000%2Fme%2Fapp%3Av1",
        &loaded.id,
        hex,
        &hex[..12],
        &loaded.id[..15],
        &format!("plain@{}", loaded.id),
    ] {
        let answer = micad.get(&format!("/images/{name}/json"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.json()["Id"], loaded.id);
    }
    for (name, status, message) in [
        ("nope", 404, "No such image: nope:latest"),
        ("nope:1", 404, "No such image: nope:1"),
        ("deadbeef", 404, "No such image: deadbeef:latest"),
        (&"0".repeat(64), 404, "No such image: 000"),
        (
            &format!("other@{}", loaded.id),
            404,
            "No such image: other@sha256",
        ),
        ("a%20b", 400, "invalid reference format"),
        ("UPPER", 400, "must be lowercase"),
        ("a//b", 400, "invalid reference format"),
        ("%zz", 400, "invalid URL escape"),
    ] {
        micad
            .get(&format!("/images/{name}/json"))
            .expect_error(status, message);
    }
    micad
        .get("/images//json")
        .expect_error(400, "image name cannot be blank");
}

#[test]
fn inspect_and_history_fit_the_version_asked_for() {
    let micad = Micad::start();
    let loaded = image(
        &["a:1"],
        "2026-01-02T03:04:05.000000067Z",
        &json!({"k": "v"}),
        &[&[("a", b"x")], &[("b", b"y")]],
    );
    micad.load(&loaded);
    let own = micad.get("/images/a:1/json").json();
    assert_eq!(own["Created"], "2026-01-02T03:04:05.000000067Z");
    assert_eq!(own["RootFS"]["Type"], "layers");
    assert_eq!(own["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert_eq!(own["RepoDigests"], json!([]));
    for key in [
        "User",
        "Env",
        "Cmd",
        "Entrypoint",
        "Labels",
        "OnBuild",
        "Volumes",
        "WorkingDir",
    ] {
        assert!(own["Config"].get(key).is_some(), "{key}");
    }
    for (path, key, there) in [
        ("/v1.51/images/a:1/json", "/Config/Hostname", false),
        ("/v1.49/images/a:1/json", "/Config/Hostname", true),
        ("/v1.45/images/a:1/json", "/ContainerConfig", false),
        // there was none, which is told as one that sets nothing
        ("/v1.44/images/a:1/json", "/ContainerConfig/Cmd", true),
        ("/v1.44/images/a:1/json", "/VirtualSize", false),
        ("/v1.43/images/a:1/json", "/VirtualSize", true),
    ] {
        assert_eq!(
            micad.get(path).json().pointer(key).is_some(),
            there,
            "{path} {key}"
        );
    }
    let other = quote(r#"{"os":"linux","architecture":"s390x"}"#);
    micad
        .get(&format!("/images/a:1/json?platform={other}"))
        .expect_error(404, "image with reference a:1 was found but its platform (linux/");
    micad
        .get("/images/a:1/json?platform=x")
        .expect_error(400, "failed to parse platform");

    let history = micad.get("/images/a:1/history").json();
    let history = history.as_array().unwrap();
    let column = |key: &str| -> Vec<Value> { history.iter().map(|step| step[key].clone()).collect() };
    assert_eq!(column("CreatedBy"), ["ENV A=b", "layer 1", "layer 0"]);
    assert_eq!(column("Size"), [0, 2048, 2048]);
    assert_eq!(column("Id"), [&loaded.id, "<missing>", "<missing>"]);
    assert_eq!(column("Tags"), [json!(["a:1"]), json!(null), json!(null)]);
    micad
        .get("/images/nope/history")
        .expect_error(404, "No such image: nope:latest");
}

#[test]
fn tags_are_given_and_move() {
    let micad = Micad::start();
    let (one, two) = (
        small_image(&["one:1"]),
        image(&["two:1"], "2026-02-01T00:00:00Z", &json!({}), &[]),
    );
    micad.load(&one);
    micad.load(&two);
    for (path, body) in [
        ("/images/one:1/tag?repo=three&tag=x", ""),
        ("/images/one:1/tag?repo=three", "{\"repo\":\"ignored\"}"),
        ("/images/one:1/tag?repo=localhost:5000/a/b&tag=&force=1", ""),
    ] {
        let answer = micad.post(path, body.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (201, ""), "{path}");
    }
    let tags = |name: &str| micad.get(&format!("/images/{name}/json")).json()["RepoTags"].clone();
    assert_eq!(
        tags("one:1"),
        json!(["one:1", "three:latest", "three:x", "localhost:5000/a/b:latest"])
    );
    assert_eq!(micad.post("/images/two:1/tag?repo=three&tag=x", b"").status, 201);
    assert_eq!(tags("three:x"), json!(["three:x", "two:1"]));
    for (path, status, message) in [
        ("/images/nope/tag?repo=a", 404, "No such image: nope:latest"),
        ("/images/one:1/tag?repo=", 400, "invalid reference format"),
        ("/images/one:1/tag", 400, "invalid reference format"),
        ("/images/one:1/tag?repo=A", 400, "must be lowercase"),
        ("/images/one:1/tag?repo=a&tag=b%20c", 400, "invalid tag format"),
        (
            &format!("/images/one:1/tag?repo=a@{}", one.id),
            400,
            "refusing to create a tag with a digest reference",
        ),
        (
            "/images/one:1/tag?repo=sha256&tag=x",
            400,
            "refusing to create an ambiguous tag using digest algorithm as name",
        ),
    ] {
        micad.post(path, b"").expect_error(status, message);
    }
}

#[test]
fn names_go_first_and_the_image_with_the_last_of_them() {
    let micad = Micad::start();
    let loaded = small_image(&["a:1", "a:2", "b:1"]);
    micad.load(&loaded);
    let short = &loaded.id["sha256:".len()..][..12];
    assert_eq!(micad.delete("/images/a:1").json(), json!([{"Untagged": "a:1"}]));
    for name in [short, &loaded.id] {
        micad.delete(&format!("/images/{name}")).expect_error(
            409,
            &format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"),
        );
    }
    assert_eq!(micad.delete("/images/b:1").json(), json!([{"Untagged": "b:1"}]));
    let gone = micad.delete("/images/a:2").json();
    assert_eq!(
        (&gone[0], &gone[1]),
        (&json!({"Untagged": "a:2"}), &json!({"Deleted": loaded.id}))
    );
    assert!(gone[2]["Deleted"].as_str().unwrap().starts_with("sha256:"));
    micad
        .delete("/images/a:2")
        .expect_error(404, "No such image: a:2");
    micad
        .delete("/images/")
        .expect_error(400, "image name cannot be blank");
    micad
        .delete("/images/%20")
        .expect_error(400, "image name cannot be blank");

    micad.load(&loaded);
    let gone = micad.delete(&format!("/images/{short}?force=True")).json();
    assert_eq!(gone.as_array().unwrap().len(), 5, "{gone}");
    assert_eq!(micad.get("/images/json").text(), "[]\n");
    // a single name goes with the image by ID
    micad.load(&small_image(&["c:1"]));
    assert_eq!(
        micad.delete(&format!("/images/{short}")).json()[0],
        json!({"Untagged": "c:1"})
    );
}

#[test]
fn prune_takes_what_it_is_told_to() {
    let micad = four_images();
    let prune = |filters: &str| micad.post(&format!("/images/prune?filters={}", quote(filters)), b"");
    assert_eq!(
        prune(r#"{"label":["n=1"]}"#).json(),
        json!({"ImagesDeleted": null, "SpaceReclaimed": 0})
    );
    let report = micad.post("/images/prune", b"").json();
    assert_eq!(report["ImagesDeleted"].as_array().unwrap().len(), 2, "{report}");
    assert!(report["SpaceReclaimed"].as_u64().unwrap() > 0);
    let report = prune(r#"{"dangling":["false"],"until":["2026-01-01T12:00:00Z"]}"#).json();
    assert_eq!(report["ImagesDeleted"][0], json!({"Untagged": "old:1"}));
    let report = prune(r#"{"dangling":{"false":true},"label!":["n=2"]}"#).json();
    assert_eq!(report["ImagesDeleted"].as_array().unwrap().len(), 4, "{report}");
    assert_eq!(names(&micad.get("/images/json").json()), ["host.io/new:1"]);
    prune(r#"{"until":["1h","2h"]}"#).expect_error(400, "until");
    prune(r#"{"nope":["1h"]}"#).expect_error(400, "invalid filter 'nope'");
    prune(r#"{"dangling":["false"]}"#);
    assert_eq!(micad.get("/images/json").text(), "[]\n");
}
