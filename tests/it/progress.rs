//! How a build is shown while it goes on: on a terminal, as lines, as objects.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon};

use crate::pseudo::Terminal;

/// How soon all processes of a build nobody waits for must be gone.
const GONE: Duration = Duration::from_secs(20);

/// `mica build` as people type it, whatever the tests' other builds look like.
fn build(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = daemon.command([&["build"], arguments].concat());
    for name in [
        "BUILDKIT_PROGRESS",
        "DOCKER_BUILDKIT",
        "NO_COLOR",
        "CLICOLOR",
        "BUILDKIT_COLORS",
    ] {
        command.env_remove(name);
    }
    command
}

/// How many processes `sleep` so long.
pub(crate) fn sleeping(mark: &str) -> usize {
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ending = format!("sleep\0{mark}\0");
    let sleeps = |command: Vec<u8>| String::from_utf8_lossy(&command).ends_with(&ending);
    processes
        .filter(|process| std::fs::read(process.path().join("cmdline")).is_ok_and(sleeps))
        .count()
}

fn wait_for(what: &str, limit: Duration, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a `RUN` waits for: it goes on when this is dropped.
struct Prompter(TcpListener);

impl Prompter {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// What waits in a shell, and writes what it is told meanwhile.
    fn command(&self) -> String {
        format!("nc 127.0.0.1 {}", self.0.local_addr().unwrap().port())
    }

    /// The one that waits; it writes what this is told.
    fn listener(&self) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let since = Instant::now();
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert!(
                    error.kind() == std::io::ErrorKind::WouldBlock && since.elapsed() < GONE,
                    "{error}"
                ),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The rows of a screen, their times taken off.
fn rows(screen: &str) -> Vec<String> {
    let row = |row: &str| match row.rsplit_once(' ') {
        Some((text, time))
            if time
                .strip_suffix('s')
                .is_some_and(|time| time.parse::<f64>().is_ok()) =>
        {
            text.trim_end().to_owned()
        }
        _ => row.to_owned(),
    };
    screen.lines().map(row).collect()
}

#[test]
fn a_build_on_a_terminal_ends_with_all_its_steps() {
    let daemon = Daemon::start();
    let prompter = Prompter::new();
    let context = Context::with_shell(&format!(
        "FROM base AS one\nRUN echo first; {}; echo second > /f\nFROM base\nENV a=b\nCOPY --from=one /f /g\nWORKDIR /w\n",
        prompter.command()
    ));
    let mut terminal = Terminal::run(build(&daemon, &["-t", "x:1", context.arg()]), 80, 24);
    terminal.wait_shown(" => => # first");
    drop(prompter.listener());
    assert_eq!(terminal.end(), (Some(0), String::new()));
    let shown = terminal.screen.text();
    let all = rows(&shown);
    let (head, rest) = all.split_first().unwrap();
    assert!(
        head.starts_with("[+] Building ") && head.ends_with(" (9/9) FINISHED"),
        "{shown}"
    );
    assert_eq!(rest[0], " => [internal] load build definition from Dockerfile");
    let run = format!(
        " => [one 1/1] RUN echo first; {}; echo second > /f",
        prompter.command()
    );
    for row in [
        " => [base 1/2] COPY busybox /bin/busybox",
        run.as_str(),
        " => [stage-2 1/2] COPY --from=one /f /g",
        " => [stage-2 2/2] WORKDIR /w",
        " => exporting to image",
        " => => naming to docker.io/library/x:1",
    ] {
        assert_eq!(
            rest.iter().filter(|own| own.as_str() == row).count(),
            1,
            "{row}: {shown}"
        );
    }
    assert!(
        !shown.contains(" => => #"),
        "output is shown only while it comes: {shown}"
    );
    assert!(terminal.screen.is_cursor_shown() && terminal.screen.is_colored);
    // at most about ten drawings a second
    assert!(terminal.screen.drawings < 200, "{}", terminal.screen.drawings);

    let mut again = Terminal::run(build(&daemon, &["-t", "x:1", context.arg()]), 80, 24);
    assert_eq!(again.end().0, Some(0));
    assert!(
        again
            .screen
            .text()
            .contains(" => CACHED [one 1/1] RUN echo first"),
        "{}",
        again.screen.text()
    );
}

#[test]
fn a_failure_is_shown_with_its_output_and_its_lines() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo before; echo oh >&2; exit 7\nRUN true\n");
    let mut command = build(&daemon, &[context.arg()]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(command, 120, 24);
    assert_eq!(terminal.end(), (Some(7), String::new()));
    let shown = terminal.screen.text();
    assert!(!terminal.screen.is_colored, "{shown}");
    assert!(terminal.screen.is_cursor_shown());
    assert!(
        rows(&shown).contains(&" => ERROR [stage-1 1/2] RUN echo before; echo oh >&2; exit 7".to_owned()),
        "{shown}"
    );
    let log = "------\n > [stage-1 1/2] RUN echo before; echo oh >&2; exit 7:\n";
    let (_, rest) = shown.split_once(log).unwrap_or_else(|| panic!("{shown}"));
    assert!(
        rest.starts_with("before\noh\n------\n") || rest.starts_with("oh\nbefore\n------\n"),
        "{shown}"
    );
    assert!(
        rest.contains("   5 | >>> RUN echo before; echo oh >&2; exit 7\n"),
        "{shown}"
    );
    assert!(
        rest.contains("mica logs ") && rest.ends_with("returned a non-zero code: 7\n<end>"),
        "{shown}"
    );
}

#[test]
fn an_interrupted_build_leaves_the_terminal_clean_and_no_process() {
    let daemon = Daemon::start();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mark = format!("87{}{code}", daemon.pid());
        let context = Context::with_shell(&format!(
            "FROM base\nRUN echo begun; trap '' TERM INT; sleep {mark}\n"
        ));
        let mut terminal = Terminal::run(build(&daemon, &[context.arg()]), 70, 20);
        terminal.wait_shown(" => => # begun");
        wait_for("the step does not start", Duration::from_secs(20), || {
            sleeping(&mark) > 0
        });
        // what Ctrl-C leaves on the screen of a terminal that shows it
        terminal.type_in("^C");
        // the kernel's own thread echoes it, whenever that has its turn
        terminal.wait("^C");
        let since = Instant::now();
        terminal.signal(signal);
        assert_eq!(terminal.end(), (Some(code), String::new()));
        assert!(since.elapsed() < GONE);
        wait_for("the step goes on", GONE, || sleeping(&mark) == 0);
        let shown = terminal.screen.text();
        assert!(terminal.screen.is_cursor_shown());
        assert!(
            shown.contains(" => CANCELED [stage-1 1/1] RUN echo begun"),
            "{shown}"
        );
        assert!(!shown.contains("^C") && !shown.contains("FINISHED"), "{shown}");
        assert!(
            shown.ends_with("s\n<end>"),
            "the cursor is below the last row: {shown}"
        );
    }
}

#[test]
fn a_window_may_change_its_size_in_the_middle() {
    let daemon = Daemon::start();
    let prompter = Prompter::new();
    let context = Context::with_shell(&format!("FROM base\nRUN {}\n", prompter.command()));
    let mut terminal = Terminal::run(build(&daemon, &[context.arg()]), 100, 30);
    let mut run = prompter.listener();
    let mut say = |n: u8| {
        let line = format!("{n} a line of output that is longer than a narrow window is wide {n}\n");
        run.write_all(line.as_bytes()).unwrap();
    };
    say(1);
    terminal.wait_shown("is wide 1");
    terminal.resize(40, 30);
    say(2);
    terminal.wait_shown("# 2 a line of output that is lon");
    terminal.resize(120, 9);
    say(3);
    terminal.wait_shown("is wide 3");
    terminal.resize(60, 24);
    say(4);
    terminal.wait_shown("# 4 a line of output");
    drop(run);
    assert_eq!(terminal.end().0, Some(0));
    let shown = terminal.screen.text();
    let (_, last) = shown.rsplit_once("[+] Building").unwrap();
    assert!(
        last.contains("FINISHED") && last.contains(" => exporting to image "),
        "{shown}"
    );
}

#[test]
fn what_a_step_writes_moves_nothing() {
    let daemon = Daemon::start();
    let prompter = Prompter::new();
    let context = Context::with_shell(&format!(
        "FROM base\nRUN printf '\\033[2J\\033[H\\033[31mred\\033[0m\\n\\033]0;title\\007two\\r\\tthree\\n10%%\\r20%%'; {}\n",
        prompter.command()
    ));
    let mut terminal = Terminal::run(build(&daemon, &[context.arg()]), 60, 24);
    terminal.wait_shown(" => => # red\n => => # two     three\n => => # 20%");
    drop(prompter.listener());
    assert_eq!(terminal.end().0, Some(0));
    assert!(!terminal.seen.contains("\x1b[2J") && !terminal.seen.contains("title\x07"));
}

#[test]
fn elsewhere_it_is_lines_and_standard_output_stays_clean() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo one; echo two >&2; printf three\n");
    let ran = build(&daemon, &["--no-cache", context.arg()]).output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success() && ran.stdout.is_empty(), "{stderr}");
    for line in [
        "[internal] load build definition from Dockerfile\n",
        "[base 1/2] COPY busybox /bin/busybox\n",
        " one\n",
        " two\n",
        " three\n",
        "exporting to image\n",
    ] {
        assert!(
            stderr
                .lines()
                .any(|own| own.starts_with('#') && own.ends_with(line.trim_end())),
            "{line}: {stderr}"
        );
    }
    assert!(
        !stderr.contains('\x1b') && !stderr.contains("Successfully built"),
        "{stderr}"
    );
    let classic = build(&daemon, &["--progress=classic", context.arg()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&classic.stderr).contains("Successfully built "));
    let mut off = build(&daemon, &[context.arg()]);
    let off = off.env("DOCKER_BUILDKIT", "0").output().unwrap();
    assert!(String::from_utf8_lossy(&off.stderr).contains("Successfully built "));
}

