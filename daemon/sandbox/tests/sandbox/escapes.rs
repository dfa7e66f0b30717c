//! Known ways out of sandboxes, each tried from inside one, with arguments that do no harm where it works.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use mica_sandbox::{MountSpec, Network, Security};

use crate::Test;
use crate::room::Room;

pub(crate) const TESTS: &[Test] = &[
    ("escapes::known_ways_are_closed", known_ways_are_closed),
    ("escapes::others_have_no_more", others_have_no_more),
    ("escapes::mounts_are_these", mounts_are_these),
    ("escapes::abstract_sockets", abstract_sockets),
    ("escapes::processes_of_the_host", processes_of_the_host),
    ("escapes::groups_of_the_host", groups_of_the_host),
    (
        "escapes::setuid_programs_in_inert_mounts",
        setuid_programs_in_inert_mounts,
    ),
    (
        "escapes::removed_stubs_are_the_images",
        removed_stubs_are_the_images,
    ),
    ("escapes::targets_behind_links", targets_behind_links),
    ("escapes::kill_everything", kill_everything),
];

/// What is tried, what comes of it here (one of these, where it depends on the kernel), and what comes of it in a `RUN` of
/// Debian's dockerd 20.10.24 where that is another: recorded with this very program.
///
/// Docker opens devices by a list in a device cgroup (`EPERM`), here nothing that can be written to takes devices
/// (`EACCES`); so nodes of harmless devices cannot be opened either, except those in `/dev`. Docker 20.10 is older than the
/// refusal of `io_uring` and of these two families.
const TRIED: &[(&str, &str, &str)] = &[
    ("clone:user", "EPERM", ""),
    ("unshare:user", "EPERM", ""),
    ("clone:mnt", "EPERM", ""),
    ("unshare:mnt", "EPERM", ""),
    ("clone:pid", "EPERM", ""),
    ("unshare:pid", "EPERM", ""),
    ("clone:net", "EPERM", ""),
    ("unshare:net", "EPERM", ""),
    ("clone:ipc", "EPERM", ""),
    ("unshare:ipc", "EPERM", ""),
    ("clone:uts", "EPERM", ""),
    ("unshare:uts", "EPERM", ""),
    ("clone:cgroup", "EPERM", ""),
    ("unshare:cgroup", "EPERM", ""),
    ("clone:process", "ok", ""),
    ("clone3", "ENOSYS", ""),
    ("setns", "EPERM", ""),
    ("newer-call", "ENOSYS", ""),
    ("mount", "EPERM", ""),
    ("umount", "EPERM", ""),
    ("fsopen", "EPERM", ""),
    ("open_tree", "EPERM", ""),
    ("move_mount", "EPERM", ""),
    ("mount_setattr", "EPERM", ""),
    ("pivot_root", "EPERM", ""),
    ("open_by_handle_at", "EPERM", ""),
    ("keyctl", "EPERM", ""),
    ("add_key", "EPERM", ""),
    ("request_key", "EPERM", ""),
    ("bpf", "EPERM", ""),
    ("perf_event_open", "EPERM", ""),
    ("userfaultfd", "EPERM", ""),
    ("io_uring_setup", "EPERM", "EFAULT"),
    ("init_module", "EPERM", ""),
    ("finit_module", "EPERM", ""),
    ("kexec_load", "EPERM", ""),
    ("reboot", "EPERM", ""),
    ("swapon", "EPERM", ""),
    ("acct", "EPERM", ""),
    ("quotactl", "EPERM", ""),
    ("settimeofday", "EPERM", ""),
    ("sethostname", "EPERM", ""),
    ("syslog", "EPERM", ""),
    ("vhangup", "EPERM", ""),
    ("fanotify_init", "EPERM", ""),
    ("kcmp", "EPERM", ""),
    ("personality:no-random", "EPERM", ""),
    ("personality:question", "ok", ""),
    ("socket:vsock", "EPERM", "ok"),
    ("socket:alg", "EPERM", "EAFNOSUPPORT"),
    ("socket:packet", "ok", ""),
    ("capset:all", "EPERM", ""),
    ("ambient:sys_admin", "EPERM", ""),
    ("sched:fifo", "EPERM", ""),
    ("nice:-5", "EACCES", ""),
    ("xattr:trusted", "EPERM", ""),
    ("whiteout", "EPERM", ""),
    ("chroot", "ok", ""),
    ("tiocsti", "ENOTTY", ""),
    ("immutable", "EPERM", ""),
    ("ptrace:host", "ESRCH", ""),
    ("kill:host", "ESRCH", ""),
    ("pidfd_getfd", "EPERM", ""),
    ("write:/proc/sys/kernel/core_pattern", "EROFS", ""),
    ("write:/proc/sys/kernel/modprobe", "ENOENT EROFS", ""),
    ("write:/proc/sys/vm/panic_on_oom", "EROFS", ""),
    ("write:/proc/sys/kernel/hostname", "EROFS", ""),
    ("write:/proc/sys/net/ipv4/ip_forward", "EROFS", ""),
    ("write:/proc/sysrq-trigger", "ENOENT EROFS", ""),
    ("write:/proc/irq/default_smp_affinity", "EROFS ENOENT", ""),
    ("write:/proc/kcore", "ENOENT ok", ""),
    ("write:/proc/self/exe", "ETXTBSY", ""),
    ("write:/sys/kernel/uevent_helper", "ENOENT EROFS", ""),
    ("write:/sys/power/state", "EROFS ENOENT", ""),
    (
        "write:/sys/kernel/mm/transparent_hugepage/enabled",
        "EROFS ENOENT",
        "",
    ),
    ("write:/dev/mem", "ENOENT", ""),
    ("write:/dev/kmsg", "ENOENT", ""),
    ("write:/dev/port", "ENOENT", ""),
    ("write:/dev/console", "ENOENT", ""),
    ("write:/dev/fuse", "ENOENT", ""),
    ("write:/dev/kvm", "ENOENT", ""),
    ("write:/dev/vda", "ENOENT", ""),
    ("write:/dev/null", "ok", ""),
    ("write:/dev/ptmx", "ok", ""),
    ("write:/proc/1/mem", "ok", ""),
    ("mknod:/disk", "ok", ""),
    ("open:/disk", "EACCES", "EPERM"),
    ("mknod:/dev/disk", "ok", ""),
    ("open:/dev/disk", "EACCES", "EPERM"),
    ("mknod:/dev/shm/disk", "ok", ""),
    ("open:/dev/shm/disk", "EACCES", ""),
    ("mknod:/tmp/loop", "ok", ""),
    ("open:/tmp/loop", "EACCES", "EPERM"),
    ("mknod:/tmp/mem", "ok", ""),
    ("open:/tmp/mem", "EACCES", "EPERM"),
    ("mknod:/tmp/kmsg", "ok", ""),
    ("open:/tmp/kmsg", "EACCES", "EPERM"),
    ("mknod:/tmp/tty0", "ok", ""),
    ("open:/tmp/tty0", "EACCES", "EPERM"),
    ("mknod:/tmp/fuse", "ok", ""),
    ("open:/tmp/fuse", "EACCES", "EPERM"),
    ("mknod:/tmp/ptmx", "ok", ""),
    ("open:/tmp/ptmx", "EACCES", "ENOENT"),
    ("mknod:/tmp/null", "ok", ""),
    ("open:/tmp/null", "EACCES", "ok"),
    ("ptmx:number", "ok", ""),
];

