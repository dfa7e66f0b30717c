//! Builds in all the ways the command line has for handing one over.

use std::process::{Command, Stdio};

use mica_tests::run;
use rustix::process::Signal;

use crate::cell::Cells;
use crate::docker::{Docker, has};
use crate::world::{PASSWORD, USER, limited_as_asked};

impl Docker<'_> {
    pub(crate) fn builds(&self, cells: &mut Cells) {
        let context = self.world.arg("context");
        cells.check("build", || {
            let told = self.ok(&["build", "-t", "built:1", "-t", "built:2", &context]);
            for words in [
                "Step 1/",
                "the word is none",
                "Successfully built ",
                "Successfully tagged built:2",
            ] {
                has(&told, words);
            }
            let shown =
                "{{json .Config.Env}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.ExposedPorts}}";
            let config = self.ok(&["inspect", "-f", shown, "built:1"]);
            has(&config, "\"BASE=yes\",\"A=b\"] [sh -c] [true] map[80/tcp:{}]");
            assert_eq!(self.id("built:1"), self.id("built:2"));
        });
        cells.check("build with arguments and labels", || {
            let args = [
                "--build-arg",
                "WORD=spoken",
                "--label",
                "a=b",
                "--label",
                "c",
                "-t",
                "built:3",
            ];
            has(
                &self.ok(&[&["build"], &args[..], &[&context]].concat()),
                "the word is spoken",
            );
            let labels = self.ok(&["inspect", "-f", "{{json .Config.Labels}}", "built:3"]);
            assert_eq!(labels, r#"{"a":"b","c":"","made":"here","number":"1"}"#);
        });
        cells.check("build up to a stage", || {
            self.ok(&["build", "--target", "first", "-t", "built:first", &context]);
            let shown = self.ok(&["inspect", "-f", "{{.Config.Env}} {{.Config.Cmd}}", "built:first"]);
            has(&shown, "BASE=yes] [sh]");
            self.refused(&["build", "--target", "nowhere", &context], 1, "nowhere");
        });
        cells.check("build quietly", || self.quietly(&context));
        cells.check("build with nothing but a Dockerfile", || {
            let text = format!("FROM {}\nLABEL lone=yes\n", self.world.base("1"));
            has(
                &self.fed(&["build", "-t", "lone:1", "-"], &text),
                "Successfully tagged lone:1",
            );
            // the Dockerfile from there, the context from here
            let text = format!("{text}COPY file /file\n");
            self.fed(&["build", "-t", "lone:2", "-f", "-", &context], &text);
            has(&self.ok(&["history", "lone:2"]), "COPY file /file");
        });
        cells.check("build from a tar", || {
            let mut command = self.command(&["build", "-t", "tarred:1", "-"]);
            command.stdin(Stdio::from(
                fs_err::File::open(self.world.arg("small.tar"))
                    .unwrap()
                    .into_file(),
            ));
            let output = command.output().unwrap();
            has(
                &String::from_utf8_lossy(&output.stdout),
                "Successfully tagged tarred:1",
            );
        });
        cells.check("build from an address", || {
            let address = format!("http://{}/small.tar", self.world.places.web.address());
            has(
                &self.ok(&["build", "-t", "fetched:1", &address]),
                "Successfully tagged fetched:1",
            );
            assert_eq!(
                self.ok(&["inspect", "-f", "{{len .RootFS.Layers}}", "fetched:1"]),
                "1"
            );
        });
        cells.check("build without ignored files", || self.without_ignored(&context));
        cells.check("build without the cache", || {
            has(&self.ok(&["build", &context]), "Using cache");
            let anew = self.ok(&["build", "--no-cache", "--pull", &context]);
            assert!(!anew.contains("Using cache"), "{anew}");
        });
        cells.check("build on a private base", || {
            let (locked, private) = (self.world.places.locked.address(), self.world.arg("private"));
            self.refused(&["build", &private], 1, "seed/base");
            self.fed(&["login", "-u", USER, "--password-stdin", &locked], PASSWORD);
            let told = self.ok(&["build", "-t", "private:1", &private]);
            self.ok(&["logout", &locked]);
            has(&told, "Successfully tagged private:1");
        });
        cells.check("build with hosts and limits", || {
            let harmless = ["--compress", "--force-rm", "--memory", "64m", "--cpu-shares", "2"];
            let limits = [
                "--ulimit",
                "nofile=100:200",
                "--shm-size",
                "8m",
                "--network",
                "none",
            ];
            let args = [
                &["build", "--add-host", "somewhere:10.1.2.3"],
                &harmless[..],
                &limits[..],
            ]
            .concat();
            let limited = self.world.arg("limited");
            let told = self.ok(&[&args[..], &["--platform", "linux", &limited]].concat());
            limited_as_asked(&told);
        });
        cells.check("build that is given up", || self.give_up(Signal::INT));
        cells.cannot(
            "the classic builder has none; with buildx it does (tests/buildx)",
            &[
                "build over a session",
                "build with a secret and an agent",
                "build to a folder and to a tar",
            ],
        );
        cells.check("build that fails", || {
            let failing = self.world.arg("failing");
            let ran = self.run(&["build", &failing]);
            assert_eq!(ran.code, 7, "{}", ran.stderr);
            has(&ran.stdout, "before");
            has(
                &ran.stderr,
                "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7",
            );
            // what is wrong from the first line on
            let mut bad = self.command(&["build", "-"]);
            let ran = mica_tests::run_fed(&mut bad, "FROM scratch\nCOPPY a b\n");
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            has(&ran.stderr, "unknown instruction: COPPY");
        });
    }

    fn quietly(&self, context: &str) {
        let ran = self.run(&["build", "-q", context]).ok();
        assert_eq!(ran.text(), self.id("built:1"));
        let file = self.world.scratch("iid");
        self.ok(&["build", "--iidfile", &file, context]);
        assert_eq!(fs_err::read_to_string(&file).unwrap(), self.id("built:1"));
        let failing = self.world.arg("failing");
        let ran = self.run(&["build", "-q", &failing]);
        assert_eq!((ran.code, ran.text()), (7, ""));
        has(&ran.stderr, "before");
    }

    pub(super) fn without_ignored(&self, context: &str) {
        self.ok(&["build", "-t", "ignoring:1", context]);
        let archive = self.world.scratch("ignoring.tar");
        self.ok(&["save", "-o", &archive, "ignoring:1"]);
        let folder = self.world.scratch("ignoring");
        fs_err::create_dir(&folder).unwrap();
        run(Command::new("tar").args(["-xf", &archive, "-C", &folder])).ok();
        let manifest = fs_err::read(format!("{folder}/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest[0]["Layers"].as_array().unwrap().iter();
        let names = layers.map(|layer| {
            let path = format!("{folder}/{}", layer.as_str().unwrap());
            run(Command::new("tar").args(["-tf", &path])).ok().stdout
        });
        let names: String = names.collect();
        has(&names, "src/file\n");
        assert!(!names.contains("src/ignored"), "{names}");
    }
}
