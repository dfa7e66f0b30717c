//! Builds Dockerfiles of the shapes that official images have, for real: a Debian base, packages, package registries.
//!
//! usage: real [NAME…] builds those of `real/` whose names contain one of the words. Nothing of the machine is written down here: package
//! sources, registries, proxies and authorities are those that its own clients are set up with.

#![allow(clippy::print_stdout, reason = "a test says what it found")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mica_tests::conformance::{Content, Facts, Image, Kind, describe};
use mica_tests::{Daemon, Options, copy_apt, put_debian_rootfs, run};

/// What the others are built on, in this order.
const BASES: [&str; 2] = ["debian", "buildpack"];

/// How many are built at the same time.
const WORKERS: usize = 2;

/// A build that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(900);

/// What the images and what they are made of take, in KiB, with room to spare.
const ROOM: u64 = 8 << 20;

/// Where the machine's certificate authorities lie in the images.
const AUTHORITIES: &str = "/etc/ssl/site.crt";

/// What is fetched through a client of the machine's own: variable, command that tells its value.
const CLIENTS: [(&str, &[&str]); 5] = [
    ("PIP_INDEX_URL", &["pip", "config", "get", "global.index-url"]),
    ("NPM_CONFIG_REGISTRY", &["npm", "config", "get", "registry"]),
    ("GOPROXY", &["go", "env", "GOPROXY"]),
    ("GOSUMDB", &["go", "env", "GOSUMDB"]),
    ("GONOSUMDB", &["go", "env", "GONOSUMDB"]),
];

/// Where everything is made: in memory where that has the room, as packages come in some hundred thousand files.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let told = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let free = rustix::fs::statvfs(memory).map_or(0, |of| of.f_bavail * of.f_frsize / 1024);
    if free.min(available.unwrap_or_default()) > ROOM {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/real")
}

/// Every Dockerfile there is but the bases.
fn names() -> Vec<String> {
    let entries = fs_err::read_dir(folder()).expect("the folder is there");
    let names = entries.map(|entry| {
        entry
            .expect("it can be read")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let mut names: Vec<_> = names.filter(|name| !BASES.contains(&name.as_str())).collect();
    names.sort();
    names
}

/// The image that a folder makes.
fn tag(name: &str) -> String {
    format!("{name}:12")
}

/// What the machine's own clients are set up with, as build arguments.
fn arguments() -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, command) in CLIENTS {
        let told = Command::new(command[0])
            .args(&command[1..])
            .stderr(Stdio::null())
            .output();
        let asked = told.ok().filter(|told| told.status.success());
        let asked = asked.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
        let value = std::env::var(name).ok().or(asked).unwrap_or_default();
        if !value.is_empty() && value != "undefined" {
            arguments.push(format!("{name}={value}"));
        }
    }
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        let value = std::env::var(name).or_else(|_| std::env::var(name.to_uppercase()));
        arguments.extend(value.ok().map(|value| format!("{name}={value}")));
    }
    let authorities = ["PIP_CERT", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
    arguments.extend(authorities.iter().map(|name| format!("{name}={AUTHORITIES}")));
    arguments
}

/// Package sources and authorities of this machine, as they lie in an image.
fn put_host(host: &Path) {
    fs_err::create_dir_all(host.join("etc/ssl")).expect("folders can be made");
    copy_apt(&host.join("etc/apt"));
    let own =
        std::env::var("SSL_CERT_FILE").unwrap_or_else(|_| "/etc/ssl/certs/ca-certificates.crt".to_owned());
    fs_err::copy(own, host.join(AUTHORITIES.trim_start_matches('/'))).expect("ca-certificates is installed");
    let local = Path::new("/usr/local/share/ca-certificates");
    if local.exists() {
        let to = host.join("usr/local/share");
        fs_err::create_dir_all(&to).expect("folders can be made");
        run(Command::new("cp").arg("-aL").arg(local).arg(to)).ok();
    }
}

/// A copy of a folder to build from, with what the machine adds.
fn context(name: &str, work: &Path) -> PathBuf {
    let context = work.join(name);
    run(Command::new("cp")
        .arg("-a")
        .arg(folder().join(name))
        .arg(&context))
    .ok();
    if name == "debian" {
        put_debian_rootfs(&context.join("rootfs.tar"));
        put_host(&context.join("host"));
    }
    context
}

