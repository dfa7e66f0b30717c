//! A hundred clients for half a minute; `README.md` has what they do for ten.

#![allow(clippy::print_stdout, reason = "a test says what it found")]

use std::time::Duration;

use mica_tests::soak;

#[test]
fn a_hundred_clients_do_each_other_no_harm() {
    let report = soak::run(Duration::from_secs(30), 100);
    println!("{report}");
    let problems = report.problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
