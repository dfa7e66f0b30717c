//! Those who listen to `/events`: many at once, some who never read, and what ends their streams.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use mica_tests::{Daemon, Heard, Listener, binary};

use crate::events::{LATER, brief, build, listeners, tag, wait_until};

/// How many descriptors the daemon has, those of its database aside, of which it keeps some.
fn descriptors(daemon: &Daemon) -> usize {
    let entries = fs_err::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    entries
        // one may be closed while it is looked at
        .filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok())
        .filter(|link| !link.to_string_lossy().contains("db.sqlite"))
        .count()
}

#[test]
fn fifty_listeners_hear_everything_and_leave_nothing() {
    const LISTENERS: usize = 50;
    const TAGS: usize = 300;
    let daemon = Daemon::start();
    build(&daemon, "x", "one");
    tag(&daemon, "x", "before");
    let before = descriptors(&daemon);
    let listening: Vec<Listener> = (0..LISTENERS)
        .map(|_| Listener::open(&daemon, "/events"))
        .collect();
    assert_eq!(listeners(&daemon), LISTENERS as u64);
    let told = std::thread::scope(|scope| {
        let reading: Vec<_> = listening
            .into_iter()
            .map(|mut listener| {
                scope.spawn(move || {
                    let names = (0..TAGS).map(|_| brief(&listener.event())[3].clone());
                    names.collect::<Vec<_>>()
                })
            })
            .collect();
        for number in 0..TAGS {
            tag(&daemon, "x", &format!("many:{}", number % 10));
        }
        reading
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    let expected: Vec<String> = (0..TAGS).map(|number| format!("many:{}", number % 10)).collect();
    assert!(told.iter().all(|names| *names == expected));
    wait_until("all are gone", || listeners(&daemon) == 0);
    wait_until("their descriptors are closed", || descriptors(&daemon) <= before);
}

fn memory(daemon: &Daemon) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_listener_that_never_reads_holds_nobody_up_and_is_cut_off() {
    // more than the feed keeps, and far more bytes than sockets hold
    const TAGS: usize = 1300;
    let daemon = Daemon::start();
    build(&daemon, "x", &"long".repeat(4000));
    let fill = || {
        for _ in 0..TAGS {
            tag(&daemon, "x", "many");
        }
    };
    let begun = Instant::now();
    fill();
    let (alone, full) = (begun.elapsed(), memory(&daemon));
    let mut stuck: Vec<Listener> = (0..10).map(|_| Listener::open(&daemon, "/events")).collect();
    let mut reader = Listener::open(&daemon, "/events");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            for _ in 0..TAGS {
                assert_eq!(brief(&reader.event())[3], "many:latest");
            }
        });
        fill();
        reading.join().unwrap();
    });
    let (beside, after) = (begun.elapsed(), memory(&daemon));
    println!("{TAGS} tags alone {alone:?}, beside listeners {beside:?}; {full} MiB, then {after} MiB");
    assert!(
        beside < alone * 10 + Duration::from_secs(30),
        "{alone:?} alone, {beside:?} beside them"
    );
    assert!(
        after < full + 16,
        "{full} MiB with a full feed, {after} MiB with listeners"
    );
    // the daemon sees in its own time that the one who read is gone
    wait_until("the stuck ones are left", || listeners(&daemon) == 10);
    for listener in &mut stuck {
        let mut told = 0;
        while let Heard::Event(_) = listener.hear() {
            told += 1;
        }
        assert!(told > 0 && told < TAGS, "{told}");
        assert_eq!(listener.hear(), Heard::Broken);
    }
    wait_until("they are gone", || listeners(&daemon) == 0);
}

#[test]
fn a_listener_that_never_reads_does_not_keep_the_daemon_from_leaving() {
    let mut daemon = Daemon::start();
    build(&daemon, "x", &"long".repeat(4000));
    let mut stuck = Listener::open(&daemon, "/events");
    for _ in 0..200 {
        tag(&daemon, "x", "many");
    }
    let begun = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    while let Heard::Event(_) = stuck.hear() {}
    assert_eq!(stuck.hear(), Heard::Broken, "it did not hear everything");
}

#[test]
fn there_is_room_for_others_beside_those_who_listen() {
    let daemon = Daemon::start();
    let listening: Vec<Listener> = (0..512).map(|_| Listener::open(&daemon, "/events")).collect();
    let refused = Listener::open(&daemon, "/events");
    assert!(refused.head.starts_with("HTTP/1.1 503"), "{}", refused.head);
    assert_eq!(listeners(&daemon), 512);
    drop(listening);
    wait_until("they are gone", || listeners(&daemon) == 0);
    Listener::open(&daemon, "/events");
}

#[test]
fn the_end_of_the_daemon_is_the_end_of_the_streams() {
    let mut daemon = Daemon::start();
    build(&daemon, "x", "one");
    let mut quiet = Listener::open(&daemon, "/events");
    let mut past = Listener::open(&daemon, "/events?since=0");
    let begun = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(quiet.hear(), Heard::End);
    assert_eq!(brief(&past.event())[1], "create");
    assert_eq!(brief(&past.event())[1], "tag");
    assert_eq!(past.hear(), Heard::End);
}

#[test]
fn a_listener_does_not_keep_an_idle_daemon_running() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mica.sock");
    let mut daemon = Command::new(binary("micad"))
        .arg("--host")
        .arg(format!("unix://{}", socket.display()))
        .arg("--data-root")
        .arg(folder.path().join("store"))
        .args(["--idle-timeout", "1"])
        .spawn()
        .unwrap();
    wait_until("the daemon listens", || UnixStream::connect(&socket).is_ok());
    let mut listener = Listener::on(&socket, "/events");
    assert_eq!(listener.hear(), Heard::End);
    let begun = Instant::now();
    while daemon.try_wait().unwrap().is_none() {
        if begun.elapsed() > LATER {
            daemon.kill().unwrap();
            panic!("the daemon does not leave");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
