//! Builds with BuildKit over a session, as docker 20.10 asks for them: what it tells goes to its standard error, but for IDs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mica_tests::run;
use rustix::process::Signal;

use crate::cell::Cells;
use crate::docker::{Docker, has};
use crate::world::{PASSWORD, PATIENCE, USER, limited_as_asked};

/// An agent without keys.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Docker<'_> {
    /// What a build told, and its output; it must succeed.
    #[track_caller]
    fn told(&self, args: &[&str]) -> String {
        let ran = self.run(&[&["build", "--progress", "plain"], args].concat()).ok();
        bare(&ran.stderr)
    }

    /// The same with this on its standard input.
    #[track_caller]
    fn told_fed(&self, args: &[&str], input: &str) -> String {
        let args = [&["build", "--progress", "plain"], args].concat();
        let ran = mica_tests::run_fed(&mut self.command(&args), input).ok();
        bare(&ran.stderr)
    }

    pub(crate) fn session_builds(&self, cells: &mut Cells) {
        let context = self.world.arg("context");
        cells.check("build", || {
            let told = self.told(&["-t", "built:1", "-t", "built:2", &context]);
            for words in [
                "[internal] load build context",
                "the word is none",
                "naming to docker.io/library/built:2 done",
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
                &self.told(&[&args[..], &[&context]].concat()),
                "the word is spoken",
            );
            let labels = self.ok(&["inspect", "-f", "{{json .Config.Labels}}", "built:3"]);
            assert_eq!(labels, r#"{"a":"b","c":"","made":"here","number":"1"}"#);
        });
        cells.check("build up to a stage", || {
            self.told(&["--target", "first", "-t", "built:first", &context]);
            let shown = self.ok(&["inspect", "-f", "{{.Config.Env}} {{.Config.Cmd}}", "built:first"]);
            has(&shown, "BASE=yes] [sh]");
            self.refused(&["build", "--target", "nowhere", &context], 1, "nowhere");
        });
        cells.check("build quietly", || self.session_quietly(&context));
        cells.check("build with nothing but a Dockerfile", || {
            let text = format!("FROM {}\nLABEL lone=yes\n", self.world.base("1"));
            self.told_fed(&["-t", "lone:1", "-"], &text);
            assert_eq!(
                self.ok(&["inspect", "-f", "{{.Config.Labels.lone}}", "lone:1"]),
                "yes"
            );
            // the Dockerfile from there, the context from here
            self.told_fed(
                &["-t", "lone:2", "-f", "-", &context],
                &format!("{text}COPY file /file\n"),
            );
            has(&self.ok(&["history", "lone:2"]), "COPY file /file");
            // the Dockerfile from elsewhere
            let elsewhere = self.world.arg("small/Dockerfile");
            self.told(&["-t", "lone:3", "-f", &elsewhere, &context]);
            has(&self.ok(&["history", "lone:3"]), "COPY file /file");
        });
        cells.check("build from a tar", || {
            let mut command = self.command(&["build", "-t", "tarred:1", "-"]);
            command.stdin(Stdio::from(
                fs_err::File::open(self.world.arg("small.tar"))
                    .unwrap()
                    .into_file(),
            ));
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(
                self.ok(&["inspect", "-f", "{{len .RootFS.Layers}}", "tarred:1"]),
                "1"
            );
        });
        cells.check("build from an address", || {
            let address = format!("http://{}/small.tar", self.world.places.web.address());
            self.told(&["-t", "fetched:1", &address]);
            assert_eq!(self.id("fetched:1"), self.id("tarred:1"));
            self.refused(&["build", &address.replace("small", "nothing")], 1, "nothing.tar");
        });
        cells.check("build without ignored files", || self.without_ignored(&context));
        cells.check("build without the cache", || {
            has(&self.told(&[&context]), "CACHED [first 3/3] RUN");
            let anew = self.told(&["--no-cache", "--pull", &context]);
            assert!(!anew.contains("CACHED [first 3/3] RUN"), "{anew}");
        });
        cells.check("build on a private base", || {
            let (locked, private) = (self.world.places.locked.address(), self.world.arg("private"));
            self.refused(&["build", &private], 1, "seed/base");
            self.fed(&["login", "-u", USER, "--password-stdin", &locked], PASSWORD);
            self.told(&["-t", "private:1", &private]);
            self.ok(&["logout", &locked]);
            assert_eq!(
                self.ok(&["inspect", "-f", "{{.Config.Labels.private}}", "private:1"]),
                "yes"
            );
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
            let args = [&["--add-host", "somewhere:10.1.2.3"], &harmless[..], &limits[..]].concat();
            let limited = self.world.arg("limited");
            limited_as_asked(&self.told(&[&args[..], &["--platform", "linux", &limited]].concat()));
        });
        // by its own command, and by going away without a word
        cells.check("build that is given up", || {
            self.give_up(Signal::INT);
            self.give_up(Signal::KILL);
        });
        cells.check("build that fails", || {
            let failing = self.world.arg("failing");
            // without the code of the command, as BuildKit does
            self.refused(&["build", &failing], 1, "before");
            let words =
                "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7";
            self.refused(&["build", &failing], 1, words);
            let mut bad = self.command(&["build", "-"]);
            let ran = mica_tests::run_fed(&mut bad, "FROM scratch\nCOPPY a b\n");
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            has(&ran.stderr, "unknown instruction: COPPY");
            self.refused(
                &["build", "-f", &self.world.arg("context/none"), &context],
                1,
                "open none",
            );
        });
        cells.check("build over a session", || {
            // whatever the daemon says of itself
            let mut command = self.command(&["build", "-q", &context]);
            let asked = run(command.env("DOCKER_BUILDKIT", "1")).ok();
            assert_eq!(asked.text(), self.ok(&["build", "-q", &context]));
        });
        cells.check("build with a secret and an agent", || self.lent());
        cells.check("build to a folder and to a tar", || self.delivered(&context));
    }

    fn session_quietly(&self, context: &str) {
        let ran = self.run(&["build", "-q", context]).ok();
        assert_eq!(
            (ran.text(), ran.stderr.as_str()),
            (self.id("built:1").as_str(), "")
        );
        let file = self.world.scratch("iid");
        self.told(&["--iidfile", &file, context]);
        assert_eq!(fs_err::read_to_string(&file).unwrap(), self.id("built:1"));
        let failing = self.world.arg("failing");
        let ran = self.run(&["build", "-q", &failing]);
        assert_eq!((ran.code, ran.text()), (1, ""));
        has(&ran.stderr, "before");
    }

    fn lent(&self) {
        let (secret, socket) = (self.world.scratch("secret"), self.world.scratch("agent"));
        fs_err::write(&secret, "open sesame").unwrap();
        let agent = Command::new("ssh-agent")
            .args(["-D", "-a", &socket])
            .stdout(Stdio::null())
            .spawn();
        let _agent = Agent(agent.unwrap());
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "ssh-agent makes no socket");
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = format!(
            "FROM {}\nRUN --mount=type=secret,id=word grep -c sesame /run/secrets/word && test ! -e /run/secrets/other\n\
             RUN --mount=type=ssh test -S $SSH_AUTH_SOCK\nRUN test ! -e /run/secrets/word\n",
            self.world.base("1")
        );
        let source = format!("id=word,src={secret}");
        let lent = format!("default={socket}");
        self.told_fed(&["-t", "lent:1", "--secret", &source, "--ssh", &lent, "-"], &text);
        let history = self.ok(&["history", "--no-trunc", "lent:1"]);
        assert!(!history.contains("open sesame"), "{history}");
        // nobody lends these
        let mut command = self.command(&["build", "--no-cache", "-"]);
        assert_eq!(mica_tests::run_fed(&mut command, &text).code, 1);
    }

    fn delivered(&self, context: &str) {
        let (folder, archive) = (self.world.scratch("result"), self.world.scratch("result.tar"));
        self.told(&["-o", &folder, context]);
        assert_eq!(
            fs_err::read_to_string(format!("{folder}/src/file")).unwrap(),
            "text\n"
        );
        assert!(!std::path::Path::new(&folder).join("src/ignored").exists());
        self.told(&["-o", &format!("type=tar,dest={archive}"), context]);
        let listed = run(Command::new("tar").args(["-tf", &archive])).ok();
        has(&listed.stdout, "src/file\n");
        let mut command = self.command(&["build", "-o", "-", context]);
        let output = command.output().unwrap();
        assert!(
            output.stdout == fs_err::read(&archive).unwrap(),
            "the same tar, by standard output"
        );
        self.refused(
            &["build", "-o", "type=paper", context],
            1,
            "\"paper\" is not supported",
        );
    }
}

/// What was told without what stands before each line: the number of the step, seconds, digests.
fn bare(told: &str) -> String {
    let line = |line: &str| {
        let Some((number, rest)) = line.split_once(' ').filter(|(number, _)| number.starts_with('#')) else {
            return format!("{line}\n");
        };
        let (time, text) = rest.split_once(' ').unwrap_or(("", rest));
        match time.parse::<f64>() {
            Ok(_) => format!("{text}\n"),
            Err(_) => match rest == "CACHED" {
                // which is told of a step that was named before
                true => format!("CACHED {}\n", named(told, number)),
                false => format!("{rest}\n"),
            },
        }
    };
    told.lines().map(line).collect()
}

/// The name of the step of a number.
fn named<'a>(told: &'a str, number: &str) -> &'a str {
    let mut lines = told.lines();
    lines
        .find_map(|line| line.strip_prefix(number)?.strip_prefix(' '))
        .unwrap_or_default()
}
