//! ADD of a local archive: unpacks a tar, compressed or not, into a draft (dockerfile contract 7.15).

use std::io::{self, Read};
use std::sync::Arc;

use fs_err::File;
use mica_layer::{
    Content, Holes, ImagePath, Kind, LinkKey, Meta, Mtime, Source, TarEntry, TarReader, decompress, is_tar,
};

use crate::draft::{NewDirectory, NewFile};
use crate::error::StepError;
use crate::ops::copy::{Copier, Placement};

/// How much of a file tells whether it is a tar: one header block.
const HEADER: u64 = 512;

/// A tar that lies uncompressed in a file.
pub(crate) struct Archive {
    file: Arc<File>,
    offset: u64,
    len: u64,
}

impl Archive {
    /// Looks whether `content` is a tar; a compressed one is written out to `spool` first.
    pub(crate) fn find(
        content: &Content,
        spool: impl FnOnce() -> Result<Holes, StepError>,
        guard: impl FnOnce(Box<dyn Read>) -> Box<dyn Read>,
    ) -> Result<Option<Self>, StepError> {
        let Ok((mut reader, format)) = decompress(content.reader()) else {
            return Ok(None);
        };
        let mut prefix = Vec::new();
        // what only looks compressed is no archive, and copied as it is
        if (&mut reader).take(HEADER).read_to_end(&mut prefix).is_err() || !is_tar(&prefix) {
            return Ok(None);
        }
        if let (mica_layer::Format::None, Content::Range { file, offset, len }) = (format, content) {
            return Ok(Some(Self {
                file: file.clone(),
                offset: *offset,
                len: *len,
            }));
        }
        let mut file = spool()?;
        let len = io::copy(
            &mut guard(Box::new(io::Cursor::new(prefix).chain(reader))),
            &mut file,
        )?;
        Ok(Some(Self {
            file: Arc::new(file.finish()?.unwatched()),
            offset: 0,
            len,
        }))
    }

    /// Puts all entries below the destination, which becomes a directory.
    pub(crate) fn unpack(&self, copier: &mut Copier<'_, '_>) -> Result<(), StepError> {
        let placement = copier.placement;
        let root = copier.draft.resolve(&ImagePath::root(), &placement.dest, true)?;
        // --chmod is not for archives
        let owner = placement.owner.unwrap_or_default();
        let directory = Meta {
            uid: owner.uid,
            gid: owner.gid,
            ..Meta::directory(0o755, placement.now)
        };
        let owned = placement.owner.is_some();
        copier.draft.make_directories(
            &root,
            &NewDirectory {
                meta: directory,
                owned,
            },
        )?;
        let content = Content::Range {
            file: self.file.clone(),
            offset: self.offset,
            len: self.len,
        };
        let mut tar = TarReader::new(content.reader());
        let mut times = Vec::new();
        while let Some(entry) = tar.next_entry()? {
            copier.cancel.check()?;
            self.put(&root, entry, copier, &mut times)?;
        }
        // new entries made their directories younger
        for (path, mtime) in times {
            copier.draft.amend(&path, |meta| meta.mtime = mtime);
        }
        Ok(())
    }

    fn put(
        &self,
        root: &ImagePath,
        entry: TarEntry,
        copier: &mut Copier<'_, '_>,
        times: &mut Vec<(ImagePath, Mtime)>,
    ) -> Result<(), StepError> {
        let written = inside(&entry.path)?;
        let Some(name) = written.file_name() else {
            return Ok(());
        };
        let parent = written.parent().unwrap_or_default();
        let parent = copier.draft.resolve(root, parent.as_bytes(), true)?;
        // directories that the archive does not list belong to root whatever --chown says
        let implied = NewDirectory {
            meta: Meta::directory(0o755, copier.placement.now),
            owned: false,
        };
        copier.draft.make_directories(&parent, &implied)?;
        let path = parent.join(name);
        let source = self.source(&entry);
        let meta = owned(entry.meta, copier.placement);
        if let Some(target) = &entry.hardlink {
            let target = copier.draft.resolve(root, inside(target)?.as_bytes(), false)?;
            copier.links += 1;
            copier.draft.link(&path, &target, LinkKey::Offset(copier.links))?;
            // the link's own header speaks of the one file both names have
            for path in [&target, &path] {
                copier.draft.amend(path, |old| {
                    let kind = old.kind.clone();
                    *old = Meta { kind, ..meta.clone() };
                });
            }
            return Ok(());
        }
        if meta.is_directory() {
            times.push((path.clone(), meta.mtime));
        }
        copier.draft.put(
            &path,
            NewFile {
                source,
                ..NewFile::bare(meta)
            },
        )
    }

    fn source(&self, entry: &TarEntry) -> Source {
        let (Kind::File { size }, file) = (&entry.meta.kind, self.file.clone()) else {
            return Source::Empty;
        };
        Source::Content(match &entry.sparse {
            Some(segments) => Content::Sparse {
                file,
                base: self.offset,
                segments: segments.clone(),
                len: *size,
            },
            None => Content::Range {
                file,
                offset: self.offset + entry.data_offset,
                len: *size,
            },
        })
    }
}

fn owned(meta: Meta, placement: &Placement) -> Meta {
    match placement.owner {
        Some(owner) => Meta {
            uid: owner.uid,
            gid: owner.gid,
            ..meta
        },
        None => meta,
    }
}

fn inside(path: &[u8]) -> Result<ImagePath, StepError> {
    ImagePath::strict(path).ok_or_else(|| {
        StepError::Invalid(format!(
            "the archive has an entry outside of it: {:?}",
            String::from_utf8_lossy(path)
        ))
    })
}
