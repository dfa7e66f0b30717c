//! COPY, and ADD of what is not an archive: puts selected files into a draft (dockerfile contract section 7).

use std::collections::BTreeMap;
use std::sync::Arc;

use mica_layer::{Content, Found, ImagePath, Kind, LinkKey, Meta, Mtime, Source, Xattrs};
use mica_oci::Digest;
use mica_task::Cancel;

use crate::draft::{Draft, NewDirectory, NewFile};
use crate::error::StepError;
use crate::mode::Mode;
use crate::ops::parents::Entry;
use crate::owner::Owner;
use crate::selection::{Excludes, Selected, Tree};

/// Where files go, and what becomes of their owners and modes.
pub(crate) struct Placement {
    /// Destination in the image, absolute, links not followed.
    pub dest: Vec<u8>,
    /// Whether the destination is a directory by its spelling.
    pub into_directory: bool,
    /// `--chown`
    pub owner: Option<Owner>,
    /// `--chmod`
    pub mode: Option<Mode>,
    /// The time of what has none.
    pub now: Mtime,
}

impl Placement {
    /// Reads a destination as written: relative to `cwd`, `.`, an empty text and a trailing slash mean a directory.
    pub(crate) fn new(dest: &str, cwd: &str, owner: Option<Owner>, mode: Option<Mode>, now: Mtime) -> Self {
        let into_directory = matches!(dest, "" | ".") || dest.ends_with('/') || dest.ends_with("/.");
        let dest = if dest.starts_with('/') {
            dest.to_owned()
        } else {
            format!("{cwd}/{dest}")
        };
        Self {
            dest: dest.into_bytes(),
            into_directory,
            owner,
            mode,
            now,
        }
    }

    /// A directory as it is made where one is missing.
    pub(crate) fn new_directory(&self) -> NewDirectory {
        let mode = self
            .mode
            .as_ref()
            .and_then(Mode::for_new_directories)
            .unwrap_or(0o755);
        let owner = self.owner.unwrap_or_default();
        let meta = Meta {
            uid: owner.uid,
            gid: owner.gid,
            ..Meta::directory(mode, self.now)
        };
        NewDirectory {
            meta,
            owned: self.owner.is_some(),
        }
    }

    /// What a copied file becomes: `--chown` and `--chmod` applied.
    fn adjust(&self, mut meta: Meta) -> Meta {
        if let Some(owner) = self.owner {
            (meta.uid, meta.gid) = (owner.uid, owner.gid);
        }
        if let (Some(mode), false) = (&self.mode, matches!(meta.kind, Kind::Symlink { .. })) {
            meta.mode = mode.apply(meta.mode, meta.is_directory());
        }
        meta
    }
}

/// Puts files where a COPY or ADD wants them.
pub(crate) struct Copier<'a, 'b> {
    /// Where to.
    pub draft: &'a mut Draft<'b>,
    /// How.
    pub placement: &'a Placement,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// Numbers for hard links: those of one source argument are one group of links.
    pub links: u64,
}

impl Copier<'_, '_> {
    /// Makes the directories a source needs and gives where the destination leads.
    pub(crate) fn prepare(&mut self) -> Result<ImagePath, StepError> {
        let dest = self
            .draft
            .resolve(&ImagePath::root(), &self.placement.dest, true)?;
        let directory = if self.placement.into_directory {
            Some(dest.clone())
        } else {
            dest.parent()
        };
        if let Some(directory) = directory {
            self.draft
                .make_directories(&directory, &self.placement.new_directory())?;
        }
        Ok(dest)
    }

    /// Copies one selected path: a directory's contents, or a file.
    pub(crate) fn copy(
        &mut self,
        tree: &Tree,
        selected: &Selected,
        excludes: &Excludes,
    ) -> Result<(), StepError> {
        let dest = self.prepare()?;
        if !selected.found.node.meta.is_directory() {
            let target = self.file_target(&dest, &selected.name)?;
            return tree.visit(selected, excludes, self.cancel, &mut |_, path, found| {
                self.put(tree, &target, path, found, None)
            });
        }
        // BuildKit makes the directory itself as it makes any other that is missing: only its time is the source's
        self.draft
            .make_directories(&dest, &self.placement.new_directory())?;
        let mut links = BTreeMap::new();
        let mut times = Vec::new();
        tree.visit(selected, excludes, self.cancel, &mut |relative, path, found| {
            let target = dest.join_path(relative);
            if !relative.is_root() {
                self.put_below(tree, &target, path, found, &mut links)?;
            } else if !dest.is_root() {
                let kept = self.draft.lookup(&dest)?.filter(Meta::is_directory);
                self.draft
                    .put(&dest, NewFile::bare(kept.ok_or_else(|| not_a_directory(&dest))?))?;
            }
            if found.node.meta.is_directory() {
                times.push((target, self.time_of(tree, path, found)));
            }
            Ok(())
        })?;
        // new entries made their directories younger
        for (path, mtime) in times {
            self.draft.amend(&path, |meta| meta.mtime = mtime);
        }
        Ok(())
    }

