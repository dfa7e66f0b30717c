//! A daemon that answers what it was told to and remembers what it was asked; and the program run against it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

/// Where the program is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mica");

/// What the daemon was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /v1.51/path?query`, still encoded.
    pub(crate) line: String,
    /// Its headers, names in lower case.
    headers: Vec<(String, String)>,
    /// What came with it; nothing if the client broke it off.
    pub(crate) body: Option<Bytes>,
}

impl Asked {
    /// A header, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The credentials in a header: the JSON it is the base64url of.
    pub(crate) fn credentials(&self, name: &str) -> serde_json::Value {
        let bytes = URL_SAFE.decode(self.header(name)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// What the daemon answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An answer.
pub(crate) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.into(),
    }
}

impl Reply {
    /// The same with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A progress stream.
pub(crate) fn stream(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// The played daemon; it ends with the test's process.
pub(crate) struct Fake {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fake {
    /// A daemon with these answers, in this order; the last one stays. It knows docker's requests and none of micad's own
    /// for builds.
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(replies, false)
    }

    /// A daemon that knows all requests of micad's.
    pub(crate) fn micad(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(replies, true)
    }

    fn start(replies: impl IntoIterator<Item = Reply>, knows_all: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (replies, remembered) = (replies.into_iter().collect(), Arc::clone(&asked));
        std::thread::spawn(move || serve(listener, replies, remembered, knows_all));
        Self { folder, asked }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("s").display())
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The request lines so far, decoded.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| decode(&asked.line)).collect()
    }

    /// A command that speaks to this daemon.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), arguments)
    }

    /// The same of a copy of the program.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = isolated(program, arguments);
        command.env("MICA_HOST", self.host());
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments))
    }
}

/// The program with an environment of its own.
pub(crate) fn mica(arguments: &[&str]) -> Command {
    isolated(Path::new(PROGRAM), arguments)
}

fn isolated(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .env("MICA_NO_START", "1");
    command.stdin(Stdio::null());
    command
}

pub(crate) fn outcome(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn serve(
    listener: std::os::unix::net::UnixListener,
    replies: VecDeque<Reply>,
    asked: Arc<Mutex<Vec<Asked>>>,
    knows_all: bool,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let replies = Arc::new(Mutex::new(replies));
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (replies, asked) = (Arc::clone(&replies), Arc::clone(&asked));
            let service = service_fn(move |request: Request<Incoming>| {
                let (replies, asked) = (Arc::clone(&replies), Arc::clone(&asked));
                async move {
                    if !knows_all && request.uri().path().ends_with("/mica/build") {
                        let missing = reply_missing();
                        let answer = Response::builder().status(missing.status);
                        return Ok(answer.body(Full::from(missing.body)).unwrap());
                    }
                    answer(request, replies, asked).await
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    let headers = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let headers = headers.collect();
    let body = request
        .into_body()
        .collect()
        .await
        .ok()
        .map(http_body_util::Collected::to_bytes);
    asked.lock().unwrap().push(Asked { line, headers, body });
    let mut replies = replies.lock().unwrap();
    let reply = if replies.len() > 1 {
        replies.pop_front()
    } else {
        replies.front().cloned()
    };
    let reply = reply.unwrap_or_else(reply_missing);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    Ok(response.body(Full::from(reply.body)).unwrap())
}

fn reply_missing() -> Reply {
    reply(404, r#"{"message":"page not found"}"#)
}

/// Takes percent-encoding back.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Writes files, making their folders.
pub(crate) fn files(root: &Path, files: &[(&str, &str)]) -> PathBuf {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root.to_owned()
}
