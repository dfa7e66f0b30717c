//! Many small images pushed through a registry that fails now and then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::daemon::Daemon;
use crate::servers::{DockerRegistry, FaultProxy};

/// The length of each image's only file, in bytes; random, so that it does not shrink.
const FILE: usize = 100_000;
/// Pushes at a time.
const AT_A_TIME: usize = 16;
/// Faults in a thousand requests.
const RATE: u64 = 100;

/// What came of it.
#[derive(Debug)]
pub struct FaultyPushes {
    /// Pushes that ended well.
    pub succeeded: usize,
    /// What the others said.
    pub failures: Vec<String>,
    /// Requests, and how many of them went wrong on purpose.
    pub requests: (u64, u64),
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes that the registry has now and had not before.
    pub missing: u64,
    /// How long it took.
    pub took: Duration,
}

impl FaultyPushes {
    /// Pushes so many images, one after the other by several clients at a time, and looks each up at the registry afterwards.
    pub fn run(count: usize, seed: u64) -> Self {
        let registry = DockerRegistry::plain();
        let proxy = FaultProxy::start(&registry.address(), RATE, seed);
        let daemon = Daemon::start();
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        if let Err(failure) = push(&daemon, &proxy, &registry, number, seed) {
                            failures.lock().expect("nobody panics with it").push(failure);
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().expect("nobody panicked with it");
        Self {
            succeeded: count - failures.len(),
            failures,
            requests: proxy.counts(),
            sent: proxy.blob_bytes(),
            missing: registry.blob_bytes(),
            took: began.elapsed(),
        }
    }

    /// How many times what was missing was sent.
    pub fn ratio(&self) -> f64 {
        self.sent as f64 / self.missing as f64
    }
}

fn push(
    daemon: &Daemon,
    proxy: &FaultProxy,
    registry: &DockerRegistry,
    number: usize,
    seed: u64,
) -> Result<(), String> {
    let context = Context::new("FROM scratch\nCOPY file /file\n");
    let mut state = seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes: Vec<u8> = (0..FILE)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    fs_err::write(context.path().join("file"), bytes).map_err(|error| error.to_string())?;
    let rest = format!("n/{}:{number}", number % 7);
    let name = proxy.name(&rest);
    let built = daemon.mica(["build", "-q", "-t", &name, context.arg()]);
    if built.code != 0 {
        return Err(format!("build {number}: {}", built.stderr));
    }
    let pushed = daemon.mica(["push", "-q", &name]);
    if pushed.code != 0 {
        return Err(format!("push {number}: {}", pushed.stderr));
    }
    // as the registry itself has it
    let looked = daemon.mica(["manifest", "inspect", &registry.name(&rest)]);
    match looked.code {
        0 => Ok(()),
        _ => Err(format!("look for {number}: {}", looked.stderr)),
    }
}
