//! What is said of images: made if asked for, pushed with them, and nothing of it where nobody asked.

use std::process::Command;

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, Ran, run};
use serde_json::{Value, json};

/// An image with a file in it, built on a base made here.
const APP: &str = "FROM base\nARG TOKEN\nRUN echo made > /made\nCMD [\"sh\"]\n";

/// A statement as a generator writes it, with the files it found as its only package.
const LIST: &str = r#"printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[{"name":"lie","digest":{"sha256":"00"}}],"predicate":{"spdxVersion":"SPDX-2.3","name":"%s"}}' "#;

/// Makes an image that is run as a generator of lists.
fn generator(daemon: &Daemon, name: &str, script: &str) {
    let text = "FROM base\nCOPY --chmod=755 scan /scan\nENTRYPOINT [\"/scan\"]\n";
    let context = Context::with_shell(text).file("scan", &format!("#!/bin/sh\nset -e\n{script}\n"));
    daemon.mica(["build", "-q", "-t", name, context.arg()]).ok();
}

fn raw(what: &str) -> Value {
    let ran = run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", what])).ok();
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The statements that an index at a registry says of its only image, after a look at how they are attached.
fn statements(registry: &DockerRegistry, repository: &str, tag: &str) -> Vec<Value> {
    let name = format!("docker://{}", registry.name(repository));
    let index = raw(&format!("{name}:{tag}"));
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let [image, said] = &index["manifests"].as_array().unwrap()[..] else {
        panic!("{index}");
    };
    assert_eq!(image["platform"]["os"], "linux");
    assert_eq!(
        said["platform"],
        json!({"architecture": "unknown", "os": "unknown"})
    );
    assert_eq!(
        said["annotations"],
        json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"],
        })
    );
    let manifest = raw(&format!("{name}@{}", said["digest"].as_str().unwrap()));
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    let folder = tempfile::tempdir().unwrap();
    let copied = format!("dir:{}", folder.path().display());
    let from = format!("{name}@{}", said["digest"].as_str().unwrap());
    run(Command::new("skopeo").args(["copy", "--src-tls-verify=false", &from, &copied])).ok();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
            let hex = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
            let text = fs_err::read_to_string(folder.path().join(hex)).unwrap();
            let statement: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                layer["annotations"]["in-toto.io/predicate-type"],
                statement["predicateType"]
            );
            let subject = &statement["subject"][0];
            let digest = format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap());
            assert_eq!(image["digest"], digest.as_str());
            let purl = format!("pkg:docker/{}@{tag}?platform=linux%2F", registry.name(repository));
            assert!(subject["name"].as_str().unwrap().starts_with(&purl), "{subject}");
            statement
        })
        .collect()
}

#[test]
fn provenance_and_list_are_pushed_with_the_image() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let script = format!(
        "test -e $BUILDKIT_SCAN_SOURCE/made\n! touch $BUILDKIT_SCAN_SOURCE/x 2>/dev/null\n\
         {LIST} \"$(ls $BUILDKIT_SCAN_SOURCE_EXTRAS)\" > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json"
    );
    generator(&daemon, "scanner:1", &script);
    // the base is a registry's, so that its digest is known to all
    let base = registry.name("base:1");
    let from_shell = Context::with_shell("FROM base\n");
    daemon
        .mica(["build", "-q", "--push", "-t", &base, from_shell.arg()])
        .ok();
    let base_digest = daemon
        .mica(["inspect", "-f", "{{index .RepoDigests 0}}", &base])
        .ok();
    let base_digest = base_digest.text().split_once("@sha256:").unwrap().1.to_owned();
    let text = format!(
        "FROM {base} AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN echo made > /made\nFROM {base}\nARG TOKEN\nCOPY --from=tools /made /made\n"
    );
    let context = Context::new(&text);
    let plain = daemon.mica(["build", "-q", context.arg()]).ok().text().to_owned();
    let name = registry.name("app:1");
    let pushed = daemon
        .mica([
            "build",
            "--push",
            "--provenance=mode=max",
            "--sbom=generator=scanner:1",
            "--build-arg=TOKEN=told",
            "--metadata-file=/dev/stdout",
            "-t",
            &name,
            context.arg(),
        ])
        .ok();
    let [list, provenance] = &statements(&registry, "app", "1")[..] else {
        panic!("{}", pushed.stderr);
    };
    assert_eq!(list["predicateType"], "https://spdx.dev/Document");
    assert_eq!(
        list["predicate"],
        json!({"spdxVersion": "SPDX-2.3", "name": "sbom-tools"})
    );
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v0.2");
    let told = &provenance["predicate"];
    let materials = told["materials"].as_array().unwrap();
    let of_base = |material: &&Value| material["digest"]["sha256"] == base_digest.as_str();
    let found = materials.iter().find(of_base).unwrap();
    let purl = format!("pkg:docker/{}@1?", registry.name("base"));
    assert!(found["uri"].as_str().unwrap().starts_with(&purl), "{found}");
    assert_eq!(
        told["invocation"]["parameters"]["args"]["build-arg:TOKEN"],
        "told"
    );
    assert!(
        told["buildConfig"]["steps"]
            .to_string()
            .contains("RUN echo made > /made")
    );
    // the image itself is none other than without
    let id = daemon.mica(["inspect", "-f", "{{.Id}}", &name]).ok();
    let with_arg = daemon
        .mica(["build", "-q", "--build-arg=TOKEN=told", context.arg()])
        .ok();
    assert_eq!(id.text(), with_arg.text());
    assert_ne!(plain, "");
    // others get the image and nothing else
    let empty = Daemon::start();
    empty.mica(["pull", &name]).ok();
    assert_eq!(
        empty.mica(["inspect", "-f", "{{.Id}}", &name]).ok().text(),
        id.text()
    );
}

