//! A layer of very many files: pulled, read in place, unpacked for a RUN and counted there, in bounded memory.

use std::time::Instant;

use mica_tests::{Context, Daemon, FakeRegistry};

use crate::beasts::{Beast, swarm};
use crate::{publish, settled};

/// The most memory the daemon may take, in MiB: by itself, and for a thousand files of a layer.
const MEMORY: (u64, u64) = (128, 1);

/// How many files there are unless `MICA_ZOO_FILES` says otherwise: a million take a debug build a quarter of an hour.
const FILES: u32 = 20_000;

#[test]
fn very_many_files() {
    let asked = std::env::var("MICA_ZOO_FILES");
    files(asked.map_or(FILES, |count| count.parse().unwrap()));
}

fn files(count: u32) {
    let registry = FakeRegistry::start();
    let daemon = Daemon::start();
    let (bytes, diff) = swarm(count);
    println!("{count} files in {} KiB", bytes.len() >> 10);
    let beast = Beast {
        name: "files",
        bytes,
        diff,
    };
    let image = publish(&beast, &registry);
    let timed = |what: &str, arguments: &[&str]| {
        let (began, worked) = (Instant::now(), work(&daemon));
        let ran = daemon.mica(arguments).ok();
        println!(
            "{what}: {:.1} s, the daemon worked for {:.1} s and had at most {} MiB",
            began.elapsed().as_secs_f64(),
            work(&daemon) - worked,
            daemon.peak_memory()
        );
        ran
    };
    timed("pull", &["pull", "-q", &image]);
    let copying = Context::new(&format!("FROM scratch\nCOPY --from={image} / /copy/\n"));
    timed("COPY --from", &["build", "-q", "-t", "copied", copying.arg()]);
    let running = Context::with_shell(&format!(
        "FROM {image}\nCOPY --from=base / /\nRUN find /s[0-9]* -type f | wc -l | grep -x {count}\n"
    ));
    timed("RUN", &["build", "-q", "-t", "ran", running.arg()]);
    let peak = daemon.peak_memory();
    assert!(peak < MEMORY.0 + MEMORY.1 * u64::from(count) / 1000, "{peak} MiB");
    timed("rmi", &["rmi", "-f", "copied", "ran", &image]);
    timed("image prune", &["image", "prune", "-af"]);
    timed("builder prune", &["builder", "prune", "-af"]);
    let began = Instant::now();
    let left = settled(&daemon.root());
    println!(
        "{left} bytes are left after {:.1} s more",
        began.elapsed().as_secs_f64()
    );
    assert!(left < crate::LEFT, "{left} bytes are left in the store");
}

/// How long the daemon has been at work on processors, in seconds (proc(5), `stat`).
fn work(daemon: &Daemon) -> f64 {
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // the name before them may have blanks
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
