//! The zoo: hostile tars and images, each tried wherever mica takes one in. Every one is refused with a reason or harmless; nothing outside
//! changes, memory and disk stay bounded, and the daemon answers. What became of each is the table in README.md.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "everything in here is a test, and it says where it is"
)]

mod beasts;
#[path = "../clients/shapes/dockerd.rs"]
mod dockerd;
mod images;
mod outside;
mod raw_tar;
mod swarm;
mod table;

use std::io::Read;
use std::path::Path;
use std::process::Command;

use mica_layer::{IndexOptions, Root, TarIndex, TreeWriter, apply, decompress};
use mica_tests::{Context, Daemon, FakeRegistry, Ran};

use crate::beasts::{Beast, sha256};
use crate::dockerd::Dockerd;
use crate::outside::Outside;
use crate::raw_tar::RawTar;
use crate::table::{Outcome, Table};

/// The most memory the daemon may ever have, in MiB.
const MEMORY: u64 = 512;
/// The most the store may hold of what was made of one tar or image, in bytes: tens of thousands of small files take most.
const HELD: u64 = 640 << 20;
/// The most the store may hold of one tar or image when all that was made of it is gone, in bytes.
const LEFT: u64 = 32 << 20;

#[test]
fn every_tar_is_refused_or_harmless() {
    let mut table = Table::new(&["unpacked", "read in place", "ADD", "load, COPY", "pull, COPY"]);
    let registry = FakeRegistry::start();
    let outside = Outside::new();
    let daemon = outside.daemon();
    let dockerd = dockerd();
    for beast in beasts::all() {
        eprintln!("{}", beast.name);
        let outcomes = vec![
            unpacked(&beast, &outside),
            indexed(&beast),
            added(&beast, &daemon),
            loaded(&beast, &daemon),
            pulled(&beast, &daemon, &registry),
        ];
        outside.check(&daemon, beast.name);
        clean(&daemon, beast.name);
        table.add(beast.name, &outcomes, docker_load(&beast, dockerd.as_ref()));
    }
    eprintln!("the daemon had at most {} MiB", daemon.peak_memory());
    table.compare("tars");
}

#[test]
fn every_image_is_refused_or_harmless() {
    let mut table = Table::new(&["pull", "looked into"]);
    let registry = FakeRegistry::start();
    let outside = Outside::new();
    let daemon = outside.daemon();
    let dockerd = dockerd();
    for (at, (name, kind, bytes)) in images::all(&registry, "zoo").into_iter().enumerate() {
        eprintln!("{name}");
        let tag = format!("t{at}");
        registry.put_manifest("zoo", Some(&tag), kind, &bytes);
        let image = format!("{}/zoo:{tag}", registry.host());
        let pull = Outcome::of(&daemon.mica(["pull", "-q", &image]));
        let look = match pull.is_refused() {
            true => Outcome::untried(),
            false => looked_into(&daemon, &image),
        };
        for ran in [daemon.mica(["inspect", &image]), daemon.mica(["history", &image])] {
            assert!(matches!(ran.code, 0 | 1), "{name}: {}", ran.stderr);
        }
        outside.check(&daemon, name);
        clean(&daemon, name);
        let docker = match &dockerd {
            Some(dockerd) => docker(dockerd, &["pull", &image], "Status: "),
            None => Outcome::untried(),
        };
        table.add(name, &[pull, look], docker);
    }
    table.compare("images");
}

/// Debian's dockerd, where there is one: what it does is told in the tables.
fn dockerd() -> Option<Dockerd> {
    let started = Dockerd::start(None);
    started
        .inspect_err(|why| eprintln!("what docker does is not looked at: {why}"))
        .ok()
}

/// Unpacks into a tree beside what must not change.
fn unpacked(beast: &Beast, outside: &Outside) -> Outcome {
    let tree = outside.tree();
    let result = decompress(&beast.bytes[..])
        .and_then(|(reader, _)| apply(reader, TreeWriter::new(Root::open(&tree)?)));
    let blocks = outside::blocks(&tree);
    assert!(
        blocks < 64 << 20 || beast.name.contains("thousand entries"),
        "{}: {blocks} bytes on disk",
        beast.name
    );
    mica_layer::remove_tree(&tree).unwrap();
    Outcome::from(result.map(|_| ()).map_err(|error| error.to_string()))
}

fn indexed(beast: &Beast) -> Outcome {
    let options = IndexOptions {
        hash_contents: true,
        whiteouts: true,
    };
    let result = decompress(&beast.bytes[..]).and_then(|(reader, _)| TarIndex::scan(reader, options));
    Outcome::from(result.map(|_| ()).map_err(|error| error.to_string()))
}

/// `ADD` of it from a context. What is no archive is copied as it is.
fn added(beast: &Beast, daemon: &Daemon) -> Outcome {
    let context = Context::new("FROM scratch\nADD beast /in/\n");
    fs_err::write(context.path().join("beast"), &beast.bytes).unwrap();
    Outcome::of(&daemon.mica(["build", "-q", "-t", "added", context.arg()]))
}

