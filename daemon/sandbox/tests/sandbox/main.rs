//! What the sandbox promises, asserted from inside it.
//!
//! The tests bring their own runner because this program has to be its own helper.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod escapes;
mod identity;
mod lending;
mod lifetime;
mod limits;
mod mounts;
mod process;
mod room;
mod terminal;

use std::env;
use std::panic::catch_unwind;
use std::process::ExitCode;

use mica_sandbox::{HELPER_ARGUMENT, init_main};

/// A test and its name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == HELPER_ARGUMENT) {
        return init_main();
    }
    if let [first, mark] = &arguments[..]
        && first == lifetime::DAEMON_ARGUMENT
    {
        lifetime::be_daemon(mark);
        return ExitCode::SUCCESS;
    }
    let all = [
        process::TESTS,
        identity::TESTS,
        mounts::TESTS,
        lending::TESTS,
        lifetime::TESTS,
        limits::TESTS,
        terminal::TESTS,
        escapes::TESTS,
    ];
    let tests: Vec<Test> = all.concat();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let (chosen, left_out): (Vec<Test>, Vec<Test>) = tests.into_iter().partition(|(name, _)| chosen(name));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    run_all(&chosen, left_out.len())
}

fn run_all(tests: &[Test], left_out: usize) -> ExitCode {
    println!("\nrunning {} tests", tests.len());
    let root = rustix::process::geteuid().is_root();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, test) in tests {
        if !root {
            println!("test {name} ... ignored, needs root");
            ignored += 1;
            continue;
        }
        if catch_unwind(test).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed += 1;
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {left_out} filtered out\n"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
