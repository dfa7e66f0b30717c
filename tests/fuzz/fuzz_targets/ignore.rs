//! Any bytes as an ignore file and a path: asking directly, walking down, and pruning agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mica_dockerfile::{glob_match, ignore::IgnorePatterns};

/// The longest path, in bytes: time grows with its square here, as every directory above it is asked for on its own, too.
const LONGEST: usize = 1 << 10;

fuzz_target!(|bytes: &[u8]| {
    // The last line is the path, the rest the file.
    let (file, path) = match bytes.iter().rposition(|&b| b == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b""[..], bytes),
    };
    let path = String::from_utf8_lossy(&path[..path.len().min(LONGEST)]);
    let path = path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    let first = String::from_utf8_lossy(file.split(|&b| b == b'\n').next().unwrap_or_default());
    let _ = glob_match(&first, &path);
    let Ok(patterns) = IgnorePatterns::parse(file) else {
        return;
    };
    let mut walk = patterns.walk();
    let mut pruned = false;
    for (at, _) in path.match_indices('/') {
        let dir = &path[..at];
        let excluded = walk.excludes(dir);
        assert_eq!(excluded, patterns.excludes(dir), "{dir}");
        let may_reinclude = walk.enter(dir);
        assert_eq!(may_reinclude, patterns.may_reinclude_below(dir), "{dir}");
        pruned |= excluded && !may_reinclude;
    }
    let excluded = walk.excludes(&path);
    assert_eq!(excluded, patterns.excludes(&path), "{path}");
    assert!(
        excluded || !pruned,
        "{path} is kept, but its directory would not have been entered"
    );
});
