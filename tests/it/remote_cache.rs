//! Build caches in a registry: what one daemon did another need not do, and nothing that a registry says is believed.

use std::process::Command;

use mica_tests::servers::DockerRegistry;
use mica_tests::{Context, Daemon, Ran, run, run_fed};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cache::executed;

const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const STAGES: &str = "FROM base AS work\nCOPY a /a\nRUN cat /a > /a2; echo big > /big\nFROM base\nRUN echo 1 > /one\n\
                      COPY --from=work /a2 /a2\nRUN cat /a2 /one > /all\n";

fn context() -> Context {
    Context::with_shell(STAGES).file("a", "1")
}

fn build(daemon: &Daemon, context: &Context, args: &[&str]) -> Ran {
    let args = ["build", "--progress=classic"].iter().chain(args);
    daemon.mica(args.copied().chain([context.arg()]))
}

/// Builds on a daemon that has seen nothing before.
fn fresh(context: &Context, args: &[&str]) -> (Daemon, Ran) {
    let daemon = Daemon::start();
    let built = build(&daemon, context, args);
    (daemon, built)
}

/// What is in a file of the image that was built as `name`.
fn content(daemon: &Daemon, name: &str, file: &str) -> String {
    let context = Context::new(&format!("FROM {name}\nRUN cat {file}\n"));
    build(daemon, &context, &["--no-cache"]).ok().stderr
}

/// What lies in a registry under a name, byte for byte.
fn raw(name: &str) -> Value {
    let raw = run(Command::new("skopeo").args([
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{name}"),
    ]));
    serde_json::from_str(&raw.ok().stdout).unwrap()
}

fn blob(registry: &DockerRegistry, digest: &Value) -> Value {
    let bytes = fs_err::read(registry.blob_file(digest.as_str().unwrap())).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    format!(
        "sha256:{}",
        hex.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    )
}

fn curl(args: &[&str], body: &str) -> String {
    run_fed(Command::new("curl").args(["-sSf"]).args(args), body)
        .ok()
        .stdout
}

/// Puts a document with these layers under `repo:tag`, by hand.
fn put(registry: &DockerRegistry, repo: &str, document: &Value, layers: &Value) {
    let base = format!("http://{}/v2/{repo}", registry.address());
    let document = document.to_string();
    let headers = curl(&["-i", "-X", "POST", &format!("{base}/blobs/uploads/")], "");
    let location = headers
        .lines()
        .find_map(|line| {
            line.strip_prefix("Location: ")
                .or(line.strip_prefix("location: "))
        })
        .unwrap()
        .trim()
        .to_owned();
    let own = digest(document.as_bytes());
    let body = [
        "-X",
        "PUT",
        "-H",
        "Content-Type: application/octet-stream",
        "--data-binary",
        "@-",
    ];
    let upload = format!("{location}&digest={own}");
    curl(&[&body[..], &[upload.as_str()]].concat(), &document);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CACHE_CONFIG, "digest": own, "size": document.len()},
        "layers": layers,
    });
    let kind = format!("Content-Type: {OCI_MANIFEST}");
    let tag = format!("{base}/manifests/1");
    let body = ["-X", "PUT", "-H", &kind, "--data-binary", "@-", &tag];
    curl(&body, &manifest.to_string());
}

#[test]
fn what_one_daemon_did_another_need_not_do() {
    let registry = DockerRegistry::plain();
    let name = registry.name("cache/one:1");
    let context = Context::with_shell("FROM base\nCOPY a /a\nRUN cat /a > /b\nRUN true\n").file("a", "1");
    let to = format!("type=registry,ref={name}");
    let (first, built) = fresh(&context, &["--cache-to", &to, "-t", "x"]);
    let built = built.ok();
    assert!(
        built.stderr.contains(&format!("cache {} has ", name)),
        "{}",
        built.stderr
    );
    let id = |daemon: &Daemon| daemon.mica(["inspect", "-f", "{{.Id}}", "x"]).ok().stdout;

    let (second, built) = fresh(&context, &["--cache-from", &name, "-t", "x"]);
    let built = built.ok();
    assert_eq!(executed(&built.stderr), [""; 0], "{}", built.stderr);
    assert_eq!(id(&first), id(&second));
    assert!(content(&second, "x", "/b").contains("\n1"), "it can be worked on");
    // what came is known from now on
    assert_eq!(executed(&build(&second, &context, &[]).ok().stderr), [""; 0]);

    // others see what BuildKit would have written
    let manifest = raw(&name);
    assert_eq!(manifest["config"]["mediaType"], CACHE_CONFIG);
    let document = blob(&registry, &manifest["config"]["digest"]);
    let layers = document["layers"].as_array().unwrap();
    assert_eq!(
        layers.iter().filter(|layer| layer["parent"] == -1).count(),
        1,
        "{document}"
    );
    assert!(document["records"].as_array().unwrap().len() >= layers.len());

    // the same once more sends nothing and changes nothing
    let before = registry.blob_bytes();
    build(&first, &context, &["--cache-to", &to]).ok();
    assert_eq!(registry.blob_bytes(), before);
    assert_eq!(raw(&name), manifest);
}

