//! Nothing outlives a run, however it ends; many runs at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mica_sandbox::{Error, run};
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::room::{HELPER, Room};

pub(crate) const TESTS: &[Test] = &[
    ("lifetime::children_end_with_pid_one", children_end_with_pid_one),
    ("lifetime::cancel_kills_the_tree", cancel_kills_the_tree),
    ("lifetime::cancel_before_the_start", cancel_before_the_start),
    (
        "lifetime::death_of_the_daemon_kills_the_tree",
        death_of_the_daemon_kills_the_tree,
    ),
    (
        "lifetime::death_of_the_helper_kills_the_tree",
        death_of_the_helper_kills_the_tree,
    ),
    (
        "lifetime::death_of_the_helper_kills_setuid_programs",
        death_of_the_helper_kills_setuid_programs,
    ),
    ("lifetime::output_given_away", output_given_away),
    ("lifetime::ten_at_once", ten_at_once),
    ("lifetime::the_host_keeps_its_mounts", the_host_keeps_its_mounts),
];

/// The argument that makes this program a daemon that runs [`FAMILY`] and does not stop.
pub(crate) const DAEMON_ARGUMENT: &str = "sandbox-test-daemon";

/// The longest a tree may be seen after its end was asked for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Starts processes of an own session that nobody waits for, all with `mark` in their arguments.
fn family(mark: &str) -> String {
    format!(
        "(setsid sh -c 'sleep 1000; : {mark}' &) ; (setsid sh -c 'trap \"\" TERM INT HUP; sleep 1001; : {mark}' &); echo up; sleep 1002; : {mark}"
    )
}

/// The processes of this host that have the mark in their arguments.
pub(crate) fn marked(mark: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes
        .filter(|pid: &i32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).into_owned();
            arguments.contains(mark) && !arguments.contains(DAEMON_ARGUMENT)
        })
        .collect()
}

/// Waits until a condition holds; how long it took.
pub(crate) fn wait_for(what: &str, limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

fn children_end_with_pid_one() {
    let room = Room::script("(setsid sh -c 'sleep 1000; : mark-orphan' &); sleep 0.1; exit 3");
    let start = Instant::now();
    assert_eq!(room.run().outcome.exit.code(), 3);
    assert!(start.elapsed() < SOON);
    assert_eq!(marked("mark-orphan"), [0; 0]);
}

fn cancel_kills_the_tree() {
    let room = Room::script(&family("mark-cancel"));
    let cancelled = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let cancel = || cancelled.load(Ordering::Relaxed);
            let result = run(&room.spec, HELPER.as_ref(), &mut |_, _| {}, &cancel);
            // Once the call is back nothing may be left, with no waiting.
            (result, marked("mark-cancel"))
        });
        wait_for("the family is up", Duration::from_secs(10), || {
            marked("mark-cancel").len() >= 3
        });
        let asked = Instant::now();
        cancelled.store(true, Ordering::Relaxed);
        let (result, left) = runner.join().unwrap();
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert_eq!(left, [0; 0]);
        asked
    });
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
}

fn cancel_before_the_start() {
    let room = Room::script("echo ran > /ran");
    let result = run(&room.spec, HELPER.as_ref(), &mut |_, _| {}, &|| true);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(room.changes(), [""; 0]);
}

/// What the program does when it is the daemon of a test: argument 2 is the mark.
pub(crate) fn be_daemon(mark: &str) {
    let mut room = Room::script(&family(mark));
    room.spec.processes = Some(1000);
    room.run();
}

pub(crate) fn daemon(mark: &str) -> std::process::Child {
    let daemon = Command::new("/proc/self/exe")
        .args([DAEMON_ARGUMENT, mark])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the family is up", Duration::from_secs(10), || {
        marked(mark).len() >= 3
    });
    daemon
}

fn death_of_the_daemon_kills_the_tree() {
    let mut daemon = daemon("mark-daemon");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    wait_for("the tree is gone", SOON, || marked("mark-daemon").is_empty());
}

