//! The verb logs: what the last builds told.

use std::io::{self, Read};

use bytes::Bytes;
use mica_oci::BuildId;
use mica_store::LogEntry;
use tokio::sync::mpsc;

use crate::bridge::pieces;
use crate::engine::Engine;
use crate::error::Error;

impl Engine {
    /// The logs that are kept, the newest first.
    pub fn logs(&self) -> Result<Vec<LogEntry>, Error> {
        Ok(self.store().logs()?)
    }

    /// The text of a log, read as it is wanted.
    pub fn log(&self, build: &BuildId) -> Result<mpsc::Receiver<io::Result<Bytes>>, Error> {
        let file = self
            .store()
            .log(build)?
            .ok_or(Error::NoSuchLog { build: *build })?;
        Ok(pieces(move || {
            let text = zstd::Decoder::new(file)?;
            Ok(Box::new(UpToTheBreak { text, broken: false }))
        }))
    }
}

/// A text that may break off: the build is still running, or the daemon was killed. What is there is worth showing.
struct UpToTheBreak<R> {
    text: R,
    broken: bool,
}

impl<R: Read> Read for UpToTheBreak<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        const NOTE: &[u8] = b"[the log has no end: the build is not over, or was cut off]\n";
        if self.broken {
            return Ok(0);
        }
        match self.text.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && buf.len() >= NOTE.len() => {
                self.broken = true;
                buf[..NOTE.len()].copy_from_slice(NOTE);
                Ok(NOTE.len())
            }
            other => other,
        }
    }
}
