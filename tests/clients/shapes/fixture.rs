//! What both daemons are given before they are asked: the same images out of the same archive, and registries.

use std::path::Path;

use mica_tests::conformance::{Content, Entry, Format, Kind, tar};
use mica_tests::servers::DockerRegistry;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::names::Names;

/// Debian's statically linked busybox.
const BUSYBOX: &str = "/bin/busybox";

/// The user of the registry that wants a password, and the password.
pub(crate) const LOGIN: (&str, &str) = ("user", "right");

/// What one daemon is asked about; each has registries of its own, as they pack layers differently.
pub(crate) struct Fixture {
    /// The archive of all images.
    pub(crate) archive: Vec<u8>,
    /// IDs of the images: `base`, `one`, `two` and `bare`.
    pub(crate) ids: [String; 4],
    /// A registry for everybody.
    pub(crate) open: DockerRegistry,
    /// A registry for one user.
    pub(crate) closed: DockerRegistry,
}

/// The SHA-256 of bytes as images name it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes);
    let hex: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A regular file.
pub(crate) fn file(name: &str, bytes: impl Into<Vec<u8>>) -> Entry {
    let mut entry = Entry::parse(&format!("f 755 0:0 {name} \"\"")).expect("it is a line");
    entry.kind = Kind::File(Content::Bytes(bytes.into()));
    entry
}

/// A tar of regular files.
pub(crate) fn folder(files: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<Entry> = files.iter().map(|(name, text)| file(name, *text)).collect();
    tar(&entries, Format::Pax)
}

/// An image: config, layers, tags.
struct Made {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
    tags: Vec<&'static str>,
}

fn made(layers: &[&[u8]], tags: &[&'static str], created: &str, config: &Value) -> Made {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let history: Vec<Value> = (0..layers.len())
        .map(|number| json!({"created": created, "created_by": format!("step {number}"), "comment": "by hand"}))
        .chain([json!({"created": created, "created_by": "CMD", "empty_layer": true})])
        .collect();
    let document = json!({
        "architecture": "amd64", "os": "linux", "created": created, "author": "somebody", "docker_version": "20.10.24",
        "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    });
    Made {
        config: document.to_string().into_bytes(),
        layers: layers.iter().map(|layer| layer.to_vec()).collect(),
        tags: tags.to_vec(),
    }
}

fn images() -> [Made; 4] {
    let busybox = fs_err::read(BUSYBOX).expect("busybox-static is installed");
    let link = Entry::parse("l 0:0 bin/sh -> busybox").expect("it is a line");
    let shell = tar(&[file("bin/busybox", busybox), link], Format::Pax);
    let (first, second) = (folder(&[("a", "first\n")]), folder(&[("b", "second\n")]));
    let path = "PATH=/bin";
    let full = json!({
        "Env": [path, "A=b"], "Cmd": ["cmd"], "Entrypoint": ["/entry", "-x"], "WorkingDir": "/srv", "User": "app",
        "Labels": {"color": "red", "empty": ""}, "Volumes": {"/vol": {}}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
        "Shell": ["/bin/sh", "-ec"], "Healthcheck": {"Test": ["CMD", "check"], "Interval": 7_000_000_000_i64, "Retries": 2},
        "OnBuild": ["ENV ON=build"],
    });
    let [t1, t2, t3, t4] = [1, 2, 3, 4].map(|day| format!("2021-01-0{day}T00:00:00Z"));
    [
        made(
            &[&shell],
            &["shapes/base:1"],
            &t1,
            &json!({"Env": [path], "Cmd": ["/bin/sh"]}),
        ),
        made(
            &[&first],
            &["shapes/one:1", "shapes/one:2", "other:latest"],
            &t2,
            &json!({"Labels": {"color": "blue"}}),
        ),
        made(&[&first, &second], &["shapes/two:1"], &t3, &full),
        made(&[&folder(&[("c", "third\n")])], &[], &t4, &json!({})),
    ]
}

impl Fixture {
    /// Makes the images and starts the registries.
    pub(crate) fn make() -> Self {
        let images = images();
        let mut entries = Vec::new();
        let mut manifest = Vec::new();
        for image in &images {
            let config = format!("{}.json", &digest(&image.config)[7..]);
            let mut layers = Vec::new();
            for layer in &image.layers {
                let name = format!("{}/layer.tar", &digest(layer)[7..]);
                if !entries.iter().any(|entry: &Entry| entry.path == name) {
                    entries.push(file(&name, layer.clone()));
                }
                layers.push(name);
            }
            entries.push(file(&config, image.config.clone()));
            let tags = if image.tags.is_empty() {
                Value::Null
            } else {
                json!(image.tags)
            };
            manifest.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
        }
        entries.push(file("manifest.json", Value::from(manifest).to_string()));
        Self {
            archive: tar(&entries, Format::Pax),
            ids: images.map(|image| digest(&image.config)),
            open: DockerRegistry::plain(),
            closed: DockerRegistry::htpasswd(LOGIN.0, LOGIN.1),
        }
    }

    /// The words for what both know, for a daemon that keeps its things in this folder.
    pub(crate) fn names(&self, folder: &Path) -> Names {
        let mut names = Names::default();
        names.add(folder.to_string_lossy(), "FOLDER");
        for (id, word) in self.ids.iter().zip(["base", "one", "two", "bare"]) {
            names.add_digest(id, word);
        }
        for (registry, word) in [(&self.open, "OPEN"), (&self.closed, "CLOSED")] {
            let address = registry.address();
            names.add(address.replace("127.0.0.1", "localhost"), word);
            names.add(address, word);
        }
        names
    }
}