#[test]
fn all_stages_are_known_where_all_are_asked_for() {
    let registry = DockerRegistry::plain();
    let (min, max) = (registry.name("cache/min:1"), registry.name("cache/max:1"));
    let context = context();
    let [to_min, to_max] = [
        format!("type=registry,ref={min}"),
        format!("type=registry,ref={max},mode=max,compression=zstd,image-manifest=false"),
    ];
    let (_first, built) = fresh(&context, &["--cache-to", &to_min, "--cache-to", &to_max]);
    built.ok();
    assert!(raw(&max)["manifests"].is_array());

    let (_, built) = fresh(&context, &["--cache-from", &max]);
    assert_eq!(executed(&built.ok().stderr), [""; 0]);
    let (_, built) = fresh(&context, &["--cache-from", &min]);
    assert_eq!(
        executed(&built.ok().stderr),
        ["COPY a /a", "RUN cat /a > /a2; echo big > /big"]
    );
    // several at once, one of them for nothing
    let none = registry.name("cache/none:1");
    let (_, built) = fresh(
        &context,
        &["--cache-from", &none, "--cache-from", &min, "--cache-from", &max],
    );
    let built = built.ok();
    assert_eq!(executed(&built.stderr), [""; 0]);
    assert!(
        built.stderr.contains(&format!("no cache from {none}: ")),
        "{}",
        built.stderr
    );

    // a stage in the middle is another one: the one beside it is not
    context.write("a", "2");
    let (daemon, built) = fresh(&context, &["--cache-from", &max, "-t", "x"]);
    assert_eq!(
        executed(&built.ok().stderr),
        [
            "COPY a /a",
            "RUN cat /a > /a2; echo big > /big",
            "COPY --from=work /a2 /a2",
            "RUN cat /a2 /one > /all"
        ]
    );
    assert!(content(&daemon, "x", "/all").contains("\n21\n"));
}

#[test]
fn a_cache_goes_on_without_the_layers_that_nobody_needed() {
    let registry = DockerRegistry::plain();
    let name = registry.name("cache/ci:1");
    let other = registry.name("elsewhere/ci:1");
    let context = context();
    let to = |name: &str| format!("type=registry,ref={name},mode=max");
    fresh(&context, &["--cache-to", &to(&name)]).1.ok();
    let manifest = raw(&name);
    // as a machine does that is new every time
    let (daemon, built) = fresh(
        &context,
        &[
            "--cache-from",
            &name,
            "--cache-to",
            &to(&name),
            "--cache-to",
            &to(&other),
        ],
    );
    assert_eq!(executed(&built.ok().stderr), [""; 0]);
    assert_eq!(raw(&name), manifest);
    assert_eq!(raw(&other)["layers"], manifest["layers"]);
    let (_, built) = fresh(&context, &["--cache-from", &other]);
    assert_eq!(executed(&built.ok().stderr), [""; 0]);
    // a new step on top is written with all that was there
    let dockerfile = context.path().join("Dockerfile");
    let text = fs_err::read_to_string(&dockerfile).unwrap();
    fs_err::write(dockerfile, text + "RUN echo more > /more\n").unwrap();
    build(
        &daemon,
        &context,
        &["--cache-from", &name, "--cache-to", &to(&name)],
    )
    .ok();
    let grown = raw(&name)["layers"].as_array().unwrap().len();
    assert_eq!(grown, manifest["layers"].as_array().unwrap().len() + 1);
}

