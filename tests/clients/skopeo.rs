//! skopeo, which moves images between a daemon, registries and folders.

use std::process::Command;

use mica_tests::{Context, Ran, run};

use crate::cell::Cells;
use crate::script::succeed;
use crate::verbs::ENGINE;
use crate::world::{PASSWORD, USER, World};

struct Skopeo<'a>(&'a World<'a>);

pub(crate) fn all(world: &World) -> Result<Cells, String> {
    let version = succeed(Command::new("skopeo").arg("--version"))?;
    #[allow(clippy::print_stdout, reason = "the version is the machine's")]
    {
        print!("{version}");
    }
    let mut cells = Cells::default();
    let skopeo = Skopeo(world);
    cells.cannot("it asks a daemon for nothing but images", &ENGINE);
    skopeo.transfers(&mut cells);
    skopeo.images(&mut cells);
    Ok(cells)
}

impl Skopeo<'_> {
    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new("timeout");
        command.args(["60", "skopeo"]).args(args);
        run(&mut command)
    }

    /// Copies from here to there; `flags` come first.
    fn copy(&self, flags: &[&str], from: &str, to: &str) -> Ran {
        let daemon = self.0.daemon.host();
        let mut args = vec!["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
        args.extend(["--src-daemon-host", &daemon, "--dest-daemon-host", &daemon]);
        args.extend(flags);
        args.extend([from, to]);
        self.run(&args)
    }

    #[track_caller]
    fn inspect(&self, format: &str, name: &str) -> String {
        let daemon = self.0.daemon.host();
        let args = [
            "inspect",
            "--tls-verify=false",
            "--daemon-host",
            &daemon,
            "-f",
            format,
            name,
        ];
        self.run(&args).ok().text().to_owned()
    }

    /// Has a small image made, its label telling of its name; its ID.
    #[track_caller]
    fn small(&self, name: &str) -> String {
        let context = Context::new(&format!("FROM scratch\nCOPY file /file\nLABEL for={name}\n"));
        let context = context.file("file", "text\n");
        let built = self.0.daemon.mica(["build", "-q", "-t", name, context.arg()]);
        built.ok().text().to_owned()
    }

    #[track_caller]
    fn id(&self, name: &str) -> String {
        let told = self.0.daemon.mica(["inspect", "-f", "{{.Id}}", name]);
        told.ok().text().to_owned()
    }

    fn transfers(&self, cells: &mut Cells) {
        let base = format!("docker://{}", self.0.base("1"));
        cells.check("pull", || {
            self.copy(&[], &base, "docker-daemon:pulled:1").ok();
            let digest = self.inspect("{{.Digest}}", &base);
            assert!(digest.starts_with("sha256:"), "{digest}");
            self.0.daemon.mica(["pull", &self.0.base("1")]).ok();
            assert_eq!(self.id("pulled:1"), self.id(&self.0.base("1")));
        });
        cells.check("pull by digest", || {
            let digest = self.inspect("{{.Digest}}", &base);
            let by_digest = format!("{}@{digest}", base.trim_end_matches(":1"));
            self.copy(&[], &by_digest, "docker-daemon:pulled:2").ok();
            assert_eq!(self.id("pulled:2"), self.id("pulled:1"));
        });
        cells.check("pull for another platform", || {
            let many = format!("docker://{}", self.0.places.plain.name("seed/many:1"));
            for architecture in ["arm64", "amd64"] {
                let flags = ["--override-arch", architecture];
                self.copy(&flags, &many, "docker-daemon:many:1").ok();
                let told = self
                    .0
                    .daemon
                    .mica(["inspect", "-f", "{{.Architecture}}", "many:1"]);
                assert_eq!(told.ok().text(), architecture);
            }
        });
        cells.check("pull what is not there", || {
            let ran = self.copy(
                &[],
                &format!("docker://{}", self.0.own("none")),
                "docker-daemon:none:1",
            );
            assert_ne!(ran.code, 0);
            assert_ne!(self.0.daemon.mica(["inspect", "none:1"]).code, 0);
        });
        cells.check("push", || {
            let (id, name) = (self.small("pushed:1"), self.0.own("pushed:1"));
            let there = format!("docker://{name}");
            self.copy(&[], "docker-daemon:pushed:1", &there).ok();
            self.0.daemon.mica(["pull", &name]).ok();
            assert_eq!(self.id(&name), id);
        });
        let locked = format!("docker://{}", self.0.locked("own:1"));
        cells.check("push and pull with a password", || {
            self.small("own:1");
            let account = format!("{USER}:{PASSWORD}");
            self.copy(&["--dest-creds", &account], "docker-daemon:own:1", &locked)
                .ok();
            self.copy(&["--src-creds", &account], &locked, "docker-daemon:own:2")
                .ok();
            assert_eq!(self.id("own:2"), self.id("own:1"));
        });
        cells.check("push without the password", || {
            assert_ne!(self.copy(&[], "docker-daemon:own:1", &locked).code, 0);
        });
    }

    fn images(&self, cells: &mut Cells) {
        cells.check("inspect", || {
            let id = self.small("seen:1");
            let shown = "{{.Os}} {{len .Layers}} {{.Labels}}";
            assert_eq!(
                self.inspect(shown, "docker-daemon:seen:1"),
                "linux 1 map[for:seen:1]"
            );
            assert_eq!(self.inspect("{{.Os}}", &format!("docker-daemon:{id}")), "linux");
        });
        cells.check("inspect what is not there", || {
            let daemon = self.0.daemon.host();
            let ran = self.run(&["inspect", "--daemon-host", &daemon, "docker-daemon:nothing:1"]);
            assert_ne!(ran.code, 0);
            assert!(ran.stderr.contains("No such image: nothing:1"), "{}", ran.stderr);
        });
        cells.check("history", || {
            self.small("told:1");
            let daemon = self.0.daemon.host();
            let args = [
                "inspect",
                "--config",
                "--daemon-host",
                &daemon,
                "docker-daemon:told:1",
            ];
            let config = self.run(&args).ok();
            let config: serde_json::Value = serde_json::from_str(config.text()).unwrap();
            assert_eq!(config["history"].as_array().unwrap().len(), 2, "{config}");
        });
        cells.check("save", || {
            let id = self.small("saved:1");
            for kind in ["oci", "dir"] {
                let folder = format!("{kind}:{}", self.0.scratch(kind));
                self.copy(&[], "docker-daemon:saved:1", &folder).ok();
                self.copy(&[], &format!("docker-daemon:{id}"), &folder).ok();
                assert_eq!(self.inspect("{{.Labels}}", &folder), "map[for:saved:1]");
            }
        });
        cells.check("load", || {
            let id = self.small("loaded:1");
            let folder = format!("oci:{}:1", self.0.scratch("loaded"));
            self.copy(&[], "docker-daemon:loaded:1", &folder).ok();
            self.0.daemon.mica(["rmi", "loaded:1"]).ok();
            self.copy(&[], &folder, "docker-daemon:loaded:2").ok();
            // the config goes through other hands, and is written anew
            assert_ne!(self.id("loaded:2"), "");
            assert_eq!(
                self.inspect("{{.Labels}}", "docker-daemon:loaded:2"),
                "map[for:loaded:1]"
            );
            let archive = format!("docker-archive:{}:loaded:3", self.0.scratch("loaded.tar"));
            self.copy(&[], "docker-daemon:loaded:2", &archive).ok();
            self.copy(&[], &archive, "docker-daemon:loaded:3").ok();
            assert_eq!(self.id("loaded:3"), self.id("loaded:2"));
            assert_eq!(self.id("loaded:3"), id);
        });
        cells.check("tag", || {
            let id = self.small("tagged:1");
            self.copy(&[], "docker-daemon:tagged:1", "docker-daemon:tagged:2")
                .ok();
            assert_eq!(self.id("tagged:2"), id);
        });
        cells.cannot("it copies one image", &["save several", "load what is no image"]);
        cells.cannot(
            "a daemon's images are not its to delete",
            &[
                "remove",
                "remove by ID, several and forced",
                "remove what has two names",
            ],
        );
    }
}
