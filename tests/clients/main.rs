//! Real clients against a daemon and a real registry: every verb by every client, and the table of README.md held against what came of it.
//!
//! usage: clients [NAME…] runs the clients of these names, or whose names contain one of the words; with UPDATE=1 in the environment the table is written anew.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it found"
)]

mod cell;
mod docker;
mod docker_py;
mod dockerode;
mod ggcr;
mod script;
mod skopeo;
mod table;
mod verbs;
mod web;
mod with_bollard;
mod world;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use crate::cell::{Cells, Outcome};
use crate::verbs::VERBS;
use crate::world::{Places, World};

/// How a client does all verbs; or why it is not here, so that it is left out.
type Do = fn(&World) -> Result<Cells, String>;

/// A client: its name and version where they are pinned, the first part of the names that are its own, how it does everything.
const CLIENTS: [(&str, &str, Do); 8] = [
    ("docker", "docker", docker::on_path),
    ("Debian's docker", "docker-debian", docker::of_debian),
    (
        "Debian's docker, BuildKit",
        "docker-buildkit",
        docker::of_debian_with_buildkit,
    ),
    ("docker-py 7.2.0", "docker-py", docker_py::all),
    ("dockerode 5.0.1", "dockerode", dockerode::all),
    ("bollard 0.21.1", "bollard", with_bollard::all),
    ("skopeo", "skopeo", skopeo::all),
    ("go-containerregistry 0.20.6", "ggcr", ggcr::all),
];

/// What came of a client's verbs, in their order; nothing if it was left out.
fn done(world: &World, name: &str, work: Do) -> Option<Vec<Outcome>> {
    let began = Instant::now();
    let cells = match work(world) {
        Ok(cells) => cells,
        Err(why) => {
            println!("skipped: {} verbs by {name}: {why}", VERBS.len());
            return None;
        }
    };
    let mut outcomes: Vec<_> = VERBS.iter().map(|verb| cells.of(verb)).collect();
    if let Some(wrong) = cells.strange(&VERBS) {
        outcomes[0] = Outcome::Failed(wrong);
    }
    let lines = VERBS.iter().zip(&outcomes).map(|(verb, outcome)| match outcome {
        Outcome::Passed => format!("test {name}: {verb} ... ok\n"),
        Outcome::Cannot(why) => format!("test {name}: {verb} ... cannot: {why}\n"),
        Outcome::Failed(why) => format!(
            "test {name}: {verb} ... FAILED\n    {}\n",
            why.replace('\n', "\n    ")
        ),
    });
    let text: String = lines.collect();
    println!("{text}{name} took {:.1} s", began.elapsed().as_secs_f32());
    Some(outcomes)
}

/// Whether a client is meant by these words: by its whole name, or a part of it that is nobody's whole name.
fn is_chosen(name: &str, words: &[String]) -> bool {
    let is_whole = |word: &str| CLIENTS.iter().any(|(name, ..)| *name == word);
    let meant = |word: &String| match is_whole(word) {
        true => word == name,
        false => name.contains(word.as_str()),
    };
    words.is_empty() || words.iter().any(meant)
}

fn run(words: &[String]) -> ExitCode {
    let began = Instant::now();
    cell::catch_places();
    let clients: Vec<_> = CLIENTS
        .into_iter()
        .filter(|(name, ..)| is_chosen(name, words))
        .collect();
    println!("\nrunning {} tests", clients.len() * VERBS.len());
    let places = Places::prepare();
    let queue = Mutex::new(VecDeque::from(clients.clone()));
    let found = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics with it").pop_front();
                    let Some((name, space, work)) = next else { break };
                    let world = World::new(&places, space);
                    if let Some(outcomes) = done(&world, name, work) {
                        found
                            .lock()
                            .expect("no worker panics with it")
                            .push((name, outcomes));
                    }
                }
            });
        }
    });
    let mut columns = found.into_inner().expect("no worker panics with it");
    columns.sort_by_key(|(name, _)| CLIENTS.iter().position(|(client, ..)| client == name));
    let all: Vec<_> = columns.iter().flat_map(|(_, outcomes)| outcomes).collect();
    let passed = all.iter().filter(|outcome| ***outcome == Outcome::Passed).count();
    let failed = all
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Failed(_)))
        .count();
    println!(
        "{} cells are of what a client cannot do",
        all.len() - passed - failed
    );
    let table = match std::env::var_os("UPDATE") {
        Some(_) if columns.len() == CLIENTS.len() => table::write(&columns),
        Some(_) => Err("the table is only written when no client is left out".to_owned()),
        None => table::compared(&columns),
    };
    let (passed, failed) = match &table {
        Ok(()) => (passed + 1, failed),
        Err(_) => (passed, failed + 1),
    };
    match table {
        Ok(()) => println!("test the table in README.md ... ok"),
        Err(why) => println!("test the table in README.md ... FAILED\n    {why}"),
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    ExitCode::from(u8::from(failed != 0))
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        let tests = CLIENTS
            .iter()
            .flat_map(|(name, ..)| VERBS.iter().map(move |verb| format!("{name}: {verb}")));
        tests.for_each(|test| println!("{test}: test"));
        return ExitCode::SUCCESS;
    }
    // the flags of other test programs mean nothing here
    args.retain(|arg| !arg.starts_with('-'));
    run(&args)
}
