//! The daemon's log on standard error: one line for each thing that happened, as text or JSON, for people and for the journal.
//!
//! What goes in are names and numbers only: no query, no header, no text of a build, since any of these may hold a secret.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// What failed and needs somebody.
    Error,
    /// What is odd.
    Warn,
    /// What was done: builds, transfers, prunes, the daemon's own life.
    Info,
    /// Every request.
    Debug,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people: `TIME LEVEL MESSAGE key=value …`.
    Text,
    /// For programs: an object with `time`, `level`, `message` and the values.
    Json,
}

impl Level {
    fn word(self) -> &'static str {
        LEVELS[self as usize]
    }

    /// The priority the journal knows it by (sd-daemon(3)).
    fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// The names of the levels, in their order.
pub(crate) const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// A value beside a message.
pub(crate) type Field<'a> = (&'a str, Value);

/// How many lines wait for a slow reader.
const WAITING: usize = 1024;
/// How long the last lines may take.
const FLUSH: Duration = Duration::from_secs(1);

enum Order {
    Line(String),
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<SyncSender<Order>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JSON: AtomicBool = AtomicBool::new(false);
static JOURNAL: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    /// The number of the request that is being answered.
    static REQUEST: u64;
}

/// Answers a request of this number: lines that are written meanwhile name it.
pub(crate) async fn within<T>(request: u64, work: impl Future<Output = T>) -> T {
    REQUEST.scope(request, work).await
}

/// The number of the request that is being answered, if one is.
pub(crate) fn request() -> Option<u64> {
    REQUEST.try_with(|number| *number).ok()
}

/// Says how lines look from now on, and which there are.
pub(crate) fn set(level: Level, format: Format) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    JSON.store(format == Format::Json, Ordering::Relaxed);
    JOURNAL.store(is_journal(), Ordering::Relaxed);
}

/// Whether lines of this level are written.
pub(crate) fn is_on(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes a line, if lines of its level are written.
pub(crate) fn say(level: Level, message: &str, fields: &[Field<'_>]) {
    if !is_on(level) {
        return;
    }
    let mut line = match JSON.load(Ordering::Relaxed) {
        true => json(level, message, fields, &Timestamp::now()),
        false => text(
            level,
            message,
            fields,
            (!JOURNAL.load(Ordering::Relaxed)).then(Timestamp::now).as_ref(),
        ),
    };
    if JOURNAL.load(Ordering::Relaxed) {
        line.insert_str(0, &format!("<{}>", level.priority()));
    }
    line.push('\n');
    write(line);
}

/// Hands a line to whoever writes it; work never waits for a reader of the log, so lines that nobody takes are lost and counted.
fn write(line: String) {
    let Some(writer) = WRITER.get() else {
        // one write, so that lines of threads do not mix; nobody left to tell if it fails
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        return;
    };
    if writer.try_send(Order::Line(line)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a thread of its own write the lines from now on.
pub(crate) fn start() -> std::io::Result<()> {
    let (sender, orders) = sync_channel(WAITING);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&orders))?;
    // a second start would only end the second thread
    let _ = WRITER.set(sender);
    Ok(())
}

fn write_all(orders: &Receiver<Order>) {
    let mut stderr = std::io::stderr();
    for order in orders {
        match order {
            Order::Line(line) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                // nobody left to tell if this fails
                if lost > 0 {
                    let _ = writeln!(stderr, "{lost} lines of the log were lost: nobody read them");
                }
                let _ = stderr.write_all(line.as_bytes());
            }
            // who asked may have gone on by now
            Order::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Waits until all is written, or is clearly not going to be.
pub(crate) fn flush() {
    let (done, wait) = sync_channel(1);
    if let Some(writer) = WRITER.get()
        && writer.try_send(Order::Flush(done)).is_ok()
    {
        // in vain or not: the program ends
        let _ = wait.recv_timeout(FLUSH);
    }
}

/// A line for people. The journal knows the time by itself.
fn text(level: Level, message: &str, fields: &[Field<'_>], time: Option<&Timestamp>) -> String {
    let mut line = match time {
        Some(time) => format!("{time:.3} {:5} micad: {}", level.word(), plain(message)),
        None => plain(message),
    };
    for (key, value) in fields {
        let value = match value {
            Value::String(text) if !text.is_empty() && text.chars().all(is_bare) => text.clone(),
            other => other.to_string(),
        };
        // a String takes all that is written to it
        let _ = write!(line, " {key}={value}");
    }
    line
}

/// Whether a character needs no quotes around its word.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._/:@+,<>{}*".contains(c)
}

/// A message on one line, whatever is in it.
fn plain(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn json(level: Level, message: &str, fields: &[Field<'_>], time: &Timestamp) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), format!("{time:.6}").into());
    object.insert("level".to_owned(), level.word().into());
    object.insert("message".to_owned(), message.into());
    for (key, value) in fields {
        object.insert((*key).to_owned(), value.clone());
    }
    Value::Object(object).to_string()
}

/// Whether standard error is the journal's (systemd.exec(5), `JOURNAL_STREAM`): what is sent elsewhere gets no priorities.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr().as_fd())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_lines() {
        let time: Timestamp = "2026-11-28T05:06:07.1234567Z".parse().unwrap();
        let fields = [
            ("name", Value::from("docker.io/library/a:1")),
            ("odd", Value::from("a b\n\"c\"")),
            ("none", Value::from("")),
            ("count", Value::from(7)),
        ];
        assert_eq!(
            text(Level::Info, "pull\nended", &fields, Some(&time)),
            "2026-11-28T05:06:07.123Z info  micad: pull ended name=docker.io/library/a:1 odd=\"a b\\n\\\"c\\\"\" none=\"\" count=7"
        );
        assert_eq!(text(Level::Info, "x", &[], None), "x");
        let line = json(Level::Warn, "pull\nended", &fields, &time);
        assert!(!line.contains('\n'));
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["time"], "2026-11-28T05:06:07.123456Z");
        assert_eq!(read["level"], "warn");
        assert_eq!(read["message"], "pull\nended");
        assert_eq!(read["odd"], "a b\n\"c\"");
        assert_eq!(read["count"], 7);
    }

    #[test]
    fn levels_are_ordered_and_have_the_journal_s_numbers() {
        assert!(Level::Error < Level::Debug);
        let all = [Level::Error, Level::Warn, Level::Info, Level::Debug];
        assert_eq!(all.map(Level::word), LEVELS);
        assert_eq!(all.map(Level::priority), [3, 4, 6, 7]);
    }

    #[tokio::test]
    async fn requests_are_known_where_they_are_answered() {
        assert_eq!(request(), None);
        assert_eq!(within(7, async { request() }).await, Some(7));
    }
}
