//! `mica system dial-stdio`: the daemon's socket on standard input and output, which is how docker's command line on
//! another machine reaches this one's daemon through ssh.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::client::Client;
use crate::error::Error;
use crate::ui;

pub(super) async fn run(client: &Client) -> Result<(), Error> {
    let broken = |source: io::Error| Error::Transport {
        action: "speaking to the daemon",
        source: source.into(),
    };
    let mut socket = client.connect().await?.into_std().map_err(broken)?;
    socket.set_nonblocking(false).map_err(broken)?;
    let sending = socket.try_clone().map_err(broken)?;
    let input = ui::input()?;
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || send(input, sending))
        .map_err(broken)?;
    io::copy(&mut socket, &mut ui::output()?).map_err(broken)?;
    Ok(())
}

/// Copies what comes in; its end is passed on, and a daemon that hangs up is seen by whoever reads from it.
fn send(mut input: impl io::Read, mut socket: UnixStream) {
    let _seen_by_the_reader = io::copy(&mut input, &mut socket);
    let _gone = socket.shutdown(Shutdown::Write);
}
