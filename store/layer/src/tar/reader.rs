//! Reads a tar of any common kind, entry by entry, without ever losing its place: what one reader takes for data no
//! other may take for a header, so sizes are understood as Go's `archive/tar` (and with it docker) does.

use std::io::{self, ErrorKind, Read, Seek};
use std::sync::Arc;

use super::header::{Header, number, text};
use super::input::Input;
use super::pax::Pax;
use super::sparse::{self, Pairs};
use super::{BLOCK, limits, padding};
use crate::entry::{Kind, Meta, Mtime};
use crate::error::Error;
use crate::view::Segment;

/// How many bytes of a path that is refused are told.
const NAME_SHOWN: usize = 64;

/// One entry of a tar.
#[derive(Debug, Clone)]
pub struct TarEntry {
    /// The path as it is written: possibly absolute, with `..`, or ending in a slash.
    pub path: Vec<u8>,
    /// All but name and bytes; the size is that of the expanded file. Of a hard link the kind is an empty file.
    pub meta: Meta,
    /// For a hard link the path of its target as it is written.
    pub hardlink: Option<Vec<u8>>,
    /// Where the entry's own header block is, in bytes from the beginning.
    pub header_offset: u64,
    /// Where its data begins, in bytes from the beginning.
    pub data_offset: u64,
    /// For sparse files the stretches that the tar holds, [`Segment::from`] in bytes from its beginning.
    pub sparse: Option<Arc<[Segment]>>,
}

/// Reads the entries of a tar and, through [`Read`], the content of the one last returned.
pub struct TarReader<R> {
    input: Input<R>,
    /// Bytes of the current entry's data that were not read yet, and of the padding behind it.
    left: u64,
    pad: u64,
    expansion: Option<Expansion>,
    headers: u64,
    holes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

/// Where the reader stands in a sparse file.
struct Expansion {
    segments: Arc<[Segment]>,
    next: usize,
    at: u64,
    size: u64,
}

/// What special headers said of the entry that follows them.
#[derive(Default)]
struct Ahead {
    pax: Pax,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads from `reader`, through a buffer of its own.
    pub fn new(reader: R) -> Self {
        Self::over(Input::new(reader))
    }

    /// As [`new`](Self::new), but skips unread content by seeking.
    pub fn seekable(reader: R) -> Self
    where
        R: Seek,
    {
        Self::over(Input::seekable(reader))
    }

    fn over(input: Input<R>) -> Self {
        Self {
            input,
            left: 0,
            pad: 0,
            expansion: None,
            headers: 0,
            holes: 0,
            state: State::Reading,
        }
    }

    /// The next entry, `None` at the end of the archive. Skips what was not read of the one before. Global extended
    /// headers change nothing, as with docker; an entry of an unknown type is an error.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, Error> {
        if self.state != State::Reading {
            return match self.state {
                State::Failed => Err(self.invalid(self.input.offset(), "reading went on after an error")),
                _ => Ok(None),
            };
        }
        // stands unless the entry is read to its end
        self.state = State::Failed;
        let entry = self.read_entry()?;
        self.state = if entry.is_some() {
            State::Reading
        } else {
            State::Ended
        };
        Ok(entry)
    }

    /// Reads the stream to its end, beyond the end of the archive; gives the reader back.
    pub fn drain(self) -> Result<R, Error> {
        self.input
            .drain()
            .map_err(Error::io("reading the rest of the tar"))
    }

    fn read_entry(&mut self) -> Result<Option<TarEntry>, Error> {
        self.skip_data()?;
        let mut ahead = Ahead::default();
        let mut described = false;
        loop {
            let at = self.input.offset();
            let Some(block) = self.read_header(at)? else {
                return match described {
                    true => Err(self.truncated(at)),
                    false => Ok(None),
                };
            };
            let header = Header::parse(&block).map_err(|reason| self.invalid(at, reason))?;
            self.headers += 1;
            if self.headers > limits::HEADERS {
                return Err(limit("the number of headers in the tar", limits::HEADERS));
            }
            described = header.typeflag != b'g';
            match header.typeflag {
                b'x' => {
                    let records = self.read_special(at, &header, limits::PAX_BYTES)?;
                    ahead.pax = Pax::parse(&records).map_err(|reason| self.invalid(at, reason))?;
                }
                b'g' => {
                    let records = self.read_special(at, &header, limits::PAX_BYTES)?;
                    Pax::parse(&records).map_err(|reason| self.invalid(at, reason))?;
                    ahead = Ahead::default();
                }
                b'L' => ahead.name = Some(self.read_name(at, &header)?),
                b'K' => ahead.link = Some(self.read_name(at, &header)?),
                _ => return self.finish_entry(at, &block, header, ahead).map(Some),
            }
        }
    }

