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

/// A listener on a free port of this machine.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}
