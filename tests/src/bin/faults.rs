//! `cargo run -p mica-tests --bin faults -- COUNT [SEED]`: pushes so many images through a registry that fails in one of
//! ten requests, and says what came of it. Needs `cargo build --workspace --bins` and Debian's docker-registry.

use std::process::ExitCode;

use mica_tests::FaultyPushes;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(count)), seed) = (numbers.next(), numbers.next()) else {
        println!("usage: faults COUNT [SEED]");
        return ExitCode::from(2);
    };
    let pushes = FaultyPushes::run(count as usize, seed.and_then(Result::ok).unwrap_or(1));
    for failure in &pushes.failures {
        println!("{failure}");
    }
    println!(
        "{} of {count} pushes succeeded in {:.0} s; {} of {} requests went wrong; {} bytes of blobs sent, {} missing: {:.3} times",
        pushes.succeeded,
        pushes.took.as_secs_f64(),
        pushes.requests.1,
        pushes.requests.0,
        pushes.sent,
        pushes.missing,
        pushes.ratio()
    );
    match pushes.failures.is_empty() && pushes.ratio() <= 1.2 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
