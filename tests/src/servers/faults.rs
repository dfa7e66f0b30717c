//! A proxy in front of a registry that fails now and then, as the world's registries do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::listen;

/// The longest line of a head.
const LINE: u64 = 64 << 10;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// 429, to be tried again after a second.
    TooMany,
    /// 502
    BadGateway,
    /// The session of an upload is forgotten.
    UploadUnknown,
    /// A blob of a manifest is said not to be there.
    BlobUnknown,
    /// The connection breaks in the middle of a body.
    Reset,
    /// All is done, and the answer is lost.
    LostReply,
}

/// An HTTP proxy in front of one registry that speaks plain http; its threads end with the test.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    /// Faults in a thousand requests.
    rate: u64,
    random: Mutex<u64>,
    requests: AtomicU64,
    faults: AtomicU64,
    blob_bytes: AtomicU64,
}

impl FaultProxy {
    /// A proxy before `upstream` (`host:port`) that fails `rate` times in a thousand; which times follows from `seed`.
    pub fn start(upstream: &str, rate: u64, seed: u64) -> Self {
        let (listener, address) = listen();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rate,
            random: Mutex::new(seed | 1),
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            blob_bytes: AtomicU64::new(0),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = own.clone();
                // a connection that breaks is the client's to notice
                std::thread::spawn(move || shared.serve(&client));
            }
        });
        Self { address, shared }
    }

    /// An image's name at this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("localhost:{}/{rest}", self.address.port())
    }

    /// How many requests came, and how many of them went wrong on purpose.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.shared.requests.load(Ordering::Relaxed),
            self.shared.faults.load(Ordering::Relaxed),
        )
    }

    /// How many bytes of blobs came from clients.
    pub fn blob_bytes(&self) -> u64 {
        self.shared.blob_bytes.load(Ordering::Relaxed)
    }
}

/// The head of a request.
struct Head {
    method: String,
    path: String,
    lines: Vec<String>,
    length: u64,
    chunked: bool,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.take(LINE).read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut words = lines
            .first()
            .map_or("", String::as_str)
            .split(' ')
            .map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |name: &str| {
            let mut found = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
            let (_, value) = found.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
            Some(value.trim().to_owned())
        };
        Ok(Some(Self {
            length: header("content-length")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            chunked: header("transfer-encoding").is_some_and(|text| text.eq_ignore_ascii_case("chunked")),
            method,
            path,
            lines,
        }))
    }

    fn is_upload(&self) -> bool {
        self.path.contains("/blobs/uploads/") && matches!(self.method.as_str(), "PUT" | "PATCH")
    }

    fn has_body(&self) -> bool {
        self.chunked || self.length > 0
    }
}

impl Shared {
    fn next(&self) -> u64 {
        let mut state = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn fault(&self, head: &Head) -> Option<Fault> {
        if self.next() % 1000 >= self.rate {
            return None;
        }
        let mut fitting = vec![Fault::TooMany, Fault::BadGateway, Fault::LostReply];
        if head.is_upload() {
            fitting.push(Fault::UploadUnknown);
            if head.has_body() {
                fitting.push(Fault::Reset);
            }
        }
        if head.method == "PUT" && head.path.contains("/manifests/") {
            fitting.push(Fault::BlobUnknown);
        }
        let count = fitting.len() as u64;
        Some(fitting[(self.next() % count) as usize])
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut input = BufReader::with_capacity(64 << 10, client);
        while let Some(head) = Head::read(&mut input)? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let fault = self.fault(&head);
            if fault.is_some() {
                self.faults.fetch_add(1, Ordering::Relaxed);
            }
            let (status, body) = match fault {
                None | Some(Fault::LostReply) => {
                    let answer = self.forward(&head, &mut input)?;
                    if fault.is_some() {
                        return client.shutdown(Shutdown::Both);
                    }
                    return answer.pass(client);
                }
                Some(Fault::Reset) => {
                    self.body(&head, &mut input, &mut io::sink(), head.length / 2)?;
                    // what is left unread makes the system reset the connection
                    return client.shutdown(Shutdown::Both);
                }
                Some(Fault::TooMany) => (
                    "429 Too Many Requests",
                    r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
                ),
                Some(Fault::BadGateway) => ("502 Bad Gateway", "<html>bad gateway</html>"),
                Some(Fault::UploadUnknown) => (
                    "404 Not Found",
                    r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}"#,
                ),
                Some(Fault::BlobUnknown) => (
                    "404 Not Found",
                    r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
                ),
            };
            self.body(&head, &mut input, &mut io::sink(), u64::MAX)?;
            let retry = if fault == Some(Fault::TooMany) {
                "Retry-After: 1\r\n"
            } else {
                ""
            };
            let shown = if head.method == "HEAD" { "" } else { body };
            let mut out = client;
            write!(
                out,
                "HTTP/1.1 {status}\r\n{retry}Content-Length: {}\r\n\r\n{shown}",
                body.len()
            )?;
        }
        Ok(())
    }

    /// Sends a request on, and gives the connection its answer comes on.
    fn forward(&self, head: &Head, input: &mut impl BufRead) -> io::Result<Answer> {
        let server = TcpStream::connect(&self.upstream)?;
        let mut out = io::BufWriter::new(&server);
        let kept = head
            .lines
            .iter()
            .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        for line in kept {
            write!(out, "{line}\r\n")?;
        }
        write!(out, "Connection: close\r\n\r\n")?;
        self.body(head, input, &mut out, u64::MAX)?;
        out.flush()?;
        drop(out);
        let mut answer = Vec::new();
        let mut rest = server;
        // most answers are short; those that are not follow
        (&mut rest).take(LINE).read_to_end(&mut answer)?;
        Ok(Answer { begun: answer, rest })
    }

    /// Copies the body of a request, at most `most` bytes of it.
    fn body(&self, head: &Head, input: &mut impl BufRead, out: &mut impl Write, most: u64) -> io::Result<()> {
        let count = |bytes: u64| {
            if head.is_upload() {
                self.blob_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        };
        if !head.chunked {
            let copied = io::copy(&mut input.take(head.length.min(most)), out)?;
            count(copied);
            return Ok(());
        }
        loop {
            let mut line = String::new();
            input.take(LINE).read_line(&mut line)?;
            out.write_all(line.as_bytes())?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            // the chunk, and the line end behind it
            count(size);
            io::copy(&mut input.take(size + 2), out)?;
            if size == 0 || most < u64::MAX {
                return Ok(());
            }
        }
    }
}

/// An answer of the registry.
struct Answer {
    begun: Vec<u8>,
    rest: TcpStream,
}

impl Answer {
    /// Passes it on; the connection ends with it.
    fn pass(mut self, client: &TcpStream) -> io::Result<()> {
        let mut out = client;
        out.write_all(&self.begun)?;
        io::copy(&mut self.rest, &mut out)?;
        client.shutdown(Shutdown::Write)
    }
}
