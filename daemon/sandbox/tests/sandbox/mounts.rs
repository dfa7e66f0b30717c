//! What is mounted inside, what is hidden, and what of it ends up in the layer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mica_sandbox::{Error, MountSpec, Network};

use crate::Test;
use crate::room::{Room, image};

pub(crate) const TESTS: &[Test] = &[
    ("mounts::are_dockers", are_dockers),
    ("mounts::devices", devices),
    ("mounts::foreign_devices", foreign_devices),
    ("mounts::masked_paths", masked_paths),
    ("mounts::read_only_paths", read_only_paths),
    ("mounts::host_is_not_visible", host_is_not_visible),
    ("mounts::changes_are_in_the_upper", changes_are_in_the_upper),
    ("mounts::base_mount_points_stay", base_mount_points_stay),
    (
        "mounts::base_mount_points_are_no_links",
        base_mount_points_are_no_links,
    ),
    ("mounts::stubs_do_not_stay", stubs_do_not_stay),
    ("mounts::stubs_in_use_stay", stubs_in_use_stay),
    ("mounts::links_as_targets", links_as_targets),
    ("mounts::further_mounts", further_mounts),
    ("mounts::devices_covered", devices_covered),
    ("mounts::forbidden_targets", forbidden_targets),
    ("mounts::hundred_layers", hundred_layers),
    ("mounts::most_layers", most_layers),
    ("mounts::long_and_odd_paths", long_and_odd_paths),
    ("mounts::empty_image", empty_image),
    ("mounts::missing_sources_are_named", missing_sources_are_named),
];

/// Mount point to options of mount and file system, from `/proc/self/mountinfo`.
fn mounts(text: &str) -> BTreeMap<String, (String, String)> {
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap();
        let left: Vec<&str> = left.split(' ').collect();
        (
            left[4].to_owned(),
            (format!("{} {}", left[5], left[6..].join(" ")), right.to_owned()),
        )
    };
    text.lines().map(parse).collect()
}

fn with_files(script: &str) -> Room {
    let mut room = Room::script(script);
    room.spec.hosts = Some(room.file("files/hosts", "127.0.0.1\tlocalhost\n"));
    room.spec.resolv_conf = Some(room.file("files/resolv.conf", "nameserver 10.0.0.1\n"));
    room
}

fn are_dockers() {
    let mut room = with_files("cat /proc/self/mountinfo");
    room.spec.shm_size = 1 << 20;
    let found = mounts(&room.stdout());
    let option = |path: &str| {
        found
            .get(path)
            .unwrap_or_else(|| panic!("{path} is not mounted: {found:?}"))
            .clone()
    };
    const INERT: &str = "nosuid,nodev,noexec,relatime ";
    let table = [
        ("/", "rw,nodev,relatime ", "overlay"),
        ("/proc", &format!("rw,{INERT}"), "proc"),
        ("/dev", "rw,nosuid,nodev ", "tmpfs"),
        ("/dev/null", "rw,nosuid ", "tmpfs"),
        ("/dev/pts", "rw,nosuid,noexec,relatime ", "devpts"),
        ("/dev/shm", &format!("rw,{INERT}"), "tmpfs"),
        ("/dev/mqueue", &format!("rw,{INERT}"), "mqueue"),
        ("/sys", &format!("ro,{INERT}"), "sysfs"),
        ("/etc/hosts", &format!("ro,{INERT}"), ""),
        ("/etc/resolv.conf", &format!("ro,{INERT}"), ""),
    ];
    for (path, options, kind) in table {
        let (mount, system) = option(path);
        // The second field after the options would be shared:N, were it not private.
        assert_eq!(mount, options, "{path}");
        assert!(system.starts_with(kind), "{path}: {system}");
    }
    let overlay = option("/").1;
    for off in ["index=on", "metacopy=on", "redirect_dir=on"] {
        assert!(!overlay.contains(off), "{overlay}");
    }
    assert!(overlay.contains("volatile"), "{overlay}");
    assert!(option("/dev").1.contains("size=65536k,mode=755") || option("/dev").1.contains("mode=755"));
    assert!(
        option("/dev/shm").1.contains("size=1024k"),
        "{:?}",
        option("/dev/shm")
    );
    let pts = option("/dev/pts").1;
    assert!(pts.contains("gid=5,mode=620,ptmxmode=666"), "{pts}");
    if fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .contains(" /sys/fs/cgroup ")
    {
        assert!(
            option("/sys/fs/cgroup").0.starts_with("ro,nosuid,nodev,noexec"),
            "{found:?}"
        );
    }
    let groups = found
        .iter()
        .filter(|(path, _)| path.starts_with("/sys/fs/cgroup"));
    groups.for_each(|(path, (mount, _))| assert!(mount.starts_with("ro,"), "{path} {mount}"));
    for absent in ["/run", "/tmp", "/etc/hostname"] {
        assert!(!found.contains_key(absent));
    }
}

