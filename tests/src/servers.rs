//! Servers that tests talk to beside the daemon: real registries, and proxies that get in the way.

mod certificate;
mod connect;
mod docker_registry;
mod faults;
mod form;
mod jwt;
mod loopback;
mod search;
mod slow;
mod token;

pub use certificate::Certificate;
pub use connect::ConnectProxy;
pub use docker_registry::{DockerRegistry, NAMED};
pub use faults::FaultProxy;
pub use search::{SearchReply, SearchRequest, SearchServer};
pub use slow::SlowProxy;
pub use token::{TokenCounts, TokenService};

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of this machine that is free, for a program that is told which to take. Nobody who leaves the choice to the kernel gets
/// it meanwhile: it is none of those (`ip_local_port_range` in ip(7)).
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // processes that run at the same time begin at different places
    let first = (std::process::id() % 1000) as u16 * 10;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..10_000)
        .map(|_| 20_000 + (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .find(free)
        .expect("a port is free")
}

/// A listener on a free port of this machine.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}
