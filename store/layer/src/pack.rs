//! Writes the changes of a layer: as a tar, and in the same pass as a tree.

use std::collections::HashMap;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::thread;

use mica_oci::{ContentDigest, DiffId, Digest, Hasher};

use crate::behind::Behind;
use crate::changes::{Change, Changes};
use crate::content_hash::ContentHash;
use crate::entry::{CAPABILITY_XATTR, Kind, LinkKey, Meta, Mtime};
use crate::error::Error;
use crate::path::ImagePath;
use crate::read_ahead::ReadAhead;
use crate::sink::TreeSink;
use crate::source::Source;
use crate::tar::{TarWriter, WHITEOUT_PREFIX};
use crate::view::Content;

/// How much is read, hashed and written at once, in bytes.
const CHUNK: usize = 256 << 10;

/// How overlayfs keeps a whiteout (kernel documentation, "Overlay Filesystem").
const WHITEOUT_DEVICE: Kind = Kind::CharDevice { major: 0, minor: 0 };

/// Which extended attributes reach the tar; a tree gets them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrPolicy {
    /// `security.capability` alone, as BuildKit does.
    CapabilityOnly,
    /// Every one.
    All,
}

impl XattrPolicy {
    /// Whether the extended attribute `name` is one of them.
    pub(crate) fn keeps(self, name: &[u8]) -> bool {
        match self {
            Self::CapabilityOnly => name == CAPABILITY_XATTR,
            Self::All => true,
        }
    }
}

/// How exactly the tar tells modification times; a tree keeps them exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePolicy {
    /// Whole seconds, the rest cut off, as BuildKit does.
    Seconds,
    /// To the nanosecond.
    Nanoseconds,
}

/// What of a file's metadata is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Extended attributes.
    pub xattrs: XattrPolicy,
    /// Modification times.
    pub times: TimePolicy,
    /// Later modification times become this one, in seconds since 1970; in the tree too (`SOURCE_DATE_EPOCH`).
    pub clamp: Option<i64>,
}

impl Default for Policy {
    /// As BuildKit writes layers, times not clamped.
    fn default() -> Self {
        Self {
            xattrs: XattrPolicy::CapabilityOnly,
            times: TimePolicy::Seconds,
            clamp: None,
        }
    }
}

/// What is known of a layer once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The size of the tar in bytes.
    pub size: u64,
    /// The digest of what the layer holds, modification times aside.
    pub content: ContentDigest,
}

/// Writes `changes` in their order as a tar to `out` and the same files into `tree`, reading every content once.
/// Directories above a path are not added. Of paths with the same link key the first carries the file and the others are
/// hard links to it. The root is left out. What a tar cannot say turns into what readers would take it for: a name that
/// begins with `.wh.`, and a device 0:0, remove a path, and what is below such a name is left out.
///
/// # Errors
/// [`Error::Io`] if a content cannot be read, ends before the size its metadata tells, or `out` or `tree` fail;
/// [`Error::Path`] if a content has another length than its metadata tells.
pub fn pack(
    changes: &Changes,
    policy: &Policy,
    out: &mut (dyn Write + Send),
    tree: Option<&mut dyn TreeSink>,
) -> Result<Packed, Error> {
    thread::scope(|scope| {
        let mut packer = Packer {
            tar: TarWriter::new(BufWriter::with_capacity(CHUNK, Behind::new(scope, out))),
            tree,
            policy: *policy,
            digest: Hasher::new(),
            hash: ContentHash::default(),
            groups: HashMap::new(),
            chunk: vec![0; CHUNK],
            ahead: ReadAhead::start(scope, changes),
        };
        for (path, change) in changes {
            packer.put(path, change, changes)?;
        }
        packer.finish()
    })
}

/// Names the file that several paths share.
type GroupKey = (u32, LinkKey);

struct Packer<'scope, 'env: 'scope, 'o: 'scope, 't, 'c> {
    tar: TarWriter<BufWriter<Behind<'scope, 'env, 'o>>>,
    tree: Option<&'t mut (dyn TreeSink + 't)>,
    policy: Policy,
    digest: Hasher,
    hash: ContentHash,
    /// The first path of every file that may have more, with what the tar says of it.
    groups: HashMap<GroupKey, (ImagePath, Meta)>,
    chunk: Vec<u8>,
    ahead: Option<ReadAhead<'c>>,
}

