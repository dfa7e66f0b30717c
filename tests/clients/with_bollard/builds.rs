//! Builds: archives with a query.

use std::collections::HashMap;
use std::process::Command;

use bollard::body_full;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion, ImageBuildOutput};
use futures_util::StreamExt;
use mica_tests::run;

use crate::cell::Cells;
use crate::with_bollard::{Bollard, broken, has, refused, text};
use crate::world::limited_as_asked;

fn options() -> BuildImageOptionsBuilder {
    BuildImageOptionsBuilder::default()
}

/// Over a session of this name, as BuildKit is asked.
fn session(name: &str) -> BuildImageOptionsBuilder {
    options().version(BuilderVersion::BuilderBuildKit).session(name)
}

/// The image that was built.
fn built(lines: &[BuildInfo]) -> Option<String> {
    lines.iter().rev().find_map(|line| match line.aux.as_ref()? {
        BuildInfoAux::Default(image) => image.id.clone(),
        BuildInfoAux::BuildKit(_) => None,
    })
}

impl Bollard<'_> {
    pub(crate) fn builds(&self, cells: &mut Cells) {
        cells.check("build", || {
            let lines = self.build("context", options().t("built:1")).unwrap();
            let told = text(&lines);
            for words in ["Step 1/", "the word is none", "Successfully tagged built:1"] {
                has(&told, words);
            }
            let image = self.wait(self.docker.inspect_image("built:1")).unwrap();
            assert_eq!(image.id, built(&lines));
            let config = image.config.unwrap();
            assert!(
                config
                    .env
                    .unwrap()
                    .ends_with(&["BASE=yes".to_owned(), "A=b".to_owned()])
            );
            assert_eq!(config.entrypoint.unwrap(), ["sh", "-c"]);
        });
        cells.check("build with arguments and labels", || {
            let (args, labels) = (
                HashMap::from([("WORD", "spoken")]),
                HashMap::from([("a", "b"), ("c", "")]),
            );
            let built = options().t("built:2").buildargs(&args).labels(&labels);
            has(
                &text(&self.build("context", built).unwrap()),
                "the word is spoken",
            );
            let image = self.wait(self.docker.inspect_image("built:2")).unwrap();
            let labels = image.config.unwrap().labels.unwrap();
            assert_eq!(
                (labels.len(), labels["a"].as_str(), labels["made"].as_str()),
                (4, "b", "here")
            );
        });
        cells.check("build up to a stage", || {
            self.build("context", options().t("built:first").target("first"))
                .unwrap();
            let image = self.wait(self.docker.inspect_image("built:first")).unwrap();
            assert_eq!(image.config.unwrap().cmd.unwrap(), ["sh"]);
            refused(self.build("context", options().target("nowhere")), 400, "nowhere");
        });
        cells.check("build quietly", || {
            let lines = self.build("context", options().q(true)).unwrap();
            assert_eq!(text(&lines), format!("{}\n", self.id("built:1")));
        });
        cells.cannot("it sends archives only", &["build with nothing but a Dockerfile"]);
        cells.check("build from a tar", || self.archives());
        cells.check("build from an address", || {
            let address = format!("http://{}/small.tar", self.world.places.web.address());
            let built = options().t("fetched:1").remote(&address).build();
            self.build_tar(built, Vec::new()).unwrap();
            let image = self.wait(self.docker.inspect_image("fetched:1")).unwrap();
            assert_eq!(image.root_fs.unwrap().layers.unwrap().len(), 1);
        });
        cells.cannot(
            "what is ignored is left out by who makes the archive",
            &["build without ignored files"],
        );
        cells.check("build without the cache", || {
            has(&text(&self.build("context", options()).unwrap()), "Using cache");
            let anew = text(
                &self
                    .build("context", options().nocache(true).pull("true"))
                    .unwrap(),
            );
            assert!(!anew.contains("Using cache"), "{anew}");
            let from = options().cachefrom(&vec!["built:1"]);
            has(&text(&self.build("context", from).unwrap()), "Using cache");
        });
        cells.check("build on a private base", || {
            assert!(self.build("private", options()).is_err());
            let accounts = HashMap::from([(self.world.places.locked.address(), self.account())]);
            let tar = body_full(self.tar("private").into());
            let built = options().t("private:1").build();
            self.all(self.docker.build_image(built, Some(accounts), Some(tar)))
                .unwrap();
            self.id("private:1");
        });
        cells.check("build with hosts and limits", || {
            let limits = options().networkmode("none").shmsize(8 << 20).memory(1 << 26);
            let limits = limits
                .extrahosts("somewhere:10.1.2.3")
                .platform("linux")
                .forcerm(true);
            limited_as_asked(&text(&self.build("limited", limits).unwrap()));
        });
        cells.check("build that is given up", || {
            let args = HashMap::from([("SECONDS", self.world.seconds.as_str())]);
            let tar = body_full(self.tar("endless").into());
            let built = options().buildargs(&args).build();
            let mut lines = Box::pin(self.docker.build_image(built, None, Some(tar)));
            while let Some(line) = self.wait(lines.next()) {
                let said = line.unwrap().stream.unwrap_or_default();
                if said.contains("Running in") {
                    break;
                }
            }
            self.world.await_sleep(true);
            drop(lines);
            // what was dropped is closed when the runtime goes on
            self.wait(tokio::task::yield_now());
            self.world.await_sleep(false);
        });
        cells.check("build over a session", || {
            let lines = self.build("context", session("1").t("session:1")).unwrap();
            assert_eq!(built(&lines).unwrap(), self.id("session:1"));
            let told = lines.iter().filter_map(|line| match line.aux.as_ref()? {
                BuildInfoAux::BuildKit(status) => Some(status.vertexes.clone()),
                BuildInfoAux::Default(_) => None,
            });
            let ended = |name: &str| {
                let mut all = told.clone().flatten();
                all.any(|vertex| vertex.name.contains(name) && vertex.completed.is_some())
            };
            assert!(ended("COPY . /src") && ended("exporting to image"));
            assert!(self.build("private", session("2").pull("true")).is_err());
            let accounts = HashMap::from([(self.world.places.locked.address(), self.account())]);
            let tar = body_full(self.tar("private").into());
            let options = session("3").t("session:2").pull("true").build();
            self.all(self.docker.build_image(options, Some(accounts), Some(tar)))
                .unwrap();
            self.id("session:2");
            let failing = self.build("failing", session("4"));
            broken(failing, "did not complete successfully: exit code: 7");
        });
        cells.cannot(
            "its older way has none; its newer one does (tests/buildx)",
            &["build with a secret and an agent"],
        );
        cells.check("build to a folder and to a tar", || {
            let tar = self.world.scratch("result.tar");
            self.build("small", session("5").outputs(ImageBuildOutput::Tar(tar.clone())))
                .unwrap();
            has(
                &run(Command::new("tar").args(["-tf", &tar])).ok().stdout,
                "file\n",
            );
            let folder = self.world.scratch("result");
            let local = ImageBuildOutput::Local(folder.clone());
            self.build("small", session("6").outputs(local)).unwrap();
            assert_eq!(
                fs_err::read_to_string(format!("{folder}/file")).unwrap(),
                "text\n"
            );
        });
        cells.check("build that fails", || {
            let words = "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7";
            broken(self.build("failing", options()), words);
            refused(
                self.build("small", options().dockerfile("file")),
                400,
                "unknown instruction: TEXT",
            );
        });
    }

    fn archives(&self) {
        self.build_tar(options().t("tarred:1").build(), self.tar("small"))
            .unwrap();
        let folder = self.world.arg("small");
        for (number, flag) in [(2, "-z"), (3, "-J"), (4, "-j")] {
            let packed = self.world.scratch(&format!("{number}.tar"));
            run(Command::new("tar").args(["-c", flag, "-f", &packed, "-C", &folder, "."])).ok();
            let name = format!("tarred:{number}");
            self.build_tar(options().t(&name).build(), fs_err::read(packed).unwrap())
                .unwrap();
            assert_eq!(self.id(&name), self.id("tarred:1"));
        }
    }
}
