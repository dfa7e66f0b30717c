//! A small web server: an index of images to search, and archives to be fetched.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running server; it ends with the process.
#[derive(Clone)]
pub(crate) struct Web {
    port: u16,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

/// What the index finds, whatever it is asked for, as Docker Hub writes it.
const FOUND: &str = r#"{"num_pages":1,"num_results":2,"page":1,"page_size":25,"query":"busybox","results":[
{"name":"busybox","description":"Many programs in one","star_count":3000,"is_official":true,"is_automated":false,"is_trusted":false},
{"name":"team/busybox","description":"","star_count":2,"is_official":false,"is_automated":false,"is_trusted":false}]}"#;

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let web = Self {
            port,
            files: Arc::default(),
        };
        let serving = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || {
                    // a client that went away misses nothing
                    let _ = serving.answer(stream);
                });
            }
        });
        web
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Gives these bytes at `/NAME` from now on.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut files = self.files.lock().expect("nobody panics with it");
        files.insert(format!("/{name}"), bytes);
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let (status, kind, body) = match path {
            "/v1/_ping" => ("200 OK", "application/json", b"true".to_vec()),
            "/v1/search" => ("200 OK", "application/json", FOUND.as_bytes().to_vec()),
            _ => match self.files.lock().expect("nobody panics with it").get(path) {
                Some(bytes) => ("200 OK", "application/x-tar", bytes.clone()),
                None => ("404 Not Found", "text/plain", b"there is nothing".to_vec()),
            },
        };
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        match first.starts_with("HEAD ") {
            true => Ok(()),
            false => stream.write_all(&body),
        }
    }
}