    /// Copies files with the paths they keep; the destination is a directory.
    pub(crate) fn copy_entries(&mut self, tree: &Tree, entries: &[Entry]) -> Result<(), StepError> {
        let root = self
            .draft
            .resolve(&ImagePath::root(), &self.placement.dest, true)?;
        self.draft
            .make_directories(&root, &self.placement.new_directory())?;
        let mut links = BTreeMap::new();
        let mut times = Vec::new();
        for entry in entries {
            self.cancel.check()?;
            let target = root.join_path(&entry.kept);
            if target.is_root() {
                continue;
            }
            // the destination itself is no copy of anything
            if !entry.kept.is_root() {
                self.put_below(tree, &target, &entry.path, &entry.found, &mut links)?;
            }
            if entry.found.node.meta.is_directory() {
                times.push((target, self.time_of(tree, &entry.path, &entry.found)));
            }
        }
        // new entries made their directories younger
        for (path, mtime) in times {
            self.draft.amend(&path, |meta| meta.mtime = mtime);
        }
        Ok(())
    }

    /// Makes a file of bytes at hand, such as a here-document.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StepError> {
        let dest = self.prepare()?;
        let target = self.file_target(&dest, name.as_bytes())?;
        let meta = Meta {
            kind: Kind::File {
                size: bytes.len() as u64,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: self.placement.now,
            xattrs: Xattrs::new(),
        };
        let source = Source::Content(Content::Bytes(Arc::from(bytes)));
        let content = Some(Digest::of(bytes));
        self.draft.put(
            &target,
            NewFile {
                meta: self.placement.adjust(meta),
                source,
                content,
                link: None,
            },
        )
    }

    /// A file goes into an existing directory under its own name, else it takes the destination's.
    fn file_target(&self, dest: &ImagePath, name: &[u8]) -> Result<ImagePath, StepError> {
        let existing = self.draft.lookup(dest)?;
        if !existing.is_some_and(|meta| meta.is_directory()) {
            return Ok(dest.clone());
        }
        let target = dest.join(name);
        if self
            .draft
            .lookup(&target)?
            .is_some_and(|meta| meta.is_directory())
        {
            return Err(StepError::Invalid(format!(
                "cannot copy a file onto the directory {target}"
            )));
        }
        Ok(target)
    }

    fn put_below(
        &mut self,
        tree: &Tree,
        target: &ImagePath,
        path: &ImagePath,
        found: &Found,
        links: &mut BTreeMap<(u32, LinkKey), u64>,
    ) -> Result<(), StepError> {
        let directory = found.node.meta.is_directory();
        match self.draft.lookup(target)? {
            Some(meta) if directory && !meta.is_directory() => return Err(not_a_directory(target)),
            Some(meta) if !directory && meta.is_directory() => {
                return Err(StepError::Invalid(format!(
                    "cannot copy a file onto the directory {target}"
                )));
            }
            _ => {}
        }
        let link = found.link().map(|key| {
            let number = *links.entry(key).or_insert_with(|| {
                self.links += 1;
                self.links
            });
            (0, LinkKey::Offset(number))
        });
        self.put(tree, target, path, found, link)
    }

    fn put(
        &mut self,
        tree: &Tree,
        target: &ImagePath,
        path: &ImagePath,
        found: &Found,
        link: Option<(u32, LinkKey)>,
    ) -> Result<(), StepError> {
        let mut meta = found.node.meta.clone();
        meta.mtime = self.time_of(tree, path, found);
        meta.xattrs = tree.carried_xattrs(&meta.xattrs);
        if tree.is_context {
            (meta.uid, meta.gid) = (0, 0);
            if path.is_root() {
                meta.mode = 0o755;
            }
        }
        let source = match meta.kind {
            Kind::File { size } if size > 0 => tree.stack.source(path)?,
            _ => Source::Empty,
        };
        self.draft.put(
            target,
            NewFile {
                meta: self.placement.adjust(meta),
                source,
                content: found.node.content,
                link,
            },
        )
    }

    /// The root of a tree has no time of its own.
    fn time_of(&self, tree: &Tree, path: &ImagePath, found: &Found) -> Mtime {
        if path.is_root() && tree.is_context {
            self.placement.now
        } else {
            found.node.meta.mtime
        }
    }
}

fn not_a_directory(path: &ImagePath) -> StepError {
    StepError::Invalid(format!("cannot copy to non-directory: {path}"))
}
