//! A buffered reader that knows its position and can skip.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use super::BLOCK;

/// Large enough that a hash and a copy run at full speed, small enough to stay in the cache.
const BUFFER: usize = 256 << 10;

pub(super) struct Input<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where the reader stands, buffered bytes not counted.
    offset: u64,
    /// How to move ahead by so many bytes without reading, at most to the end; tells how far it went.
    seek: Option<fn(&mut R, u64) -> io::Result<u64>>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
            seek: None,
        }
    }

    pub(super) fn seekable(inner: R) -> Self
    where
        R: Seek,
    {
        Self {
            seek: Some(seek_ahead),
            ..Self::new(inner)
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads a whole block; `false` at the end of the stream, an error amid a block.
    pub(super) fn read_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok(true)
    }

    /// Moves ahead by `len` bytes or to the end of the stream; tells how far it went.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<u64> {
        let buffered = ((self.end - self.start) as u64).min(len);
        // at most what the buffer holds
        self.start += buffered as usize;
        let mut skipped = buffered;
        if let Some(seek) = self.seek
            && skipped < len
        {
            skipped += seek(&mut self.inner, len - skipped)?;
        }
        while self.seek.is_none() && skipped < len {
            let ready = self.fill()?;
            if ready == 0 {
                break;
            }
            let n = (ready as u64).min(len - skipped);
            self.start += n as usize;
            skipped += n;
        }
        self.offset += skipped;
        Ok(skipped)
    }

    /// Reads all that is left, by reading even if it could seek.
    pub(super) fn drain(mut self) -> io::Result<R> {
        while self.fill()? > 0 {
            self.start = self.end;
        }
        Ok(self.inner)
    }

    /// Fills the buffer if it is empty; tells how much it holds.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, read_retrying(&mut self.inner, &mut self.buffer)?);
        }
        Ok(self.end - self.start)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = if self.start == self.end && buf.len() >= self.buffer.len() {
            read_retrying(&mut self.inner, buf)?
        } else {
            let n = self.fill()?.min(buf.len());
            buf[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
            self.start += n;
            n
        };
        self.offset += n as u64;
        Ok(n)
    }
}

fn read_retrying(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn seek_ahead<R: Seek>(reader: &mut R, len: u64) -> io::Result<u64> {
    let here = reader.stream_position()?;
    let end = reader.seek(SeekFrom::End(0))?;
    let there = here.saturating_add(len).min(end.max(here));
    reader.seek(SeekFrom::Start(there))?;
    Ok(there - here)
}
