//! A file on its way to the daemon, in pieces.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver};

use crate::client::Body;
use crate::error::Error;

/// The size of the pieces an archive is sent in.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces on their way between the reading thread and the socket.
const PIECES_IN_FLIGHT: usize = 8;

/// A file that was opened just now as a body, with its length if that is known: by it the daemon finds out that there is no room before
/// any of it is sent.
pub(crate) fn body(file: File) -> Result<Body, Error> {
    let data = file.metadata().map_err(|source| Error::Input { source })?;
    // files of /proc say that they are empty
    match data.is_file() && data.len() > 0 {
        true => {
            let left = data.len();
            Ok(Body::Sized(pieces(Whole { file, left })?, left))
        }
        false => Ok(Body::Pieces(pieces(file)?)),
    }
}

/// As much of a file as it had when it was looked at; it is an error if there is less now.
struct Whole {
    file: File,
    left: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&mut self.file).take(self.left).read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

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

#[cfg(test)]
mod tests {
    use hyper::body::Body as _;

    use super::*;

    async fn received(body: Body) -> io::Result<Vec<u8>> {
        let (Body::Pieces(mut pieces) | Body::Sized(mut pieces, _)) = body else {
            panic!("{body:?}");
        };
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_file_is_sent_as_long_as_it_was_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let all = vec![7; PIECE_BYTES * 3 + 5];
        std::fs::write(&path, &all).unwrap();
        let sent = body(File::open(&path).unwrap()).unwrap();
        assert_eq!(sent.size_hint().exact(), Some(all.len() as u64));
        assert_eq!(received(sent).await.unwrap(), all);

        let mut whole = Whole {
            file: File::open(&path).unwrap(),
            left: all.len() as u64,
        };
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .set_len(all.len() as u64 + 9)
            .unwrap();
        let mut longer = Vec::new();
        whole.read_to_end(&mut longer).unwrap();
        assert_eq!(longer, all);

        let whole = Whole {
            file: File::open(&path).unwrap(),
            left: all.len() as u64,
        };
        std::fs::write(&path, &all[1..]).unwrap();
        let error = received(Body::Pieces(pieces(whole).unwrap())).await.unwrap_err();
        assert!(error.to_string().contains("became shorter"), "{error}");
    }

    #[tokio::test]
    async fn what_has_no_length_is_sent_without() {
        let file = body(File::open("/proc/self/status").unwrap()).unwrap();
        assert_eq!(file.size_hint().exact(), None);
        assert!(!received(file).await.unwrap().is_empty());
    }
}
