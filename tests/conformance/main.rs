//! Builds every case of `cases/` twice and holds what came of it against what the case expects; or records it anew from a dockerd.
//!
//! usage: conformance [NAME…] builds the cases whose names contain one of the words; conformance --record SOCKET [NAME…] has the docker
//! of this machine build those that come from a dockerd, by the daemon at that socket, and rewrites their expectations.

#![allow(clippy::print_stdout, reason = "a test says what it found")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use mica_tests::Daemon;
use mica_tests::conformance::{Case, Engine, Outcome, Source, Workshop, differences, parse, rewrite};

/// Features whose cases may fail, as they are not there yet: to be emptied.
const PENDING: [&str; 0] = [];

/// Debian's docker; others of that name may lack BuildKit.
const DOCKER: &str = "/usr/bin/docker";

/// Where the cases are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/cases")
}

/// The files of cases, in order.
fn files() -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder()).expect("the cases are there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files
}

/// Every chosen case, and the file it is in.
fn cases(words: &[String]) -> Vec<(PathBuf, Case)> {
    let mut cases = Vec::new();
    for file in files() {
        let text = fs_err::read_to_string(&file).expect("cases are text");
        for case in parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())) {
            cases.push((file.clone(), case));
        }
    }
    let mut names: Vec<_> = cases.iter().map(|(_, case)| case.name.clone()).collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(
        twice.is_none(),
        "two cases are called {}",
        twice.map_or("", |pair| &pair[0])
    );
    let chosen = |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    cases.into_iter().filter(|(_, case)| chosen(case)).collect()
}

/// What is wrong with what came of a case.
fn judged(case: &Case, outcome: &Outcome, workshop: &Workshop) -> Vec<String> {
    let expected = &case.expected;
    match outcome {
        Outcome::Failed(told) if expected.errors.is_empty() => vec![format!("it failed: {}", end_of(told))],
        Outcome::Failed(told) => {
            let lines = expected.line.map(|line| format!("line {line}"));
            let wanted = expected.errors.iter().chain(lines.as_ref());
            let missing = wanted.filter(|text| !told.contains(text.as_str()));
            missing
                .map(|text| format!("{text:?} is not in what was told: {}", end_of(told)))
                .collect()
        }
        Outcome::Built(_) if !expected.errors.is_empty() => vec!["it was built and must not be".to_owned()],
        Outcome::Built(facts) => {
            let base = workshop
                .base(&case.against)
                .ok_or_else(|| format!("there is no base {}", case.against));
            let told = base.and_then(|base| differences(expected, facts, base));
            told.unwrap_or_else(|error| vec![error])
        }
    }
}

/// The last lines of what a build told.
fn end_of(told: &str) -> String {
    let lines: Vec<_> = told.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join("\n           ")
}

/// Builds a case both ways; what is wrong.
fn tried(case: &Case, daemon: &Daemon, workshop: &Workshop) -> Vec<String> {
    let mut engines = vec![Engine::Cli(daemon)];
    if case.fits_the_api() {
        engines.push(Engine::Api(daemon));
    }
    let mut told = Vec::new();
    for engine in engines {
        // one broken case must not hide the others
        let work = std::panic::AssertUnwindSafe(|| judged(case, &engine.build(case, workshop), workshop));
        let wrong = std::panic::catch_unwind(work)
            .unwrap_or_else(|_| vec!["the runner stopped (see above)".to_owned()]);
        told.extend(wrong.into_iter().map(|line| format!("{}: {line}", engine.name())));
    }
    told
}

fn check(words: &[String]) -> ExitCode {
    let began = Instant::now();
    let workshop = Workshop::open();
    let daemon = Daemon::start();
    for archive in workshop.archives() {
        Engine::Cli(&daemon).load(&archive);
    }
    let chosen = cases(words);
    let count = chosen.len();
    println!("\nrunning {count} tests");
    let queue = Mutex::new(VecDeque::from(chosen));
    let totals = Mutex::new([0_usize; 3]);
    // half of a build is waiting for a process to start or end
    let workers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics with it").pop_front();
                    let Some((_, case)) = next else { break };
                    let wrong = tried(&case, &daemon, &workshop);
                    let pending = case.needs.iter().any(|need| PENDING.contains(&need.as_str()));
                    let (kind, word) = match (wrong.is_empty(), pending) {
                        (true, false) => (0, "ok"),
                        (false, false) => (1, "FAILED"),
                        (true, true) => (2, "ignored, pending but passes"),
                        (false, true) => (2, "ignored, pending"),
                    };
                    totals.lock().expect("no worker panics with it")[kind] += 1;
                    let shown = if kind == 1 { wrong } else { Vec::new() };
                    let shown: String = shown.iter().map(|line| format!("\n    {line}")).collect();
                    println!("test {} ... {word}{shown}", case.name);
                }
            });
        }
    });
    let [passed, failed, ignored] = *totals.lock().expect("no worker panics with it");
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    ExitCode::from(u8::from(failed != 0))
}

/// What is recorded. Where a dockerd of 20.10 leaves flags out of the history, or writes an ARG, an EXPOSE or a HEALTHCHECK as nobody does
/// today, the history stays what the case has by hand (contract 12.2).
fn recorded(case: &Case, lines: Vec<String>) -> Vec<String> {
    let is_history = |line: &String| line.starts_with("history");
    let old = ["--chown=", "--chmod=", "HEALTHCHECK", "EXPOSE", "ARG "];
    let texts = std::iter::once(&case.dockerfile).chain(&lines);
    if !texts
        .into_iter()
        .any(|text| old.iter().any(|form| text.contains(form)))
    {
        return lines;
    }
    let by_hand = case
        .expected
        .lines
        .iter()
        .filter(|line| is_history(line))
        .cloned();
    lines
        .into_iter()
        .filter(|line| !is_history(line))
        .chain(by_hand)
        .collect()
}

fn record(socket: &str, words: &[String]) -> ExitCode {
    let workshop = Workshop::open();
    let engine = Engine::Docker(Path::new(DOCKER), Path::new(socket));
    for archive in workshop.archives() {
        engine.load(&archive);
    }
    let mut wrong = 0;
    for (file, case) in cases(words)
        .into_iter()
        .filter(|(_, case)| case.source == Source::Dockerd)
    {
        let word = match (engine.build(&case, &workshop), case.expected.errors.is_empty()) {
            (Outcome::Built(facts), true) => {
                let base = workshop
                    .base(&case.against)
                    .expect("cases name bases that are there");
                let lines = recorded(&case, facts.lines(base));
                let text = fs_err::read_to_string(&file).expect("cases are text");
                let text = rewrite(&text, &case.name, &lines).unwrap_or_else(|error| panic!("{error}"));
                fs_err::write(&file, text).expect("files can be written");
                "recorded".to_owned()
            }
            (Outcome::Failed(_), false) => "fails as expected".to_owned(),
            (Outcome::Built(_), false) => "WRONG: it was built".to_owned(),
            (Outcome::Failed(told), true) => format!("WRONG: it fails: {}", end_of(&told)),
        };
        wrong += u8::from(word.starts_with("WRONG"));
        println!("{}: {word}", case.name);
    }
    ExitCode::from(wrong.min(1))
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--record") {
        let socket = args
            .get(1)
            .expect("--record needs the socket of a dockerd")
            .clone();
        return record(&socket, &args[2..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        cases(&[])
            .iter()
            .for_each(|(_, case)| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    // the flags of other test programs mean nothing here
    args.retain(|arg| !arg.starts_with('-'));
    check(&args)
}
