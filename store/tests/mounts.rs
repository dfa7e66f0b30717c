//! Cache mounts: who shares what, what outlives what, and what may be pruned.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use mica_oci::{CacheKey, Digest};
use mica_store::{CacheMount, Error, HeldMount, Seed, Sharing, Store};
use support::{names, restart, store};

fn wanted(name: &str) -> CacheMount {
    CacheMount {
        key: CacheKey(Digest::of(name.as_bytes())),
        name: name.to_owned(),
        mode: None,
        owner: None,
    }
}

fn take(store: &Store, name: &str, sharing: Sharing) -> HeldMount {
    let mut wait = || panic!("{name} is busy");
    store
        .cache_mount::<Error>(&wanted(name), sharing, None, &mut wait)
        .unwrap()
}

/// Fails, in place of waiting.
fn refuse() -> Result<(), Error> {
    Err(Error::NotAStore { root: "busy".into() })
}

#[test]
fn what_is_written_is_there_again_also_after_a_restart() {
    let (folder, store) = store();
    let held = take(&store, "a", Sharing::Shared);
    let id = *held.id();
    assert_eq!(std::fs::metadata(held.path()).unwrap().mode() & 0o7777, 0o755);
    std::fs::write(held.path().join("f"), vec![1; 100_000]).unwrap();
    std::fs::hard_link(held.path().join("f"), held.path().join("g")).unwrap();
    symlink("/", held.path().join("host")).unwrap();
    assert!(store.mount_entries().unwrap()[0].in_use);
    drop(held);
    let entries = store.mount_entries().unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.id, entry.name.as_str(), entry.use_count), (id, "a", 1));
    assert!(!entry.in_use);
    // one file with two names, and the directory itself
    assert!((100_000..160_000).contains(&entry.size), "{}", entry.size);
    assert_ne!(*take(&store, "b", Sharing::Shared).id(), id);
    drop(store);
    let store = restart(folder.path());
    let held = take(&store, "a", Sharing::Locked);
    assert_eq!(*held.id(), id);
    assert_eq!(std::fs::read(held.path().join("g")).unwrap().len(), 100_000);
}

#[test]
fn sharing_decides_who_sees_what() {
    use Sharing::{Locked, Private, Shared};
    // who is first, who is second, and whether they see the same directory; None: the second waits
    let table = [
        (Shared, Shared, Some(true)),
        (Shared, Private, Some(false)),
        (Shared, Locked, None),
        (Private, Private, Some(false)),
        (Private, Shared, Some(false)),
        (Private, Locked, None),
        (Locked, Locked, None),
        (Locked, Shared, Some(false)),
        (Locked, Private, Some(false)),
    ];
    for (first, second, same) in table {
        let (_folder, store) = store();
        let held = take(&store, "a", first);
        let other = store.cache_mount::<Error>(&wanted("a"), second, None, &mut refuse);
        match (other, same) {
            (Ok(other), Some(same)) => assert_eq!(other.id() == held.id(), same, "{first:?} {second:?}"),
            (Err(Error::NotAStore { .. }), None) => {}
            (other, same) => panic!("{first:?} {second:?}: {other:?}, expected {same:?}"),
        }
        drop(held);
        // whatever became free is used again
        let before = store.mount_entries().unwrap().len();
        let again = take(&store, "a", second);
        assert!(
            store
                .mount_entries()
                .unwrap()
                .iter()
                .any(|entry| entry.id == *again.id())
        );
        assert_eq!(
            store.mount_entries().unwrap().len(),
            before,
            "{first:?} {second:?}"
        );
    }
}

#[test]
fn the_last_that_shares_gives_it_back() {
    let (_folder, store) = store();
    let (one, two) = (
        take(&store, "a", Sharing::Shared),
        take(&store, "a", Sharing::Shared),
    );
    drop(one);
    assert!(store.mount_entries().unwrap()[0].in_use);
    let locked = store.cache_mount::<Error>(&wanted("a"), Sharing::Locked, None, &mut refuse);
    assert!(locked.is_err());
    drop(two);
    assert!(!store.mount_entries().unwrap()[0].in_use);
    take(&store, "a", Sharing::Locked);
}

#[test]
fn those_that_lock_come_one_after_the_other() {
    let (_folder, store) = store();
    let inside = AtomicUsize::new(0);
    let waited = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut wait = || {
                    waited.store(true, Ordering::SeqCst);
                    Ok::<(), Error>(())
                };
                let held = store
                    .cache_mount(&wanted("a"), Sharing::Locked, None, &mut wait)
                    .unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                let file = held.path().join("count");
                let count = std::fs::read(&file).unwrap_or_default().len();
                thread::sleep(Duration::from_millis(20));
                std::fs::write(&file, vec![0; count + 1]).unwrap();
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let held = take(&store, "a", Sharing::Locked);
    assert_eq!(std::fs::read(held.path().join("count")).unwrap().len(), 6);
    assert!(waited.into_inner());
}

