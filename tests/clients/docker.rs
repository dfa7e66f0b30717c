//! The stock docker command line: the one on the path and Debian's with the classic builder, and Debian's with BuildKit over a session.

mod builds;
mod images;
mod registries;
mod session;
mod system;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mica_tests::{Ran, run, run_fed};
use rustix::process::{Pid, Signal, kill_process};

use crate::cell::Cells;
use crate::world::{PATIENCE, World};

/// Where Debian's docker is; the one on the path may be another.
const DEBIAN: &str = "/usr/bin/docker";

/// A docker and the world it works in.
pub(crate) struct Docker<'a> {
    program: &'static str,
    builder: Builder,
    world: &'a World<'a>,
}

/// Whose manners a docker builds in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Builder {
    /// The classic one's, because it is told to.
    Classic,
    /// BuildKit's, because the daemon says that it can.
    BuildKit,
}

/// The docker on the path.
pub(crate) fn on_path(world: &World) -> Result<Cells, String> {
    all("docker", Builder::Classic, world)
}

/// Debian's docker, an older one.
pub(crate) fn of_debian(world: &World) -> Result<Cells, String> {
    debian(Builder::Classic, world)
}

/// The same with what it has of BuildKit.
pub(crate) fn of_debian_with_buildkit(world: &World) -> Result<Cells, String> {
    debian(Builder::BuildKit, world)
}

fn debian(builder: Builder, world: &World) -> Result<Cells, String> {
    match Path::new(DEBIAN).exists() {
        true => all(DEBIAN, builder, world),
        false => Err("Debian's docker is not installed".to_owned()),
    }
}

fn all(program: &'static str, builder: Builder, world: &World) -> Result<Cells, String> {
    let docker = Docker {
        program,
        builder,
        world,
    };
    let version = Command::new(program).arg("--version").output();
    let version = version.map_err(|error| format!("{program}: {error}"))?;
    #[allow(clippy::print_stdout, reason = "the version is the machine's")]
    {
        print!("{program} is {}", String::from_utf8_lossy(&version.stdout));
    }
    let mut cells = Cells::default();
    docker.system(&mut cells);
    match builder {
        Builder::Classic => docker.builds(&mut cells),
        Builder::BuildKit => docker.session_builds(&mut cells),
    }
    docker.registries(&mut cells);
    docker.images(&mut cells);
    docker.housekeeping(&mut cells);
    Ok(cells)
}

impl Docker<'_> {
    fn command(&self, args: &[&str]) -> Command {
        // a command that waits for ever must not hold up the others
        let mut command = Command::new("timeout");
        command.args(["60", self.program]).args(args);
        self.set(&mut command);
        command
    }

    /// Tells a docker where the daemon is.
    fn set(&self, command: &mut Command) {
        command
            .env("DOCKER_HOST", self.world.daemon.host())
            .env("DOCKER_CONFIG", self.world.scratch("docker-config"))
            .env_remove("DOCKER_CONTEXT");
        match self.builder {
            Builder::Classic => command.env("DOCKER_BUILDKIT", "0"),
            Builder::BuildKit => command.env_remove("DOCKER_BUILDKIT"),
        };
    }

    /// A build without end that is given up. It hears of SIGINT as one on a terminal does: what a shell starts in the background is told to
    /// overhear it, and docker 20.10's classic builder then does.
    fn give_up(&self, signal: Signal) {
        let (seconds, endless) = (
            format!("SECONDS={}", self.world.seconds),
            self.world.arg("endless"),
        );
        // without the command that limits its time, which would get the signal
        let mut command = Command::new("env");
        self.set(&mut command);
        command.arg("--default-signal=INT").arg(self.program);
        command.args(["build", "--build-arg", &seconds, &endless]);
        let build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut build = build.expect("env is there");
        self.world.await_sleep(true);
        kill_process(Pid::from_child(&build), signal).expect("it runs");
        let began = Instant::now();
        let status = loop {
            if let Some(status) = build.try_wait().expect("it is ours to wait for") {
                break status;
            }
            if began.elapsed() > PATIENCE {
                build.kill().expect("it runs");
                panic!("docker goes on after {signal:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(!status.success());
        self.world.await_sleep(false);
    }

    /// What a command said, whatever came of it.
    fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// What a command printed; it must succeed.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok().text().to_owned()
    }

    /// What a command with this on its standard input printed; it must succeed.
    #[track_caller]
    fn fed(&self, args: &[&str], input: &str) -> String {
        run_fed(&mut self.command(args), input).ok().text().to_owned()
    }

    /// A command that must fail with this exit code and words on its standard error.
    #[track_caller]
    fn refused(&self, args: &[&str], code: i32, words: &str) {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "stdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
        has(&ran.stderr, words);
    }

    /// The ID of an image.
    #[track_caller]
    fn id(&self, name: &str) -> String {
        self.ok(&["inspect", "-f", "{{.Id}}", name])
    }

    /// A small image with a label of this name, and its ID; there is always a new one.
    #[track_caller]
    fn small(&self, name: &str) -> String {
        let label = format!("for={name}");
        let context = self.world.arg("small");
        self.ok(&["build", "-q", "--label", &label, "-t", name, &context])
    }
}

/// Fails if a text does not have these words.
#[track_caller]
fn has(text: &str, words: &str) {
    assert!(text.contains(words), "{words:?} is not in:\n{text}");
}
