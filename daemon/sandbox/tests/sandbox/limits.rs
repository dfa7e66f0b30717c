//! Limits of memory, processes and processors, and the control groups that they are set in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mica_sandbox::{Error, Exit, Limits, run, sweep_groups};
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::lifetime::{SOON, daemon, helper_of, marked, wait_for};
use crate::room::{HELPER, Room};

pub(crate) const TESTS: &[Test] = &[
    ("limits::memory", memory),
    ("limits::memory_of_a_child", memory_of_a_child),
    ("limits::processes", processes),
    ("limits::processors", processors),
    ("limits::parents", parents),
    ("limits::what_cannot_be_is_said", what_cannot_be_is_said),
    ("limits::groups_end_with_the_run", groups_end_with_the_run),
    ("limits::groups_end_with_the_daemon", groups_end_with_the_daemon),
    ("limits::groups_left_behind", groups_left_behind),
];

const MIB: u64 = 1 << 20;

/// All groups of runs of a process of this host.
fn groups(daemon: u32) -> Vec<PathBuf> {
    let prefix = format!("mica-run-{daemon}-");
    let mut found = Vec::new();
    let mut ahead = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    found.push(entry.path());
                } else {
                    ahead.push(entry.path());
                }
            }
        }
    }
    found
}

fn limited(script: &str, memory: u64) -> Room {
    let mut room = Room::script(script);
    room.spec.limits = Limits {
        memory: Some(memory),
        memory_and_swap: Some(memory),
        ..Limits::default()
    };
    room
}

fn memory() {
    const BOMB: &str = "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null";
    let ran = limited(BOMB, 32 * MIB).run();
    assert_eq!(ran.outcome.exit, Exit::Signal(9), "{ran:?}");
    assert!(ran.outcome.out_of_memory, "{ran:?}");
    let ran = limited(BOMB, 400 * MIB).run();
    assert_eq!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
    assert!(!ran.outcome.out_of_memory, "{ran:?}");
    // what is killed for another reason did not run out of memory
    let ran = limited("sh -c 'kill -9 $$' || exit 137", 32 * MIB).run();
    assert_eq!(ran.outcome.exit, Exit::Code(137), "{ran:?}");
    assert!(!ran.outcome.out_of_memory, "{ran:?}");
    // files in memory count as well, however large they may grow
    let ran = limited(
        "dd if=/dev/zero of=/dev/shm/a bs=1M count=60 2>/dev/null",
        32 * MIB,
    )
    .run();
    assert!(
        ran.outcome.out_of_memory && ran.outcome.exit.code() == 137,
        "{ran:?}"
    );
}

fn memory_of_a_child() {
    let ran = limited(
        "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null || exit 3",
        32 * MIB,
    )
    .run();
    assert_eq!(ran.outcome.exit, Exit::Code(3), "{ran:?}");
    assert!(ran.outcome.out_of_memory, "{ran:?}");
}

/// A fork bomb, with the fuse on.
fn processes() {
    let mut room = Room::script("b() { b | b & }; b 2>/dev/null; sleep 1; echo over");
    room.spec.processes = Some(40);
    let ran = room.run();
    assert!(
        ran.stdout == "over\n" || ran.stderr.contains("can't fork"),
        "{ran:?}"
    );
    let mut room = Room::script("for i in $(seq 60); do sleep 5 & done");
    room.spec.processes = Some(40);
    let ran = room.run();
    assert!(
        ran.stderr
            .contains("can't fork: Resource temporarily unavailable"),
        "{ran:?}"
    );
    room.fresh(1);
    room.spec.processes = Some(400);
    assert_eq!(room.stdout(), "");
}

