//! `cargo run -p mica-tests --bin soak -- SECONDS [CLIENTS]`: so many clients (100) do what they like to one daemon and one registry for so long;
//! says what came of it. Needs `cargo build --workspace --bins` and Debian's docker-registry and busybox-static.

use std::process::ExitCode;
use std::time::Duration;

use mica_tests::soak;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let (Some(Ok(seconds)), clients) = (numbers.next(), numbers.next()) else {
        println!("usage: soak SECONDS [CLIENTS]");
        return ExitCode::from(2);
    };
    let report = soak::run(
        Duration::from_secs(seconds.into()),
        clients.and_then(Result::ok).unwrap_or(100),
    );
    println!("{report}");
    let problems = report.problems();
    for problem in &problems {
        println!("{problem}");
    }
    match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