#[test]
fn the_least_provenance_and_the_other_form() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let context = Context::with_shell(APP);
    let name = registry.name("app:2");
    let flag = "--attest=type=provenance,mode=min,version=v1";
    let arg = "--build-arg=TOKEN=hidden";
    daemon
        .mica(["build", "-q", "--push", flag, arg, "-t", &name, context.arg()])
        .ok();
    let [provenance] = &statements(&registry, "app", "2")[..] else {
        panic!("one is asked for");
    };
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    assert!(!provenance.to_string().contains("TOKEN"), "{provenance}");
    let metadata = &provenance["predicate"]["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"]["request"], false);
}

#[test]
fn nobody_asked_and_nothing_is_said() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let context = Context::with_shell(APP);
    let push = |tag: &str, flags: &[&str]| {
        let name = registry.name(tag);
        let mut args = vec!["build", "-q", "--push", "-t", &name];
        args.extend(flags);
        args.push(context.arg());
        let id = daemon.mica(&args).ok().text().to_owned();
        (id, raw(&format!("docker://{name}")))
    };
    let (id, manifest) = push("app:plain", &[]);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    for (tag, flag) in [
        ("app:a", "--provenance=false"),
        ("app:b", "--attest=type=provenance,mode=min,inline-only=true"),
        ("app:c", "--sbom=false"),
    ] {
        let (same, pushed) = push(tag, &[flag]);
        assert_eq!((&same, &pushed), (&id, &manifest), "{flag}");
    }
    // what is kept here is the image alone, and it is said
    let kept = daemon
        .mica(["build", "--provenance", "-t", "kept", context.arg()])
        .ok();
    assert!(
        kept.stderr.contains("attestations travel only with --push"),
        "{}",
        kept.stderr
    );
    assert_eq!(daemon.mica(["inspect", "-f", "{{.Id}}", "kept"]).ok().text(), id);
    let refused = daemon.mica(["build", "--attest=type=other", context.arg()]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("unknown attestation type"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_generator_that_lies_fails_the_build() {
    let daemon = Daemon::start();
    let context = Context::with_shell(APP);
    let out = "$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json";
    let lying = |name: &str, script: &str| -> Ran {
        generator(&daemon, name, script);
        let flag = format!("--sbom=generator={name}");
        let ran = daemon.mica(["build", &flag, "-t", "never", context.arg()]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        ran
    };
    for (name, script, words) in [
        (
            "code",
            "echo no such thing >&2; exit 3".to_owned(),
            "it ended with code 3: no such thing",
        ),
        ("nothing", "true".to_owned(), "it wrote no sbom.spdx.json"),
        (
            "text",
            format!("echo hello > {out}"),
            "is no list of what is in the image",
        ),
        (
            "link",
            format!("ln -s /etc/passwd {out}"),
            "sbom.spdx.json is no regular file",
        ),
        (
            "pipe",
            format!("mkfifo {out}"),
            "sbom.spdx.json is no regular file",
        ),
        (
            "huge",
            format!("dd if=/dev/zero of={out} bs=1 count=1 seek=17179869183 2>/dev/null"),
            "sbom.spdx.json has 17179869184 bytes, and at most",
        ),
        (
            "away",
            "rm -rf /run/out 2>/dev/null || true; ln -s /etc /run/out/sbom.spdx.json".to_owned(),
            "sbom.spdx.json is no regular file",
        ),
    ] {
        let ran = lying(name, &script);
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
    }
    // what failed has no name
    assert_ne!(daemon.mica(["inspect", "never"]).code, 0);
}

#[test]
fn each_of_several_platforms_has_its_own() {
    let registry = DockerRegistry::plain();
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY file /\n").file("file", "text");
    let name = registry.name("both:1");
    let platforms = "--platform=linux/amd64,linux/arm64";
    let push = ["build", "--push", "--provenance=true", platforms, "-t", &name];
    daemon.mica(push.into_iter().chain([context.arg()])).ok();
    let index = raw(&format!("docker://{name}"));
    let [first, second, of_first, of_second] = &index["manifests"].as_array().unwrap()[..] else {
        panic!("{index}");
    };
    assert_eq!(first["platform"]["architecture"], "amd64");
    assert_eq!(second["platform"]["architecture"], "arm64");
    for (image, said) in [(first, of_first), (second, of_second)] {
        assert_eq!(said["platform"]["os"], "unknown");
        let about = &said["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(*about, image["digest"]);
        let of = format!(
            "docker://{}@{}",
            registry.name("both"),
            said["digest"].as_str().unwrap()
        );
        let statements = raw(&of);
        assert_eq!(
            statements["layers"][0]["mediaType"],
            "application/vnd.in-toto+json"
        );
    }
    // nobody asked: an index of the images alone
    let plain = registry.name("plain:1");
    daemon
        .mica(["build", "--push", platforms, "-t", &plain, context.arg()])
        .ok();
    let index = raw(&format!("docker://{plain}"));
    assert_eq!(
        index["manifests"],
        json!([first, second]),
        "the images are the same"
    );
}