fn devices() {
    let room = Room::script(
        "cd /dev; for d in null zero full random urandom tty; do stat -c '%n %a %t:%T %F' $d; done; \
         for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done; ls | tr '\\n' ' '; \
         stat -c '%a' . shm; echo > null; head -c 1 urandom | wc -c",
    );
    const CHARACTER: &str = "character special file";
    let expected = format!(
        "null 666 1:3 {CHARACTER}\nzero 666 1:5 {CHARACTER}\nfull 666 1:7 {CHARACTER}\nrandom 666 1:8 {CHARACTER}\n\
         urandom 666 1:9 {CHARACTER}\ntty 666 5:0 {CHARACTER}\nfd /proc/self/fd\nstdin /proc/self/fd/0\n\
         stdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n\
         fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 755\n1777\n1\n"
    );
    assert_eq!(room.stdout(), expected);
    assert_eq!(room.changes(), [""; 0]);
}

/// A device of the host's is made without complaint and not opened, wherever it is made.
fn foreign_devices() {
    let script = "for d in / /dev /tmp /t /rw /dev/shm; do mknod $d/zero-$$ c 1 5; (head -c 1 $d/zero-$$) 2>/dev/null | wc -c; done";
    let mut room = Room::script(script);
    let shared = room.file("shared/file", "");
    room.spec.mounts = vec![
        MountSpec::Tmpfs {
            target: "/t".into(),
            size: None,
            mode: 0o755,
        },
        bind(shared.parent().unwrap(), "/rw", false),
    ];
    assert_eq!(room.stdout(), "0\n".repeat(6));
    let node = fs::symlink_metadata(room.upper("zero-1")).unwrap();
    assert_eq!(
        (node.file_type().is_char_device(), node.rdev()),
        (true, rustix::fs::makedev(1, 5))
    );
    room.fresh(1);
    fs::remove_file(shared.with_file_name("zero-1")).unwrap();
    room.spec.security = mica_sandbox::Security::Insecure;
    assert_eq!(room.stdout(), "1\n".repeat(5) + "0\n");
}

fn masked_paths() {
    let room = Room::script(
        "for p in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats \
         /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do \
         if [ -d $p ]; then [ -z \"$(ls -A $p)\" ] || echo open $p; elif [ -e $p ]; then [ -c $p ] && [ -z \"$(cat $p)\" ] || echo open $p; \
         else echo absent $p; fi; done",
    );
    let stdout = room.stdout();
    for line in stdout.lines() {
        let (word, path) = line.split_once(' ').unwrap();
        assert_eq!(word, "absent", "{path}");
        assert!(!Path::new(path).exists(), "{path} exists on the host");
    }
    assert!(
        stdout.lines().count() < 12,
        "no path at all is there to be masked"
    );
}

fn read_only_paths() {
    let room = Room::script(
        "for p in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/swappiness /sys/kernel/uevent_seqnum \
         /etc/hosts; do (echo x >> $p) 2>/dev/null && echo wrote $p; done; \
         mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; umount /proc/kcore 2>/dev/null && echo unmounted; \
         for p in bus fs irq sys sysrq-trigger; do [ ! -e /proc/$p ] || grep -q \" /proc/$p [a-z]* ro,\" /proc/mounts || echo open $p; done; :",
    );
    let mut room = room;
    room.spec.hosts = Some(room.file("hosts", "127.0.0.1\n"));
    assert_eq!(room.stdout(), "");
}