    /// The next header block, `None` if the archive ends here, with two blocks of zeros or without.
    fn read_header(&mut self, at: u64) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        if self.read_block(&mut block)? && block != [0; BLOCK] {
            return Err(self.invalid(at, "a block of zeros is followed by something else"));
        }
        Ok(None)
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
        let at = self.input.offset();
        self.input
            .read_block(block)
            .map_err(|error| self.failed(at, error))
    }

    /// The data of a header that describes the next.
    fn read_special(&mut self, at: u64, header: &Header, most: u64) -> Result<Vec<u8>, Error> {
        let size = u64::try_from(header.size).map_err(|_| self.invalid(at, "the size is negative"))?;
        if size > most {
            return Err(limit("the size of an extended header in the tar", most));
        }
        let mut data = Vec::new();
        let read = (&mut self.input).take(size).read_to_end(&mut data);
        let n = read.map_err(|error| self.failed(at, error))?;
        if n as u64 != size {
            return Err(self.truncated(at));
        }
        self.pad = padding(size);
        self.skip_data()?;
        Ok(data)
    }

    fn read_name(&mut self, at: u64, header: &Header) -> Result<Vec<u8>, Error> {
        // the terminating NUL is part of the data
        let data = self.read_special(at, header, limits::PATH_BYTES + 1)?;
        Ok(text(&data).to_vec())
    }

    fn finish_entry(
        &mut self,
        at: u64,
        block: &[u8; BLOCK],
        header: Header,
        ahead: Ahead,
    ) -> Result<TarEntry, Error> {
        let Ahead { mut pax, name, link } = ahead;
        let (name, link) = (name.filter(|n| !n.is_empty()), link.filter(|n| !n.is_empty()));
        let path = name.or(pax.path.take()).unwrap_or_else(|| header.name.clone());
        let target = link
            .or(pax.linkpath.take())
            .unwrap_or_else(|| header.link.clone());
        let data_kind = match header.typeflag {
            0 => !path.ends_with(b"/"),
            typeflag => matches!(typeflag, b'0' | b'7' | b'S'),
        };
        let size = match pax.size {
            _ if !data_kind => 0,
            Some(size) => size,
            None => u64::try_from(header.size).map_err(|_| self.invalid(at, "the size is negative"))?,
        };
        (self.left, self.pad) = (size, padding(size));

        let mut entry = TarEntry {
            hardlink: (header.typeflag == b'1').then(|| target.clone()),
            meta: self.meta(at, &header, &mut pax, target, size, path.ends_with(b"/"))?,
            path,
            header_offset: at,
            data_offset: 0,
            sparse: None,
        };
        if data_kind {
            self.expand(at, block, &header, pax, &mut entry)?;
        }
        entry.data_offset = self.input.offset();
        for path in [Some(&entry.path), entry.hardlink.as_ref()].into_iter().flatten() {
            check_path(path)?;
        }
        Ok(entry)
    }

    fn meta(
        &self,
        at: u64,
        header: &Header,
        pax: &mut Pax,
        target: Vec<u8>,
        size: u64,
        slash: bool,
    ) -> Result<Meta, Error> {
        let id = |told: Option<u64>, field: i64| {
            let id = told.map_or_else(|| u32::try_from(field).ok(), |id| u32::try_from(id).ok());
            id.ok_or_else(|| self.invalid(at, "an owner is out of range"))
        };
        let device = |number: i64| {
            u32::try_from(number).map_err(|_| self.invalid(at, "a device number is out of range"))
        };
        let kind = match header.typeflag {
            0 if slash => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File { size },
            b'1' => Kind::File { size: 0 },
            b'2' if target.is_empty() => return Err(self.invalid(at, "a symbolic link has no target")),
            b'2' => {
                check_path(&target)?;
                Kind::Symlink { target }
            }
            b'3' => Kind::CharDevice {
                major: device(header.major)?,
                minor: device(header.minor)?,
            },
            b'4' => Kind::BlockDevice {
                major: device(header.major)?,
                minor: device(header.minor)?,
            },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let reason = format!("entries of type '{}' are not known", other.escape_ascii());
                return Err(Error::Tar { at, reason });
            }
        };
        Ok(Meta {
            kind,
            // the mask leaves twelve bits
            mode: (header.mode & 0o7777) as u32,
            uid: id(pax.uid, header.uid)?,
            gid: id(pax.gid, header.gid)?,
            mtime: pax.mtime.unwrap_or(Mtime {
                seconds: header.mtime,
                nanoseconds: 0,
            }),
            xattrs: std::mem::take(&mut pax.xattrs),
        })
    }

    /// If the entry is a sparse file, reads its map and prepares to fill in the holes.
    fn expand(
        &mut self,
        at: u64,
        block: &[u8; BLOCK],
        header: &Header,
        pax: Pax,
        entry: &mut TarEntry,
    ) -> Result<(), Error> {
        let (pairs, size) = if header.typeflag == b'S' {
            let size = number(&block[483..495]).and_then(|size| u64::try_from(size).ok());
            let size = size.filter(|_| header.gnu);
            let size = size.ok_or_else(|| self.invalid(at, "the sparse file has no size"))?;
            (self.read_old_map(at, block)?, size)
        } else {
            let records = pax.sparse;
            let version = (records.major.as_deref(), records.minor.as_deref());
            let pairs = match version {
                (Some(b"1"), Some(b"0")) => {
                    let (left, offset) = (self.left, self.input.offset());
                    let map =
                        sparse::read_map(&mut self.input, left).map_err(|error| self.failed(at, error))?;
                    self.left -= self.input.offset() - offset;
                    map
                }
                (Some(b"0"), Some(b"0" | b"1")) | (None, None) if records.mapped => {
                    sparse::paired(&records.map)
                }
                // no sparse file, or one of a version that is not known: bytes as they are
                _ => return Ok(()),
            };
            if let Some(name) = records.name {
                entry.path = name;
            }
            let size = records
                .size
                .or(records.realsize)
                .ok_or_else(|| self.invalid(at, "the sparse file has no size"))?;
            (pairs.map_err(|reason| self.invalid(at, reason))?, size)
        };
        let segments = sparse::segments(&pairs, size, self.left, self.input.offset())
            .map_err(|reason| self.invalid(at, reason))?;
        self.holes = self.holes.saturating_add(size - self.left);
        if self.holes > limits::HOLE_BYTES {
            return Err(limit("the size of all holes in sparse files", limits::HOLE_BYTES));
        }
        entry.meta.kind = Kind::File { size };
        entry.sparse = Some(segments.clone());
        self.expansion = Some(Expansion {
            segments,
            next: 0,
            at: 0,
            size,
        });
        Ok(())
    }

    /// The map of the old GNU format, which starts in the header and goes on in blocks before the data.
    fn read_old_map(&mut self, at: u64, block: &[u8; BLOCK]) -> Result<Pairs, Error> {
        let mut pairs = Pairs::new();
        let mut more = sparse::old_pairs(&block[386..482], block[482], &mut pairs);
        while more.map_err(|reason| self.invalid(at, reason))? {
            let mut extension = [0; BLOCK];
            if !self.read_block(&mut extension)? {
                return Err(self.truncated(at));
            }
            more = sparse::old_pairs(&extension[..504], extension[504], &mut pairs);
        }
        Ok(pairs)
    }

    /// Skips what is left of the current entry. An archive that ends amid the padding of its last entry is a whole one.
    fn skip_data(&mut self) -> Result<(), Error> {
        let at = self.input.offset();
        let (left, pad) = (self.left, self.pad);
        (self.left, self.pad, self.expansion) = (0, 0, None);
        let skipped = self.input.skip(left).map_err(|error| self.failed(at, error))?;
        if skipped < left {
            return Err(self.truncated(at));
        }
        self.input.skip(pad).map_err(|error| self.failed(at, error))?;
        Ok(())
    }

    fn invalid(&self, at: u64, reason: &str) -> Error {
        let reason = reason.to_owned();
        Error::Tar { at, reason }
    }

    fn truncated(&self, at: u64) -> Error {
        self.invalid(at, "the archive ends too early")
    }

    fn failed(&self, at: u64, error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.truncated(at),
            _ => Error::io("reading the tar")(error),
        }
    }

    fn read_stored(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.input.read(&mut buf[..most])?;
        if n == 0 {
            self.state = State::Failed;
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the tar ends within a file",
            ));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads the content of the current entry, holes filled in.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(expansion) = &mut self.expansion else {
            return self.read_stored(buf);
        };
        if expansion
            .segments
            .get(expansion.next)
            .is_some_and(|s| s.offset + s.len <= expansion.at)
        {
            expansion.next += 1;
        }
        let segment = expansion.segments.get(expansion.next);
        let hole_end = segment.map_or(expansion.size, |s| s.offset.max(expansion.at));
        let (data, end) = match segment {
            Some(segment) if hole_end == expansion.at => (true, segment.offset + segment.len),
            _ => (false, hole_end),
        };
        let most = usize::try_from(end - expansion.at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let n = if data {
            self.read_stored(&mut buf[..most])?
        } else {
            buf[..most].fill(0);
            most
        };
        if let Some(expansion) = &mut self.expansion {
            expansion.at += n as u64;
        }
        Ok(n)
    }
}

fn limit(what: &str, limit: u64) -> Error {
    let what = what.to_owned();
    Error::Limit { what, limit }
}

/// Refuses what is too long, or too deep, to be a path.
fn check_path(path: &[u8]) -> Result<(), Error> {
    if path.len() as u64 > limits::PATH_BYTES {
        return Err(limit("the length of a path in the tar", limits::PATH_BYTES));
    }
    let names = path
        .split(|b| *b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    if names.count() as u64 > limits::PATH_DEPTH {
        let begin = String::from_utf8_lossy(&path[..path.len().min(NAME_SHOWN)]);
        return Err(limit(
            &format!("the number of directories in the path {begin:?}…"),
            limits::PATH_DEPTH,
        ));
    }
    Ok(())
}
