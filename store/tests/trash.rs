//! What lies in the trash goes, or is told of; it never keeps a store from opening.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use mica_store::Store;
use rustix::fs::{CWD, IFlags, Mode, OFlags};
use support::{fast_folder, names};

const OPEN: OFlags = OFlags::DIRECTORY;

/// How long the trash may take to be emptied.
const PATIENCE: Duration = Duration::from_secs(120);

/// Opens a store until its trash is empty.
fn emptied(root: &Path) {
    assert!(Store::open(root).unwrap().wait_for_room(PATIENCE));
}

/// Makes more directories, one in the other, than a stack has room for.
fn chain(place: &Path) {
    let mut here = rustix::fs::openat(CWD, place, OPEN, Mode::empty()).unwrap();
    for _ in 0..60_000 {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", OPEN, Mode::empty()).unwrap();
    }
}

#[test]
fn very_deep_trees_go_when_a_job_ends_and_at_open() {
    let folder = fast_folder();
    let store = Store::open(folder.path()).unwrap();
    let work = store.work(&store.lease()).unwrap();
    chain(work.path());
    drop(work);
    assert!(store.wait_for_room(PATIENCE));
    drop(store);
    let trash = folder.path().join("mica/trash");
    assert!(names(&trash).is_empty());

    fs::create_dir(trash.join("0")).unwrap();
    chain(&trash.join("0"));
    emptied(folder.path());
    assert!(names(&trash).is_empty());
}

#[test]
fn trash_that_cannot_go_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let own = folder.path().join("mica");
    fs::create_dir_all(own.join("trash/0/stuck")).unwrap();
    fs::create_dir_all(own.join("work/0/left")).unwrap();
    let stuck = rustix::fs::openat(CWD, own.join("trash/0"), OPEN, Mode::empty()).unwrap();
    let flags = rustix::fs::ioctl_getflags(&stuck).unwrap_or(IFlags::empty());
    if let Err(error) = rustix::fs::ioctl_setflags(&stuck, flags | IFlags::IMMUTABLE) {
        eprintln!("skipped: nothing can be made immutable here: {error}");
        return;
    }
    let opened = Store::open(folder.path());
    let troubles = opened.map(|store| {
        for _ in 0..500 {
            if !store.troubles().is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        store.troubles()
    });
    rustix::fs::ioctl_setflags(&stuck, flags).unwrap();
    let troubles = troubles.unwrap();
    assert!(troubles[0].contains("cannot empty the trash"), "{troubles:?}");
    assert!(names(&own.join("work")).is_empty());
    emptied(folder.path());
    assert!(names(&own.join("trash")).is_empty());
}
