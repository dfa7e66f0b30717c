//! A file on its way to the daemon, in pieces.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver};

use crate::error::Error;

/// The size of the pieces an archive is sent in.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces on their way between the reading thread and the socket.
const PIECES_IN_FLIGHT: usize = 8;

/// Reads the file in a thread, which ends when nobody takes the pieces any more.
pub(crate) fn pieces(mut file: impl Read + Send + 'static) -> Result<Receiver<io::Result<Bytes>>, Error> {
    let (sender, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    let work = move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let piece = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("archive".to_owned()).spawn(work);
    started
        .map(|_| receiver)
        .map_err(|source| Error::Input { source })
}
