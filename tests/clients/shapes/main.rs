//! What a real dockerd answers to the requests of image tools, and what micad answers to the same: field by field.
//!
//! Differences that are on purpose stand in `differences`, with their reasons; any other fails, and so does one that is there no longer.

#![allow(clippy::print_stdout, reason = "a test says what it found")]

mod allowed;
mod ask;
mod cases;
mod compare;
mod dockerd;
mod fixture;
mod names;
mod reading;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mica_tests::{Daemon, Options};
use serde_json::Value;

use crate::allowed::Allowed;
use crate::ask::Ask;
use crate::compare::{Difference, compare};
use crate::dockerd::Dockerd;
use crate::fixture::Fixture;
use crate::names::Names;

/// Answers that take longer than this are named.
const SLOW: Duration = Duration::from_secs(2);

/// The proxy to all servers that are not of this machine: nobody listens there, so none is reached, whether there is a network or not.
const NOBODY: &str = "http://127.0.0.1:1";

/// A variable that names a question whose answers are to be printed as they are compared.
const SHOW: &str = "SHAPES_SHOW";

/// The list of differences that are on purpose.
fn allowed() -> Vec<Allowed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/shapes/differences");
    let text = fs_err::read_to_string(path).expect("the list is there");
    allowed::parse(&text).expect("the list can be read")
}

/// What a daemon answers; a connection that it breaks is an answer too.
async fn answer(ask: &Ask, socket: &Path, names: &Names) -> Value {
    match ask.question().ask(socket).await {
        Ok(answer) => reading::read(&answer, ask.reading, names),
        Err(error) => serde_json::json!({"broken": names.replace(&error)}),
    }
}

/// A daemon, what it is asked, and what its answers are full of.
struct Side<'a> {
    socket: PathBuf,
    names: Names,
    asks: &'a [Ask],
}

/// Asks both everything, one question after the other.
async fn found(theirs: &Side<'_>, ours: &Side<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    let shown = std::env::var(SHOW).ok();
    for (their, our) in theirs.asks.iter().zip(ours.asks) {
        let began = Instant::now();
        let a = answer(their, &theirs.socket, &theirs.names).await;
        let between = Instant::now();
        let b = answer(our, &ours.socket, &ours.names).await;
        let (theirs, ours) = (between - began, between.elapsed());
        if theirs.max(ours) > SLOW {
            println!("{} took {theirs:.1?}, {ours:.1?}", our.name);
        }
        if shown.as_deref() == Some(our.name.as_str()) {
            println!("dockerd: {a:#}\nmicad: {b:#}");
        }
        found.extend(compare(&our.name, &our.loose, &a, &b));
    }
    found
}

/// What was found and is not allowed, and what is allowed and was not found.
fn judged(found: &[Difference], allowed: &[Allowed]) -> String {
    let mut told = String::new();
    for difference in found {
        if !allowed.iter().any(|allowed| allowed.is(difference)) {
            let Difference {
                ask,
                path,
                theirs,
                ours,
            } = difference;
            let _ = writeln!(told, "{ask} {path}: {theirs} => {ours}");
        }
    }
    for allowed in allowed.iter().filter(|allowed| !allowed.sometimes) {
        if !found.iter().any(|difference| allowed.is(difference)) {
            let _ = writeln!(
                told,
                "line {} of the list is true no longer ({})",
                allowed.line, allowed.reason
            );
        }
    }
    told
}

#[test]
fn micad_answers_as_dockerd_does() {
    let allowed = allowed();
    let dockerd = match Dockerd::start(Some(NOBODY)) {
        Ok(dockerd) => dockerd,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let daemon = Daemon::with(Options::default().env("HTTPS_PROXY", NOBODY));
    let (their_fixture, fixture) = (Fixture::make(), Fixture::make());
    let (their_asks, asks) = (cases::all(&their_fixture), cases::all(&fixture));
    let mut names: Vec<&str> = asks.iter().map(|ask| ask.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "two questions are called {twice:?}");
    let theirs = Side {
        socket: dockerd.socket(),
        names: their_fixture.names(dockerd.folder()),
        asks: &their_asks,
    };
    let ours = Side {
        socket: daemon.socket(),
        names: fixture.names(daemon.folder()),
        asks: &asks,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let found = runtime.block_on(found(&theirs, &ours));
    let told = judged(&found, &allowed);
    println!(
        "{} questions, {} differences, {} lines of them allowed",
        asks.len(),
        found.len(),
        allowed.len()
    );
    assert!(told.is_empty(), "dockerd => micad:\n{told}");
}