impl<'scope, 'o: 'scope> Packer<'scope, '_, 'o, '_, '_> {
    fn put(&mut self, path: &ImagePath, change: &Change, changes: &Changes) -> Result<(), Error> {
        if path.is_root() {
            return Ok(());
        }
        let (meta, source, content, link, opaque) = match change {
            Change::Node { .. } if is_reserved(path) => {
                return match hidden_by(path).filter(|hidden| !changes.contains_key(hidden)) {
                    Some(hidden) => self.put_whiteout(&hidden),
                    None => Ok(()),
                };
            }
            Change::Whiteout if is_reserved(path) => return Ok(()),
            Change::Whiteout => return self.put_whiteout(path),
            Change::Node { meta, .. } if meta.kind == WHITEOUT_DEVICE => return self.put_whiteout(path),
            Change::Node {
                meta,
                source,
                content,
                link,
                opaque,
            } => (meta, source, content, link, opaque),
        };
        let key = link.as_ref().filter(|_| !meta.is_directory());
        if let Some((first, told)) = key.and_then(|key| self.groups.get(key)) {
            let (first, told) = (first.clone(), told.clone());
            return self.put_hardlink(path, &told, &first);
        }
        let bytes = self
            .ahead
            .as_ref()
            .and_then(|ahead| ahead.take(path, change))
            .transpose()?;
        let kept = self.clamped(meta);
        let told = self.told(&kept);
        let content = Bytes {
            source,
            read: bytes,
            digest: *content,
        };
        self.put_node(path, &kept, &told, content, *opaque)?;
        if let Some(key) = key {
            self.groups.insert(key.clone(), (path.clone(), told));
        }
        Ok(())
    }

    fn put_node(
        &mut self,
        path: &ImagePath,
        kept: &Meta,
        told: &Meta,
        bytes: Bytes<'_>,
        opaque: bool,
    ) -> Result<(), Error> {
        self.tar.append(path, told)?;
        let content = match told.kind {
            Kind::File { size } if size > 0 => Some(self.put_content(path, kept, size, bytes)?),
            _ => {
                self.put_plain(path, kept)?;
                matches!(told.kind, Kind::File { .. }).then(|| Digest::of(b""))
            }
        };
        let opaque = opaque && told.is_directory();
        if opaque {
            self.tar.append_opaque(path)?;
            if let Some(tree) = &mut self.tree {
                tree.opaque(path)?;
            }
        }
        self.digest.field(&node_record(path, told, content, opaque));
        Ok(())
    }

    /// Puts what has no bytes into the tree.
    fn put_plain(&mut self, path: &ImagePath, kept: &Meta) -> Result<(), Error> {
        match &mut self.tree {
            Some(tree) => tree.put(path, kept, &mut io::empty()),
            None => Ok(()),
        }
    }

    /// Passes the bytes of a file on to where they are wanted; gives their digest.
    fn put_content(
        &mut self,
        path: &ImagePath,
        kept: &Meta,
        size: u64,
        bytes: Bytes<'_>,
    ) -> Result<Digest, Error> {
        let known = bytes.digest;
        let content = match bytes.read {
            Some(read) => Opened::Read(io::Cursor::new(read)),
            None => Opened::Content(bytes.source.open()?),
        };
        if content.len() != size {
            return Err(Error::Path {
                path: path.clone(),
                reason: format!("the file has {} bytes and should have {size}", content.len()),
            });
        }
        if known.is_none() {
            self.hash.start(size);
        }
        let mut passing = Passing {
            content: content.reader(),
            left: size,
            tar: &mut self.tar,
            hash: known.is_none().then_some(&mut self.hash),
        };
        match &mut self.tree {
            Some(tree) => tree.put(path, kept, &mut passing)?,
            None => {
                let failed = Error::io(format!("packing {path}"));
                passing.run(&mut self.chunk).map_err(failed)?;
            }
        }
        drop(passing);
        let digest = match known {
            Some(digest) => digest,
            None => self.hash.finish().map_err(Error::io(format!("hashing {path}")))?,
        };
        bytes.source.was_read(known.is_none().then_some(&digest))?;
        if let (Some(ahead), Opened::Read(read)) = (&self.ahead, content) {
            ahead.give_back(read.into_inner());
        }
        Ok(digest)
    }

    fn put_hardlink(&mut self, path: &ImagePath, told: &Meta, first: &ImagePath) -> Result<(), Error> {
        self.tar.append_hardlink(path, told, first)?;
        if let Some(tree) = &mut self.tree {
            tree.put_hardlink(path, first)?;
        }
        let mut record = Vec::new();
        push_field(&mut record, path.as_bytes());
        record.push(b'h');
        push_field(&mut record, first.as_bytes());
        self.digest.field(&record);
        Ok(())
    }

    fn put_whiteout(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.tar.append_whiteout(path)?;
        if let Some(tree) = &mut self.tree {
            tree.whiteout(path)?;
        }
        let mut record = Vec::new();
        push_field(&mut record, path.as_bytes());
        record.push(b'w');
        self.digest.field(&record);
        Ok(())
    }

