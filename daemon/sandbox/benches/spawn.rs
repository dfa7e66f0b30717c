//! Milliseconds for one `true` on busybox: the median of a few hundred.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "this is a measurement")]

#[path = "../tests/sandbox/room.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod room;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mica_sandbox::{HELPER_ARGUMENT, Network, init_main};

use crate::room::Room;

const ROUNDS: usize = 200;

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|first| first == HELPER_ARGUMENT) {
        return init_main();
    }
    // `cargo test --benches` only wants to see that it works.
    let rounds = if env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    if !rustix::process::geteuid().is_root() {
        println!("spawn: ignored, needs root");
        return ExitCode::SUCCESS;
    }
    for (name, network, processes) in [
        ("host network", Network::Host, None),
        ("host network, in a control group", Network::Host, Some(16_384)),
        ("no network", Network::None, None),
    ] {
        report(name, (0..rounds).map(|_| measure(network, processes)).collect());
    }
    ExitCode::SUCCESS
}

fn measure(network: Network, processes: Option<u64>) -> Duration {
    let mut room = Room::new();
    room.spec.network = network;
    room.spec.processes = processes;
    room.spec.hosts = Some(room.file("hosts", "127.0.0.1\tlocalhost\n"));
    room.spec.resolv_conf = Some(room.file("resolv.conf", "nameserver 10.0.0.1\n"));
    let start = Instant::now();
    let ran = room.run();
    let took = start.elapsed();
    assert_eq!(ran.outcome.exit.code(), 0, "{ran:?}");
    took
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    println!(
        "true, {name}: p10 {:.2} ms, p50 {:.2} ms, p90 {:.2} ms of {} runs",
        at(10),
        at(50),
        at(90),
        times.len()
    );
}
