//! Writes a tar of which every byte follows from the entries: plain ustar where everything fits, and an extended header
//! of sorted records for what does not; no names of owners, no times but the modification time.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};

use super::header::checksums;
use super::{BLOCK, limits, padding, pax};
use crate::entry::{Kind, Meta, Mtime};
use crate::error::Error;
use crate::path::ImagePath;

/// What the name of a file begins with that says its sibling of the rest of the name is gone (OCI image spec, "Whiteouts").
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The file that says that nothing of its directory shows through (OCI image spec, "Opaque Whiteout").
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Writes a tar. The content of a regular file is written through [`Write`] after its entry, exactly as long as said.
pub struct TarWriter<W> {
    inner: W,
    offset: u64,
    /// Bytes of the current entry's content that are still to come, and of the padding behind it.
    left: u64,
    pad: usize,
}

/// What goes into one header besides the metadata.
struct Place<'a> {
    typeflag: u8,
    path: &'a [u8],
    link: &'a [u8],
    size: u64,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `inner`, unbuffered: one write for each header and each piece of content.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            offset: 0,
            left: 0,
            pad: 0,
        }
    }

    /// Where the writer stands, in bytes from the beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Begins the entry of `path`; the bytes of a regular file are to follow.
    pub fn append(&mut self, path: &ImagePath, meta: &Meta) -> Result<(), Error> {
        let (typeflag, link) = match &meta.kind {
            Kind::File { .. } => (b'0', &[][..]),
            Kind::Symlink { target } => (b'2', target.as_slice()),
            Kind::CharDevice { .. } => (b'3', &[][..]),
            Kind::BlockDevice { .. } => (b'4', &[][..]),
            Kind::Directory => (b'5', &[][..]),
            Kind::Fifo => (b'6', &[][..]),
        };
        let written = written_path(path, meta.is_directory());
        let place = Place {
            typeflag,
            path: &written,
            link,
            size: meta.size(),
        };
        self.begin(&place, meta)
    }

    /// Writes the entry of `path` as one more name of the file `target`, whose metadata is `meta`.
    pub fn append_hardlink(
        &mut self,
        path: &ImagePath,
        meta: &Meta,
        target: &ImagePath,
    ) -> Result<(), Error> {
        let place = Place {
            typeflag: b'1',
            path: path.as_bytes(),
            link: target.as_bytes(),
            size: 0,
        };
        self.begin(&place, meta)
    }

    /// Writes that `path` of the layers below is gone.
    pub fn append_whiteout(&mut self, path: &ImagePath) -> Result<(), Error> {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            return Err(Error::Path {
                path: path.clone(),
                reason: "the root cannot be removed".to_owned(),
            });
        };
        self.append_marker(&parent.join(&[WHITEOUT_PREFIX, name].concat()))
    }

    /// Writes that nothing of the directory `path` of the layers below shows through.
    pub fn append_opaque(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.append_marker(&path.join(OPAQUE_MARKER))
    }

    /// Ends the archive with two blocks of zeros; gives the inner writer back.
    pub fn finish(mut self) -> Result<W, Error> {
        self.end_entry()?;
        self.write_blocks(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    fn append_marker(&mut self, path: &ImagePath) -> Result<(), Error> {
        let meta = Meta {
            kind: Kind::File { size: 0 },
            ..Meta::directory(0, Mtime::default())
        };
        self.append(path, &meta)
    }

    fn begin(&mut self, place: &Place<'_>, meta: &Meta) -> Result<(), Error> {
        self.end_entry()?;
        let mut records = BTreeMap::new();
        let header = header(place, meta, &mut records).map_err(|reason| self.invalid(reason))?;
        if !records.is_empty() {
            self.write_records(place.path, &records)?;
        }
        self.write_blocks(&header)?;
        self.left = place.size;
        // less than a block
        self.pad = padding(place.size) as usize;
        Ok(())
    }

    fn write_records(&mut self, path: &[u8], records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Error> {
        let mut data = Vec::new();
        for (key, value) in records {
            pax::append_record(&mut data, key, value);
        }
        if data.len() as u64 > limits::PAX_BYTES {
            return Err(Error::Limit {
                what: format!("the size of all attributes of {}", path.escape_ascii()),
                limit: limits::PAX_BYTES,
            });
        }
        let place = Place {
            typeflag: b'x',
            path: &records_path(path),
            link: b"",
            size: data.len() as u64,
        };
        let meta = Meta::directory(0, Mtime::default());
        // its name is short and plain, and nothing else of it is large
        let header = header(&place, &meta, &mut BTreeMap::new()).map_err(|reason| self.invalid(reason))?;
        data.resize(data.len() + padding(data.len() as u64) as usize, 0);
        self.write_blocks(&header)?;
        self.write_blocks(&data)
    }

    fn end_entry(&mut self) -> Result<(), Error> {
        if self.left > 0 {
            return Err(self.invalid(format!(
                "the content of the last file is {} bytes short",
                self.left
            )));
        }
        let pad = std::mem::take(&mut self.pad);
        self.write_blocks(&[0; BLOCK][..pad])
    }

    fn write_blocks(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.inner
            .write_all(bytes)
            .map_err(Error::io("writing the tar"))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn invalid(&self, reason: String) -> Error {
        Error::Tar {
            at: self.offset,
            reason,
        }
    }
}

impl<W: Write> Write for TarWriter<W> {
    /// Writes content of the current file; more than its size is an error.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.len() as u64 > self.left {
            let reason = "the content is longer than the size in the header of its file";
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        let n = self.inner.write(buf)?;
        self.left -= n as u64;
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A path as it stands in the archive: the root is `./`, other directories end in a slash.
fn written_path(path: &ImagePath, directory: bool) -> Vec<u8> {
    let mut written = path.as_bytes().to_vec();
    if path.is_root() {
        written.push(b'.');
    }
    if directory {
        written.push(b'/');
    }
    written
}

/// The path of the extended header of `path`, for programs that know nothing of such headers.
fn records_path(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let mut written = b"PaxHeaders.0/".to_vec();
    written.extend(name.iter().filter(|b| b.is_ascii()).take(80));
    written
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The header block of an entry; what does not fit goes into `records`.
fn header(place: &Place<'_>, meta: &Meta, records: &mut Records) -> Result<[u8; BLOCK], String> {
    let mut block = [0; BLOCK];
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[156] = place.typeflag;
    match ustar_name(place.path) {
        Some((prefix, name)) => {
            block[..name.len()].copy_from_slice(name);
            block[345..345 + prefix.len()].copy_from_slice(prefix);
        }
        None => {
            record(records, b"path", place.path);
            put_ascii(&mut block[..100], place.path);
        }
    }
    if place.link.len() > 100 || !place.link.is_ascii() {
        record(records, b"linkpath", place.link);
    }
    put_ascii(&mut block[157..257], place.link);

    put_octal(&mut block[100..108], u64::from(meta.mode & 0o7777));
    for (field, key, value) in [
        (108..116, &b"uid"[..], u64::from(meta.uid)),
        (116..124, b"gid", u64::from(meta.gid)),
        (124..136, b"size", place.size),
    ] {
        if !put_octal(&mut block[field], value) {
            record(records, key, value.to_string().as_bytes());
        }
    }
    let seconds = u64::try_from(meta.mtime.seconds).unwrap_or(u64::MAX);
    if !put_octal(&mut block[136..148], seconds) || meta.mtime.nanoseconds != 0 {
        record(records, b"mtime", pax::time_text(meta.mtime).as_bytes());
    }
    let (major, minor) = match meta.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => (major, minor),
        _ => (0, 0),
    };
    if !put_octal(&mut block[329..337], major.into()) || !put_octal(&mut block[337..345], minor.into()) {
        return Err(format!("the device number {major}:{minor} does not fit"));
    }
    for (name, value) in &meta.xattrs {
        records.insert(pax::xattr_key(name), value.clone());
    }
    let (sum, _) = checksums(&block);
    // six digits hold the sum of 512 bytes
    put_octal(&mut block[148..155], sum.unsigned_abs());
    block[155] = b' ';
    Ok(block)
}

fn record(records: &mut Records, key: &[u8], value: &[u8]) {
    records.insert(key.to_vec(), value.to_vec());
}

/// Splits a path at a slash into prefix and name as the header holds them; `None` if it does not fit or is not ASCII.
fn ustar_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some((&[], path));
    }
    // a slash that ends the path is none to split at
    let within = &path[..path.len() - 1];
    let slash = within.iter().take(156).rposition(|b| *b == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= 100 && !prefix.is_empty()).then_some((prefix, name))
}

/// Puts what is ASCII of `text` into a field, cut off at its end; the record says it in full.
fn put_ascii(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text.iter().filter(|b| b.is_ascii())) {
        *to = *from;
    }
}

/// Puts a number into a field as octal digits up to a final NUL. `false` if it does not fit: the field is zero then.
fn put_octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value >> (3 * digits) == 0;
    let value = if fits { value } else { 0 };
    for (at, to) in field[..digits].iter_mut().rev().enumerate() {
        // three bits
        *to = b'0' + (value >> (3 * at) & 7) as u8;
    }
    fits
}
