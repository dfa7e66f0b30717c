//! The process itself: how it starts, what it sees of itself, what it writes, how it ends.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use mica_sandbox::{Error, Exit, Resource, Rlimit, run};

use crate::Test;
use crate::room::{HELPER, Room};

pub(crate) const TESTS: &[Test] = &[
    ("process::true_is_true", true_is_true),
    ("process::exits_are_told", exits_are_told),
    ("process::unfit_programs", unfit_programs),
    (
        "process::streams_are_separate_and_early",
        streams_are_separate_and_early,
    ),
    ("process::much_output_is_whole", much_output_is_whole),
    ("process::environment", environment),
    ("process::surroundings", surroundings),
    ("process::signals_are_default", signals_are_default),
    ("process::descriptors", descriptors),
    ("process::working_directory_is_made", working_directory_is_made),
    (
        "process::working_directory_cannot_leave",
        working_directory_cannot_leave,
    ),
    ("process::limits", limits),
    ("process::usage_is_counted", usage_is_counted),
    ("process::bad_specs_are_refused", bad_specs_are_refused),
    ("process::own_program_is_sealed", own_program_is_sealed),
];

fn true_is_true() {
    let ran = Room::new().run();
    assert_eq!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.outcome.note),
        ("", "", None)
    );
}

fn exits_are_told() {
    // A signal that pid 1 has no handler for is not delivered, so the signals come from abroad or
    // from the kernel.
    let table = [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 255", Exit::Code(255)),
        (
            "code=0; sh -c 'kill -9 $$' || code=$?; exit $code",
            Exit::Code(137),
        ),
        ("ulimit -t 1; while :; do :; done", Exit::Signal(9)),
    ];
    for (script, exit) in table {
        assert_eq!(Room::script(script).run().outcome.exit, exit, "{script}");
    }
    assert_eq!(Exit::Signal(9).code(), 137);
}