fn death_of_the_helper_kills_the_tree() {
    let room = Room::script(&family("mark-helper"));
    thread::scope(|scope| {
        let runner = scope.spawn(|| run(&room.spec, HELPER.as_ref(), &mut |_, _| {}, &|| false));
        wait_for("the family is up", Duration::from_secs(10), || {
            marked("mark-helper").len() >= 3
        });
        let helper = helper_of(&marked("mark-helper"));
        let name = fs::read_to_string(format!("/proc/{helper}/comm")).unwrap();
        assert_eq!(name, "mica-sandbox\n");
        kill_process(Pid::from_raw(helper).unwrap(), Signal::KILL).unwrap();
        let result = runner.join().unwrap();
        assert!(matches!(result, Err(Error::HelperDied { .. })), "{result:?}");
    });
    wait_for("the tree is gone", SOON, || marked("mark-helper").is_empty());
}

/// The kernel does not kill a setuid pid 1 when the helper dies; the daemon has to.
fn death_of_the_helper_kills_setuid_programs() {
    let mut room = Room::new();
    room.layer("layer", |layer| {
        fs::create_dir_all(layer.join("etc")).unwrap();
        fs::write(
            layer.join("etc/passwd"),
            "root::0:0:root:/root:/bin/sh\nann:x:1000:1001::/:/bin/sh\n",
        )
        .unwrap();
        fs::copy("/bin/busybox", layer.join("su")).unwrap();
        fs::set_permissions(layer.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    room.spec.user = "ann".to_owned();
    room.spec.argv = ["/su", "-c", &family("mark-setuid"), "root"]
        .map(str::to_owned)
        .to_vec();
    thread::scope(|scope| {
        let runner = scope.spawn(|| run(&room.spec, HELPER.as_ref(), &mut |_, _| {}, &|| false));
        wait_for("the family is up", Duration::from_secs(10), || {
            marked("mark-setuid").len() >= 3
        });
        kill_process(
            Pid::from_raw(helper_of(&marked("mark-setuid"))).unwrap(),
            Signal::KILL,
        )
        .unwrap();
        let result = runner.join().unwrap();
        assert!(matches!(result, Err(Error::HelperDied { .. })), "{result:?}");
        assert_eq!(marked("mark-setuid"), [0; 0]);
    });
}

/// Somebody outside who has got hold of the process' output does not hold the run up.
fn output_given_away() {
    let room = Room::script("echo first; sleep 3; echo last; : mark-given");
    let (mut held, mut seen) = (None, String::new());
    let mut output = |_, bytes: &[u8]| {
        seen.push_str(std::str::from_utf8(bytes).unwrap());
        held.get_or_insert_with(|| {
            let pid = marked("mark-given")[0];
            fs::File::options()
                .write(true)
                .open(format!("/proc/{pid}/fd/1"))
                .unwrap()
        });
    };
    let start = Instant::now();
    let outcome = run(&room.spec, HELPER.as_ref(), &mut output, &|| {
        start.elapsed() > SOON
    });
    assert_eq!(
        (outcome.unwrap().exit.code(), seen.as_str()),
        (0, "first\nlast\n")
    );
    assert!(start.elapsed() < SOON && held.is_some());
}

/// The parent of pid 1: the only process whose child is in another pid namespace.
pub(crate) fn helper_of(family: &[i32]) -> i32 {
    let parent = |pid: i32| -> i32 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:\t"))
            .unwrap()
            .parse()
            .unwrap()
    };
    let parents = family.iter().map(|pid| parent(*pid));
    let arguments = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    parents
        .into_iter()
        .find(|pid| arguments(*pid).contains(mica_sandbox::HELPER_ARGUMENT))
        .unwrap()
}

fn ten_at_once() {
    thread::scope(|scope| {
        let runs: Vec<_> = (0..10)
            .map(|number| {
                scope.spawn(move || {
                    for round in 0..5 {
                        let room = Room::script(&format!(
                            "echo {number}.{round} > /made; cat /made; exit {number}"
                        ));
                        let ran = room.run();
                        assert_eq!(
                            (ran.outcome.exit.code(), ran.stdout),
                            (number, format!("{number}.{round}\n"))
                        );
                        assert_eq!(room.changes(), ["made"]);
                    }
                })
            })
            .collect();
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
}

fn the_host_keeps_its_mounts() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut room = Room::script("grep -c . /proc/self/mountinfo > /dev/null");
    room.spec.hosts = Some(room.file("hosts", ""));
    room.run();
    room.fresh(1);
    room.spec.lowers.push(Path::new("/no/such/layer").to_owned());
    room.try_run().unwrap_err();
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    let own = fs::read_dir("/proc/self/fd").unwrap().count();
    Room::new().run();
    assert_eq!(
        fs::read_dir("/proc/self/fd").unwrap().count(),
        own,
        "descriptors are left open"
    );
}
