//! Users, groups, capabilities, namespaces.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use mica_sandbox::{Error, Network, Security};

use crate::Test;
use crate::room::Room;

pub(crate) const TESTS: &[Test] = &[
    ("identity::users_and_groups", users_and_groups),
    ("identity::unknown_users", unknown_users),
    (
        "identity::user_files_stay_in_the_image",
        user_files_stay_in_the_image,
    ),
    ("identity::capabilities", capabilities),
    ("identity::calls_are_filtered", calls_are_filtered),
    (
        "identity::large_user_files_take_no_memory",
        large_user_files_take_no_memory,
    ),
    ("identity::setuid_programs_work", setuid_programs_work),
    ("identity::insecure_has_everything", insecure_has_everything),
    ("identity::namespaces_are_new", namespaces_are_new),
    (
        "identity::no_network_is_only_loopback",
        no_network_is_only_loopback,
    ),
];

fn users_and_groups() {
    let mut room = Room::script("id -u; id -g; grep Groups /proc/self/status; echo $HOME");
    let table = [
        ("", "0\n0\nGroups:\t0 10 \n/root\n"),
        ("0", "0\n0\nGroups:\t0 10 \n/root\n"),
        ("root", "0\n0\nGroups:\t0 10 \n/root\n"),
        ("0:0", "0\n0\nGroups:\t0 \n/root\n"),
        ("ann", "1000\n1001\nGroups:\t6 10 1001 \n/home/ann\n"),
        ("1000", "1000\n1001\nGroups:\t6 10 1001 \n/home/ann\n"),
        ("1000:7", "1000\n7\nGroups:\t7 \n/home/ann\n"),
        ("ann:disk", "1000\n6\nGroups:\t6 \n/home/ann\n"),
        ("4711", "4711\n0\nGroups:\t0 \n/\n"),
        ("4711:4712", "4711\n4712\nGroups:\t4712 \n/\n"),
    ];
    for (index, (user, expected)) in table.into_iter().enumerate() {
        room.fresh(index);
        room.spec.user = user.to_owned();
        assert_eq!(room.stdout(), expected, "{user:?}");
    }
}

