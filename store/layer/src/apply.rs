//! Unpacks a layer's tar into a tree.

use std::io::Read;

use mica_oci::{DiffId, Hashing};

use crate::entry::Kind;
use crate::error::Error;
use crate::path::{ImagePath, shown};
use crate::resolve::resolve;
use crate::root::Place;
use crate::sink::TreeSink;
use crate::tar::{OPAQUE_MARKER, TarEntry, TarReader, WHITEOUT_PREFIX};
use crate::tree_writer::TreeWriter;

/// What is known of a layer's tar when all of it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The digest of all its bytes, those behind the end of the archive included.
    pub diff_id: DiffId,
    /// How many bytes it has.
    pub size: u64,
}

/// Unpacks `tar`, which may come from anybody, into `tree` and ends the tree.
///
/// Paths are taken from the root of the tree, and where a directory above a path is a link of this same layer it is
/// followed inside the root. A later entry replaces an earlier one of its path, a directory's attributes alone if both are
/// directories. Whiteouts and opaque markers speak of the layers below only, wherever they stand in the tar; other names
/// that begin with `.wh..wh.` are left out (they are AUFS' own).
///
/// # Errors
/// [`Error::Tar`] for a damaged tar, a path with `..` in it and a whiteout of no name; [`Error::Path`] for what is put below
/// a file and for a hard link to nothing or to a directory; [`Error::Limit`] for a path too long for Linux.
pub fn apply(tar: impl Read, mut tree: TreeWriter) -> Result<Applied, Error> {
    let mut reader = TarReader::new(Hashing::new(tar));
    while let Some(entry) = reader.next_entry()? {
        put(&mut tree, &entry, &mut reader)?;
    }
    let (_, digest, size) = reader.drain()?.finish();
    tree.finish()?;
    Ok(Applied {
        diff_id: digest.into(),
        size,
    })
}

fn put(tree: &mut TreeWriter, entry: &TarEntry, content: &mut dyn Read) -> Result<(), Error> {
    let path = honest(entry, &entry.path)?;
    let Some(name) = path.file_name() else {
        return tree.put(&path, &entry.meta, content);
    };
    if name == OPAQUE_MARKER {
        let dir = follow(tree, &path)?.parent().unwrap_or_default();
        return tree.opaque(&dir);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
        return match hidden {
            b"" | b"." | b".." => Err(bad(entry, "a whiteout of no name", &entry.path)),
            aufs if aufs.starts_with(WHITEOUT_PREFIX) => Ok(()),
            hidden => {
                let dir = follow(tree, &path)?.parent().unwrap_or_default();
                tree.whiteout(&dir.join(hidden))
            }
        };
    }
    let path = follow(tree, &path)?;
    match &entry.hardlink {
        Some(target) => {
            let target = honest(entry, target)?;
            tree.put_hardlink(&path, &follow(tree, &target)?)
        }
        None => tree.put(&path, &entry.meta, content),
    }
}

/// Where `path` is when the links above it in the tree so far are followed.
fn follow(tree: &TreeWriter, path: &ImagePath) -> Result<ImagePath, Error> {
    if path.parent().is_none_or(|parent| tree.is_in(&parent)) {
        return Ok(path.clone());
    }
    resolve(path, false, |path| match tree.root().look(path)? {
        Place::File(file) => match file
            .meta()
            .map_err(|error| tree.root().failed("read", path, error))?
        {
            Some((meta, _)) => Ok(link_target(meta.kind)),
            None => Ok(None),
        },
        Place::Nothing | Place::Blocked => Ok(None),
    })
}

fn link_target(kind: Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Symlink { target } => Some(target),
        _ => None,
    }
}

fn honest(entry: &TarEntry, path: &[u8]) -> Result<ImagePath, Error> {
    ImagePath::strict(path).ok_or_else(|| bad(entry, "a path that leaves its place", path))
}

fn bad(entry: &TarEntry, what: &str, path: &[u8]) -> Error {
    Error::Tar {
        at: entry.header_offset,
        reason: format!("{what}: {}", shown(path)),
    }
}
