//! A reader of which can be seen what comes next.

use std::io::{self, BufRead, Read};

/// Reads `inner`, having looked ahead in it.
pub(crate) struct Ahead<R> {
    inner: R,
    /// What was read of `inner` to look at it.
    seen: Vec<u8>,
    /// How much of that was read again.
    at: usize,
}

impl<R: BufRead> Ahead<R> {
    /// Reads `inner`, of which nothing was looked at yet.
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            seen: Vec::new(),
            at: 0,
        }
    }

    /// The `count` bytes that come next, or as many as there are. They are all in memory. If reading fails, what was
    /// read until then still comes.
    pub(crate) fn look(&mut self, count: usize) -> io::Result<&[u8]> {
        let left = self.seen.len() - self.at;
        if let Some(missing) = count.checked_sub(left).filter(|missing| *missing > 0) {
            self.seen.drain(..self.at);
            self.at = 0;
            self.seen.reserve(missing);
            (&mut self.inner)
                .take(missing as u64)
                .read_to_end(&mut self.seen)?;
        }
        let end = self.seen.len().min(self.at + count);
        Ok(&self.seen[self.at..end])
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let read = ready.len().min(buf.len());
        buf[..read].copy_from_slice(&ready[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.at < self.seen.len() {
            true => Ok(&self.seen[self.at..]),
            false => self.inner.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self.at < self.seen.len() {
            true => self.at += amount,
            false => self.inner.consume(amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn looking_changes_nothing(
            data in proptest::collection::vec(any::<u8>(), 0..600),
            steps in proptest::collection::vec((0_usize..200, 0_usize..80), 0..40),
        ) {
            let mut ahead = Ahead::new(io::BufReader::with_capacity(16, &data[..]));
            let mut read = 0;
            for (look, take) in steps {
                let expected = &data[read..data.len().min(read + look)];
                prop_assert_eq!(ahead.look(look).unwrap(), expected);
                let mut buf = vec![0; take];
                let n = ahead.read(&mut buf).unwrap();
                prop_assert_eq!(&buf[..n], &data[read..read + n]);
                read += n;
            }
            let mut rest = Vec::new();
            ahead.read_to_end(&mut rest).unwrap();
            prop_assert_eq!(&rest[..], &data[read..]);
        }
    }
}