/// The program that tries, made once.
fn probe() -> &'static Path {
    static PROBE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = PROBE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/probe.c");
        let compiled = Command::new("cc")
            .args(["-static", "-o"])
            .arg(dir.path().join("probe"))
            .arg(source)
            .status();
        assert!(compiled.expect("a C compiler is installed").success());
        dir
    });
    dir.path()
}

fn room_with_probe(arguments: &[&str]) -> Room {
    let mut room = Room::new();
    room.spec.lowers.insert(0, probe().to_owned());
    room.spec.argv = [&["/probe"], arguments]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    room.spec.network = Network::None;
    room
}

/// The program gets to know a process of the host, this one: whether it is to be reached.
fn room_that_tries_all() -> Room {
    room_with_probe(&[&std::process::id().to_string()])
}

/// Names and results, one a line.
fn lines(text: &str) -> Vec<(&str, &str)> {
    text.lines().map(|line| line.rsplit_once(' ').unwrap()).collect()
}

fn known_ways_are_closed() {
    let stdout = room_that_tries_all().stdout();
    let seen = lines(&stdout);
    for (name, expected, dockers) in TRIED {
        let found: Vec<&str> = seen
            .iter()
            .filter(|(tried, _)| tried == name)
            .map(|(_, result)| *result)
            .collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let expected: Vec<&str> = expected.split(' ').collect();
        assert!(
            expected.contains(&found[0]),
            "{name}: {} and not {expected:?}",
            found[0]
        );
        assert!(!expected.contains(dockers), "{name} is no difference");
    }
    // no parent, a terminal of its own, and out of a chroot only into the image
    for (name, result) in [("parent", "0"), ("ptmx", "0"), ("double-chroot", "image")] {
        assert!(seen.contains(&(name, result)), "{name} {stdout}");
    }
    assert_eq!(seen.len(), TRIED.len() + 3, "something is tried and not expected");
}

