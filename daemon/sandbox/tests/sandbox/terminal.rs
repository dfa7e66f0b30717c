//! A process on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use mica_sandbox::{Error, run_on};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Test;
use crate::room::{HELPER, Room};

pub(crate) const TESTS: &[Test] = &[
    (
        "terminal::the_process_is_on_it_and_controls_it",
        the_process_is_on_it_and_controls_it,
    ),
    (
        "terminal::interrupts_from_it_reach_the_process",
        interrupts_from_it_reach_the_process,
    ),
    (
        "terminal::a_process_on_it_is_stopped_like_any_other",
        a_process_on_it_is_stopped_like_any_other,
    ),
];

/// Both sides of a new pseudo-terminal.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = openat(
        CWD,
        name,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    (master.into(), slave)
}

/// All that is written to it until nobody has its other side.
fn read_all(mut master: File) -> String {
    let mut text = Vec::new();
    // the end of the last slave is an error (EIO)
    let _ = master.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

fn the_process_is_on_it_and_controls_it() {
    let room =
        Room::script("test -t 0 && test -t 1 && test -t 2; stty size; read word; echo got $word; exit 5");
    let (mut master, slave) = terminal();
    let size = Winsize {
        ws_row: 33,
        ws_col: 44,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    master.write_all(b"hello\n").unwrap();
    let outcome = run_on(&room.spec, HELPER.as_ref(), slave, &|| false).unwrap();
    let text = read_all(master);
    assert_eq!(outcome.exit.code(), 5, "{text}");
    assert!(
        text.contains("33 44\r\n") && text.contains("got hello\r\n"),
        "{text}"
    );
}

fn interrupts_from_it_reach_the_process() {
    let room = Room::script("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done");
    let (mut master, slave) = terminal();
    let typist = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buffer = [0; 256];
        while !seen.windows(5).any(|part| part == b"ready") {
            let count = master.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        master.write_all(&[3]).unwrap();
        read_all(master)
    });
    let outcome = run_on(&room.spec, HELPER.as_ref(), slave, &|| false).unwrap();
    assert_eq!(outcome.exit.code(), 9);
    assert!(typist.join().unwrap().contains("caught"));
}

fn a_process_on_it_is_stopped_like_any_other() {
    let room = Room::script("sleep 1000");
    let (_master, slave) = terminal();
    let begun = std::time::Instant::now();
    let cancel = || begun.elapsed().as_millis() > 300;
    let error = run_on(&room.spec, HELPER.as_ref(), slave, &cancel).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(begun.elapsed().as_secs() < 30);
}
