//! What buildx asks of its docker driver only where the worker's label says that all of it is there.

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, run};
use serde_json::Value;

use crate::client::{Client, greeting, says};

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
        .build([
            "--output=type=oci,tar=false,name=app:1,dest=layout",
            context.arg(),
        ])
        .ok();
    let place = format!("oci:{}", client.path("layout"));
    let config = run(&mut client.cleaned("skopeo", ["inspect", "--raw", &place])).ok();
    let manifest: Value = serde_json::from_str(&config.stdout).unwrap();
    assert_eq!(manifest["config"]["digest"], id.as_str());

    client
        .build([TWO, "--output=type=oci,dest=two.tar", context.arg()])
        .ok();
    fs_err::create_dir(client.path("two")).unwrap();
    run(&mut client.cleaned("tar", ["-xf", "two.tar", "-C", "two"])).ok();
    let list = client.json("two/index.json")["manifests"][0]["digest"].clone();
    let list = list.as_str().unwrap().replace(':', "/");
    let found = client.json(&format!("two/blobs/{list}"));
    let of = |at: usize| &found["manifests"][at]["platform"]["architecture"];
    assert_eq!((of(0), of(1)), (&"amd64".into(), &"arm64".into()), "{found}");
}

/// Whoever asks, it is the same image, and the second one to ask finds it made.
#[test]
fn docker_and_mica_build_the_same() {
    let Some(client) = Client::start() else { return };
    let context = greeting();
    let id = client.build_quietly(["-t", "app:1", context.arg()]);
    let again = client.daemon.mica(["build", "-t", "app:2", context.arg()]).ok();
    says(&again.stderr, &["Using cache"]);
    assert_eq!(client.inspect("app:2", "{{.Id}}"), id);
    let mut docker = client.docker(["build", "-q", "-t", "app:3", context.arg()]);
    assert_eq!(run(&mut docker).ok().text(), id);
}

#[test]
fn a_list_of_what_is_in_an_image_is_pushed_with_it() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let script = r#"#!/bin/sh
printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":{"spdxVersion":"SPDX-2.3"}}' > "$BUILDKIT_SCAN_DESTINATION/list.spdx.json"
"#;
    let scanner = "FROM base\nCOPY --chmod=755 scan /scan\nENTRYPOINT [\"/scan\"]\n";
    let scanner = Context::with_shell(scanner).file("scan", script);
    client.build(["-t", "scanner:1", scanner.arg()]).ok();
    let name = registry.name("app:1");
    client
        .build([
            "--sbom=generator=scanner:1",
            "--push",
            "-t",
            &name,
            copied().arg(),
        ])
        .ok();
    let index = raw(&client, &name);
    let said = index["manifests"][1]["digest"].as_str().unwrap();
    let (place, _) = name.rsplit_once(':').unwrap();
    let statements = raw(&client, &format!("{place}@{said}"));
    let kind = &statements["layers"][0]["annotations"]["in-toto.io/predicate-type"];
    assert_eq!(kind, "https://spdx.dev/Document", "{statements}");
}

/// Of a stage that is only copied from, the cache of the image alone knows nothing.
#[test]
fn steps_are_kept_in_a_registry() {
    let Some(client) = Client::start() else { return };
    let registry = DockerRegistry::plain();
    let context = Context::with_shell(
        "FROM base AS made\nRUN echo long > /long\nFROM scratch\nCOPY --from=made /long /\n",
    );
    for (mode, kept) in [("min", false), ("max", true)] {
        let cache = format!("type=registry,ref={}", registry.name(&format!("cache:{mode}")));
        let to = format!("--cache-to={cache},mode={mode}");
        client.build([&to, context.arg()]).ok();
        let other = Client::start().unwrap();
        // another last step, so that the stage is wanted
        let file = fs_err::read_to_string(context.path().join("Dockerfile")).unwrap();
        let file = format!("{file}COPY --from=made /long /again\n");
        let from = format!("--cache-from={cache}");
        let built = other.build_fed([&from, "-f-", context.arg()], &file).ok();
        let step = built.stderr.lines().find(|line| line.contains("RUN echo long"));
        let number = step.unwrap().split(' ').next().unwrap();
        let cached = built.stderr.contains(&format!("{number} CACHED"));
        assert_eq!(cached, kept, "{mode}: {}", built.stderr);
    }
}