/// Who is not root gets through nowhere that root does not.
fn others_have_no_more() {
    let mut room = room_that_tries_all();
    room.spec.user = "ann".to_owned();
    let stdout = room.stdout();
    let allowed = [
        "clone:process",
        "personality:question",
        "write:/dev/null",
        "write:/dev/ptmx",
        "ptmx:number",
        "write:/proc/kcore",
    ];
    for (name, result) in lines(&stdout) {
        assert!(
            result != "ok" || allowed.contains(&name) || name == "write:/proc/1/mem",
            "{name} {result}"
        );
    }
}

/// Every place where something is mounted, and nothing else.
fn mounts_are_these() {
    let mut room = Room::script("cut -d' ' -f5 /proc/self/mountinfo");
    room.spec.hosts = Some(room.file("files/hosts", ""));
    room.spec.resolv_conf = Some(room.file("files/resolv.conf", ""));
    let stdout = room.stdout();
    let mut seen: Vec<&str> = stdout
        .lines()
        .filter(|path| !path.starts_with("/sys/fs/cgroup"))
        .collect();
    seen.sort_unstable();
    // docker has the same, and /etc/hostname, and not the devices one by one
    let always = [
        "/",
        "/dev",
        "/dev/full",
        "/dev/mqueue",
        "/dev/null",
        "/dev/pts",
        "/dev/random",
        "/dev/shm",
        "/dev/tty",
        "/dev/urandom",
        "/dev/zero",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
    ];
    let masked_or_read_only = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/bus",
        "/proc/fs",
        "/proc/interrupts",
        "/proc/irq",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    let there = masked_or_read_only
        .into_iter()
        .filter(|path| Path::new(path).exists());
    let mut expected: Vec<&str> = always.into_iter().chain(there).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

/// On the host's network the host's abstract sockets can be reached, as README says; without it they cannot.
fn abstract_sockets() {
    let name = format!("mica-probe-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listening = UnixListener::bind_addr(&address).unwrap();
    let mut room = room_with_probe(&["abstract", &name]);
    assert_eq!(room.stdout(), "abstract ECONNREFUSED\n");
    room.fresh(1);
    room.spec.network = Network::Host;
    assert_eq!(room.stdout(), "abstract ok\n");
}

fn processes_of_the_host() {
    let room = Room::script(
        "ls /proc | grep -c '^[0-9]'; ls /proc/1/root/ | tr '\\n' ' '; ls /proc/1/cwd/ | tr '\\n' ' '; cat /proc/1/sched 2>/dev/null | head -n 0",
    );
    // the shell, ls and grep, and the same root from everywhere
    let root = "bin dev etc home proc root sys tmp ";
    assert_eq!(room.stdout(), format!("3\n{root}{root}"));
}

/// No hierarchy shows its top, where the groups of the host are and a program could be named that the host runs.
fn groups_of_the_host() {
    let mut room = Room::script(
        "cat /proc/self/cgroup; find /sys/fs/cgroup -name release_agent; find /sys/fs/cgroup -mindepth 2 -type d",
    );
    room.spec.processes = Some(1000);
    let stdout = room.stdout();
    assert!(!stdout.is_empty());
    for line in stdout.lines() {
        assert!(line.ends_with(":/"), "{stdout}");
    }
}

fn setuid_programs_in_inert_mounts() {
    let mut room = Room::script("/mnt/probe user 2>&1 || :; /rw/probe user");
    let program = room.file("shared/probe", "");
    fs::copy(probe().join("probe"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let source = program.parent().unwrap().to_owned();
    for (target, inert) in [("/mnt", true), ("/rw", false)] {
        room.spec.mounts.push(MountSpec::Bind {
            source: source.clone(),
            target: target.into(),
            read_only: true,
            inert,
        });
    }
    room.spec.user = "ann".to_owned();
    // What a RUN may do in its own image it may do in what is lent to it: become the image's root, and no more than that.
    assert_eq!(room.stdout(), "sh: /mnt/probe: Permission denied\nuser 0\n");
}

/// CVE-2024-23652: what is removed after the run must not be something of the host's, wherever the run lets links lead.
fn removed_stubs_are_the_images() {
    let mut room = Room::new();
    let victim = room.file("victim/dir/file", "");
    fs::remove_file(&victim).unwrap();
    let outside = victim.parent().unwrap().parent().unwrap().to_owned();
    room.spec.argv = [
        "sh",
        "-ec",
        &format!("mv /stub /away; ln -s {} /stub", outside.display()),
    ]
    .map(str::to_owned)
    .to_vec();
    room.spec.mounts.push(MountSpec::Tmpfs {
        target: "/stub/dir".into(),
        size: None,
        mode: 0o755,
    });
    // whether the folder above a mount can be renamed is the kernel's to say
    let _ = room.try_run();
    assert!(outside.join("dir").is_dir());
}

/// A target that a link of the image leads out of it is made in the image. That another step puts the link there meanwhile
/// (CVE-2024-23651) is not tried.
fn targets_behind_links() {
    let mut room = Room::new();
    let name = format!("mica-target-{}", std::process::id());
    room.layer("layer", |layer| {
        symlink("/proc/1/root/../../..", layer.join("host")).unwrap();
        symlink("../../../../../..", layer.join("up")).unwrap();
    });
    let targets = [format!("/host/tmp/{name}"), format!("/up/tmp/{name}")];
    for (index, target) in targets.into_iter().enumerate() {
        room.fresh(index);
        room.spec.mounts = vec![MountSpec::Tmpfs {
            target: target.into(),
            size: None,
            mode: 0o755,
        }];
        // refused, or inside: never on the host
        let _ = room.try_run();
        assert!(!Path::new("/tmp").join(&name).exists());
    }
}

fn kill_everything() {
    // There is nobody to be reached but the child; that this program goes on is the proof.
    for (index, security) in [Security::Sandbox, Security::Insecure].into_iter().enumerate() {
        let mut room = Room::script(
            "sleep 1000 & kill -9 -1; wait $! 2>/dev/null; echo $?; kill -9 -1 2>&1; [ $? = 1 ]",
        );
        room.fresh(index);
        room.spec.security = security;
        room.spec.argv[1] = "-c".to_owned();
        assert_eq!(room.stdout(), "137\nsh: can't kill pid -1: No such process\n");
    }
}