#[test]
fn private_ones_are_used_again() {
    let (_folder, store) = store();
    let together = std::sync::Barrier::new(4);
    let ids = thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..4 {
            let (sender, store, together) = (sender.clone(), &store, &together);
            scope.spawn(move || {
                let mut wait = || Ok::<(), Error>(());
                let held = store
                    .cache_mount(&wanted("a"), Sharing::Private, None, &mut wait)
                    .unwrap();
                together.wait();
                sender.send(*held.id()).unwrap();
            });
        }
        drop(sender);
        receiver.iter().collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(ids.len(), 4);
    assert!(ids.contains(take(&store, "a", Sharing::Private).id()));
    assert_eq!(store.mount_entries().unwrap().len(), 4);
}

#[test]
fn a_new_one_is_filled_once_and_wholly() {
    let (folder, store) = store();
    let seeded = AtomicUsize::new(0);
    let fill = |place: &Path| {
        seeded.fetch_add(1, Ordering::SeqCst);
        std::fs::write(place.join("half"), "x").unwrap();
        thread::sleep(Duration::from_millis(100));
        std::fs::write(place.join("whole"), "x").unwrap();
        Ok::<(), Error>(())
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut fill = fill;
                let seed: &mut Seed<'_, Error> = &mut fill;
                let mut wait = || Ok(());
                let held = store
                    .cache_mount(&wanted("a"), Sharing::Shared, Some(seed), &mut wait)
                    .unwrap();
                assert!(held.path().join("whole").exists());
            });
        }
    });
    assert_eq!(seeded.load(Ordering::SeqCst), 1);
    // a seed that fails leaves nothing, and the next one begins anew
    let mut failing = |place: &Path| {
        std::fs::write(place.join("half"), "x").unwrap();
        refuse()
    };
    let seed: &mut Seed<'_, Error> = &mut failing;
    let failed = store.cache_mount(&wanted("b"), Sharing::Shared, Some(seed), &mut || Ok(()));
    assert!(failed.is_err());
    assert_eq!(names(&folder.path().join("mica/mounts")).len(), 1);
    let mut modest = |place: &Path| {
        assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o700)).unwrap();
        Ok(())
    };
    let seed: &mut Seed<'_, Error> = &mut modest;
    let held = store
        .cache_mount(&wanted("b"), Sharing::Shared, Some(seed), &mut || Ok(()))
        .unwrap();
    assert_eq!(std::fs::metadata(held.path()).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn what_is_asked_of_a_new_one_wins_over_its_seed() {
    let (_folder, store) = store();
    let mut asked = wanted("a");
    asked.mode = Some(0o1777);
    asked.owner = Some((
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    ));
    let held = store
        .cache_mount::<Error>(&asked, Sharing::Shared, None, &mut refuse)
        .unwrap();
    assert_eq!(std::fs::metadata(held.path()).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn what_is_in_use_is_never_pruned() {
    let (folder, store) = store();
    let held = take(&store, "a", Sharing::Shared);
    let free = take(&store, "b", Sharing::Shared);
    let id = *free.id();
    std::fs::write(free.path().join("f"), vec![1; 50_000]).unwrap();
    drop(free);
    let pruned = store.prune_mounts(&mut |_| true).unwrap();
    assert_eq!(pruned.keys, [id]);
    assert!(pruned.bytes >= 50_000);
    assert!(held.path().is_dir());
    assert_eq!(names(&folder.path().join("mica/mounts")).len(), 1);
    drop(held);
    assert_eq!(
        store.prune_mounts(&mut |entry| entry.name == "x").unwrap().keys,
        []
    );
    assert_eq!(store.prune_mounts(&mut |_| true).unwrap().keys.len(), 1);
    assert!(store.mount_entries().unwrap().is_empty());
    // and can be had anew
    let again = take(&store, "b", Sharing::Shared);
    assert_eq!(std::fs::read_dir(again.path()).unwrap().count(), 0);
}

#[test]
fn waiting_ends_when_nobody_wants_it_any_more() {
    let (_folder, store) = store();
    let _held = take(&store, "a", Sharing::Locked);
    let mut asked = 0;
    let mut wait = || {
        asked += 1;
        if asked < 3 { Ok(()) } else { refuse() }
    };
    let ended = store.cache_mount(&wanted("a"), Sharing::Locked, None, &mut wait);
    assert!(ended.is_err());
    assert_eq!(asked, 3);
}

#[test]
fn a_directory_that_is_gone_is_made_anew() {
    let (_folder, store) = store();
    let held = take(&store, "a", Sharing::Shared);
    let (id, path) = (*held.id(), held.path());
    drop(held);
    std::fs::remove_dir_all(path).unwrap();
    assert_ne!(*take(&store, "a", Sharing::Locked).id(), id);
}
