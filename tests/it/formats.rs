//! What registries hold beside plain images: indexes for several platforms, layers that lie elsewhere, documents of old.

use mica_tests::{Context, Daemon, FakeRegistry, run};
use serde_json::{Value, json};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

/// An image of one file for a platform, in a registry; gives the digest and length of its manifest.
fn image(registry: &FakeRegistry, repository: &str, os: &str, architecture: &str) -> (String, usize) {
    let daemon = Daemon::start();
    let tag = format!("{os}-{architecture}");
    let name = format!("{}/{repository}:{tag}", registry.host());
    let context = Context::new("FROM scratch\nCOPY f /f\n").file("f", &tag);
    daemon
        .mica([
            "build",
            "-q",
            "--platform",
            &format!("{os}/{architecture}"),
            "-t",
            &name,
            context.arg(),
        ])
        .ok();
    daemon.mica(["push", "-q", &name]).ok();
    let (_, bytes) = registry.manifest(repository, &tag).unwrap();
    let digest = daemon
        .mica(["inspect", "-f", "{{index .RepoDigests 0}}", &name])
        .ok();
    (digest.text().split_once('@').unwrap().1.to_owned(), bytes.len())
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let registry = FakeRegistry::start();
    let mut manifests = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let (digest, size) = image(&registry, "multi", "linux", architecture);
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &digest, size);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        manifests.push(entry);
    }
    // what docker's builder puts beside images
    let mut attestation = manifests[0].clone();
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    manifests.insert(0, attestation);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string();
    let digest = registry.put_manifest("multi", Some("all"), OCI_INDEX, index.as_bytes());

    let daemon = Daemon::start();
    let name = format!("{}/multi:all", registry.host());
    let pulled = daemon.mica(["pull", "--platform", "linux/arm64/v8", &name]).ok();
    assert!(
        pulled.stderr.contains(&format!("Digest: {digest}")),
        "{}",
        pulled.stderr
    );
    let architecture = || {
        daemon
            .mica(["inspect", "-f", "{{.Architecture}}", &name])
            .ok()
            .text()
            .to_owned()
    };
    assert_eq!(architecture(), "arm64");
    let digests = daemon
        .mica(["inspect", "-f", "{{index .RepoDigests 0}}", &name])
        .ok();
    assert!(
        digests.text().ends_with(&digest),
        "the digest is the index's: {}",
        digests.text()
    );
    // the index is kept as it came
    let kept = daemon
        .root()
        .join("blobs/sha256")
        .join(&digest["sha256:".len()..]);
    assert_eq!(fs_err::read_to_string(kept).unwrap(), index);
    daemon
        .mica(["pull", "-q", "--platform", "linux/amd64", &name])
        .ok();
    assert_eq!(architecture(), "amd64");
    let none = daemon.mica(["pull", "--platform", "linux/s390x", &name]);
    assert_eq!(none.code, 1);
    assert!(
        none.stderr
            .contains("no matching manifest for linux/s390x in the manifest list entries"),
        "{}",
        none.stderr
    );

    // a registry says the same without anything being fetched
    let shown = daemon.mica(["manifest", "inspect", &name]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["manifests"].as_array().unwrap().len(), 3);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", "--unix-socket", daemon.socket().to_str().unwrap()]);
    let asked = run(curl.arg(format!("http://mica/distribution/{name}/json"))).ok();
    let asked: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(asked["Descriptor"]["digest"], digest.as_str());
    assert_eq!(
        asked["Platforms"][1],
        json!({"architecture": "arm64", "os": "linux"})
    );
}

#[test]
fn foreign_layers_are_fetched_where_they_are_and_not_pushed() {
    let registry = FakeRegistry::start();
    let elsewhere = FakeRegistry::start();
    image(&registry, "windows", "windows", "amd64");
    let (_, manifest) = registry.manifest("windows", "windows-amd64").unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let layer = registry.blob("windows", &digest).unwrap();
    elsewhere.put_blob("base", &layer);
    manifest["mediaType"] = json!(DOCKER_MANIFEST);
    manifest["layers"][0]["mediaType"] = json!(FOREIGN);
    manifest["layers"][0]["urls"] = json!([format!("http://{}/v2/base/blobs/{digest}", elsewhere.host())]);
    // the repository it is pulled from has all but the layer
    let config = registry
        .blob("windows", manifest["config"]["digest"].as_str().unwrap())
        .unwrap();
    registry.put_blob("base-image", &config);
    let text = manifest.to_string();
    let pushed = registry.put_manifest("base-image", Some("1"), DOCKER_MANIFEST, text.as_bytes());

    let daemon = Daemon::start();
    let name = format!("{}/base-image:1", registry.host());
    daemon
        .mica(["pull", "-q", "--platform", "windows/amd64", &name])
        .ok();
    assert_eq!(
        daemon.mica(["inspect", "-f", "{{.Os}}", &name]).ok().text(),
        "windows"
    );
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );

    let copy = format!("{}/copy:1", registry.host());
    daemon.mica(["tag", &name, &copy]).ok();
    let copied = daemon.mica(["push", &copy]).ok();
    assert!(
        copied.stderr.contains("Skipped foreign layer") && copied.stdout.contains(&pushed),
        "{}",
        copied.stderr
    );
    assert!(registry.blob("copy", &digest).is_none());
}

#[test]
fn manifests_of_before_2017_are_refused_in_docker_s_words() {
    let registry = FakeRegistry::start();
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let text = r#"{"schemaVersion":1,"name":"old","tag":"1","fsLayers":[],"history":[]}"#;
    registry.put_manifest("old", Some("1"), media_type, text.as_bytes());
    let daemon = Daemon::start();
    let pulled = daemon.mica(["pull", &format!("{}/old:1", registry.host())]);
    assert_eq!(pulled.code, 1);
    let words =
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed";
    assert!(pulled.stderr.contains(words), "{}", pulled.stderr);
}

#[test]
fn layers_go_out_in_zstd_where_that_is_asked_for() {
    let registry = FakeRegistry::start();
    let daemon = Daemon::start();
    let name = format!("{}/small:1", registry.host());
    let context = Context::with_shell("FROM base\nRUN echo made > /made\n");
    daemon.mica(["build", "-q", "-t", &name, context.arg()]).ok();
    daemon.mica(["push", "-q", "--compression", "zstd", &name]).ok();
    let (_, manifest) = registry.manifest("small", "1").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    }
    let empty = Daemon::start();
    empty.mica(["pull", "-q", &name]).ok();
    let on_top = Context::new(&format!("FROM {name}\nRUN cat /made\n"));
    empty.mica(["build", "-t", "x", on_top.arg()]).ok();
}