/// Runs `mica build`; what it told, or why it failed.
fn build(
    daemon: &Daemon,
    name: &str,
    arguments: &[String],
    expectation: &str,
    work: &Path,
) -> Result<String, String> {
    let mut command = daemon.command(["build", "-t", &tag(name)]);
    let own = expectation.lines().filter_map(|line| line.strip_prefix("arg "));
    for argument in arguments.iter().map(String::as_str).chain(own) {
        command.arg("--build-arg").arg(argument);
    }
    let log = work.join(format!("{name}.log"));
    let file = fs_err::File::create(&log).expect("files can be made").into_file();
    let again = file.try_clone().expect("files can be opened twice");
    let mut child = command
        .arg(context(name, work))
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(again)
        .spawn()
        .expect("mica can be run");
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        if began.elapsed() > LIMIT {
            child.kill().expect("it can be killed");
            break child.wait().expect("it can be waited for");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let told = String::from_utf8_lossy(&fs_err::read(&log).expect("it was written")).into_owned();
    let lines: Vec<_> = told.lines().collect();
    let end = lines[lines.len().saturating_sub(30)..].join("\n    ");
    status
        .success()
        .then_some(told)
        .ok_or(format!("{status}\n    {end}"))
}

/// What an image holds.
fn saved(daemon: &Daemon, name: &str, work: &Path) -> Facts {
    let archive = work.join(format!("{name}.tar"));
    let mut save = daemon.command(["save", "-o"]);
    run(save.arg(&archive).arg(tag(name))).ok();
    let bytes = fs_err::read(&archive).expect("it was saved");
    fs_err::remove_file(&archive).expect("files can be removed");
    let image = Image::read(&bytes).expect("the image can be read");
    describe(&image, i64::MAX)
}

/// Whether a line of an expectation holds: `told TEXT`, `has MODE UID:GID PATH`, `lacks PATH`, `text PATH TEXT`, `config NAME JSON`,
/// `layers NUMBER`; `arg` lines are flags of the build.
fn holds(line: &str, told: &str, facts: &Facts) -> bool {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<_> = rest.splitn(3, ' ').collect();
    match (word, words.as_slice()) {
        ("arg", _) => true,
        ("told", _) => told.contains(rest),
        ("has", [mode, owner, path]) => facts.files.get(*path).is_some_and(|entry| {
            format!("{:o}", entry.mode) == *mode && format!("{}:{}", entry.owner.0, entry.owner.1) == *owner
        }),
        ("lacks", [path]) => !facts.files.contains_key(*path),
        ("text", [path, text]) => facts.files.get(*path).is_some_and(|entry| {
            matches!(&entry.kind, Kind::File(Content::Bytes(bytes)) if String::from_utf8_lossy(bytes).trim_end() == *text)
        }),
        ("config", _) => {
            let (name, value) = rest.split_once(' ').unwrap_or((rest, "null"));
            facts.config.get(name).is_some_and(|found| found == value)
        }
        ("layers", [number]) => facts.layers.len().to_string() == *number,
        _ => false,
    }
}

/// Builds one and looks at it; what is wrong.
fn tried(daemon: &Daemon, name: &str, arguments: &[String], work: &Path) -> Vec<String> {
    let expectation = fs_err::read_to_string(folder().join(name).join("expect"))
        .expect("every folder says what it expects");
    let told = match build(daemon, name, arguments, &expectation, work) {
        Ok(told) => told,
        Err(why) => return vec![why],
    };
    let facts = saved(daemon, name, work);
    let wrong = expectation.lines().filter(|line| !holds(line, &told, &facts));
    wrong.map(|line| format!("does not hold: {line}")).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen = |name: &String| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let names: Vec<String> = names().into_iter().filter(chosen).collect();
    let bases = if names.is_empty() { &[][..] } else { &BASES[..] };
    if std::env::args().any(|word| word == "--list") {
        bases
            .iter()
            .map(|name| (*name).to_owned())
            .chain(names)
            .for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", bases.len() + names.len());
    let began = Instant::now();
    let failed = Mutex::new(0);
    if !names.is_empty() {
        let place = place();
        let daemon = Daemon::with(Options::default().within(&place));
        let work = tempfile::Builder::new()
            .prefix("mica-real-")
            .tempdir_in(&place)
            .expect("a folder can be made");
        let arguments = arguments();
        let one = |name: &str| {
            let began = Instant::now();
            // one broken build must not hide the others
            let work = std::panic::AssertUnwindSafe(|| tried(&daemon, name, &arguments, work.path()));
            let wrong = std::panic::catch_unwind(work)
                .unwrap_or_else(|_| vec!["the runner stopped (see above)".to_owned()]);
            *failed.lock().expect("nobody panics with it") += usize::from(!wrong.is_empty());
            let word = if wrong.is_empty() { "ok" } else { "FAILED" };
            let shown: String = wrong.iter().map(|line| format!("\n    {line}")).collect();
            println!(
                "test {name} ... {word} ({:.1}s){shown}",
                began.elapsed().as_secs_f32()
            );
        };
        bases.iter().for_each(|name| one(name));
        let queue = Mutex::new(names.iter());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("nobody panics with it").next();
                        let Some(name) = next else { break };
                        one(name);
                    }
                });
            }
        });
    }
    let failed = *failed.lock().expect("nobody panics with it");
    let passed = bases.len() + names.len() - failed;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    ExitCode::from(u8::from(failed != 0))
}
