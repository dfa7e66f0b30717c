//! The program beside docker's own command line: the same words, the same answers, the same output.
//!
//! Texts change from one docker to the next, so only docker 28's is compared with.

use std::path::PathBuf;
use std::process::Command;

use crate::fake::{Fake, outcome, reply, stream};

/// Docker's command line, if it is the one the texts are of.
fn docker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|file| file.is_file());
    let docker = found?;
    let version = Command::new(&docker).arg("--version").output().ok()?;
    version
        .stdout
        .starts_with(b"Docker version 28.")
        .then_some(docker)
}

/// One name each: docker shows several in any order.
const IMAGES: &str = r#"[
    {"Id":"sha256:1111111111111111111111111111111111111111111111111111111111111111","RepoTags":["busybox:latest"],
     "RepoDigests":["busybox@sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"],"Created":1700000000,
     "Size":120000000,"SharedSize":20000000,"Labels":null,"Containers":1},
    {"Id":"sha256:2222222222222222222222222222222222222222222222222222222222222222","RepoTags":[],"RepoDigests":[],
     "Created":1690000000,"Size":23456789,"SharedSize":-1,"Labels":{"a":"b"},"Containers":-1}]"#;

const CONTAINERS: &str = r#"[
    {"Id":"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1","Names":["/web","/other/web2"],"Image":"nginx:1",
     "ImageID":"sha256:11","Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1700000000,
     "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}],
     "Labels":{"a":"<b>"},"State":"running","Status":"Up 2 hours","SizeRw":1234,"SizeRootFs":1000000,
     "NetworkSettings":{"Networks":{"bridge":{}}},"Mounts":[{"Name":"data","Driver":"local"},{"Source":"/host/a/long/path/name"}]},
    {"Id":"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2","Names":["/gone"],"Image":"sha256:2222222222222222",
     "ImageID":"sha256:2222222222222222","Command":"sh","Created":1700000000,"Ports":[],"Labels":{},"State":"exited",
     "Status":"Exited (0) 2 days ago","SizeRw":1000,"Mounts":[]}]"#;

const VOLUMES: &str = r#"[
    {"Name":"data","Driver":"local","Mountpoint":"/v/data","Scope":"local","Labels":{"k":"v"},"UsageData":{"RefCount":1,"Size":5000}},
    {"Name":"idle","Driver":"local","Mountpoint":"/v/idle","Scope":"local","Labels":null,"UsageData":{"RefCount":0,"Size":7000}}]"#;

const CACHE: &str = r#"[
    {"ID":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Type":"regular","Description":"RUN a && b","InUse":false,
     "Shared":true,"Size":5000000,"CreatedAt":"2023-11-14T22:13:20Z","LastUsedAt":"2023-11-15T22:13:20Z","UsageCount":3},
    {"ID":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","Type":"exec.cachemount","Description":"/root/.cache",
     "InUse":true,"Shared":false,"Size":1500,"CreatedAt":"2023-11-14T22:13:20.1234Z","LastUsedAt":"2023-11-14T22:13:20Z","UsageCount":12},
    {"ID":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","Type":"regular","Description":"COPY . .","InUse":false,
     "Shared":false,"Size":7805123,"CreatedAt":"2023-11-14T22:13:20Z","LastUsedAt":null,"UsageCount":1}]"#;

const EVENTS: [&str; 2] = [
    r#"{"status":"pull","id":"busybox:latest","Type":"image","Action":"pull","Actor":{"ID":"busybox:latest","Attributes":{"name":"busybox","b":"1","a":"x y"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}"#,
    r#"{"Type":"builder","Action":"prune","Actor":{"ID":"","Attributes":{"reclaimed":"12"}},"scope":"local","time":1700000001,"timeNano":1700000001000000000}"#,
];

const FOUND: &str = r#"[
    {"star_count":10000,"is_official":true,"name":"nginx","description":"Official build of Nginx."},
    {"star_count":3,"is_official":false,"name":"someone/nginx","description":"A description that goes on\nand on and on until nobody reads it"}]"#;

const NETWORKS: &str = r#"[
    {"Name":"bridge","Id":"abababababababababababababababab","Created":"2023-11-14T22:13:20.5Z","Scope":"local","Driver":"bridge",
     "EnableIPv4":true,"EnableIPv6":false,"Internal":false,"Labels":{}},
    {"Name":"a","Id":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","Created":"2023-11-14T22:13:20Z","Scope":"local","Driver":"null","Labels":{"x":"y"}}]"#;

const PLUGINS: &str = r#"[{"Id":"efefefefefefefefefefefefefefefef","Name":"p:latest","PluginReference":"docker.io/x/p:latest","Enabled":true,
    "Config":{"Description":"does something very long that must be cut somewhere"}}]"#;