/// What the process sees of its limits, under the names of either version.
fn processors() {
    let mut room = Room::script(
        "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpuset/cpuset.cpus \
         cpuset/cpuset.mems cpu.weight cpu.max cpuset.cpus cpuset.mems 2>/dev/null; grep Cpus_allowed_list /proc/self/status",
    );
    room.spec.limits = Limits {
        cpu_shares: Some(512),
        cpu_period: Some(50_000),
        cpu_quota: Some(25_000),
        cpuset_cpus: Some("0".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        ..Limits::default()
    };
    room.spec.argv[1] = "-c".to_owned();
    let stdout = room.stdout();
    assert!(
        [
            "512\n50000\n25000\n0\n0\nCpus_allowed_list:\t0\n",
            "20\n25000 50000\n0\n0\nCpus_allowed_list:\t0\n",
        ]
        .contains(&stdout.as_str()),
        "{stdout}"
    );
}

fn parents() {
    let name = format!("mica-test-{}", std::process::id());
    let mut room = limited("cat /proc/self/cgroup; sleep 1002; : mark-parents", 32 * MIB);
    room.spec.limits.parent = Some(format!("/{name}/inner"));
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let cancel = || over.load(Ordering::Relaxed);
            run(&room.spec, HELPER.as_ref(), &mut |_, _| {}, &cancel)
        });
        wait_for("it is up", Duration::from_secs(10), || {
            !marked("mark-parents").is_empty()
        });
        let seen = fs::read_to_string(format!("/proc/{}/cgroup", marked("mark-parents")[0])).unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(matches!(runner.join().unwrap(), Err(Error::Cancelled)));
        seen
    });
    // in every hierarchy
    let inside = |line: &str| line.contains(&format!("/{name}/inner/mica-run-"));
    assert!(!seen.is_empty() && seen.lines().all(inside), "{seen}");
    for group in parents_called(&name) {
        fs::remove_dir(group.join("inner")).unwrap();
        fs::remove_dir(group).unwrap();
    }
}

fn parents_called(name: &str) -> Vec<PathBuf> {
    let below = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let all = below.map(|entry| entry.path().join(name));
    all.chain([Path::new("/sys/fs/cgroup").join(name)])
        .filter(|path| path.is_dir())
        .collect()
}

fn what_cannot_be_is_said() {
    let mut room = Room::new();
    room.spec.limits.cpuset_cpus = Some("4096".to_owned());
    let error = room.try_run().unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot limit the processors: /sys/fs/cgroup/"),
        "{text}"
    );
    assert!(text.contains("build without limits"), "{text}");
    room.spec.limits = Limits {
        parent: Some("a/../..".to_owned()),
        ..Limits::default()
    };
    assert!(matches!(room.try_run(), Err(Error::Spec { field: "limits", .. })));
    assert_eq!(groups(std::process::id()), [""; 0].map(PathBuf::from));
}

fn groups_end_with_the_run() {
    let mut room = limited("(setsid sleep 1000 &); exit 4", 64 * MIB);
    room.spec.processes = Some(100);
    assert_eq!(room.run().outcome.exit.code(), 4);
    assert_eq!(groups(std::process::id()), [""; 0].map(PathBuf::from));
}

fn groups_end_with_the_daemon() {
    let mut daemon = daemon("mark-group");
    let pid = daemon.id();
    assert!(!groups(pid).is_empty());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    wait_for("the group is gone", SOON, || groups(pid).is_empty());
}

fn groups_left_behind() {
    let mut first = daemon("mark-left");
    let pid = first.id();
    // that of a daemon that runs is nobody else's business
    sweep_groups();
    assert!(!groups(pid).is_empty());
    let helper = helper_of(&marked("mark-left"));
    kill_process(Pid::from_raw(helper).unwrap(), Signal::STOP).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    kill_process(Pid::from_raw(helper).unwrap(), Signal::KILL).unwrap();
    wait_for("the tree is gone", SOON, || marked("mark-left").is_empty());
    assert!(!groups(pid).is_empty());
    wait_for("it is swept", SOON, || {
        sweep_groups();
        groups(pid).is_empty()
    });
}
