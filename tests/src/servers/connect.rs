//! A proxy that leads host names of the world to servers of this machine.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use super::listen;

/// The longest head of a request.
const HEAD: usize = 8 << 10;

/// An HTTP proxy that knows CONNECT only (RFC 9110, section 9.3.6); its threads end with the test.
pub struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Leads `host:port` to an address of this machine; everything else is refused.
    pub fn start(ways: &[(&str, SocketAddr)]) -> Self {
        let ways: HashMap<String, SocketAddr> =
            ways.iter().map(|(name, to)| ((*name).to_owned(), *to)).collect();
        let (listener, address) = listen();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (ways, seen) = (ways.clone(), seen.clone());
                // a connection that breaks is the client's to notice
                std::thread::spawn(move || serve(client, &ways, &seen));
            }
        });
        Self { address, asked }
    }

    /// What clients set as their proxy.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts that were asked for, with ports.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    mut client: TcpStream,
    ways: &HashMap<String, SocketAddr>,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(target.to_owned());
    let Some(to) = ways.get(target).filter(|_| method == "CONNECT") else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    let server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = io::copy(&mut from_server, &mut to_client);
    to_client.shutdown(Shutdown::Write)
}
