//! A disk that is full: what fails says what to do and gives back what it took, and room can be made without a free byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mica_tests::{Context, Daemon, FakeRegistry, Options, Ran, SmallDisk};

/// How many MiB the disk of a daemon has.
const DISK: u64 = 96;
/// More than fits on it, in bytes.
const TOO_MUCH: u64 = 120 << 20;
/// What may be gone after a failure, in bytes: pages of the database and its log, and blocks of folders.
const SLACK: u64 = 256 << 10;
/// The length of an image that is pruned, in bytes; more than the ballast takes of its room.
const HEAVY: u64 = 16 << 20;
/// How long what was removed may take to give its room back.
const BACK: Duration = Duration::from_secs(60);

/// A daemon whose store is on a small disk, and an image with a shell in it.
struct World {
    daemon: Daemon,
    disk: SmallDisk,
}

impl World {
    fn start(what: &str) -> Option<Self> {
        let disk = SmallDisk::make(DISK, what)?;
        let daemon = Daemon::with(Options::default().root(&disk.path().join("store")));
        let world = Self { daemon, disk };
        let context = Context::with_shell("FROM base\nRUN true\n");
        world
            .daemon
            .mica(["build", "-q", "-t", "shell", context.arg()])
            .ok();
        Some(world)
    }

    /// What is free when all that is removed has given its room back.
    fn free(&self) -> u64 {
        let trash = self.daemon.root().join("mica/trash");
        let began = Instant::now();
        while fs_err::read_dir(&trash).unwrap().next().is_some() {
            assert!(began.elapsed() < BACK, "the trash is not emptied");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.disk.free()
    }

    /// Does what fills the disk, and sees that it is told of with these words, that all is given back, and that the daemon is well.
    #[track_caller]
    fn fails(&self, words: &[&str], work: impl FnOnce() -> Ran) {
        let before = self.free();
        let ran = work();
        let said = format!("{}{}", ran.stdout, ran.stderr);
        println!(
            "exit code {}: {}",
            ran.code,
            said.lines().last().unwrap_or_default()
        );
        assert_ne!(ran.code, 0, "{said}");
        let root = self.daemon.root();
        let next = [root.to_str().unwrap(), "mica system prune", " free"];
        for word in words.iter().chain(&next) {
            assert!(said.contains(word), "{word}: {said}");
        }
        // what came whole before the disk was full goes a moment later
        let began = Instant::now();
        let mut after = self.free();
        while after + SLACK < before && began.elapsed() < BACK {
            std::thread::sleep(Duration::from_millis(10));
            after = self.free();
        }
        println!("{before} bytes were free, now {after}");
        assert!(after + SLACK >= before, "{before} bytes were free, now {after}");
        self.is_well();
    }

    /// The daemon answers, and its store is whole.
    #[track_caller]
    fn is_well(&self) {
        self.daemon.mica(["images"]).ok();
        self.daemon.mica(["system", "df"]).ok();
        let checked = self.daemon.mica(["system", "check"]);
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    }
}

/// A context whose file `big` is longer than the disk, and has no zeros that could be left out.
fn too_much(dockerfile: &str) -> Context {
    let context = Context::new(dockerfile);
    fs_err::write(context.path().join("big"), noise(TOO_MUCH)).unwrap();
    context
}

/// Bytes that cannot be compressed.
fn noise(length: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length / 8).flat_map(|_| next()).collect();
    bytes.truncate(length as usize);
    bytes
}

/// A tar of one file with these bytes.
fn tar(bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"file");
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

#[test]
fn builds() {
    let Some(world) = World::start("builds on a full disk") else {
        return;
    };
    let full = ["is full", "No space left on device"];
    let copy = too_much("FROM scratch\nCOPY big /\n");
    world.fails(&full, || world.daemon.mica(["build", copy.arg()]));
    let add = too_much("FROM scratch\nADD big /\n");
    world.fails(&full, || {
        world.daemon.mica(["build", "--progress=plain", add.arg()])
    });
    let run = Context::new("FROM shell\nRUN dd if=/dev/zero of=/big bs=1M; false\n");
    world.fails(&["is full", "exit code: 1"], || {
        world.daemon.mica(["build", "--progress=plain", run.arg()])
    });
    let run = Context::new("FROM shell\nRUN dd if=/dev/zero of=/big bs=1M\n");
    world.fails(&["is full", "non-zero code: 1"], || {
        world.daemon.mica(["build", run.arg()])
    });
    // a program that tidies up after itself, a moment after it has said why
    let run =
        Context::new("FROM shell\nRUN dd if=/dev/zero of=/big bs=1M || { sleep 4; rm /big; exit 3; }\n");
    world.fails(&["is full", "non-zero code: 3"], || {
        world.daemon.mica(["build", run.arg()])
    });
    // what it wrote to a cache mount is its own, and stays until it is pruned
    let run = Context::new("FROM shell\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/big bs=1M\n");
    let filled = world.daemon.mica(["build", run.arg()]);
    assert_ne!(filled.code, 0);
    assert!(filled.stderr.contains("is full"), "{}", filled.stderr);
    world
        .daemon
        .mica(["builder", "prune", "-f", "--filter", "type=exec.cachemount"])
        .ok();
    assert!(world.free() > 60 << 20, "{} bytes are free", world.free());
    world.is_well();
    // what has room is built as ever
    let small = Context::new("FROM shell\nRUN echo > /small\n");
    world.daemon.mica(["build", "-q", small.arg()]).ok();
}