fn host_is_not_visible() {
    let room = with_files("ls -a /; cat /proc/mounts; ls /proc | grep -E '^[0-9]+$'");
    let stdout = room.stdout();
    let host = fs::read_to_string("/proc/mounts").unwrap();
    let devices = host
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| path.starts_with("/mnt/"));
    for path in devices.chain(["work/upper", "/boot", "/usr"]) {
        assert!(!stdout.contains(path), "{path} in {stdout}");
    }
    // Only pid 1 and what it started.
    let pids: Vec<u32> = stdout.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(pids.contains(&1) && pids.iter().all(|pid| *pid < 20), "{pids:?}");
}

fn changes_are_in_the_upper() {
    let room = Room::script(
        "rm /bin/vi; rm -r /home/ann; echo new > /etc/new; chmod 700 /root; mkdir -p /a/b; ln /etc/new /a/b/link",
    );
    room.stdout();
    assert_eq!(
        room.changes(),
        [
            "a", "a/b", "a/b/link", "bin", "bin/vi", "etc", "etc/new", "home", "home/ann", "root"
        ]
    );
    for gone in ["bin/vi", "home/ann"] {
        let whiteout = fs::symlink_metadata(room.upper(gone)).unwrap();
        assert!(
            whiteout.file_type().is_char_device() && whiteout.rdev() == 0,
            "{gone}"
        );
    }
    assert_eq!(fs::read_to_string(room.upper("a/b/link")).unwrap(), "new\n");
    assert_eq!(fs::metadata(room.upper("etc/new")).unwrap().nlink(), 2);
    assert_eq!(
        fs::metadata(room.upper("root")).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert!(image().join("bin/vi").symlink_metadata().is_ok());
}

/// An image with nothing in it but the program.
fn bare(room: &mut Room) {
    room.spec.lowers.clear();
    room.layer("bare", |layer| {
        fs::create_dir(layer.join("bin")).unwrap();
        fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    });
}

fn base_mount_points_stay() {
    let mut room = with_files("");
    bare(&mut room);
    room.spec.argv = ["/bin/busybox", "cat", "/etc/hosts", "/etc/resolv.conf"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(room.stdout(), "127.0.0.1\tlocalhost\nnameserver 10.0.0.1\n");
    assert_eq!(room.changes(), ["dev", "proc", "sys"]);
    for dir in ["dev", "proc", "sys"] {
        let made = fs::metadata(room.upper(dir)).unwrap();
        assert_eq!(
            (made.is_dir(), made.mode() & 0o7777, made.uid(), made.gid()),
            (true, 0o755, 0, 0),
            "{dir}"
        );
    }
}

fn base_mount_points_are_no_links() {
    for name in ["proc", "sys", "dev"] {
        let mut room = Room::new();
        bare(&mut room);
        room.layer("layer", |layer| symlink("tmp", layer.join(name)).unwrap());
        match room.try_run() {
            Err(Error::SetUp { step, text, .. }) => {
                assert_eq!(
                    (step, text.as_str()),
                    (format!("mount point /{name}"), "is not a directory")
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789)
}

fn set_mtime(path: &Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn stubs_do_not_stay() {
    let mut room = with_files("touch -d @1000000000 /opt; cat /etc/hosts /deep/er/file /opt/new/file");
    room.layer("layer", |layer| {
        for dir in ["etc", "opt"] {
            fs::create_dir(layer.join(dir)).unwrap();
            set_mtime(&layer.join(dir), long_ago());
        }
    });
    let source = room.file("secret", "secret\n");
    for target in ["/deep/er/file", "/opt/new/file"] {
        room.spec.mounts.push(bind(&source, target, true));
    }
    room.spec.mounts.push(MountSpec::Tmpfs {
        target: "/cache/dir".into(),
        size: None,
        mode: 0o755,
    });
    assert_eq!(room.stdout(), "127.0.0.1\tlocalhost\nsecret\nsecret\n");
    assert_eq!(room.changes(), ["etc", "opt"]);
    // Taking them out again does not make a directory any younger than the process left it.
    assert_eq!(fs::metadata(room.upper("opt")).unwrap().mtime(), 1_000_000_000);
}

fn stubs_in_use_stay() {
    let mut room = with_files(
        "echo mine > /deep/own; touch -d '2020-01-01 00:00:00' /etc; mkdir /opt; ln -s /tmp /opt/link",
    );
    room.spec.mounts.push(MountSpec::Tmpfs {
        target: "/deep/er".into(),
        size: None,
        mode: 0o755,
    });
    room.stdout();
    assert_eq!(room.changes(), ["deep", "deep/own", "etc", "opt", "opt/link"]);
    // The time the process gave it, not that of the removal.
    let mtime = fs::metadata(room.upper("etc")).unwrap().mtime();
    assert_eq!(mtime, 1_577_836_800);
}

fn links_as_targets() {
    let mut room = with_files("cat /etc/resolv.conf; [ -L /etc/resolv.conf ]; readlink /etc/hosts");
    room.layer("layer", |layer| {
        fs::create_dir(layer.join("etc")).unwrap();
        symlink(
            "../../../run/systemd/resolve/stub-resolv.conf",
            layer.join("etc/resolv.conf"),
        )
        .unwrap();
        symlink("/etc/hosts.real", layer.join("etc/hosts")).unwrap();
        fs::write(layer.join("etc/hosts.real"), "image's own\n").unwrap();
    });
    assert_eq!(room.stdout(), "nameserver 10.0.0.1\n/etc/hosts.real\n");
    assert_eq!(room.changes(), [""; 0]);
}

fn bind(source: &Path, target: &str, read_only: bool) -> MountSpec {
    MountSpec::Bind {
        source: source.to_owned(),
        target: target.into(),
        read_only,
        inert: false,
    }
}

fn further_mounts() {
    let mut room = Room::script(
        "cat /ro/file /rw/file; echo written > /rw/new; (echo x > /ro/new) 2>/dev/null && echo wrote; \
         grep -E ' /(ro|rw|t|secret|dev/x) ' /proc/mounts | cut -d' ' -f2-4; stat -c %a /t; cat /secret /dev/x; echo x > /t/x",
    );
    let source = room.file("shared/file", "text\n");
    let dir = source.parent().unwrap();
    room.spec.mounts = vec![
        bind(dir, "/ro", true),
        bind(dir, "/rw", false),
        MountSpec::Tmpfs {
            target: "/t".into(),
            size: Some(1 << 20),
            mode: 0o1777,
        },
        MountSpec::Bind {
            source: source.clone(),
            target: "/secret".into(),
            read_only: true,
            inert: true,
        },
        bind(&source, "/dev/x", true),
    ];
    let stdout = room.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[..2], ["text", "text"]);
    let mount = |path: &str| {
        let prefix = format!("{path} ");
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{path}: {stdout}"));
        line.split_once(' ').unwrap().1
    };
    assert!(mount("/ro").starts_with("ro,nodev,relatime"), "{stdout}");
    assert!(mount("/rw").starts_with("rw,nodev,relatime"), "{stdout}");
    assert_eq!(mount("/t"), "rw,nosuid,nodev,relatime,size=1024k");
    assert!(
        mount("/secret").starts_with("ro,nosuid,nodev,noexec,relatime"),
        "{stdout}"
    );
    assert_eq!(lines[7..], ["1777", "text", "text"], "{stdout}");
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "written\n");
    assert_eq!(room.changes(), [""; 0]);
}

/// What is mounted over the null device does not take the masks away, nor the input.
fn devices_covered() {
    let mut room =
        Room::script("cat; ls /dev; cat /proc/timer_list 2>/dev/null | head -n 3; ls -A /sys/firmware");
    room.spec.mounts = vec![MountSpec::Tmpfs {
        target: "/dev".into(),
        size: None,
        mode: 0o755,
    }];
    assert_eq!(room.stdout(), "");
}

fn forbidden_targets() {
    for (index, target) in ["/", "/..", "/proc", "/proc/self/fd/3/x", "/to-proc/sys"]
        .into_iter()
        .enumerate()
    {
        let mut room = Room::new();
        room.fresh(index);
        room.layer("layer", |layer| symlink("/proc", layer.join("to-proc")).unwrap());
        room.spec.mounts = vec![MountSpec::Tmpfs {
            target: target.into(),
            size: None,
            mode: 0o755,
        }];
        match room.try_run() {
            Err(Error::SetUp { step, text, .. }) => {
                assert!(
                    step.contains(target) && text.contains("nothing can be mounted"),
                    "{step}: {text}"
                );
            }
            other => panic!("{target}: {other:?}"),
        }
    }
}

fn layers(room: &mut Room, count: usize) {
    for number in 0..count {
        room.layer(&format!("layers/{number}"), |layer| {
            fs::write(layer.join("top"), format!("{number}\n")).unwrap();
            fs::write(layer.join(format!("of-{number}")), "").unwrap();
        });
    }
}

fn hundred_layers() {
    let mut room = Room::script("cat /top; ls -d /of-* | wc -l");
    layers(&mut room, 100);
    assert_eq!(room.stdout(), "99\n100\n");
}

fn most_layers() {
    let mut room = Room::script("cat /top; ls -d /of-* | wc -l");
    layers(&mut room, mica_sandbox::MAX_LOWERS - 1);
    assert_eq!(room.stdout(), "498\n499\n");
}

fn long_and_odd_paths() {
    let mut room = Room::script("cat /one /two /three; echo x > /new");
    let long: PathBuf = ["d".repeat(200), "e".repeat(200)].iter().collect();
    for (number, name) in ["one", "two", "three"].into_iter().enumerate() {
        let path = [&*long.to_string_lossy(), "a:b,c\\d e", "\u{e9}\n"][number].to_owned();
        room.layer(&path, |layer| {
            fs::write(layer.join(name), format!("{name}\n")).unwrap()
        });
    }
    for dir in [&mut room.spec.upper, &mut room.spec.work] {
        *dir = dir.join(&long).join("with:all,of\\it");
        fs::create_dir_all(dir).unwrap();
    }
    assert_eq!(room.stdout(), "one\ntwo\nthree\n");
    assert_eq!(room.changes(), ["new"]);
}

fn empty_image() {
    let mut room = Room::new();
    room.spec.lowers.clear();
    let ran = room.run();
    assert_eq!(ran.outcome.exit.code(), 127);
    assert_eq!(
        ran.outcome.note.unwrap(),
        "exec: \"true\": executable file not found in $PATH"
    );
    assert_eq!(room.changes(), ["dev", "proc", "sys"]);
    // The same, with a program lent to it.
    room.fresh(1);
    room.spec.network = Network::None;
    room.spec.mounts = vec![bind(Path::new("/bin/busybox"), "/busybox", true)];
    room.spec.argv = ["/busybox", "sh", "-c", "/busybox mkdir /a; /busybox ls /"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(room.stdout(), "a\nbusybox\ndev\nproc\nsys\n");
    assert_eq!(room.changes(), ["a", "dev", "proc", "sys"]);
}

fn missing_sources_are_named() {
    type Break = fn(&mut Room);
    let table: [(&str, Break); 5] = [
        ("/no/layer", |room| room.spec.lowers.push("/no/layer".into())),
        ("/no/upper", |room| room.spec.upper = "/no/upper".into()),
        ("/no/work", |room| room.spec.work = "/no/work".into()),
        ("/no/hosts", |room| room.spec.hosts = Some("/no/hosts".into())),
        ("/no/source", |room| {
            room.spec.mounts.push(bind(Path::new("/no/source"), "/x", true))
        }),
    ];
    for (path, break_it) in table {
        let mut room = Room::new();
        break_it(&mut room);
        match room.try_run() {
            Err(Error::SetUp { step, errno, text }) => {
                assert!(step.contains(path), "{step}");
                assert_eq!(errno, Some(rustix::io::Errno::NOENT.raw_os_error()));
                assert!(text.starts_with("no such file or directory"), "{text}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}
