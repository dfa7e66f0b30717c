//! What buildx asks of its docker driver only where the worker's label says that all of it is there.

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, run};
use serde_json::Value;

use crate::client::{Client, says};

const TWO: &str = "--platform=linux/amd64,linux/arm64";

fn copied() -> Context {
    Context::new("FROM scratch\nCOPY made /\n").file("made", "by hand\n")
}

/// The document a registry has under a name.
fn raw(client: &Client, name: &str) -> Value {
    let source = format!("docker://{name}");
    let mut skopeo = client.cleaned("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]);
    serde_json::from_slice(&run(&mut skopeo).ok().stdout.into_bytes()).unwrap()
}

#[test]
fn several_platforms_are_pushed_as_an_index() {
    let Some(client) = Client::start() else { return };
    let (registry, context) = (DockerRegistry::plain(), copied());
    let name = registry.name("app:1");
    client.build([TWO, "--push", "-t", &name, context.arg()]).ok();
    let index = raw(&client, &name);
    let of = |at: usize| &index["manifests"][at]["platform"]["architecture"];
    assert_eq!((of(0), of(1)), (&"amd64".into(), &"arm64".into()), "{index}");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index}");
}

#[test]
fn attestations_are_pushed_on_request_alone() {
    let Some(client) = Client::start() else { return };
    let (registry, context) = (DockerRegistry::plain(), copied());
    let (plain, attested) = (registry.name("app:plain"), registry.name("app:attested"));
    client.build(["--push", "-t", &plain, context.arg()]).ok();
    assert!(raw(&client, &plain)["layers"].is_array());
    client
        .build(["--provenance=mode=max", "--push", "-t", &attested, context.arg()])
        .ok();
    let index = raw(&client, &attested);
    let kind = &index["manifests"][1]["annotations"]["vnd.docker.reference.type"];
    assert_eq!(kind, "attestation-manifest", "{index}");
}

#[test]
fn outputs_are_archives_and_layouts() {
    let Some(client) = Client::start() else { return };
    let context = copied();
    let id = client.build_quietly(["-t", "app:1", context.arg()]);
    for kind in ["oci", "docker"] {
        let output = format!("--output=type={kind},name=app:{kind},dest={kind}.tar");
        client.build([&output, context.arg()]).ok();
        let tar = format!("{kind}.tar");
        run(&mut client.docker(["load", "-i", &tar])).ok();
        let loaded = client.inspect(&format!("app:{kind}"), "{{.Id}}");
        assert_eq!(loaded, id, "{kind}");
    }
    client
        .build(["--output=type=oci,tar=false,dest=layout", context.arg()])
        .ok();
    assert_eq!(client.json("layout/index.json")["schemaVersion"], 2);
    client
        .build([TWO, "--output=type=oci,dest=two.tar", context.arg()])
        .ok();
}

#[test]
fn steps_are_kept_in_a_registry() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let context = copied();
    let cache = format!("type=registry,ref={}", registry.name("cache:1"));
    let to = format!("--cache-to={cache},mode=max");
    client.build([&to, context.arg()]).ok();
    let other = Client::start().unwrap();
    let built = other
        .build([&format!("--cache-from={cache}"), context.arg()])
        .ok();
    says(&built.stderr, &["CACHED"]);
}
