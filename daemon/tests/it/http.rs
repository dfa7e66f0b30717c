//! A client of a few lines that does exactly what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether a chunked body ended as it should.
    pub(crate) complete: bool,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The lines of a stream.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
        text.split_terminator("\r\n")
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The message of an error in docker's shape, if it is one.
    pub(crate) fn message(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let keys = body.as_object()?.len();
        let is_json = self.header("content-type") == Some("application/json") && self.body.ends_with(b"}\n");
        let message = body["message"].as_str().filter(|message| !message.is_empty())?;
        (is_json && keys == 1).then(|| message.to_owned())
    }

    /// All `stream` texts of a stream together.
    pub(crate) fn stream(&self) -> String {
        self.lines()
            .iter()
            .filter_map(|line| line["stream"].as_str().map(str::to_owned))
            .collect()
    }

    /// Checks that this is an error with this status and text, in docker's shape.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.text().ends_with("}\n"));
        let body = self.json();
        let own = body["message"].as_str().unwrap();
        assert!(own.contains(message), "{own:?} does not contain {message:?}");
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    pub(crate) stream: BufReader<UnixStream>,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Asks, with a body if it is not empty.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send_head(method, path, &format!("Content-Length: {}\r\n", body.len()));
        self.send(body);
        self.answer(method == "HEAD")
    }

    /// Sends the head of a request.
    pub(crate) fn send_head(&mut self, method: &str, path: &str, headers: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: api.moby.localhost\r\n{headers}\r\n");
        self.send(head.as_bytes());
    }

    /// Sends a chunk of a chunked body; an empty one ends it.
    pub(crate) fn send_chunk(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        stream.write_all(bytes)?;
        stream.write_all(b"\r\n")
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self, head_only: bool) -> Answer {
        let mut answer = self.answer_head();
        let chunked = answer.header("transfer-encoding") == Some("chunked");
        if head_only {
            return answer;
        }
        if !chunked {
            let length = answer
                .header("content-length")
                .map_or(0, |text| text.parse().unwrap());
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).unwrap();
            return answer;
        }
        answer.complete = false;
        while let Some(chunk) = self.chunk() {
            if chunk.is_empty() {
                answer.complete = true;
                break;
            }
            answer.body.extend_from_slice(&chunk);
        }
        answer
    }

    /// Reads the head of an answer.
    pub(crate) fn answer_head(&mut self) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no answer: {line:?}"));
        let status = status.parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Answer {
            status,
            headers,
            body: Vec::new(),
            complete: true,
        }
    }

    /// Reads a chunk of an answer; `None` if the connection broke.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some(chunk)
    }
}
