//! What is kept on a small disk, what is told of it, and what is left when all is removed.

use std::path::Path;
use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon, Options, SmallDisk, run};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// How long the daemon may take to tidy up behind itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that all below takes, as `du` counts them. It says so, and counts on, where something is unlinked that it was about to look at.
fn du(place: &Path) -> u64 {
    let ran = run(std::process::Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(place));
    ran.stdout.split_whitespace().next().unwrap().parse().unwrap()
}

/// What the daemon tells of its disk.
fn told(daemon: &Daemon) -> Value {
    daemon.get("/system/df?on-disk=1").json()["OnDisk"].clone()
}

/// Waits until what is told is what `du` sees, to the hundredth; what is moved out of sight may still be unlinked.
#[track_caller]
fn agrees(daemon: &Daemon) -> (Value, u64) {
    let started = Instant::now();
    loop {
        let (told, seen) = (told(daemon), du(&daemon.root()));
        let total = told["Total"].as_u64().unwrap();
        if total.abs_diff(seen) * 100 <= seen {
            return (told, seen);
        }
        assert!(started.elapsed() < PATIENCE, "{told} is not {seen}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn df_is_what_du_sees_and_little_is_left_of_nothing() {
    let Some(disk) = SmallDisk::make(256, "df on a small disk") else {
        return;
    };
    let daemon = Daemon::with(Options::default().root(&disk.path().join("store")));
    agrees(&daemon);
    let context = Context::with_shell(
        "FROM base AS one\nRUN dd if=/dev/urandom of=/big bs=1M count=12\nRUN mkdir /many && cd /many && \
         for n in $(seq 700); do echo $n > $n; ln $n l$n; done\nCOPY Dockerfile /here\n\
         FROM base\nRUN --mount=type=cache,target=/c dd if=/dev/urandom of=/c/kept bs=1M count=3\n\
         COPY --from=one /many /many\nCOPY --from=one /big /big\n",
    );
    daemon.mica(["build", "-t", "two", context.arg()]).ok();
    daemon
        .mica(["build", "-t", "one", "--target", "one", context.arg()])
        .ok();
    let archive = daemon.folder().join("two.tar");
    let archive = archive.to_str().unwrap();
    daemon.mica(["save", "-o", archive, "two"]).ok();
    daemon.mica(["rmi", "two"]).ok();
    step(&daemon, "alone", 4);
    let (told, seen) = agrees(&daemon);
    println!("{told} is what {seen} are");
    for part in ["Images", "BuildCache", "CacheMounts"] {
        assert!(told[part].as_u64().unwrap() > 3 * MIB, "{told}");
    }
    daemon.mica(["load", "-i", archive]).ok();
    agrees(&daemon);
    // what a RUN left that failed is kept for a while, and counts
    let failing = Context::with_shell("FROM base\nRUN dd if=/dev/urandom of=/left bs=1M count=4 && false\n");
    assert_ne!(daemon.mica(["build", failing.arg()]).code, 0);
    let (told, _) = agrees(&daemon);
    assert!(told["Unfinished"].as_u64().unwrap() > 4 * MIB, "{told}");
    let text = daemon.mica(["system", "df", "-v"]).ok().stdout;
    assert!(text.contains("\nOn disk: "), "{text}");
    // docker's own clients see what docker tells
    let plain = daemon.get("/system/df").json();
    assert!(plain.get("OnDisk").is_none(), "{plain}");
    let told = daemon.mica(["system", "prune", "-a", "-f"]).ok().stdout;
    println!("{}", told.lines().last().unwrap_or_default());
    let (told, left) = agrees(&daemon);
    println!("{left} bytes are left: {told}");
    assert!(left < MIB, "{left} bytes are left: {told}");
    // one run is enough
    let again = daemon.mica(["system", "prune", "-a", "-f"]).ok().stdout;
    assert!(again.contains("Total reclaimed space: 0B"), "{again}");
    daemon.mica(["build", "-t", "two", context.arg()]).ok();
    agrees(&daemon);
}

/// Builds a step of so many MiB that no image keeps.
fn step(daemon: &Daemon, name: &str, mib: u32) {
    let context = Context::with_shell(&format!(
        "FROM base\nRUN : {name} && dd if=/dev/urandom of=/big bs=1M count={mib} 2>/dev/null\n"
    ));
    daemon.mica(["build", "-t", "gone", context.arg()]).ok();
    daemon.mica(["rmi", "gone"]).ok();
}

/// The steps that are in the cache.
fn steps(daemon: &Daemon) -> String {
    daemon
        .mica([
            "system",
            "df",
            "-v",
            "--format",
            "{{range .BuildCache}}{{.Description}}\n{{end}}",
        ])
        .ok()
        .stdout
}

#[test]
fn what_a_failed_step_left_goes_before_the_cache() {
    const FLOOR: u64 = 48 * MIB;
    let Some(disk) = SmallDisk::make(160, "a failed step on a small disk") else {
        return;
    };
    let settings = format!(
        r#"{{"builder": {{"gc": {{"defaultReservedSpace": "1MB", "defaultMinFreeSpace": "{FLOOR}"}}}}}}"#
    );
    let options = Options::default()
        .root(&disk.path().join("store"))
        .settings(&settings);
    let daemon = Daemon::with(options);
    step(&daemon, "kept", 16);
    let failing = Context::with_shell("FROM base\nRUN dd if=/dev/urandom of=/big bs=1M count=16; false\n");
    let nothing = Context::with_shell("FROM base\n");
    let kept = daemon.root().join("mica/work");
    // soon after the first time too
    for _ in 0..2 {
        let failed = daemon.mica(["build", "--progress=plain", failing.arg()]);
        assert!(failed.stderr.contains("mica debug"), "{}", failed.stderr);
        // with room enough it stays
        assert_eq!(fs_err::read_dir(&kept).unwrap().count(), 1);
        disk.take(disk.free() - (FLOOR - 8 * MIB));
        // a look at the disk is taken when work begins
        daemon.mica(["build", nothing.arg()]).ok();
        let started = Instant::now();
        while disk.free() < FLOOR {
            assert!(started.elapsed() < PATIENCE, "{} bytes are free", disk.free());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(fs_err::read_dir(&kept).unwrap().count(), 0);
        assert!(steps(&daemon).contains(": kept"), "{}", steps(&daemon));
        disk.empty();
    }
    agrees(&daemon);
}

#[test]
fn builds_go_on_and_the_disk_never_fills_up() {
    const FLOOR: u64 = 48 * MIB;
    let Some(disk) = SmallDisk::make(160, "a budget on a small disk") else {
        return;
    };
    let settings = format!(
        r#"{{"builder": {{"gc": {{"defaultReservedSpace": "1MB", "defaultMinFreeSpace": "{FLOOR}"}}}}}}"#
    );
    let options = Options::default()
        .root(&disk.path().join("store"))
        .settings(settings);
    let mut daemon = Daemon::with(options);
    let context = Context::with_shell("FROM base\nRUN dd if=/dev/urandom of=/kept bs=1M count=8\n");
    daemon.mica(["build", "-t", "kept", context.arg()]).ok();
    // far more than the disk has room for, as fast as it goes
    const BUILDS: u32 = 30;
    for n in 0..BUILDS {
        step(&daemon, &format!("step{n}."), 8);
        if n == BUILDS / 2 {
            // what was being tidied up goes on with the next one
            daemon.kill();
            daemon.spawn();
        }
    }
    let started = Instant::now();
    while disk.free() < FLOOR {
        assert!(
            started.elapsed() < PATIENCE,
            "only {} bytes are free",
            disk.free()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{} bytes are free after {BUILDS} builds of 8 MiB", disk.free());
    let left = steps(&daemon);
    assert!(!left.contains(": step0."), "{left}");
    assert!(left.contains(&format!(": step{}.", BUILDS - 1)), "{left}");
    // the image was never touched, nor what it was made of
    let again = daemon.mica(["build", "-t", "kept", context.arg()]).ok();
    let hits = again.stderr.matches("Using cache").count();
    assert!(hits >= 1, "{}", again.stderr);
    daemon.mica(["save", "-o", "/dev/null", "kept"]).ok();
    agrees(&daemon);
    // it is told of in all the ways there are
    let log = fs_err::read_to_string(daemon.log()).unwrap();
    assert!(
        log.contains("the build cache was kept within its budget"),
        "{log}"
    );
    let counts = daemon.get("/mica/metrics").text();
    let runs = counts
        .lines()
        .find_map(|line| line.strip_prefix("mica_gc_runs_total "));
    assert!(runs.unwrap().parse::<f64>().unwrap() >= 1.0, "{counts}");
    assert!(
        counts.contains(&format!("mica_gc_budget_bytes{{kind=\"min-free\"}} {FLOOR}")),
        "{counts}"
    );
    let events = daemon
        .mica([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "type=builder",
        ])
        .ok();
    assert!(events.stdout.contains("prune"), "{}", events.stdout);
}
