//! The images that cases start from: Debian's busybox and files made by hand.

use serde_json::{Value, json};

use crate::conformance::archive::{Format, tar};
use crate::conformance::entry::{Content, Entry, Kind, hex};

/// Debian's statically linked busybox.
const BUSYBOX: &str = "/bin/busybox";

/// When the images were made.
const CREATED: &str = "2021-01-01T00:00:00Z";

/// What every base has beside the shell: users and groups, and something of each kind to change.
const FILES: &str = r#"
d 755 0:0 etc
f 644 0:0 etc/passwd "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\napp:x:1000:1001:app:/home/app:/bin/sh\nlone:x:77:78::/:/bin/sh\n"
f 644 0:0 etc/group "root:x:0:\ndaemon:x:1:\nwheel:x:10:root,app\nstaff:x:50:app\napp:x:1001:\n"
f 640 0:50 etc/shadow "root:*:::::::\n"
d 755 1000:1001 home
d 755 1000:1001 home/app
d 700 0:0 root
d 1777 0:0 tmp
d 755 0:0 proc
d 755 0:0 sys
d 755 0:0 dev
d 755 0:0 usr
d 755 0:0 usr/lib
f 644 0:0 usr/lib/libx.so "x"
l 0:0 lib -> usr/lib
d 750 5:6 srv
f 640 5:6 srv/a "a\n"
f 640 5:6 srv/b "b\n"
d 2755 5:6 srv/sub
f 644 5:6 srv/sub/c "c\n"
d 755 0:0 var
f 644 0:0 var/gone "gone\n"
f 600 7:8 var/hard1 "hard\n"
h var/hard2 = var/hard1
l 0:0 var/run -> /run
l 3:4 var/dangling -> /nowhere
"#;

/// The second layer: one file goes, one changes.
const SECOND: &str = r#"
d 755 0:0 var
f 0 0:0 var/.wh.gone "" @0
f 4755 0:0 var/tool "tool\n"
"#;

fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| Entry::parse(line).expect("the lines above are right"))
        .collect()
}

/// A shell and its programs: `/bin/sh` and the others that Debian's busybox has.
///
/// # Panics
/// If busybox-static is not installed.
pub fn shell() -> Vec<Entry> {
    let bytes = fs_err::read(BUSYBOX).expect("busybox-static is installed");
    let mut shell = entries("d 755 0:0 bin\nf 755 0:0 bin/busybox \"\"");
    shell[1].kind = Kind::File(Content::Bytes(bytes));
    let listed = crate::run(std::process::Command::new(BUSYBOX).arg("--list"))
        .ok()
        .stdout;
    for name in listed.lines().filter(|name| *name != "busybox") {
        shell.extend(entries(&format!("l 0:0 bin/{name} -> busybox")));
    }
    shell
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

fn file(name: &str, bytes: Vec<u8>) -> Entry {
    let mut entry = entries(&format!("f 644 0:0 {name} \"\"")).remove(0);
    entry.kind = Kind::File(Content::Bytes(bytes));
    entry
}

/// An archive of one image as `docker save` writes them; its tag is `latest`.
pub fn archive(name: &str, layers: &[Vec<u8>], config: &Value) -> Vec<u8> {
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let history = layers
        .iter()
        .map(|_| json!({"created": CREATED, "created_by": "made by hand"}));
    let document = json!({
        "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests.iter().map(|d| format!("sha256:{d}")).collect::<Vec<_>>()},
        "history": history.collect::<Vec<_>>(),
    });
    let document = document.to_string().into_bytes();
    let config_name = format!("{}.json", digest(&document));
    let names: Vec<String> = digests
        .iter()
        .map(|digest| format!("{digest}/layer.tar"))
        .collect();
    let manifest = json!([{"Config": config_name, "RepoTags": [format!("{name}:latest")], "Layers": names}]);
    let mut members = vec![file(&config_name, document)];
    members.extend(
        names
            .iter()
            .zip(layers)
            .map(|(name, layer)| file(name, layer.clone())),
    );
    members.push(file("manifest.json", manifest.to_string().into_bytes()));
    tar(&members, Format::Pax)
}

/// Name and archive of every base.
pub(crate) fn bases() -> Vec<(&'static str, Vec<u8>)> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut first = shell();
    first.extend(entries(FILES));
    let layers = [tar(&first, Format::Pax), tar(&entries(SECOND), Format::Pax)];
    let full = json!({
        "Env": [path, "BASE=yes", "KEEP=1"], "Cmd": ["base-cmd"], "Entrypoint": ["/base-entry", "-x"], "WorkingDir": "/srv", "User": "app",
        "Labels": {"base": "label", "over": "base"}, "Volumes": {"/vol": {}}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
        "Shell": ["/bin/sh", "-ec"], "Healthcheck": {"Test": ["CMD", "base-check"], "Interval": 7_000_000_000_i64, "Retries": 2},
    });
    let onbuild = json!({
        "Env": [path], "Cmd": ["/bin/sh"],
        "OnBuild": ["ARG WHO=nobody", "ENV WHO=$WHO", "COPY own /own", "RUN echo \"$WHO\" > /who", "WORKDIR /on", "USER daemon"],
    });
    vec![
        (
            "base",
            archive("base", &layers, &json!({"Env": [path], "Cmd": ["/bin/sh"]})),
        ),
        ("full", archive("full", &layers, &full)),
        ("onbuild", archive("onbuild", &layers, &onbuild)),
        ("bare", archive("bare", &[tar(&shell(), Format::Gnu)], &json!({}))),
    ]
}
