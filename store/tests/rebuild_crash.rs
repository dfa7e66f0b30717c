//! A rebuild that is killed at any point leaves a store that is refused, or one that is as it was. The kill is real: the test starts
//! itself as a child that aborts at the named point. No other test runs beside it: a child of this process holds the locks of its
//! stores for a moment.
#![cfg(debug_assertions)]
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

#[path = "rebuild/life.rs"]
mod life;
mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use mica_store::{Error, FAILPOINTS, Level, Store, rebuild};

use crate::life::{Life, life, seen};
use crate::support::checks::find_nothing;
use crate::support::noise;

const ROOT: &str = "MICA_REBUILD_ROOT";
/// More calls of one point than there are.
const MOST: u32 = 200;

/// The child: makes a database again. Does nothing unless it was started by the test below.
#[test]
fn child() {
    if let Ok(root) = std::env::var(ROOT) {
        rebuild(Path::new(&root), &mut |_| ()).unwrap();
    }
}

/// Whether the child was killed.
fn is_killed(life: &Life, point: &str, count: u32) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env(ROOT, life.root())
        .env("MICA_FAILPOINT", format!("{point}:{count}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    !status.success()
}

/// A store whose database is damaged, with files that are not what they should be.
fn wrecked() -> Life {
    let life = life();
    life.merge_log();
    std::fs::write(life.database(), noise(5, 50_000)).unwrap();
    std::fs::write(life.root().join("mica/db.sqlite-wal"), noise(6, 5_000)).unwrap();
    for stray in ["stray", "another"] {
        std::fs::write(life.root().join("blobs/sha256").join(stray), stray).unwrap();
    }
    life
}

fn is_refused(life: &Life) -> bool {
    match Store::open(life.root()) {
        Ok(store) => {
            assert_eq!(seen(&store), life.before);
            false
        }
        Err(Error::Format { .. }) => true,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_kill_at_any_point_leaves_a_store_that_is_refused_or_as_it_was() {
    let (mut kills, mut finished) = (0, 0);
    for point in FAILPOINTS {
        for count in 1..MOST {
            let life = wrecked();
            if !is_killed(&life, point, count) {
                break;
            }
            kills += 1;
            if is_refused(&life) {
                // killed again on the way, and then not
                is_killed(&life, point, 1);
                if is_refused(&life) {
                    rebuild(life.root(), &mut |_| ()).unwrap();
                }
            } else {
                finished += 1;
            }
            let store = Store::open(life.root()).unwrap();
            assert_eq!(seen(&store), life.before, "{point}:{count}");
            find_nothing(&store, Level::Trees);
            let bad = life.root().join("mica/bad");
            for kept in ["stray", "another", "db-1/db.sqlite"] {
                assert!(bad.join(kept).exists(), "{point}:{count}: {kept}");
            }
        }
    }
    assert!(
        kills > 30 && finished > 0,
        "{kills} kills, {finished} of them too late"
    );
}
