//! Requests to a daemon as a client without any library makes them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::daemon::Daemon;

/// An answer of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {}", self.text()),
        }
    }
}

impl Daemon {
    /// Makes a request and waits for all of its answer. In the query, quotes and spaces may stand as they are.
    ///
    /// # Panics
    /// If the daemon is not there or what it says is no HTTP.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let path = path.replace('"', "%22").replace(' ', "%20");
        let mut stream = UnixStream::connect(self.socket()).expect("the daemon listens");
        // version 1.0 has neither chunks nor connections that stay
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the daemon reads");
        // a daemon that refuses a request need not read its body
        let _refused = stream.write_all(body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the daemon answers");
        parse(&answer).unwrap_or_else(|| panic!("no HTTP: {}", String::from_utf8_lossy(&answer)))
    }

    /// Makes a GET request and waits for all of its answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, b"")
    }

    /// Makes a POST request and waits for all of its answer.
    #[track_caller]
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, body)
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Answer {
        status,
        headers: lines.filter_map(header).collect(),
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer =
            parse(b"HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\nA: b\r\n\r\n{}\r\n\r\n").unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.text(), "{}\r\n\r\n");
        assert_eq!(parse(b"HTTP/1.0 404"), None);
    }
}
