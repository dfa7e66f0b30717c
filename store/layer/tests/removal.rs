//! Removing trees that are made to be hard to remove.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use mica_layer::{ImagePath, Kind, Meta, Mtime, Root, TreeSink, TreeWriter, remove_tree, remove_tree_while};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit};

/// Far more than a stack of 2 MiB has room for, or a path of 4095 bytes.
const DEEP: usize = 60_000;

/// Makes the directories `name/name/…` in `place`.
fn chain(place: &Path, name: &str, deep: usize) {
    let open = |dir: &OwnedFd, name: &str| {
        rustix::fs::openat(dir, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    };
    let mut here = rustix::fs::openat(CWD, place, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..deep {
        rustix::fs::mkdirat(&here, name, Mode::RWXU).unwrap();
        here = open(&here, name);
    }
}

fn few_descriptors() {
    let few = Rlimit {
        current: Some(96),
        maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, few).unwrap();
}

#[test]
fn removing_stops_when_it_is_to_and_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    fs::create_dir(&top).unwrap();
    chain(&top, "d", 200);
    for number in 0..100 {
        fs::write(top.join(format!("file {number}")), "x").unwrap();
        fs::create_dir(top.join(format!("folder {number}"))).unwrap();
    }
    let asked = Cell::new(0);
    let mut stops = 0;
    // each time it comes a bit further, also where it had moved what lies deep
    while !remove_tree_while(&top, &|| {
        asked.set(asked.get() + 1);
        asked.get() % 50 != 0
    })
    .unwrap()
    {
        assert!(top.exists());
        stops += 1;
    }
    assert!(!top.exists());
    assert!(stops > 5, "{stops}");
    fs::create_dir(&top).unwrap();
    assert!(!remove_tree_while(&top, &|| false).unwrap());
    assert!(top.exists());
}

#[test]
fn a_very_deep_tree_goes_with_few_descriptors() {
    few_descriptors();
    // in memory where that can be: a disk takes a minute for this, whoever removes it
    let fast = Path::new("/dev/shm");
    let folder = match fast.is_dir() {
        true => tempfile::tempdir_in(fast).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let top = folder.path().join("top");
    fs::create_dir(&top).unwrap();
    chain(&top, "d", DEEP);
    // names as the remover gives them, of all kinds
    fs::write(top.join("0"), "x").unwrap();
    fs::create_dir_all(top.join("1/2/3")).unwrap();
    fs::create_dir(top.join("2")).unwrap();
    chain(&top.join("2"), "7", 200);
    remove_tree(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(
        remove_tree(&top).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}

#[test]
fn a_comb_goes_and_links_out_of_it_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (top, outside) = (folder.path().join("top"), folder.path().join("outside"));
    fs::create_dir_all(outside.join("kept")).unwrap();
    let mut here = top.clone();
    for at in 0..300 {
        here = here.join("d");
        fs::create_dir_all(here.join("wide/er")).unwrap();
        fs::create_dir(here.join((at / 3).to_string())).unwrap();
        fs::write(here.join("file"), "x").unwrap();
        fs::os::unix::fs::symlink(&outside, here.join("link")).unwrap();
    }
    remove_tree(&top).unwrap();
    assert!(!top.exists() && outside.join("kept").exists());
}

#[test]
fn directories_that_nobody_may_enter_go() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    let mut all = vec![top.clone()];
    for _ in 0..70 {
        let last = all[all.len() - 1].join("d");
        all.push(last);
    }
    fs::create_dir_all(&all[70]).unwrap();
    for (at, dir) in all.iter().enumerate().rev() {
        let mode = [0, 0o555, 0o300, 0o444][at % 4];
        fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    remove_tree(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn a_deep_directory_is_replaced_by_a_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    chain(&folder.path().join("a"), "a name of some length", 5000);
    let mut tree = TreeWriter::new(Root::open(folder.path()).unwrap());
    let meta = Meta {
        kind: Kind::File { size: 0 },
        ..Meta::directory(0o644, Mtime::default())
    };
    tree.put(&ImagePath::clamped(b"a"), &meta, &mut std::io::empty())
        .unwrap();
    assert!(folder.path().join("a").is_file());
}
