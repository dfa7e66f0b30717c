//! A short run of the fuzzer that goes by the description.

use std::path::Path;
use std::process::Command;

use mica_tests::{binary, run};

#[test]
fn all_that_is_made_of_the_description_is_answered_as_described() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/fuzz");
    let binaries = binary("micad");
    let fuzzed = run(Command::new(script)
        .arg("--quick")
        .env("MICA_BIN", binaries.parent().unwrap()));
    println!("{}", fuzzed.stdout);
    assert_eq!(fuzzed.code, 0, "{}", fuzzed.stderr);
}