    /// What the tree keeps of a file.
    fn clamped(&self, meta: &Meta) -> Meta {
        let mut kept = meta.clone();
        if let Some(seconds) = self.policy.clamp {
            let latest = Mtime {
                seconds,
                nanoseconds: 0,
            };
            kept.mtime = kept.mtime.min(latest);
        }
        kept
    }

    /// What the tar tells of a file.
    fn told(&self, kept: &Meta) -> Meta {
        let mut told = kept.clone();
        if self.policy.times == TimePolicy::Seconds {
            told.mtime.nanoseconds = 0;
        }
        told.xattrs.retain(|name, _| self.policy.xattrs.keeps(name));
        told
    }

    fn finish(self) -> Result<Packed, Error> {
        let buffered = self.tar.finish()?;
        let failed = |error: io::IntoInnerError<_>| Error::io("writing the tar")(error.into_error());
        let behind = buffered.into_inner().map_err(failed)?;
        let (digest, size) = behind.finish().map_err(Error::io("writing the tar"))?;
        Ok(Packed {
            diff_id: digest.into(),
            size,
            content: self.digest.finish().into(),
        })
    }
}

/// The bytes of a file that is packed.
struct Bytes<'a> {
    source: &'a Source,
    /// If they were read ahead.
    read: Option<Vec<u8>>,
    /// If it is known.
    digest: Option<Digest>,
}

/// Bytes that can be read.
enum Opened {
    Read(io::Cursor<Vec<u8>>),
    Content(Content),
}

impl Opened {
    fn len(&self) -> u64 {
        match self {
            Self::Read(read) => read.get_ref().len() as u64,
            Self::Content(content) => content.len(),
        }
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Read(read) => Box::new(read.get_ref().as_slice()),
            Self::Content(content) => Box::new(content.reader()),
        }
    }
}

/// Reads the bytes of a file, having passed them on to the tar and the hash.
struct Passing<'a, R, W> {
    content: R,
    left: u64,
    tar: &'a mut TarWriter<W>,
    hash: Option<&'a mut ContentHash>,
}

impl<R: Read, W: Write> Passing<'_, R, W> {
    fn run(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        while self.left > 0 {
            match self.read(chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}

impl<R: Read, W: Write> Read for Passing<'_, R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = match self.content.read(&mut buf[..most]) {
            Ok(0) => {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the file became shorter",
                ));
            }
            other => other?,
        };
        self.tar.write_all(&buf[..n])?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buf[..n])?;
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Whether a name on the way to `path` begins as those of whiteouts do.
fn is_reserved(path: &ImagePath) -> bool {
    path.components().any(|name| name.starts_with(WHITEOUT_PREFIX))
}

/// What a file of the reserved name `path` hides as a whiteout; `None` if readers would make nothing of it.
fn hidden_by(path: &ImagePath) -> Option<ImagePath> {
    let parent = path.parent().filter(|parent| !is_reserved(parent))?;
    match path.file_name()?.strip_prefix(WHITEOUT_PREFIX)? {
        b"" | b"." | b".." => None,
        other if other.starts_with(WHITEOUT_PREFIX) => None,
        hidden => Some(parent.join(hidden)),
    }
}

/// All of a file but its times, so that no two different files read the same.
fn node_record(path: &ImagePath, meta: &Meta, content: Option<Digest>, opaque: bool) -> Vec<u8> {
    let mut record = Vec::with_capacity(128);
    push_field(&mut record, path.as_bytes());
    let (tag, device) = match meta.kind {
        Kind::File { .. } => (b'f', (0, 0)),
        Kind::Directory if opaque => (b'o', (0, 0)),
        Kind::Directory => (b'd', (0, 0)),
        Kind::Symlink { .. } => (b's', (0, 0)),
        Kind::CharDevice { major, minor } => (b'c', (major, minor)),
        Kind::BlockDevice { major, minor } => (b'b', (major, minor)),
        Kind::Fifo => (b'p', (0, 0)),
    };
    record.push(tag);
    for number in [meta.mode, meta.uid, meta.gid, device.0, device.1] {
        record.extend(number.to_le_bytes());
    }
    if let Kind::Symlink { target } = &meta.kind {
        push_field(&mut record, target);
    }
    if let Some(content) = content {
        record.extend(content.as_raw());
    }
    for (name, value) in &meta.xattrs {
        push_field(&mut record, name);
        push_field(&mut record, value);
    }
    record
}

fn push_field(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend((bytes.len() as u64).to_le_bytes());
    record.extend(bytes);
}
