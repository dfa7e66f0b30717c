//! A client of `/events` over the bare socket, which sees how the stream ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::Daemon;

/// How long a listener waits for a line before the test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Something happened.
    Event(Value),
    /// The stream ended as it should.
    End,
    /// The connection broke in the middle.
    Broken,
}

/// A request for events that was sent.
pub struct Listener {
    reader: BufReader<UnixStream>,
    /// The status and the headers of the answer.
    pub head: String,
}

impl Listener {
    /// Asks for events with this path, as in `/v1.51/events?since=0`, and reads the head of the answer.
    ///
    /// # Panics
    /// If nobody answers.
    #[track_caller]
    pub fn open(daemon: &Daemon, path: &str) -> Self {
        Self::on(daemon.socket(), path)
    }

    /// As [`open`](Self::open), at a socket.
    #[track_caller]
    pub fn on(socket: impl AsRef<std::path::Path>, path: &str) -> Self {
        let mut stream = UnixStream::connect(socket.as_ref()).expect("the daemon listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("sockets have timeouts");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the daemon reads");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).expect("the daemon answers");
            assert_ne!(read, 0, "the daemon hung up: {head}");
        }
        Self { reader, head }
    }

    /// The answer's body, which is not a stream.
    ///
    /// # Panics
    /// If it is one.
    #[track_caller]
    pub fn body(mut self) -> String {
        let length = self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().expect("a length is a number"))
        });
        let mut bytes = vec![0; length.expect("the answer has a length")];
        self.reader
            .read_exact(&mut bytes)
            .expect("the answer comes whole");
        String::from_utf8(bytes).expect("answers are text")
    }

    /// Waits for what comes next.
    ///
    /// # Panics
    /// If nothing comes for long, or if it is no line with an object.
    #[track_caller]
    pub fn hear(&mut self) -> Heard {
        let mut size = String::new();
        match self.reader.read_line(&mut size) {
            Ok(0) => return Heard::Broken,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Heard::Broken,
            result => result.expect("something happens in time"),
        };
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk begins with its size");
        let mut chunk = vec![0; size + 2];
        if self.reader.read_exact(&mut chunk).is_err() {
            return Heard::Broken;
        }
        chunk.truncate(size);
        if size == 0 {
            return Heard::End;
        }
        let text = String::from_utf8(chunk).expect("events are text");
        assert!(
            text.ends_with('\n') && text.matches('\n').count() == 1,
            "one line: {text:?}"
        );
        Heard::Event(serde_json::from_str(&text).expect("a line is an object"))
    }

    /// The next event.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn event(&mut self) -> Value {
        match self.hear() {
            Heard::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// All events until the stream ends.
    ///
    /// # Panics
    /// If it breaks.
    #[track_caller]
    pub fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            match self.hear() {
                Heard::Event(event) => events.push(event),
                Heard::End => return events,
                Heard::Broken => panic!("the stream broke after {events:?}"),
            }
        }
    }
}
