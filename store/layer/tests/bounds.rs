//! What the changes of a layer take in memory is bounded, and looking for them can be stopped.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use mica_layer::{Allowance, Changes, Error, GoOn, Stack, XattrPolicy, changes_of_tree, diff, normalise};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

const ON: GoOn<'static> = &|| Ok(());

fn left_by_run(upper: &Path, bytes: u64) -> Result<Changes, Error> {
    diff(upper, &Stack::default(), Allowance::of(bytes), ON)
}

fn read_again(tree: &Path, xattrs: XattrPolicy, bytes: u64) -> Result<Changes, Error> {
    changes_of_tree(tree, xattrs, Allowance::of(bytes), ON)
}

/// The smallest allowance with which it can be done.
fn least(run: impl Fn(u64) -> Result<Changes, Error>) -> u64 {
    let (mut low, mut high) = (0, 1 << 24);
    run(high).unwrap();
    while low < high {
        let middle = low.midpoint(high);
        match run(middle) {
            Ok(_) => high = middle,
            Err(Error::Changes { limit, .. }) => {
                assert_eq!(limit, middle);
                low = middle + 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    low
}

/// A folder of names that are long because it is deep, all but one of them of one file.
fn deep(top: &Path, names: usize) {
    let deep = (0..8).fold(top.to_owned(), |above, _| above.join("d".repeat(200)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "x").unwrap();
    for name in 1..names {
        fs::hard_link(deep.join("file"), deep.join(format!("link{name}"))).unwrap();
    }
}

#[test]
fn links_in_a_deep_folder_are_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    let upper = scratch.path();
    deep(upper, 100);
    // 1.6 KB in each path
    let needed = least(|bytes| left_by_run(upper, bytes));
    assert!((100 * 1600..100 * 2200).contains(&needed), "{needed}");
    let text = left_by_run(upper, needed / 2).err().unwrap().to_string();
    for part in ["/ddd", &(needed / 2).to_string(), "split the step", "remove"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Names that come to nothing are held while their folder is read.
#[test]
fn a_folder_of_nothing_but_sockets_is_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    for name in 0..200 {
        let path = scratch.path().join(name.to_string());
        mknodat(CWD, path, FileType::Socket, Mode::RWXU, 0).unwrap();
    }
    let error = left_by_run(scratch.path(), 8192).err().unwrap();
    assert!(matches!(error, Error::Changes { limit: 8192, .. }), "{error}");
    assert!(left_by_run(scratch.path(), 16384).unwrap().is_empty());
    assert!(matches!(
        read_again(scratch.path(), XattrPolicy::All, 8192),
        Err(Error::Changes { .. })
    ));
}

#[test]
fn what_a_run_may_leave_can_be_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    let upper = scratch.path();
    deep(&upper.join("a"), 20);
    for name in 0..100 {
        let path = upper.join(format!("many-names-in-one-folder-{name}"));
        symlink("t".repeat(10 * (name + 1)), path).unwrap();
    }
    let needed = least(|bytes| left_by_run(upper, bytes));
    let changes = left_by_run(upper, needed).unwrap();
    normalise(upper, &changes, None, ON).unwrap();
    let again = read_again(upper, XattrPolicy::CapabilityOnly, needed).unwrap();
    assert!(again.keys().eq(changes.keys()));
    // targets of links count
    assert!(needed > changes.len() as u64 * 256 + 50_500, "{needed}");
}

#[test]
fn attributes_that_reach_no_tar_are_not_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path();
    fs::write(tree.join("file"), "x").unwrap();
    let bare = least(|bytes| left_by_run(tree, bytes));
    let read = |xattrs| move |bytes| read_again(tree, xattrs, bytes);
    let value = [7; 2000];
    match setxattr(tree.join("file"), "user.x", &value, XattrFlags::empty()) {
        Err(rustix::io::Errno::OPNOTSUPP) => return,
        set => set.unwrap(),
    }
    assert_eq!(least(|bytes| left_by_run(tree, bytes)), bare);
    let usual = least(read(XattrPolicy::CapabilityOnly));
    let all = least(read(XattrPolicy::All));
    assert!(all >= usual + 2000, "{all} {usual}");
}

/// All of `work` but its last look at whether it is wanted; then it must end at once.
fn stops<T>(most: usize, work: impl Fn(GoOn<'_>) -> Result<T, Error>) -> usize {
    let count = |most: usize| {
        let looks = Cell::new(0);
        let done = work(&|| {
            looks.set(looks.get() + 1);
            match looks.get() < most {
                true => Ok(()),
                false => Err(io::Error::other("stop")),
            }
        });
        (looks.get(), done)
    };
    let (looks, done) = count(usize::MAX);
    assert!(done.is_ok() && looks >= most, "{looks}");
    for at in [1, looks / 2, looks] {
        let (looked, done) = count(at);
        assert_eq!(looked, at, "went on");
        assert!(matches!(done, Err(Error::Io { .. })), "at {at} of {looks}");
    }
    looks
}

/// Each name is one more chance to stop: while it is listed, looked at and cleaned.
#[test]
fn all_of_it_can_be_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    let upper = scratch.path();
    deep(upper, 50);
    stops(2 * 58, |go_on| {
        diff(upper, &Stack::default(), Allowance::default(), go_on)
    });
    stops(2 * 58, |go_on| {
        changes_of_tree(upper, XattrPolicy::All, Allowance::default(), go_on)
    });
    let changes = left_by_run(upper, 1 << 24).unwrap();
    stops(58, |go_on| normalise(upper, &changes, None, go_on));
}
