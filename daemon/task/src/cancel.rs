//! The wish that a piece of work should stop, and readers and writers that obey it.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says whether a piece of work should stop. Clones share the wish.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Wish>);

#[derive(Debug, Default)]
struct Wish {
    stop: AtomicBool,
    /// The whole that this is a part of.
    whole: Option<Cancel>,
}

/// The work was stopped because nobody wants it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the work was cancelled")
    }
}

impl std::error::Error for Cancelled {}

impl Cancel {
    /// Nobody has asked to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A wish for a part of the work: the part stops with the whole, and can be stopped alone.
    pub fn part(&self) -> Self {
        Self(Arc::new(Wish {
            stop: AtomicBool::new(false),
            whole: Some(self.clone()),
        }))
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.stop.store(true, Ordering::Release);
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.stop.load(Ordering::Acquire) || self.0.whole.as_ref().is_some_and(Self::is_cancelled)
    }

    /// An error once someone asked to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// Wraps a reader or writer so that it fails once someone asked to stop.
    pub fn guard<T>(&self, inner: T) -> Cancellable<T> {
        Cancellable {
            inner,
            cancel: self.clone(),
        }
    }
}

/// A reader or writer that fails with [`Cancelled`] inside an [`io::Error`] once the work should stop.
pub struct Cancellable<T> {
    inner: T,
    cancel: Cancel,
}

impl<T> Cancellable<T> {
    /// The wrapped value.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<R: Read> Read for Cancellable<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.read(buf)
    }
}

impl<W: Write> Write for Cancellable<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_alone() {
        let whole = Cancel::new();
        let [one, two] = [whole.part(), whole.part()];
        one.cancel();
        assert_eq!(
            [&whole, &one, &two].map(Cancel::is_cancelled),
            [false, true, false]
        );
        whole.cancel();
        assert!(two.is_cancelled());
    }

    #[test]
    fn a_cancelled_reader_and_writer_fail() {
        let cancel = Cancel::new();
        let mut reader = cancel.guard(&b"abc"[..]);
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        cancel.clone().cancel();
        let error = reader.read(&mut byte).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Cancelled>()));
        assert!(cancel.guard(Vec::new()).write(b"x").is_err());
    }
}