#[test]
fn contexts() {
    let Some(world) = World::start("contexts on a full disk") else {
        return;
    };
    let context = too_much("FROM scratch\nCOPY Dockerfile /\n");
    // the classic client sends it as a tar, and does not say how long it is
    world.fails(&["is full", "No space left on device"], || {
        world.daemon.docker(["build", context.arg()])
    });
    // who says so is told before it is read
    world.fails(&["the build context needs 110MB on the disk of"], || {
        ran(&world.daemon.post("/build", &vec![0; 105 << 20]))
    });
}

#[test]
fn archives() {
    let Some(world) = World::start("archives on a full disk") else {
        return;
    };
    let other = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY big /\n");
    fs_err::write(context.path().join("big"), noise(100 << 20)).unwrap();
    other.mica(["build", "-q", "-t", "big", context.arg()]).ok();
    let archive = other.folder().join("big.tar");
    let archive = archive.to_str().unwrap();
    other.mica(["save", "-o", archive, "big"]).ok();
    let full = ["is full", "No space left on device"];
    // whose length is told is refused before any of it is written; docker's are not
    let needs = ["the archive needs 105MB on the disk of"];
    world.fails(&needs, || world.daemon.mica(["load", "-i", archive]));
    world.fails(&needs, || world.daemon.mica(["import", archive]));
    world.fails(&full, || world.daemon.docker(["load", "-i", archive]));
    let bytes = fs_err::read(archive).unwrap();
    // what is left of a download
    let left = world.daemon.root().join("mica/partial").join("a".repeat(64));
    fs_err::write(&left, noise(20 << 20)).unwrap();
    for path in ["/images/load", "/images/create?fromSrc=-"] {
        world.fails(&needs, || ran(&world.daemon.post(path, &bytes)));
    }
    assert!(left.exists(), "it goes for nothing that has no room without it");
    world.disk.fill_but(16 << 20);
    let answer = world
        .daemon
        .post("/images/create?fromSrc=-", &tar(&noise(20 << 20)));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!left.exists(), "it goes where that helps");
    world.disk.empty();
    world.fails(&full, || world.daemon.docker(["import", archive]));
}

/// What was answered, as a program would have told it.
fn ran(answer: &mica_tests::Answer) -> Ran {
    Ran {
        code: i32::from(answer.status != 200),
        stdout: String::new(),
        stderr: answer.text(),
    }
}

#[test]
fn pulls() {
    let Some(world) = World::start("pulls on a full disk") else {
        return;
    };
    let registry = FakeRegistry::start();
    registry.image(
        "large",
        Some("1"),
        &[tar(&noise(60 << 20)), tar(&noise(61 << 20))],
    );
    let large = format!("{}/large:1", registry.host());
    let needs = format!("{large} needs 134MB on the disk of");
    world.fails(&[&needs], || world.daemon.mica(["pull", &large]));
    world.fails(&[&needs], || world.daemon.docker(["pull", &large]));
    let from = Context::new(&format!("FROM {large}\n"));
    world.fails(&[&needs], || world.daemon.mica(["build", from.arg()]));
    assert!(
        registry.requests_like("GET /v2/large/blobs").len() <= 3,
        "only configs were asked for"
    );

    // the disk becomes full while they come
    registry.image("some", Some("1"), &[tar(&noise(12 << 20)), tar(&noise(13 << 20))]);
    let gate = Gate::before(registry.port(), 16 << 20);
    let some = format!("127.0.0.1:{}/some:1", gate.port);
    world.disk.fill_but(40 << 20);
    world.fails(&["is full", "No space left on device"], || {
        std::thread::scope(|scope| {
            let pull = scope.spawn(|| world.daemon.mica(["pull", &some]));
            gate.wait();
            let filler = world.disk.path().join("more");
            let file = std::fs::File::create(&filler).unwrap();
            // what has come so far is still being written
            while let Err(errno) = rustix::fs::fallocate(
                &file,
                rustix::fs::FallocateFlags::empty(),
                0,
                world.disk.free() - (1 << 20),
            ) {
                assert_eq!(errno, rustix::io::Errno::NOSPC);
            }
            gate.open();
            let pulled = pull.join().unwrap();
            fs_err::remove_file(&filler).unwrap();
            pulled
        })
    });
    let partial = world.daemon.root().join("mica/partial");
    assert_eq!(fs_err::read_dir(partial).unwrap().count(), 0);
    world.disk.empty();
    world.daemon.mica(["pull", "-q", &some]).ok();
}

