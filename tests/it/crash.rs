//! `kill -9` in the middle of builds: what was told to a client is whole, what was not is not there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon};

const KILLS: u32 = 20;
/// How long a daemon may take to clear away what the one before left.
const SWEEP: Duration = Duration::from_secs(60);

/// All images by name, with their IDs.
fn images(daemon: &Daemon) -> BTreeMap<String, String> {
    let listed = daemon
        .mica([
            "images",
            "-a",
            "--no-trunc",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.ID}}",
        ])
        .ok();
    listed
        .stdout
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(n, id)| (n.to_owned(), id.to_owned()))
        .collect()
}

#[test]
fn twenty_kills_lose_nothing_and_leave_nothing_half_made() {
    let mut daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base\nARG N\nRUN i=0; while [ $i -lt 40 ]; do echo $N $i > /f$i; i=$((i+1)); done\nCOPY . /ctx/\nRUN cat /f* > /all\nWORKDIR /w\n",
    )
    .file("data/a", &"x".repeat(300_000));
    let started = Instant::now();
    daemon
        .mica(["build", "-t", "kept:0", "--build-arg", "N=0", context.arg()])
        .ok();
    let length = started.elapsed();
    let mut told: BTreeMap<String, String> = images(&daemon);
    let mut cut = 0;
    for n in 1..=KILLS {
        let tag = format!("kept:{n}");
        let build = format!("N={n}");
        let mut client = daemon.command(["build", "-q", "-t", &tag, "--build-arg", &build, context.arg()]);
        let client = client
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // spread over the whole length of a build and a little beyond: the first one also made the base
        std::thread::sleep(length.mul_f64(f64::from(n * 7919 % KILLS) / f64::from(KILLS) * 0.9));
        daemon.kill();
        let output = client.wait_with_output().unwrap();
        if output.status.success() {
            told.insert(tag, String::from_utf8_lossy(&output.stdout).trim().to_owned());
        } else {
            cut += 1;
        }
        daemon.spawn();
        let listed = images(&daemon);
        for (name, id) in &told {
            assert_eq!(listed.get(name), Some(id), "after kill {n}");
        }
        for (name, id) in &listed {
            // an image may have been committed without its client hearing of it; then it is whole too
            let archive = daemon.folder().join("whole.tar");
            daemon.mica(["save", "-o", archive.to_str().unwrap(), id]).ok();
            assert!(name.starts_with("kept:"), "{name} is listed");
            fs_err::remove_file(archive).unwrap();
        }
        for folder in ["ingest", "work", "trash"] {
            let folder = daemon.root().join("mica").join(folder);
            // rubbish is taken away while the daemon serves already
            let began = Instant::now();
            while let left @ 1.. = fs_err::read_dir(&folder).unwrap().count() {
                let path = folder.display();
                assert!(began.elapsed() < SWEEP, "{left} in {path} after kill {n}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    println!(
        "{KILLS} kills, {cut} builds cut short, {} images told of, none lost",
        told.len()
    );
    assert!(
        cut > 0,
        "no build was cut short: the kills come too late to show anything"
    );
}