/// `load` of an image with it as its layer, and a build that copies all of that.
fn loaded(beast: &Beast, daemon: &Daemon) -> Outcome {
    let path = daemon.folder().join("archive.tar");
    fs_err::write(&path, archive(beast)).unwrap();
    let ran = daemon.mica(["load", "-q", "-i", path.to_str().unwrap()]);
    fs_err::remove_file(&path).unwrap();
    match ran.code {
        0 => looked_into(daemon, "loaded:1"),
        _ => Outcome::of(&ran),
    }
}

/// What dockerd makes of the same archive: it unpacks layers as it loads them. It is not asked for what would fill the disk: it writes
/// zeros and holes out, terabytes of them too.
fn docker_load(beast: &Beast, dockerd: Option<&Dockerd>) -> Outcome {
    let bursts = ["of zeros", "a hole of"]
        .iter()
        .any(|word| beast.name.contains(word));
    let Some(dockerd) = dockerd.filter(|_| !bursts) else {
        return Outcome::untried();
    };
    let path = dockerd.folder().join("archive.tar");
    fs_err::write(&path, archive(beast)).unwrap();
    let load = ["load", "-i", path.to_str().unwrap()];
    docker(dockerd, &load, "Loaded image: loaded:1")
}

/// What a command of docker's comes to: it says `last` if it worked. An error amid an answer does not always make it fail.
fn docker(dockerd: &Dockerd, arguments: &[&str], last: &str) -> Outcome {
    let host = format!("unix://{}", dockerd.socket().display());
    let mut docker = Command::new("docker");
    let ran = docker.args(["-H", &host]).args(arguments).output().unwrap();
    // what it has it would not look at again
    let prune = ["-H", &host, "image", "prune", "-af"];
    Command::new("docker").args(prune).output().unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if ran.status.success() && text.contains(last) {
        return Outcome::from(Ok(()));
    }
    let told: String = text.trim().chars().rev().take(300).collect();
    let told: String = told.chars().rev().collect();
    eprintln!("    docker: {told}");
    Outcome::from(Err(told))
}

/// An image as `docker save` writes it, with it as the only layer.
fn archive(beast: &Beast) -> Vec<u8> {
    let config = config(&beast.diff);
    let name = format!("{}.json", sha256(&config));
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["loaded:1"],"Layers":["l/layer.tar"]}}]"#);
    RawTar(Vec::new())
        .file("manifest.json", manifest)
        .file(&name, &config)
        .file("l/layer.tar", &beast.bytes)
        .end()
}

fn pulled(beast: &Beast, daemon: &Daemon, registry: &FakeRegistry) -> Outcome {
    let image = publish(beast, registry);
    let ran = daemon.mica(["pull", "-q", &image]);
    match ran.code {
        0 => looked_into(daemon, &image),
        _ => Outcome::of(&ran),
    }
}

/// Puts an image with it as its only layer into a registry; gives the image's name.
fn publish(beast: &Beast, registry: &FakeRegistry) -> String {
    let config = config(&beast.diff);
    let blob = |bytes: &[u8]| registry.put_blob("zoo", bytes);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob(&config), "size": config.len()},
        "layers": [{"mediaType": media_type(&beast.bytes), "digest": blob(&beast.bytes), "size": beast.bytes.len()}],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("zoo", Some("1"), kind, manifest.to_string().as_bytes());
    format!("{}/zoo:1", registry.host())
}

fn media_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    }
}

fn config(diff: &str) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    });
    config.to_string().into_bytes()
}

/// A build that copies all of an image, adds to it, and has the result saved.
fn looked_into(daemon: &Daemon, image: &str) -> Outcome {
    let text = format!(
        "FROM {image} AS evil\nFROM scratch\nCOPY --from=evil / /copy/\nFROM evil\nCOPY Dockerfile /d/in/\n"
    );
    let context = Context::new(&text);
    let ran = daemon.mica(["build", "-q", "--target", "", "-t", "copied", context.arg()]);
    if ran.code != 0 {
        return Outcome::of(&ran);
    }
    let whole = format!("FROM {image} AS evil\nFROM scratch\nCOPY --from=evil / /copy/\n");
    Outcome::of(&daemon.mica(["build", "-q", "-t", "copied", Context::new(&whole).arg()]))
}

/// Sees what the store holds, takes all away and sees what is left.
fn clean(daemon: &Daemon, name: &str) {
    let held = outside::blocks(&daemon.root());
    assert!(held < HELD, "{name}: the store has {held} bytes on the disk");
    let images = daemon.mica(["images", "-aq"]).ok().stdout;
    for id in images.lines() {
        let _: Ran = daemon.mica(["rmi", "-f", id]);
    }
    daemon.mica(["image", "prune", "-af"]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();
    let left = settled(&daemon.root());
    assert!(left < LEFT, "{name}: {left} bytes are left in the store");
    let peak = daemon.peak_memory();
    assert!(peak < MEMORY, "{name}: the daemon had {peak} MiB");
    assert_eq!(daemon.mica(["version"]).code, 0, "{name}");
    let mut log = String::new();
    let file = fs_err::File::open(daemon.log());
    let _ = file.map(|mut file| file.read_to_string(&mut log));
    assert!(!log.contains("panicked"), "{name}: {log}");
}

/// What a folder takes on the disk, once what is thrown away in the background is gone.
fn settled(folder: &Path) -> u64 {
    let mut left = outside::blocks(folder);
    for _ in 0..600 {
        if left < LEFT {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        left = outside::blocks(folder);
    }
    left
}
