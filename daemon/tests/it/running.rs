//! What running a daemon takes: its settings and how they are read anew, its log, its counts, its end.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::archive::tar;
use crate::build::{begin_waiting, may_run, waiting_ids, with_waiting_image};
use crate::micad::{Micad, command, program, wait_until};
use crate::secrets::be_busy;

/// The log of a daemon, as far as it was written.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Reads what a program says on standard error.
    pub(crate) fn of(child: &mut Child) -> Self {
        let log = Self::default();
        let (own, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                own.0.lock().unwrap().push(line);
            }
        });
        log
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let find = || {
            self.0
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains(part))
                .cloned()
        };
        wait_until(&format!("the log says {part}"), || find().is_some());
        find().unwrap()
    }
}

/// A daemon with a settings file, and its log.
pub(crate) fn start(settings: &Path, arguments: &[&str]) -> (Micad, Log) {
    let mut micad = Micad::start_with(&[&["--config-file", settings.to_str().unwrap()], arguments].concat());
    let log = Log::of(&mut micad.child);
    (micad, log)
}

pub(crate) fn settings(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn settings_are_looked_at_without_starting() {
    let folder = tempfile::tempdir().unwrap();
    for (text, code, part) in [
        (r#"{"log-level": "debug"}"#, 0, "configuration OK"),
        (
            "{\n\n\"log-levle\": \"debug\"}",
            125,
            "line 3: unknown field `log-levle`",
        ),
        (
            r#"{"shutdown-timeout": "10"}"#,
            125,
            "a whole number from 0 to 86400, not \"10\"",
        ),
        (r#"{"registry-mirrors": ["ftp://x"]}"#, 125, "ftp"),
        (
            r#"{"rights": {"read": {"users": ["no-such-user-here"]}}}"#,
            125,
            "no user of that name",
        ),
    ] {
        let file = settings(text);
        for flag in ["--check-config", "--validate"] {
            let output = command(folder.path())
                .args([flag, "--config-file", file.path().to_str().unwrap()])
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(
                said.contains(part) && said.contains(file.path().to_str().unwrap()),
                "{part}: {said}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[test]
fn settings_are_read_anew_and_wrong_ones_change_nothing() {
    let file = settings("{}");
    let (micad, log) = start(file.path(), &[]);
    let mirrors = |micad: &Micad| micad.get("/info").json()["RegistryConfig"]["Mirrors"].clone();
    assert_eq!(mirrors(&micad), serde_json::json!([]));
    std::fs::write(
        file.path(),
        r#"{"registry-mirrors": ["https://m.example"], "log-level": "debug", "hosts": ["/x"]}"#,
    )
    .unwrap();
    micad.signal("HUP");
    log.wait_for("the settings were read anew");
    assert_eq!(mirrors(&micad), serde_json::json!(["https://m.example"]));
    log.wait_for("path=/info");
    for (text, part) in [
        (
            "{\"registry-mirrors\": [],\n\"nope\": 1}",
            "line 2: unknown field `nope`",
        ),
        ("{\"registry-mirrors\": [\"ftp://x\"]}", "ftp"),
        ("{", "EOF"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        micad.signal("HUP");
        let line = log.wait_for(part);
        assert!(line.contains("the settings stay as they were"), "{line}");
        assert_eq!(mirrors(&micad), serde_json::json!(["https://m.example"]));
    }
    let counts = micad.get("/mica/metrics").text();
    assert!(
        counts.contains("mica_config_reloads_total{result=\"refused\"} 3"),
        "{counts}"
    );
    assert!(
        counts.contains("mica_config_reloads_total{result=\"taken\"} 1"),
        "{counts}"
    );
}

#[test]
fn what_needs_a_restart_says_so() {
    let file = settings("{}");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let child = program()
        .args(["--config-file", file.path().to_str().unwrap(), "-H"])
        .arg(&socket)
        .env("XDG_DATA_HOME", folder.path())
        .env("HOME", folder.path())
        .arg("--data-root")
        .arg(folder.path().join("store"))
        .spawn()
        .unwrap();
    let mut micad = Micad { child, folder };
    let log = Log::of(&mut micad.child);
    wait_until("it listens", || socket.exists());
    log.wait_for("micad starts");
    // who answers hears signals
    let ping = crate::http::Connection::open(&socket).ask("GET", "/_ping", b"");
    assert_eq!(ping.status, 200);
    // flags take the place of both, so nothing differs
    std::fs::write(file.path(), r#"{"data-root": "/elsewhere"}"#).unwrap();
    micad.signal("HUP");
    let line = log.wait_for("the settings were read anew");
    assert!(!line.contains("started again"), "{line}");
}

#[test]
fn the_journal_gets_priorities_and_nobody_else() {
    for is_journal in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
        let named = format!("{}:{}", inode.dev(), inode.ino() + u64::from(!is_journal));
        let mut child = command(folder.path())
            .args(["--idle-timeout", "1"])
            .env("JOURNAL_STREAM", named)
            .stderr(Stdio::from(writer))
            .spawn()
            .unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(text.contains("micad starts"), "{text}");
        for line in text.lines() {
            assert_eq!(line.starts_with("<6>micad "), is_journal, "{line}");
        }
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let micad = Micad::start_with(&["--log-level", "debug"]);
    let mut connection = micad.connect();
    // several times what a pipe holds
    for _ in 0..2000 {
        assert_eq!(connection.ask("GET", "/_ping", b"").status, 200);
    }
}

/// A strict reader of the text format: names, labels and values of all samples, each of a metric that was announced.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let mut announced = Vec::new();
    let mut found: Vec<(String, String, f64)> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let words: Vec<&str> = rest.splitn(3, ' ').collect();
            match words[0] {
                "HELP" => assert!(!announced.contains(&words[1].to_owned()), "twice: {line}"),
                "TYPE" => {
                    assert!(["counter", "gauge", "histogram"].contains(&words[2]), "{line}");
                    assert!((words[2] == "counter") == words[1].ends_with("_total"), "{line}");
                    announced.push(words[1].to_owned());
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let last = announced.last().unwrap();
        let is_part = ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name == format!("{last}{end}"));
        assert!(name == last || is_part, "{line} does not follow {last}");
        let new = (name.to_owned(), labels.to_owned(), value.parse().unwrap());
        assert!(
            !found.iter().any(|old| (&old.0, &old.1) == (&new.0, &new.1)),
            "twice: {line}"
        );
        found.push(new);
    }
    found
}

#[test]
fn what_is_done_is_counted() {
    let micad = Micad::start();
    be_busy(&micad);
    let context = tar(&[("Dockerfile", b"FROM a:1\nCOPY Dockerfile /\n")]);
    micad.post("/build?t=d:1", &context);
    micad.post("/build?t=d:2", &context);
    let answer = micad.get("/mica/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let samples = samples(&answer.text());
    let value = |name: &str, labels: &str| {
        let found = samples
            .iter()
            .find(|(own, with, _)| own == name && with == labels);
        found
            .unwrap_or_else(|| panic!("{name}{{{labels}}}: {}", answer.text()))
            .2
    };
    let build = "method=\"POST\",route=\"/build\",status=\"200\"";
    assert!(value("mica_http_requests_total", build) >= 3.0);
    assert_eq!(
        value(
            "mica_http_requests_total",
            "method=\"GET\",route=\"/images/{name}/json\",status=\"404\""
        ),
        1.0
    );
    let count = "route=\"/build\"";
    let infinite = "route=\"/build\",le=\"+Inf\"";
    assert_eq!(
        value("mica_http_request_duration_seconds_count", count),
        value("mica_http_request_duration_seconds_bucket", infinite)
    );
    assert_eq!(value("mica_work_total", "work=\"build\",outcome=\"done\""), 3.0);
    assert!(value("mica_work_total", "work=\"build\",outcome=\"failed\"") >= 1.0);
    assert_eq!(value("mica_work_running", "work=\"build\""), 0.0);
    assert!(value("mica_build_cache_hits_total", "") >= 1.0);
    assert!(value("mica_build_cache_misses_total", "") >= 1.0);
    assert!(value("mica_built_bytes_total", "") > 0.0);
    assert_eq!(value("mica_gc_runs_total", ""), 1.0);
    assert!(value("mica_store_images", "") >= 2.0);
    assert!(value("mica_store_free_bytes", "") > 0.0);
    assert!(value("mica_errors_total", "kind=\"not-found\"") >= 1.0);
    assert!(value("process_resident_memory_bytes", "") > 1e6);
    assert!(value("process_open_fds", "") > 3.0);
}

#[test]
fn builds_may_end_when_the_daemon_is_told_to_leave() {
    if !may_run() {
        return;
    }
    let mut micad = Micad::start_with(&["--shutdown-timeout", "60"]);
    let log = Log::of(&mut micad.child);
    with_waiting_image(&micad);
    let mut connection = begin_waiting(&micad, "");
    micad.signal("TERM");
    wait_until("it stops listening", || !micad.socket().exists());
    assert!(
        micad.child.try_wait().unwrap().is_none(),
        "it waits for the build"
    );
    let [id] = waiting_ids(&micad)[..] else {
        panic!("no process waits")
    };
    // the step ends by itself, so to speak: its process does
    assert!(
        Command::new("kill")
            .args(["-KILL", &id.to_string()])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    while let Some(chunk) = connection.chunk().filter(|chunk| !chunk.is_empty()) {
        rest.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert!(
        rest.contains("\"code\":137") && !rest.contains("cancelled"),
        "{rest}"
    );
    assert!(micad.left().success());
    assert!(!log.text().contains("is cancelled"), "{}", log.text());
}

#[test]
fn the_manual_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let written = program()
        .arg("--write-manual")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(written.success());
    for page in ["micad.8", "mica-daemon.json.5"] {
        let path = folder.path().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(".TH "), "{text}");
        let is_there = |program: &str| {
            Command::new("which")
                .arg(program)
                .output()
                .is_ok_and(|found| found.status.success())
        };
        let Some(checker) = [
            &["mandoc", "-T", "lint", "-W", "error"][..],
            &["groff", "-man", "-ww", "-z"],
        ]
        .into_iter()
        .find(|checker| is_there(checker[0])) else {
            println!("skipped: neither mandoc nor groff is there to read man pages");
            continue;
        };
        let checked = Command::new(checker[0])
            .args(&checker[1..])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{checked:?}"
        );
    }
}

#[test]
fn transfers_that_need_too_long_are_cancelled() {
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut micad = Micad::start_with(&["--shutdown-timeout", "0"]);
    let mut connection = micad.connect();
    let path = format!(
        "/images/create?fromImage={}/a&tag=1",
        registry.local_addr().unwrap()
    );
    connection.send_head("POST", &path, "Content-Length: 0\r\n");
    // it is asked, and never answers
    let _asked = registry.accept().unwrap();
    micad.signal("TERM");
    connection.answer(false).expect_error(503, "cancelled");
    assert!(micad.left().success());
}
