//! `mica buildx` and what buildx and podman call the flags of a build.

use std::fs;

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, reply, stream};
use crate::home::Home;

const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn built() -> Reply {
    reply(200, stream(&[&format!(r#"{{"aux":{{"ID":"{ID}"}}}}"#)]))
}

fn pushed(tag: &str) -> Reply {
    let line = format!(r#"{{"status":"{tag}: digest: {DIGEST} size: 528"}}"#);
    reply(200, stream(&[r#"{"status":"Preparing","id":"abc"}"#, &line]))
}

fn context() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    folder
}

#[test]
fn there_is_one_builder() {
    let version = r#"{"Version":"9.8","Os":"linux","Arch":"amd64"}"#;
    let fake = Fake::new([reply(200, version)]);
    let host = fake.host();
    let width = host.len() + 7;
    assert_eq!(
        fake.run(&["buildx", "ls"]).stdout,
        format!(
            "NAME/NODE     {:width$}STATUS    BUILDKIT   PLATFORMS\n\
             default*      {:width$}                     \n \\_ default    \\_ {host}   running   9.8        linux/amd64\n",
            "DRIVER/ENDPOINT", "mica"
        )
    );
    assert_eq!(
        fake.run(&["buildx", "ls", "--format", "{{.Name}}:{{.Status}}"])
            .stdout,
        "default:running\n"
    );
    let inspected = format!(
        "Name:   default\nDriver: mica\n\nNodes:\nName:      default\nEndpoint:  {host}\nStatus:    running\n\
         Version:   9.8\nPlatforms: linux/amd64\n"
    );
    for words in [
        &["buildx", "inspect"][..],
        &["buildx", "inspect", "--bootstrap", "default"],
    ] {
        assert_eq!(fake.run(words).stdout, inspected);
    }
    for words in [
        &["buildx", "use", "default"][..],
        &["buildx", "--builder", "default", "use", "mica"],
    ] {
        let run = fake.run(words);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(0), "", "")
        );
    }
    for words in [
        &["buildx", "use", "far"][..],
        &["buildx", "inspect", "far"],
        &["buildx", "--builder", "far", "ls"],
        &["buildx", "ls", "--builder=far"],
        &["build", "--builder", "far", "/"],
        &["buildx", "build", "--builder", "far", "/"],
    ] {
        let run = fake.run(words);
        assert_eq!(run.code, Some(1), "{words:?}: {run:?}");
        assert!(run.stderr.starts_with("no builder \"far\" found: "), "{run:?}");
    }
    assert_eq!(
        fake.run(&["buildx", "version"]).stdout,
        format!("mica v{}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(
        fake.run(&["buildx", "imagetools"])
            .stdout
            .contains("Usage: mica buildx imagetools")
    );
}

#[test]
fn the_cache_is_listed_in_every_way() {
    let record = |id: &str, kind: &str| {
        format!(
            r#"{{"ID":"{}","Type":"{kind}","Description":"RUN x","InUse":false,"Shared":false,"Size":1500,
                "CreatedAt":"2023-11-14T22:13:20Z","LastUsedAt":"2023-11-14T22:13:20Z","UsageCount":2}}"#,
            id.repeat(64)
        )
    };
    let answer = format!("[{},{}]", record("a", "regular"), record("b", "exec.cachemount"));
    let fake = Fake::micad([reply(200, answer)]);
    let run = fake.run(&["buildx", "du", "--filter", "type=regular", "--format", "json"]);
    assert_eq!(
        run.stdout,
        format!(
            "{{\"CreatedAt\":\"2023-11-14T22:13:20Z\",\"Description\":\"RUN x\",\"ID\":\"{}\",\"InUse\":false,\
             \"LastUsedAt\":\"2023-11-14T22:13:20Z\",\"Mutable\":false,\"Parents\":null,\"Reclaimable\":true,\
             \"Shared\":false,\"Size\":\"1.5kB\",\"Type\":\"regular\",\"UsageCount\":2}}\n",
            "a".repeat(64)
        )
    );
    assert_eq!(
        fake.run(&["builder", "du", "--format", "{{.Type}} {{.Size}}"])
            .stdout,
        "regular 1.5kB\nexec.cachemount 1.5kB\n"
    );
    let run = fake.run(&["buildx", "du", "--filter", "mutable"]);
    assert!(
        run.stdout.contains(&"b".repeat(25)) && !run.stdout.contains("aaa"),
        "{run:?}"
    );
    let run = fake.run(&["buildx", "du", "--filter", "x=y"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            Some(125),
            "invalid argument \"x=y\" for \"--filter\" flag: no such field\n"
        )
    );
}

#[test]
fn a_registrys_images_are_shown_as_buildx_shows_them() {
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{ID}","size":5,
              "platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}},
            {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":6}}]}}"#
    );
    let answer = reply(200, index.clone())
        .with("Content-Type", "application/vnd.oci.image.index.v1+json")
        .with("Docker-Content-Digest", DIGEST);
    let (fake, home) = (Fake::micad([answer]), Home::new(&[]));
    let inspect = |words: &[&str]| home.run(&fake, &[&["buildx", "imagetools", "inspect"], words].concat());
    assert_eq!(
        inspect(&["busybox"]).stdout,
        format!(
            "Name:      docker.io/library/busybox:latest\nMediaType: application/vnd.oci.image.index.v1+json\n\
             Digest:    {DIGEST}\n           \nManifests: \n  Name:      docker.io/library/busybox:latest@{ID}\n  \
             MediaType: application/vnd.oci.image.manifest.v1+json\n  Platform:  linux/arm/v7\n             \n  \
             Name:      docker.io/library/busybox:latest@{DIGEST}\n  \
             MediaType: application/vnd.oci.image.manifest.v1+json\n"
        )
    );
    assert_eq!(inspect(&["--raw", "busybox"]).stdout, index);
    assert_eq!(
        inspect(&["--format", "{{.Name}} {{.Manifest.Digest}}", "busybox"]).stdout,
        format!("docker.io/library/busybox:latest {DIGEST}\n")
    );
    let run = inspect(&["--format", "{{json .Manifest}}", "busybox"]);
    let manifest: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(manifest["digest"], DIGEST);
    assert_eq!(manifest["manifests"][0]["platform"]["variant"], "v7");
    assert_eq!(manifest["size"], index.len());
}

#[test]
fn a_build_is_pushed_under_all_its_names() {
    let (folder, home) = (context(), Home::new(&[]));
    let path = folder.path().to_str().unwrap();
    let metadata = folder.path().join("metadata.json");
    let fake = Fake::new([built(), pushed("1"), pushed("latest")]);
    let run = home.run(
        &fake,
        &[
            "buildx",
            "build",
            "--push",
            "-t",
            "ghcr.io/o/n:1",
            "-o",
            "type=image,name=ghcr.io/o/m,compression=zstd",
            "--metadata-file",
            metadata.to_str().unwrap(),
            path,
        ],
    );
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(
        run.stderr
            .ends_with(&format!("latest: digest: {DIGEST} size: 528\n")),
        "{run:?}"
    );
    let lines = fake.lines();
    assert!(lines[0].contains("&t=ghcr.io/o/n:1&t=ghcr.io/o/m&"), "{lines:?}");
    assert_eq!(
        lines[1..],
        [
            "POST /v1.51/images/ghcr.io/o/n/push?tag=1&compression=zstd",
            "POST /v1.51/images/ghcr.io/o/m/push?tag=latest&compression=zstd"
        ]
    );
    let written: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    assert_eq!(
        written,
        json!({
            "containerimage.config.digest": ID,
            "containerimage.digest": DIGEST,
            "image.name": "ghcr.io/o/n:1,ghcr.io/o/m:latest",
        })
    );
    let fake = Fake::new([built(), pushed("latest")]);
    let run = home.run(
        &fake,
        &["build", "-q", "--output", "type=registry", "-t", "r.io/x", path],
    );
    assert_eq!((run.stdout, run.stderr), (format!("{ID}\n"), String::new()));
    assert_eq!(fake.lines().len(), 2);
}

#[test]
fn a_push_that_fails_fails_the_build() {
    let (folder, home) = (context(), Home::new(&[]));
    let path = folder.path().to_str().unwrap();
    let metadata = folder.path().join("metadata.json");
    fs::write(&metadata, "old").unwrap();
    let denied = reply(
        200,
        stream(&[r#"{"errorDetail":{"message":"denied"},"error":"denied"}"#]),
    );
    let fake = Fake::new([built(), denied]);
    let words = [
        "build",
        "--push",
        "-t",
        "r.io/x",
        "--metadata-file",
        metadata.to_str().unwrap(),
        path,
    ];
    let run = home.run(&fake, &words);
    assert_eq!((run.code, run.stderr.lines().last()), (Some(1), Some("denied")));
    assert!(
        !metadata.exists(),
        "what an earlier build wrote must not be taken for this one's"
    );
    let fake = Fake::new([built()]);
    for (words, told) in [
        (
            &["build", "--push", path][..],
            "tag is needed when pushing to registry\n",
        ),
        (
            &["build", "--push", "-t", "A b", path],
            "invalid reference format",
        ),
    ] {
        let run = home.run(&fake, words);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains(told), "{run:?}");
    }
    assert!(fake.lines().is_empty(), "no work is begun for it");
}

#[test]
fn what_was_built_is_written_down_without_a_push() {
    let folder = context();
    let (metadata, id) = (folder.path().join("m"), folder.path().join("i"));
    let fake = Fake::new([built()]);
    let run = fake.run(&[
        "build",
        "-o",
        "type=docker",
        "--metadata-file",
        metadata.to_str().unwrap(),
        "--iidfile",
        id.to_str().unwrap(),
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fs::read_to_string(&id).unwrap(), ID);
    assert_eq!(
        fs::read_to_string(&metadata).unwrap(),
        format!(
            "{{\n  \"containerimage.config.digest\": \"{ID}\",\n  \"containerimage.digest\": \"{ID}\"\n}}"
        )
    );
}

#[test]
fn limits_are_passed_on() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let fake = Fake::new([built()]);
    let run = fake.run(&[
        "build",
        "-m",
        "1g",
        "--memory-swap=-1",
        "-c",
        "5",
        "--cpu-period",
        "1000",
        "--cpu-quota=-1",
        "--cpuset-cpus",
        "0-1",
        "--cpuset-mems",
        "0",
        "--cgroup-parent",
        "/x/y",
        path,
    ]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let line = &fake.lines()[0];
    assert!(
        line.ends_with(
            "&memory=1073741824&memswap=-1&cpushares=5&cpuperiod=1000&cpuquota=-1&cpusetcpus=0-1&cpusetmems=0&cgroupparent=/x/y"
        ),
        "{line}"
    );
    let run = fake.run(&["build", "--memory", "much", path]);
    assert_eq!(run.code, Some(125), "{run:?}");
}

#[test]
fn flags_that_mean_nothing_are_told_once() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let fake = Fake::new([built()]);
    let run = fake.run(&[
        "build",
        "--rm",
        "--force-rm",
        "--compress",
        "--load",
        "--squash",
        "--security-opt",
        "a",
        "--security-opt",
        "b",
        "--isolation",
        "hyperv",
        "--disable-content-trust=false",
        "--format",
        "docker",
        "--layers=false",
        "--jobs",
        "4",
        "--retry",
        "3",
        "--retry-delay",
        "1s",
        "--tls-verify=false",
        path,
    ]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let told: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("WARNING: "))
        .collect();
    let names = [
        "--force-rm",
        "--compress",
        "--load",
        "--disable-content-trust=false",
        "--squash",
        "--security-opt",
        "--isolation",
        "--format",
        "--layers=false",
        "--jobs",
        "--retry",
        "--retry-delay",
        "--tls-verify=false",
    ];
    assert_eq!(told, names.map(|name| format!("WARNING: {name} has no effect")));
    let run = fake.run(&[
        "build",
        "--rm=true",
        "--layers",
        "--tls-verify=true",
        "--disable-content-trust",
        "--isolation=default",
        "--attest",
        "type=provenance,disabled=true",
        "--provenance=false",
        path,
    ]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(0), ""),
        "what is done anyway needs no word"
    );
    let fake = Fake::new([reply(200, "[]")]);
    assert_eq!(
        fake.run(&["images", "-q", "--tree"]).stderr,
        "WARNING: --tree has no effect\n"
    );
    let run = fake.run(&["save", "-q", "-m", "--format", "oci-archive", "--compress", "a"]);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("[]", "WARNING: --compress has no effect\n")
    );
    for name in ["--retry", "--retry-delay"] {
        let fake = Fake::new([reply(200, "")]);
        let run = fake.run(&["pull", "-q", name, "3", "--tls-verify", "busybox"]);
        assert_eq!(
            (run.code, run.stderr),
            (Some(0), format!("WARNING: {name} has no effect\n"))
        );
    }
}

#[test]
fn flags_whose_meaning_would_be_lost_are_refused() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let fake = Fake::new([built()]);
    for (words, told) in [
        (
            &["-o", "out"][..],
            "--output out is not supported: images are the only output",
        ),
        (
            &["--output=type=oci,dest=x"],
            "--output type=oci,dest=x is not supported: build with -t NAME, then `save",
        ),
        (
            &["--cache-to", "type=gha"],
            "--cache-to type=gha (type=registry,ref=NAME and type=inline are written) is not supported yet",
        ),
        (&["--annotation", "a=b"], "--annotation is not supported yet"),
    ] {
        let run = fake.run(&[&["build"], words, &[path]].concat());
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(125), ""),
            "{words:?}: {run:?}"
        );
        assert!(run.stderr.starts_with(told), "{run:?}");
    }
    assert!(fake.lines().is_empty());
}