fn unfit_programs() {
    let mut room = Room::new();
    room.layer("layer", |layer| {
        fs::create_dir(layer.join("bin")).unwrap();
        for (name, text, mode) in [
            ("plain", "#!/bin/sh\n", 0o644),
            ("garbage", "\x7f\x00\x01", 0o755),
            ("orphan", "#!/no/such/shell\n", 0o755),
            ("root-only", "#!/bin/sh\necho ran\n", 0o700),
        ] {
            fs::write(layer.join("bin").join(name), text).unwrap();
            fs::set_permissions(layer.join("bin").join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    let table = [
        (
            "nope",
            "",
            127,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            "plain",
            "",
            127,
            "exec: \"plain\": executable file not found in $PATH",
        ),
        (
            "/no/pe",
            "",
            127,
            "exec: \"/no/pe\": stat /no/pe: no such file or directory",
        ),
        ("/bin/plain", "", 126, "exec: \"/bin/plain\": permission denied"),
        ("/etc", "", 126, "exec: \"/etc\": is a directory"),
        (
            "/bin/root-only",
            "ann",
            126,
            "exec: \"/bin/root-only\": permission denied",
        ),
        ("garbage", "", 126, "exec /bin/garbage: exec format error"),
        ("orphan", "", 127, "exec /bin/orphan: no such file or directory"),
    ];
    for (index, (program, user, code, text)) in table.into_iter().enumerate() {
        room.fresh(index);
        room.spec.argv = vec![program.to_owned(), "argument".to_owned()];
        room.spec.user = user.to_owned();
        let ran = room.run();
        assert_eq!(ran.outcome.exit, Exit::Code(code), "{ran:?}");
        assert_eq!(ran.outcome.note.as_deref(), Some(text));
        assert_eq!((ran.stdout.as_str(), ran.stderr), ("", format!("{text}\n")));
    }
}

fn streams_are_separate_and_early() {
    let room = Room::script("echo out; echo err >&2; sleep 3; echo late");
    let start = Instant::now();
    let mut seen = Vec::new();
    let outcome = run(
        &room.spec,
        HELPER.as_ref(),
        &mut |stream, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            seen.push((format!("{stream:?} {text}"), start.elapsed()));
        },
        &|| false,
    );
    assert_eq!(outcome.unwrap().exit, Exit::Code(0));
    let mut texts: Vec<&str> = seen.iter().map(|(text, _)| text.as_str()).collect();
    texts[..2].sort_unstable();
    assert_eq!(texts, ["Stderr err\n", "Stdout out\n", "Stdout late\n"]);
    assert!(seen[2].1 - seen[1].1 > Duration::from_millis(500), "{seen:?}");
}

fn much_output_is_whole() {
    let room = Room::script("head -c 20000000 /dev/zero; head -c 3000000 /dev/zero >&2");
    let mut counts = [0, 0];
    let outcome = run(
        &room.spec,
        HELPER.as_ref(),
        &mut |stream, bytes| counts[usize::from(stream == mica_sandbox::Stream::Stderr)] += bytes.len(),
        &|| false,
    );
    assert_eq!(
        (outcome.unwrap().exit, counts),
        (Exit::Code(0), [20_000_000, 3_000_000])
    );
}

fn environment() {
    let mut room = Room::new();
    room.spec.argv = vec!["env".to_owned()];
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
    assert_eq!(room.stdout(), format!("{PATH}HOME=/root\n"));
    for (index, (user, env, expected)) in [
        (
            "ann",
            &["B=2", "A=1", "E="][..],
            format!("B=2\nA=1\nE=\n{PATH}HOME=/home/ann\n"),
        ),
        (
            "4711",
            &["HOME=/h", "PATH=/bin"],
            "HOME=/h\nPATH=/bin\n".to_owned(),
        ),
        ("4711", &["PATH=/bin"], "PATH=/bin\nHOME=/\n".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        room.fresh(index);
        room.spec.user = user.to_owned();
        room.spec.env = env.iter().map(|entry| (*entry).to_owned()).collect();
        assert_eq!(room.stdout(), expected);
    }
}

fn surroundings() {
    let mut room = Room::script(
        "echo $$; umask; pwd; hostname; cat; tty || :; cut -d' ' -f6,7 /proc/self/stat; cat /proc/self/oom_score_adj",
    );
    room.spec.hostname = "elsewhere".to_owned();
    room.spec.cwd = "/etc".into();
    let adjustment = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    // Session 1, no terminal.
    assert_eq!(
        room.stdout(),
        format!("1\n0022\n/etc\nelsewhere\nnot a tty\n1 0\n{adjustment}")
    );
}

fn signals_are_default() {
    // Not from a shell, which would change some.
    let mut room = Room::new();
    room.spec.argv = ["grep", "-E", "Sig(Blk|Ign)|ShdPnd", "/proc/self/status"]
        .map(str::to_owned)
        .to_vec();
    let stdout = room.stdout();
    assert_eq!(
        stdout,
        "ShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

fn descriptors() {
    let mut room = Room::new();
    room.spec.argv = ["ls", "-l", "/proc/self/fd/"].map(str::to_owned).to_vec();
    let stdout = room.run().stdout;
    let targets: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(_, to)| to)
        .collect();
    // The fourth, gone already, is the directory that ls itself read.
    assert_eq!((targets.len(), stdout.lines().count()), (3, 5), "{stdout}");
    assert_eq!(targets[0], "/dev/null");
    assert!(
        targets[1].starts_with("pipe:") && targets[2].starts_with("pipe:"),
        "{stdout}"
    );

    // The output can be opened again by name, by anybody.
    room.fresh(1);
    room.spec.user = "ann".to_owned();
    room.spec.argv = [
        "sh",
        "-c",
        "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin",
    ]
    .map(str::to_owned)
    .to_vec();
    let ran = room.run();
    assert_eq!(
        (ran.outcome.exit, &*ran.stdout, &*ran.stderr),
        (Exit::Code(0), "out\n", "err\n")
    );
}

fn working_directory_is_made() {
    let mut room = Room::script("pwd; stat -c '%a %u:%g' .");
    room.spec.user = "ann".to_owned();
    room.spec.cwd = "/srv/a/../app/".into();
    assert_eq!(room.stdout(), "/srv/app\n755 1000:1001\n");
    assert_eq!(room.changes(), ["srv", "srv/app"]);
    let made = fs::metadata(room.upper("srv/app")).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o7777),
        (1000, 1001, 0o755)
    );

    // One that exists stays as it is.
    room.fresh(1);
    room.spec.cwd = "/etc".into();
    assert_eq!(room.stdout(), "/etc\n755 0:0\n");
    assert_eq!(room.changes(), [""; 0]);
}

fn working_directory_cannot_leave() {
    let mut room = Room::script("pwd; ls -a / | tr '\\n' ' '");
    room.layer("layer", |layer| {
        symlink("../../../../../../tmp/in", layer.join("up")).unwrap();
        symlink("/proc/self/fd/7/../../..", layer.join("magic")).unwrap();
        symlink("/proc/1/root/..", layer.join("root-link")).unwrap();
        symlink("magic-loop", layer.join("magic-loop")).unwrap();
    });
    let root = ". .. bin dev etc home magic magic-loop proc root root-link sys tmp up ";
    for (index, (cwd, expected)) in [("/up/x", "/tmp/in/x"), ("/root-link", "/"), ("/../../..", "/")]
        .into_iter()
        .enumerate()
    {
        room.fresh(index);
        room.spec.cwd = cwd.into();
        assert_eq!(room.stdout(), format!("{expected}\n{root}"), "{cwd}");
    }
    // A descriptor of the host's that pid 1 might still hold.
    for descriptor in 0..16 {
        room.fresh(100 + descriptor);
        room.spec.cwd = format!("/proc/self/fd/{descriptor}").into();
        match room.try_run() {
            Err(Error::SetUp { step, .. }) => assert!(step.contains("/fd/"), "{step}"),
            other => panic!("{other:?}"),
        }
    }
    room.fresh(200);
    room.spec.cwd = "/magic-loop".into();
    let error = room.try_run().unwrap_err().to_string();
    assert!(
        error.contains("/magic-loop") && error.contains("symbolic links"),
        "{error}"
    );
}

fn limits() {
    let mut room = Room::script("ulimit -n; ulimit -Hn; ulimit -c; ulimit -u");
    room.spec.rlimits = vec![
        Rlimit {
            resource: Resource::Nofile,
            soft: Some(99),
            hard: Some(111),
        },
        Rlimit {
            resource: Resource::Core,
            soft: Some(0),
            hard: Some(0),
        },
    ];
    let own = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let own = own.map_or("unlimited".to_owned(), |limit| limit.to_string());
    assert_eq!(room.stdout(), format!("99\n111\n0\n{own}\n"));
}

fn usage_is_counted() {
    let usage = Room::script("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
        .run()
        .outcome
        .usage;
    assert!(usage.user_ms >= 10 && usage.max_rss_kib > 100, "{usage:?}");
}

fn bad_specs_are_refused() {
    let mut room = Room::new();
    room.spec.argv.clear();
    assert!(matches!(room.try_run(), Err(Error::Spec { field: "argv", .. })));
    let room = Room::new();
    let error = run(&room.spec, "/no/such/helper".as_ref(), &mut |_, _| {}, &|| false).unwrap_err();
    assert!(
        matches!(&error, Error::Seal { .. }) && error.to_string().contains("/no/such/helper"),
        "{error}"
    );
    // A helper that knows nothing of the protocol.
    let error = run(&room.spec, "/bin/false".as_ref(), &mut |_, _| {}, &|| false).unwrap_err();
    assert!(
        matches!(error, Error::HelperDied { .. } | Error::Control { .. }),
        "{error:?}"
    );
}

/// CVE-2019-5736: a script executes what /proc/self/exe is, which still is the helper's program.
fn own_program_is_sealed() {
    let mut room = Room::script("true");
    room.layer("layer", |layer| {
        fs::write(
            layer.join("again"),
            format!("#!/proc/self/exe {}\n", mica_sandbox::HELPER_ARGUMENT),
        )
        .unwrap();
        fs::set_permissions(layer.join("again"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    let before = fs::read("/proc/self/exe").unwrap();
    room.spec.argv = vec!["/again".to_owned()];
    // The helper runs again, without a socket, if its C library is in the image; else it is refused.
    let ran = room.run();
    assert_ne!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
    assert!(fs::read("/proc/self/exe").unwrap() == before);
    // What it was is a file in memory, with no way to the host's disk.
    room.fresh(1);
    room.spec.argv = ["/proc/self/exe"].map(str::to_owned).to_vec();
    let ran = room.run();
    assert_ne!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
}