#[test]
fn objects_tell_of_every_step_that_it_ended() {
    let daemon = Daemon::start();
    let context = Context::with_shell(
        "FROM base AS one\nRUN echo one; sleep 60\nFROM base\nRUN exit 3\nCOPY --from=one / /\n",
    );
    let ran = build(&daemon, &["--progress=rawjson", context.arg()])
        .output()
        .unwrap();
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(3), 0));
    let stderr = String::from_utf8(ran.stderr).unwrap();
    let (mut open, mut errors) = (std::collections::BTreeMap::new(), Vec::new());
    for line in stderr.lines().filter(|line| line.starts_with('{')) {
        let status: serde_json::Value = serde_json::from_str(line).unwrap();
        for vertex in status["vertexes"].as_array().into_iter().flatten() {
            let digest = vertex["digest"].as_str().unwrap().to_owned();
            if vertex["completed"].is_string() {
                open.remove(&digest);
                errors.extend(vertex["error"].as_str().map(str::to_owned));
            } else if vertex["started"].is_string() {
                open.insert(digest, vertex["name"].to_string());
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    errors.sort();
    assert_eq!(
        errors,
        [
            "context canceled",
            "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3"
        ]
    );
}

#[test]
fn a_hundred_megabytes_of_output_fill_no_memory_and_are_all_told() {
    const LINES: usize = 100;
    const LINE: usize = 1 << 20;
    let daemon = Daemon::start();
    let context = Context::with_shell(&format!(
        "FROM base\nRUN for i in $(seq {LINES}); do head -c {LINE} /dev/zero | tr '\\0' x; echo \" $i\"; done\n"
    ));
    let measured = |progress: &str| {
        let mut command = build(&daemon, &["--no-cache", progress, context.arg()]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let (mut bytes, mut peak) = (Vec::new(), 0);
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = std::io::Read::read(&mut stderr, &mut piece).unwrap();
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&piece[..count]);
            // the last look at a program that has ended finds nothing
            let text = fs_err::read_to_string(&status).unwrap_or_default();
            let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = high.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        assert!(child.wait().unwrap().success());
        (bytes, peak)
    };
    let (bytes, peak) = measured("--progress=plain");
    let text = String::from_utf8(bytes).unwrap();
    println!("peak memory of the client: {} MiB", peak >> 10);
    assert!(peak >> 10 < 40, "{peak} KiB");
    let output = text
        .lines()
        .filter_map(|line| line.splitn(3, ' ').nth(2))
        .filter(|line| line.starts_with('x'));
    let count: usize = output.map(|line| line.matches('x').count()).sum();
    assert_eq!(count, LINES * LINE);
    for line in 1..=LINES {
        assert!(text.contains(&format!(" {line}\n")), "{line}");
    }
}
