//! A small HTTP server on loopback: files of the cases, and repositories through git's own CGI program.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::conformance::entry::{Content, Entry, Kind, hex};

/// Bodies longer than this are not taken.
const BODY: usize = 8 << 20;

/// A running server; it ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    port: u16,
    files: Arc<Mutex<HashMap<String, Entry>>>,
    repositories: PathBuf,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    /// Starts a server; below `/git/` it gives the repositories in this folder.
    pub(crate) fn start(repositories: PathBuf) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Self {
            port,
            files: Arc::default(),
            repositories,
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || {
                    // a client that went away misses nothing
                    let _ = serving.answer(stream);
                });
            }
        });
        server
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Gives this entry at this path from now on; links are redirections.
    pub(crate) fn put(&self, path: String, entry: Entry) {
        self.files
            .lock()
            .expect("nobody panics with it")
            .insert(path, entry);
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(request) = read(&mut reader)? else {
            return Ok(());
        };
        let mut stream = stream;
        if request.path.starts_with("/git/") {
            return self.git(&request, &mut stream);
        }
        let found = self
            .files
            .lock()
            .expect("nobody panics with it")
            .get(&request.path)
            .cloned();
        let (status, headers, body) = match found {
            Some(Entry {
                kind: Kind::File(Content::Bytes(bytes)),
                time,
                ..
            }) => file(&request, bytes, time),
            Some(Entry {
                kind: Kind::Link(target),
                ..
            }) => ("302 Found", format!("Location: {target}\r\n"), Vec::new()),
            _ => ("404 Not Found", String::new(), Vec::new()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        if request.method != "HEAD" {
            stream.write_all(&body)?;
        }
        Ok(())
    }

    /// Runs `git http-backend` as RFC 3875 has it.
    fn git(&self, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
        let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", &request.path["/git".len()..])
            .env("QUERY_STRING", &request.query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&request.body)?;
        }
        let output = child.wait_with_output()?.stdout;
        let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
        let headers = String::from_utf8_lossy(&output[..end]).into_owned();
        let status = headers
            .lines()
            .find_map(|line| line.strip_prefix("Status: "))
            .unwrap_or("200 OK");
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(output.get(end + 4..).unwrap_or_default())
    }
}

fn file(request: &Request, bytes: Vec<u8>, time: Option<i64>) -> (&'static str, String, Vec<u8>) {
    use sha2::Digest as _;
    let tag = format!("\"{}\"", &hex(&sha2::Sha256::digest(&bytes))[..16]);
    let mut headers = format!("ETag: {tag}\r\n");
    if let Some(time) = time {
        headers += &format!("Last-Modified: {}\r\n", date(time));
    }
    if request.headers.get("if-none-match") == Some(&tag) {
        return ("304 Not Modified", headers, Vec::new());
    }
    ("200 OK", headers, bytes)
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: HashMap::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        request
            .headers
            .insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request
        .headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0_usize);
    request.body = vec![0; length.min(BODY)];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// A date as HTTP writes it (RFC 9110, 5.6.7).
fn date(time: i64) -> String {
    let (days, second) = (time.div_euclid(86400), time.rem_euclid(86400));
    // years begin in March here, so that the odd day comes last
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ][usize::try_from(month).expect("it is less than 12")];
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        [usize::try_from(days.rem_euclid(7)).expect("it is less than 7")];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(951_827_696), "Tue, 29 Feb 2000 12:34:56 GMT");
    }
}