/// Compares both on these command lines, all answered so.
fn same(docker: &std::path::Path, answer: &str, lines: &[&[&str]]) {
    let fake = Fake::new([reply(200, answer).with("Content-Type", "application/json")]);
    let folder = tempfile::tempdir().unwrap();
    for words in lines {
        let ours = fake.run(words);
        let mut command = fake.command_of(docker, words);
        command
            .env_remove("MICA_HOST")
            .env("HOME", folder.path())
            .env("DOCKER_HOST", fake.host())
            .env("DOCKER_API_VERSION", "1.50");
        let theirs = outcome(command);
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}");
        assert_eq!(ours.code, theirs.code, "{words:?}: {ours:?} {theirs:?}");
    }
}

#[test]
fn the_same_answers_look_the_same() {
    let Some(docker) = docker() else {
        println!("skipped: docker 28 is not there to compare with");
        return;
    };
    let usage = format!(
        r#"{{"LayersSize":123456789,"Images":{IMAGES},"Containers":{CONTAINERS},"Volumes":{VOLUMES},"BuildCache":{CACHE}}}"#
    );
    let volumes = format!(r#"{{"Volumes":{VOLUMES},"Warnings":null}}"#);
    let df = ["system", "df"];
    same(
        &docker,
        &usage,
        &[
            &df,
            &[&df[..], &["-v"]].concat(),
            &[&df[..], &["--format", "json"]].concat(),
            &[&df[..], &["--format", "raw"]].concat(),
            &[&df[..], &["--format", r"table {{.Type}}\t{{.Reclaimable}}"]].concat(),
            &[
                &df[..],
                &[
                    "-v",
                    "--format",
                    "{{range .BuildCache}}{{.ID}} {{.CreatedAt}} {{.LastUsedAt}}\n{{end}}",
                ],
            ]
            .concat(),
            &[&df[..], &["-v", "--format", "json"]].concat(),
        ],
    );
    let template = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Time}} {{.TimeNano}} {{.Scope}} {{.ID}} {{.Status}} {{.From}} \
                    {{.Actor.Attributes.name}} {{.Actor.Attributes}}";
    same(
        &docker,
        &stream(&EVENTS),
        &[
            &["events"],
            &["system", "events", "--since", "10m", "--until", "2023-11-14"],
            &["events", "--format", "json"],
            &["events", "--format", template],
            &["events", "--format", "{{.Nope}}"],
            &["events", "--since", "abc"],
        ],
    );
    same(
        &docker,
        FOUND,
        &[
            &["search", "nginx"],
            &["search", "--no-trunc", "--limit", "3", "nginx"],
            &["search", "--format", "json", "nginx"],
            &["search", "--format", "{{.Name}} {{.IsOfficial}}", "nginx"],
        ],
    );
    same(
        &docker,
        CONTAINERS,
        &[
            &["ps"],
            &["container", "ls", "-as", "--no-trunc"],
            &["ps", "-q"],
            &[
                "ps",
                "--format",
                r"table {{.Names}}\t{{.Labels}}\t{{.Mounts}}\t{{.LocalVolumes}}\t{{.Networks}}\t{{.Size}}",
            ],
        ],
    );
    same(
        &docker,
        &volumes,
        &[
            &["volume", "ls"],
            &["volume", "ls", "--format", "json"],
            &["volume", "ls", "-q"],
        ],
    );
    same(
        &docker,
        NETWORKS,
        &[
            &["network", "ls"],
            &["network", "ls", "--format", "json"],
            &["network", "ls", "-q"],
        ],
    );
    same(
        &docker,
        PLUGINS,
        &[
            &["plugin", "ls"],
            &["plugin", "ls", "--format", "json"],
            &["plugin", "ls", "--no-trunc"],
        ],
    );
    same(
        &docker,
        IMAGES,
        &[
            &["images"],
            &["images", "--digests"],
            &["images", "--format", "json"],
            &["images", "-q"],
        ],
    );
    same(
        &docker,
        "{}",
        &[
            &["context", "ls"],
            &["context", "inspect"],
            &["context", "show"],
            &["context", "use", "default"],
            &["system", "prune"],
            &["system", "prune", "-a", "--volumes", "--filter", "label=x"],
            &["container", "prune"],
            &["volume", "prune", "-a"],
            &["network", "prune"],
        ],
    );
}
