//! The ways a case is built: mica's command line, the plain API, and the docker whose images are recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::conformance::case::{Case, Send};
use crate::conformance::describe::{Facts, describe};
use crate::conformance::image::Image;
use crate::conformance::workshop::{Prepared, Workshop, compressed, context_tar};
use crate::{Daemon, run};

/// What is made within this long before a build began was made by it: layers have whole seconds.
const SLACK: Duration = Duration::from_secs(2);

/// A way to build.
#[derive(Clone, Copy)]
pub enum Engine<'a> {
    /// `mica build`.
    Cli(&'a Daemon),
    /// A `POST` of a tar to `/build`.
    Api(&'a Daemon),
    /// `docker build` with BuildKit: the program and the daemon's socket.
    Docker(&'a Path, &'a Path),
}

/// What came of a build.
pub enum Outcome {
    /// An image.
    Built(Box<Facts>),
    /// What was told instead.
    Failed(String),
}

impl Engine<'_> {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Cli(_) => "cli",
            Engine::Api(_) => "api",
            Engine::Docker(..) => "docker",
        }
    }

    /// Takes in the archive of a base.
    pub fn load(self, archive: &Path) {
        run(self.command(&["load", "-q", "-i"]).arg(archive)).ok();
    }

    /// Builds a case.
    ///
    /// # Panics
    /// If the engine cannot be asked, or gives an image that cannot be read.
    pub fn build(self, case: &Case, workshop: &Workshop) -> Outcome {
        let prepared = workshop.prepare(case, self.name());
        let tag = format!("conformance-{}:{}", self.name(), case.name);
        let began = SystemTime::now() - SLACK;
        let (succeeded, told) = match self {
            Engine::Api(daemon) => post(daemon, case, &prepared, &tag),
            _ => self.build_by_command(case, &prepared, &tag),
        };
        if !succeeded {
            return Outcome::Failed(prepared.named(&told));
        }
        let archive = prepared.folder.join("image.tar");
        run(self.command(&["save", "-o"]).arg(&archive).arg(&tag)).ok();
        let bytes = fs_err::read(&archive).expect("it was saved");
        fs_err::remove_dir_all(&prepared.folder).expect("folders can be removed");
        let image =
            Image::read(&bytes).unwrap_or_else(|e| panic!("{}: the image cannot be read: {e}", case.name));
        let since = began
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
            .as_secs();
        let mut facts = describe(&image, i64::try_from(since).expect("it is small"));
        for line in &mut facts.history {
            *line = prepared.named(line);
        }
        Outcome::Built(Box::new(facts))
    }

    fn command(self, args: &[&str]) -> Command {
        match self {
            Engine::Cli(daemon) | Engine::Api(daemon) => daemon.command(args),
            Engine::Docker(program, socket) => {
                let mut command = Command::new(program);
                command
                    .arg("-H")
                    .arg(format!("unix://{}", socket.display()))
                    .args(args);
                command
                    .env("DOCKER_BUILDKIT", "1")
                    .env("BUILDKIT_PROGRESS", "plain")
                    .env_remove("DOCKER_CONTEXT");
                command
            }
        }
    }

    fn build_by_command(self, case: &Case, prepared: &Prepared, tag: &str) -> (bool, String) {
        let mut command = self.command(&["build", "--no-cache", "-t", tag]);
        flags(&mut command, case, prepared);
        if let (Engine::Docker(..), None) = (self, &case.network) {
            // that daemon has no bridge
            command.arg("--network=none");
        }
        let dockerfile = prepared.context.join(&case.file);
        let mut input = None;
        match &case.send {
            Send::Folder => {
                if case.file != "Dockerfile" {
                    command.arg("-f").arg(&dockerfile);
                }
                command.arg(&prepared.context);
            }
            Send::Tar(program) => {
                let mut bytes = context_tar(&prepared.context);
                if let Some(program) = program {
                    bytes = compressed(&prepared.folder, program, &bytes);
                }
                input = Some(kept(&prepared.folder, &bytes));
                command.arg("-");
            }
            Send::Dockerfile => {
                input = Some(dockerfile);
                command.arg("-");
            }
            Send::FolderAndDockerfile => {
                input = Some(dockerfile);
                command.args(["-f", "-"]).arg(&prepared.context);
            }
            Send::Git(rest) => drop(command.arg(prepared.filled(&format!("@GIT@{rest}")))),
            Send::Http => drop(command.arg(prepared.filled("@HTTP@/context.tar"))),
            Send::HttpDockerfile => drop(command.arg(prepared.filled("@HTTP@/Dockerfile"))),
        }
        let stdin = input.map_or_else(Stdio::null, |path| {
            Stdio::from(fs_err::File::open(path).expect("it was written").into_file())
        });
        let output = command.stdin(stdin).output().expect("the program can be run");
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), told)
    }
}

fn flags(command: &mut Command, case: &Case, prepared: &Prepared) {
    let lists = [
        ("--build-arg", &case.build_args),
        ("--label", &case.labels),
        ("--add-host", &case.hosts),
    ];
    for (flag, values) in lists {
        for value in values {
            command.arg(flag).arg(prepared.filled(value));
        }
    }
    let singles = [
        ("--target", &case.target),
        ("--network", &case.network),
        ("--platform", &case.platform),
    ];
    for (flag, value) in singles {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    command.args(case.flags.iter().map(|flag| prepared.filled(flag)));
    command.envs(case.environment.iter().filter_map(|pair| pair.split_once('=')));
}

fn kept(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("context.tar");
    fs_err::write(&path, bytes).expect("files can be written");
    path
}

fn post(daemon: &Daemon, case: &Case, prepared: &Prepared, tag: &str) -> (bool, String) {
    let object = |pairs: &[String]| {
        let pairs = pairs.iter().map(|pair| prepared.filled(pair));
        let fields = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            (name.to_owned(), Value::from(value))
        });
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    };
    let mut query = vec![
        ("t", tag.to_owned()),
        ("nocache", "1".to_owned()),
        ("dockerfile", case.file.clone()),
        ("buildargs", object(&case.build_args)),
        ("labels", object(&case.labels)),
    ];
    query.extend(case.hosts.iter().map(|host| ("extrahosts", host.clone())));
    query.extend(case.target.iter().map(|target| ("target", target.clone())));
    query.extend(
        case.network
            .iter()
            .map(|network| ("networkmode", network.clone())),
    );
    query.extend(
        case.platform
            .iter()
            .map(|platform| ("platform", platform.clone())),
    );
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    let context = kept(&prepared.folder, &context_tar(&prepared.context));
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-w",
        "\n%{http_code}",
        "-H",
        "Content-Type: application/x-tar",
        "--data-binary",
    ]);
    curl.arg(format!("@{}", context.display()))
        .arg("--unix-socket")
        .arg(daemon.socket());
    let told = run(curl.arg(format!("http://mica/build?{}", query.join("&"))))
        .ok()
        .stdout;
    let failed = !told.ends_with("\n200") || told.contains("\"errorDetail\"");
    (!failed, texts(&told))
}

/// What the lines of a stream say.
fn texts(stream: &str) -> String {
    let documents = serde_json::Deserializer::from_str(stream).into_iter::<Value>();
    let text = |value: Value| {
        let texts = ["stream", "error", "message"]
            .iter()
            .filter_map(|name| value[*name].as_str().map(str::to_owned));
        texts.collect::<Vec<_>>().concat()
    };
    documents
        .map_while(Result::ok)
        .map(text)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Text within a query (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
