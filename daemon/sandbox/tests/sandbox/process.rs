//! The process itself: how it starts, what it writes, how it ends.

use crate::Test;
use crate::room::Room;

pub(crate) const TESTS: &[Test] = &[("process::true_is_true", true_is_true)];

fn true_is_true() {
    let ran = Room::new().run();
    assert_eq!(ran.outcome.exit.code(), 0, "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}
