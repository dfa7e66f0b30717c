//! A way to a server that lets answers through as slowly as a distant one's come.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::listen;

/// How much is let through at once.
const PIECE: usize = 256 << 10;
/// How long nothing is let through after a piece.
const PAUSE: Duration = Duration::from_millis(10);

/// What all connections of a proxy share: one piece at a time.
type Turn = Arc<Mutex<()>>;

/// A proxy of connections before one server; its threads end with the test.
pub struct SlowProxy {
    address: SocketAddr,
}

impl SlowProxy {
    /// A proxy before `upstream` (`host:port`) that lets at most 25 MiB a second through, on all connections together.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(upstream: &str) -> Self {
        let (listener, address) = listen();
        let upstream = upstream.to_owned();
        let turn = Turn::default();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // either end may be gone already, which the other one sees
                let _ = join(client, &upstream, turn.clone());
            }
        });
        Self { address }
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

fn join(client: TcpStream, upstream: &str, turn: Turn) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let _ = trickle(&mut from_server, &mut to_client, &turn);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    Ok(())
}

fn trickle(from: &mut TcpStream, to: &mut TcpStream, turn: &Turn) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&piece[..count])?;
        let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(PAUSE);
    }
}