#[test]
fn pushes() {
    let Some(world) = World::start("pushes on a full disk") else {
        return;
    };
    let registry = FakeRegistry::start();
    let name = format!("{}/pushed:1", registry.host());
    let context = Context::new("FROM scratch\nCOPY big /\n");
    fs_err::write(context.path().join("big"), noise(20 << 20)).unwrap();
    world
        .daemon
        .mica(["build", "-q", "-t", &name, context.arg()])
        .ok();
    world.disk.fill_but(6 << 20);
    let full = ["is full", "No space left on device"];
    world.fails(&full, || world.daemon.mica(["push", &name]));
    world.fails(&full, || world.daemon.docker(["push", &name]));
    world.disk.empty();
    world.daemon.mica(["push", "-q", &name]).ok();
}

#[test]
fn room_is_made_without_a_free_byte() {
    let Some(mut world) = World::start("making room on a full disk") else {
        return;
    };
    for n in 0..40 {
        let context = Context::new(&format!(
            "FROM shell\nRUN --mount=type=cache,id={n},target=/c echo {n} > /c/f\nRUN echo {n} > /f\nCOPY Dockerfile /\n"
        ));
        let tag = format!("some:{n}");
        world.daemon.mica(["build", "-q", "-t", &tag, context.arg()]).ok();
    }
    world.daemon.mica(["tag", "some:0", "other:0"]).ok();
    let heavy = Context::new("FROM scratch\nCOPY big /\n");
    fs_err::write(heavy.path().join("big"), noise(HEAVY)).unwrap();
    world
        .daemon
        .mica(["build", "-q", "-t", "heavy", heavy.arg()])
        .ok();
    world.disk.fill();
    world.daemon.mica(["rmi", "other:0"]).ok();
    // what was given up is taken again
    assert!(world.disk.free() < 1 << 20, "{}", world.disk.free());
    world.disk.fill();
    world.daemon.mica(["rmi", "some:0"]).ok();
    world.disk.fill();

    // it is opened without a free byte, after a kill and after an orderly end
    world.daemon.kill();
    world.disk.fill();
    world.daemon.spawn();
    world.is_well();
    world.disk.fill();
    assert_eq!(world.daemon.stop(), Some(0));
    world.disk.fill();
    world.daemon.spawn();
    world.is_well();
    world.disk.fill();

    world.daemon.mica(["builder", "prune", "-af"]).ok();
    assert_eq!(
        world
            .daemon
            .mica(["builder", "du", "--format", "{{.ID}}"])
            .ok()
            .text(),
        ""
    );
    world.is_well();
    world.disk.fill();
    let before = world.free();
    world.daemon.mica(["system", "prune", "-af"]).ok();
    let after = world.free();
    println!("system prune gave {} bytes", after - before);
    assert!(
        after + (4 << 20) >= before + HEAVY,
        "{before} bytes were free, now {after}"
    );
    assert!(world.daemon.mica(["images", "-aq"]).ok().stdout.is_empty());
    world.is_well();
    // the ballast is there again
    let ballast = world.daemon.root().join("mica/ballast");
    assert!(fs_err::metadata(ballast).unwrap().len() >= 256 << 10);
    world.disk.empty();
    let context = Context::with_shell("FROM base\nRUN true\n");
    world.daemon.mica(["build", "-q", context.arg()]).ok();
}

/// Stands before a registry and lets no more than some bytes of its answers through until it is opened.
struct Gate {
    port: u16,
    state: Arc<(Mutex<Passed>, Condvar)>,
}

struct Passed {
    /// Bytes that are still let through.
    left: u64,
    is_open: bool,
}

impl Gate {
    fn before(registry: u16, left: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let passed = Passed { left, is_open: false };
        let state = Arc::new((Mutex::new(passed), Condvar::new()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", registry)).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, None));
                let state = shared.clone();
                std::thread::spawn(move || pass(server, client, Some(&state)));
            }
        });
        Self { port, state }
    }

    /// Waits until as much was let through as may be.
    fn wait(&self) {
        let passed = self.state.0.lock().unwrap();
        let (passed, _) = self
            .state
            .1
            .wait_timeout_while(passed, BACK, |passed| passed.left > 0)
            .unwrap();
        assert_eq!(passed.left, 0, "nobody asks for so much");
    }

    fn open(&self) {
        self.state.0.lock().unwrap().is_open = true;
        self.state.1.notify_all();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: Option<&(Mutex<Passed>, Condvar)>) {
    let mut buffer = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some((passed, changed)) = state {
            let mut passed = passed.lock().unwrap();
            passed.left = passed.left.saturating_sub(count as u64);
            changed.notify_all();
            while passed.left == 0 && !passed.is_open {
                passed = changed.wait(passed).unwrap();
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
