//! A daemon that is killed twenty times while clients use it; `README.md` has what two thousand times showed.

#![allow(clippy::print_stdout, reason = "a test says what it found")]

use mica_tests::soak;

#[test]
fn nothing_is_lost_when_the_daemon_is_killed() {
    let killings = soak::kill(20, 6, 1);
    println!("{killings}");
    let problems = killings.problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(
        killings.kept > 0 && killings.open > 0 && killings.archives > 0,
        "nothing was done that could be lost"
    );
}
