//! Other programs read the store in place, and the archives of theirs are read here. Left out where skopeo is not installed.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;

use mica_oci::ImageId;
use mica_store::archive::{load, save};
use support::{Entry, config, layer, name, store, tar};

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .args(["--insecure-policy"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn skopeo_reads_the_store_and_writes_what_we_read() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        println!("LEFT OUT: skopeo is not installed");
        return;
    }
    let (folder, first) = store();
    let lease = first.lease();
    let diff_id = layer(&first, &lease, &tar(&[Entry::File("file", b"content")]));
    let config = config("someone", &[diff_id, diff_id]);
    let image = first
        .commit_image(&lease, &config, None, &[name("app:1"), name("ghcr.io/o/app:2")])
        .unwrap()
        .image;
    let in_place = |name: &str| format!("oci:{}:{name}", folder.path().display());
    for name in ["docker.io/library/app:1", "ghcr.io/o/app:2"] {
        let told = skopeo(&["inspect", "--raw", &in_place(name)]);
        assert!(told.contains(&config.digest().to_string()), "{told}");
        assert_eq!(
            skopeo(&["inspect", "--config", "--raw", &in_place(name)]).as_bytes(),
            config.bytes()
        );
    }

    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let saved = path("saved.tar");
    save(
        &first,
        &lease,
        &[(image.clone(), image.references.clone())],
        &mut std::fs::File::create(&saved).unwrap(),
    )
    .unwrap();
    let told = skopeo(&[
        "inspect",
        "--config",
        "--raw",
        &format!("docker-archive:{saved}:app:1"),
    ]);
    assert_eq!(told.as_bytes(), config.bytes());

    let source = in_place("ghcr.io/o/app:2");
    for (kind, file, compress) in [
        ("docker-archive", "docker.tar", false),
        ("oci-archive", "oci.tar", false),
        ("oci-archive", "oci-gzip.tar", true),
    ] {
        let target = format!("{kind}:{}:ghcr.io/o/again:3", path(file));
        let mut arguments = vec!["copy", "-q"];
        if compress {
            arguments.extend(["--dest-compress-format", "gzip"]);
        }
        arguments.extend([source.as_str(), target.as_str()]);
        skopeo(&arguments);
        assert_eq!(
            loaded(Path::new(&path(file))),
            (image.id, vec![name("ghcr.io/o/again:3")]),
            "{file}"
        );
    }
}

fn loaded(path: &Path) -> (ImageId, Vec<mica_oci::Reference>) {
    let (_folder, store) = store();
    let input = Box::new(std::fs::File::open(path).unwrap());
    let loaded = load(&store, &store.lease(), input, &mut |_| {}).unwrap();
    (loaded[0].image, loaded[0].references.clone())
}