fn unknown_users() {
    let mut room = Room::new();
    for (index, (user, text)) in [
        (
            "eve",
            "unable to find user eve: no matching entries in passwd file",
        ),
        (
            "ann:eve",
            "unable to find group eve: no matching entries in group file",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        room.fresh(index);
        room.spec.user = user.to_owned();
        let error = room.try_run().unwrap_err();
        assert!(matches!(error, Error::User { .. }), "{error:?}");
        assert_eq!(error.to_string(), text);
    }
}

fn user_files_stay_in_the_image() {
    let mut room = Room::script("grep Uid /proc/self/status");
    room.layer("layer", |layer| {
        fs::create_dir(layer.join("etc")).unwrap();
        // On the host this file does not say so.
        symlink("../../../../home/users", layer.join("etc/passwd")).unwrap();
        symlink("/dev/zero", layer.join("etc/group")).unwrap();
        fs::create_dir(layer.join("home")).unwrap();
        fs::write(layer.join("home/users"), "only-here:x:77:77::/:\n").unwrap();
    });
    room.spec.user = "only-here".to_owned();
    assert_eq!(room.stdout(), "Uid:\t77\t77\t77\t77\n");

    // A pipe that nobody writes to must not hold the run up.
    let mut room = Room::script("grep Uid /proc/self/status");
    room.layer("layer", |layer| {
        fs::create_dir(layer.join("etc")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            layer.join("etc/passwd"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
    });
    assert_eq!(room.stdout(), "Uid:\t0\t0\t0\t0\n");
}

const STATUS: &str = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";

fn status(inheritable: &str, permitted: &str, bounding: &str, ambient: &str) -> String {
    format!(
        "CapInh:\t{inheritable}\nCapPrm:\t{permitted}\nCapEff:\t{permitted}\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}\nNoNewPrivs:\t0\n"
    )
}

fn capabilities() {
    const NONE: &str = "0000000000000000";
    const DOCKERS: &str = "00000000a80425fb";
    let mut room = Room::script(STATUS);
    assert_eq!(room.stdout(), status(NONE, DOCKERS, DOCKERS, NONE));
    room.fresh(1);
    room.spec.user = "ann".to_owned();
    assert_eq!(room.stdout(), status(NONE, NONE, DOCKERS, NONE));
}

fn insecure_has_everything() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let held = own
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:\t"))
        .unwrap();
    let mut room = Room::script(STATUS);
    room.spec.security = Security::Insecure;
    let stdout = room.stdout();
    assert!(
        stdout.contains(&format!("CapEff:\t{held}\nCapBnd:\t{held}\n")),
        "{stdout}"
    );
    room.fresh(1);
    room.spec.user = "ann".to_owned();
    assert_eq!(room.stdout(), status(held, held, held, held));

    let mut room =
        Room::script("mount -t tmpfs none /tmp; grep -cE ' /proc/[^ ]+ | /sys/firmware ' /proc/mounts || :");
    room.spec.security = Security::Insecure;
    assert_eq!(room.stdout(), "0\n");
    let mut room = Room::script("grep ' /sys ' /proc/mounts");
    room.spec.security = Security::Insecure;
    assert_eq!(
        room.stdout(),
        "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n"
    );
}

/// What is refused is said by the filter's own tests; here, that it is in force.
fn calls_are_filtered() {
    const LINES: &str = "grep -E '^(NoNewPrivs|Seccomp)' /proc/self/status";
    let mut room = Room::script(LINES);
    let filtered = "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    assert_eq!(room.stdout(), filtered);
    room.fresh(1);
    room.spec.user = "ann".to_owned();
    assert_eq!(room.stdout(), filtered);
    room.fresh(2);
    room.spec.security = Security::Insecure;
    let stdout = room.stdout();
    assert!(
        stdout.ends_with("\nSeccomp:\t0\nSeccomp_filters:\t0\n"),
        "{stdout}"
    );

    // A user namespace needs no capability, so without the filter everybody could make one.
    let mut room = Room::script(
        "for c in 'unshare -U true' 'unshare -m true' 'mount -t tmpfs none /tmp' 'umount /proc' dmesg \
         'nsenter -t 1 -u true'; do $c 2>&1 && echo made; done; linux32 true; echo processes | xargs -n 1 echo",
    );
    let refused = "unshare: unshare(0x10000000): Operation not permitted\n\
        unshare: unshare(0x20000): Operation not permitted\n\
        mount: permission denied (are you root?)\n\
        umount: can't unmount /proc: Operation not permitted\n\
        dmesg: klogctl: Operation not permitted\n\
        nsenter: setns(): can't reassociate to namespace 'uts': Operation not permitted\n\
        processes\n";
    assert_eq!(room.stdout(), refused);
    room.fresh(1);
    room.spec.security = Security::Insecure;
    room.spec.argv = ["unshare", "-U", "true"].map(str::to_owned).to_vec();
    assert_eq!(room.stdout(), "");
}

fn large_user_files_take_no_memory() {
    let mut room = Room::new();
    let kib = |room: &Room| room.run().outcome.usage.max_rss_kib;
    let usual = kib(&room);
    room.fresh(1);
    room.layer("layer", |layer| {
        fs::create_dir(layer.join("etc")).unwrap();
        for name in ["passwd", "group"] {
            fs::write(layer.join("etc").join(name), "a\n".repeat(8 << 20)).unwrap();
        }
    });
    let large = kib(&room);
    assert!(large < usual + (10 << 10), "{usual} KiB, then {large} KiB");
}

fn setuid_programs_work() {
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
    room.spec.argv = ["/su", "-c", "grep -E '^(Uid|CapEff)' /proc/self/status", "root"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(room.stdout(), "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n");
}

fn namespaces_are_new() {
    const NAMES: [&str; 7] = ["mnt", "pid", "ipc", "uts", "cgroup", "net", "user"];
    let links = NAMES
        .map(|name| format!("readlink /proc/self/ns/{name};"))
        .concat();
    for (network, new) in [(Network::Host, &NAMES[..5]), (Network::None, &NAMES[..6])] {
        let mut room = Room::script(&links);
        room.spec.network = network;
        let stdout = room.stdout();
        for (name, inside) in NAMES.iter().zip(stdout.lines()) {
            let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_eq!(
                outside.to_str() != Some(inside),
                new.contains(name),
                "{name} {network:?}"
            );
        }
    }
}

fn no_network_is_only_loopback() {
    let mut room = Room::script(
        "ls /sys/class/net; cat /sys/class/net/lo/flags; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo answered; cat /proc/net/route | wc -l",
    );
    room.spec.network = Network::None;
    // Flags UP and LOOPBACK.
    assert_eq!(room.stdout(), "lo\n0x9\nanswered\n1\n");
}