#[test]
fn a_registry_that_lies_costs_time() {
    let registry = DockerRegistry::plain();
    let name = registry.name("cache/lies:1");
    let context = Context::with_shell("FROM base\nRUN echo true > /what\n");
    let to = format!("type=registry,ref={name}");
    fresh(&context, &["--cache-to", &to]).1.ok();
    let manifest = raw(&name);
    let document = blob(&registry, &manifest["config"]["digest"]);
    let run_again = |name: &str, expected: &[&str]| {
        let (daemon, built) = fresh(&context, &["--cache-from", name, "-t", "x"]);
        let built = built.ok();
        let done = executed(&built.stderr);
        assert!(done.contains(&"RUN echo true > /what"), "{}", built.stderr);
        for part in expected {
            assert!(built.stderr.contains(part), "{part}: {}", built.stderr);
        }
        assert!(content(&daemon, "x", "/what").contains("\ntrue\n"));
    };

    // layers that are not what they are said to be
    let mut lying = document.clone();
    let layers = lying["layers"].as_array_mut().unwrap();
    for layer in layers {
        layer["annotations"]["diffID"] = json!(digest(b"something else"));
    }
    put(&registry, "cache/lies", &lying, &manifest["layers"]);
    run_again(&name, &["is left aside", "was thrown away"]);

    // layers that lie on themselves, records of layers that are not there
    let mut lying = document.clone();
    lying["layers"][0]["parent"] = json!(0);
    put(&registry, "cache/lies", &lying, &manifest["layers"]);
    run_again(&name, &["no cache from", "lies on itself"]);
    let mut lying = document.clone();
    lying["records"][0]["layers"][0]["layer"] = json!(99);
    put(&registry, "cache/lies", &lying, &manifest["layers"]);
    run_again(&name, &["no cache from", "layer 99"]);
    put(&registry, "cache/lies", &document, &json!([]));
    run_again(&name, &["knows no steps"]);

    // what another program wrote
    let foreign = json!({
        "layers": [{"blob": manifest["layers"][0]["digest"], "parent": -1}],
        "records": [{"digest": "random:x", "layers": [{"layer": 0, "createdAt": "0001-01-01T00:00:00Z"}]}],
    });
    put(&registry, "cache/lies", &foreign, &manifest["layers"]);
    run_again(&name, &["written by another program"]);

    // a blob that was altered on the registry's disk
    put(&registry, "cache/lies", &document, &manifest["layers"]);
    for layer in manifest["layers"].as_array().unwrap() {
        let file = registry.blob_file(layer["digest"].as_str().unwrap());
        let mut bytes = fs_err::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&file, bytes).unwrap();
    }
    run_again(&name, &["is left aside"]);
}

#[test]
fn who_may_not_write_is_told_and_who_may_not_read_is_not_stopped() {
    let registry = DockerRegistry::htpasswd("me", "right");
    let name = format!("{}/cache/private:1", registry.address());
    let context = context();
    let to = format!("type=registry,ref={name}");
    let (daemon, built) = fresh(&context, &["--cache-to", &to]);
    assert_eq!(built.code, 1, "{}", built.stderr);
    assert!(built.stderr.contains("cache/private"), "{}", built.stderr);
    let built = build(
        &daemon,
        &context,
        &["--cache-to", &format!("{to},ignore-error=true"), "-t", "x"],
    )
    .ok();
    assert!(
        built.stderr.contains(&format!("the cache {name} is not written")),
        "{}",
        built.stderr
    );
    daemon.mica(["inspect", "x"]).ok();

    let server = registry.address();
    daemon
        .mica_fed(["login", &server, "-u", "me", "--password-stdin"], "right\n")
        .ok();
    build(&daemon, &context, &["--cache-to", &to]).ok();
    let (other, built) = fresh(&context, &["--cache-from", &name]);
    let built = built.ok();
    assert!(
        built.stderr.contains(&format!("no cache from {name}")),
        "{}",
        built.stderr
    );
    assert!(!executed(&built.stderr).is_empty());
    other.mica(["builder", "prune", "-af"]).ok();
    other
        .mica_fed(["login", &server, "-u", "me", "--password-stdin"], "right\n")
        .ok();
    let built = build(&other, &context, &["--cache-from", &name]).ok();
    assert!(
        !executed(&built.stderr).contains(&"RUN echo 1 > /one"),
        "{}",
        built.stderr
    );
}
