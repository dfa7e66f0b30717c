//! `cargo run -p mica-tests --bin crash -- KILLS [CLIENTS [SEED]]`: kills a daemon so many times while so many clients (6) use it, and says
//! what was lost. Needs `cargo build --workspace --bins` and Debian's docker-registry and busybox-static.

use std::process::ExitCode;

use mica_tests::soak;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let (Some(Ok(kills)), clients, seed) = (numbers.next(), numbers.next(), numbers.next()) else {
        println!("usage: crash KILLS [CLIENTS [SEED]]");
        return ExitCode::from(2);
    };
    let clients = clients.and_then(Result::ok).unwrap_or(6);
    let seed = seed.and_then(Result::ok).unwrap_or(1);
    let killings = soak::kill(kills, clients, seed.into());
    println!("{killings}");
    let mut problems = killings.problems();
    if killings.slow_starts() > 0 {
        problems.push(format!("{} slow starts", killings.slow_starts()));
    }
    for problem in &problems {
        println!("{problem}");
    }
    match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
