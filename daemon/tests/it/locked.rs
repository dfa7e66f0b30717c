//! A registry that lets nobody in, and remembers what it was shown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What every request is answered.
const BODY: &str = r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong key"}]}"#;

/// The longest head of a request, in bytes.
const HEAD: usize = 16 << 10;

/// The registry; its thread ends with the test's process.
pub(crate) struct Locked {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<(String, String)>>>,
}

impl Locked {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::<Mutex<Vec<_>>>::default();
        let seen = shown.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if let Some(request) = read(&mut stream) {
                    // before the answer: who has that looks here
                    seen.lock().unwrap().push(request);
                    refuse(&mut stream);
                }
            }
        });
        Self { address, shown }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The authorizations that came with requests whose line has this in it.
    pub(crate) fn shown(&self, part: &str) -> Vec<String> {
        let shown = self.shown.lock().unwrap();
        let like = shown.iter().filter(|(asked, _)| asked.contains(part));
        like.map(|(_, shown)| shown.clone())
            .filter(|shown| !shown.is_empty())
            .collect()
    }
}

/// The line and the authorization of a request; nothing of a connection that is to be one of TLS.
fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if !head[0].is_ascii_uppercase() {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default().to_owned();
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let authorization = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .map(|(_, value)| value.to_owned());
    Some((line, authorization.collect()))
}

/// Answers that nobody is let in; a client that went away does not hear it.
fn refuse(stream: &mut TcpStream) {
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"locked\"\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}