#[test]
fn caches_and_times_are_read_as_others_spell_them() {
    let folder = context();
    let path = folder.path().to_str().unwrap();
    let fake = Fake::new([built()]);
    let run = fake.run(&[
        "build",
        "--cache-from",
        "type=registry,ref=r.io/c:1",
        "--cache-from",
        "a,b",
        "--cache-from",
        "type=gha",
        "--cache-to",
        "type=inline",
        "--timestamp",
        "7",
        path,
    ]);
    assert_eq!(
        run.stderr,
        "WARNING: --cache-from type=gha has no effect: only caches of registries are read (type=registry,ref=NAME)\n"
    );
    assert_eq!(
        fake.lines(),
        [concat!(
            "POST /v1.51/build?dockerfile=Dockerfile&rm=1",
            r#"&buildargs={"SOURCE_DATE_EPOCH":"7","BUILDKIT_INLINE_CACHE":"1"}&cachefrom=["r.io/c:1","a","b"]"#
        )]
    );
}

#[test]
fn one_file_of_credentials_can_be_named() {
    let folder = context();
    let file = folder.path().join("auth.json");
    // "me:here"
    fs::write(&file, r#"{"auths":{"r.io":{"auth":"bWU6aGVyZQ=="}}}"#).unwrap();
    let file = file.to_str().unwrap();
    let home = Home::new(&[]);
    for words in [
        &["pull", "-q", "--authfile", file, "r.io/x"][..],
        &["push", "-q", "--authfile", file, "r.io/x"],
    ] {
        let fake = Fake::new([reply(200, "")]);
        let run = home.run(&fake, words);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(fake.asked()[0].credentials("x-registry-auth")["username"], "me");
    }
    let fake = Fake::new([built()]);
    home.run(
        &fake,
        &["build", "--authfile", file, folder.path().to_str().unwrap()],
    );
    assert_eq!(
        fake.asked()[0].credentials("x-registry-config")["r.io"]["password"],
        "here"
    );
}
