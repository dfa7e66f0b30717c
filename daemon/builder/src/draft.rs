//! A layer in the making: changes on top of the layers below, looked at as one tree.

use mica_layer::{Allowance, Change, Changes, ImagePath, Kind, LinkKey, Meta, Mtime, Source, Stack};
use mica_oci::Digest;

use crate::error::StepError;

/// How many symbolic links one path may lead through (path_resolution(7) says 40; docker's securejoin 255).
const LINK_LIMIT: usize = 255;

/// The longest path of an image, in bytes: no system opens a longer one (`PATH_MAX`).
const PATH_LIMIT: usize = 4095;

/// The changes of a new layer on top of the layers below it.
pub(crate) struct Draft<'a> {
    below: &'a Stack,
    changes: Changes,
    now: Mtime,
    /// What may still be put here.
    allowance: Allowance,
}

/// A path being followed through links, one component at a time.
struct Way<'a> {
    /// What `/` and `..` do not lead out of.
    root: &'a ImagePath,
    at: ImagePath,
    /// What is still to be followed, the next component last.
    open: Vec<Vec<u8>>,
    links: usize,
}

impl<'a> Way<'a> {
    fn new(root: &'a ImagePath, path: &[u8]) -> Result<Self, StepError> {
        if path.len() > PATH_LIMIT {
            let start = String::from_utf8_lossy(&path[..64]);
            return Err(StepError::Invalid(format!(
                "the path {start}… is longer than {PATH_LIMIT} bytes"
            )));
        }
        Ok(Self {
            root,
            at: root.clone(),
            open: components(path).rev().map(<[u8]>::to_vec).collect(),
            links: 0,
        })
    }

    /// Goes one component on; says whether there was one.
    fn step(&mut self, draft: &Draft<'_>, follow_last: bool) -> Result<bool, StepError> {
        let Some(name) = self.open.pop() else {
            return Ok(false);
        };
        if name == b".." {
            if self.at != *self.root {
                self.at = self.at.parent().unwrap_or_default();
            }
            return Ok(true);
        }
        let next = self.at.join(&name);
        let follow = follow_last || !self.open.is_empty();
        match draft.lookup(&next)?.map(|meta| meta.kind) {
            Some(Kind::Symlink { target }) if follow => {
                self.links += 1;
                if self.links > LINK_LIMIT {
                    return Err(StepError::Invalid(format!(
                        "{next}: too many levels of symbolic links"
                    )));
                }
                if target.starts_with(b"/") {
                    self.at = self.root.clone();
                }
                self.open.extend(components(&target).rev().map(<[u8]>::to_vec));
            }
            _ => self.at = next,
        }
        Ok(true)
    }
}

/// A directory as it is made where one is missing.
#[derive(Debug, Clone)]
pub(crate) struct NewDirectory {
    /// All of it.
    pub meta: Meta,
    /// Whether somebody said whose it is.
    pub owned: bool,
}

/// The bit by which what is made in a directory belongs to the directory's group (`mkdir(2)`).
const SET_GROUP: u32 = 0o2000;

/// What a new file is made of.
pub(crate) struct NewFile {
    /// All but its bytes.
    pub meta: Meta,
    /// Its bytes.
    pub source: Source,
    /// The digest of its bytes, where it is known.
    pub content: Option<Digest>,
    /// Its key, if other new paths are the same file.
    pub link: Option<(u32, LinkKey)>,
}

impl NewFile {
    /// A file without bytes, or a directory.
    pub(crate) fn bare(meta: Meta) -> Self {
        Self {
            meta,
            source: Source::Empty,
            content: None,
            link: None,
        }
    }
}

impl<'a> Draft<'a> {
    /// No changes yet on top of `below`. A directory that gets a new entry is as old as `now`.
    pub(crate) fn new(below: &'a Stack, now: Mtime) -> Self {
        Self {
            below,
            changes: Changes::new(),
            now,
            allowance: Allowance::default(),
        }
    }

    /// The changes made.
    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    /// What is at `path`, links not followed.
    pub(crate) fn lookup(&self, path: &ImagePath) -> Result<Option<Meta>, StepError> {
        match self.changes.get(path) {
            Some(Change::Node { meta, .. }) => return Ok(Some(meta.clone())),
            Some(Change::Whiteout) => return Ok(None),
            None => {}
        }
        // with a path all directories above it are changes too, so the nearest one tells
        let mut above = path.parent();
        while let Some(directory) = above {
            match self.changes.get(&directory) {
                Some(Change::Node { meta, .. }) if meta.is_directory() => break,
                Some(_) => return Ok(None),
                None => above = directory.parent(),
            }
        }
        Ok(self.below.lookup(path)?.map(|found| found.node.meta))
    }

    /// Where `path`, taken from `root` down, really leads: symbolic links are followed inside `root`, also dangling ones.
    /// The last component is followed only if `follow_last`.
    pub(crate) fn resolve(
        &self,
        root: &ImagePath,
        path: &[u8],
        follow_last: bool,
    ) -> Result<ImagePath, StepError> {
        let mut way = Way::new(root, path)?;
        while way.step(self, follow_last)? {}
        Ok(way.at)
    }

    /// Makes the directory `path` and those above it, as far as they are missing; `path` must not lead through links.
    pub(crate) fn make_directories(&mut self, path: &ImagePath, new: &NewDirectory) -> Result<(), StepError> {
        for directory in path.ancestors().chain((!path.is_root()).then(|| path.clone())) {
            self.make_directory(&directory, new)?;
        }
        Ok(())
    }

    /// Makes the directories of a path as it is written, one component after the other: links are followed, and what
    /// `..` leaves again is made too. Gives where it leads.
    pub(crate) fn make_path(&mut self, path: &[u8], new: &NewDirectory) -> Result<ImagePath, StepError> {
        let root = ImagePath::root();
        let mut way = Way::new(&root, path)?;
        while way.step(self, true)? {
            self.make_directory(&way.at, new)?;
        }
        Ok(way.at)
    }

    fn make_directory(&mut self, path: &ImagePath, new: &NewDirectory) -> Result<(), StepError> {
        if path.is_root() {
            return Ok(());
        }
        match self.lookup(path)? {
            Some(meta) if meta.is_directory() => Ok(()),
            Some(_) => Err(StepError::Invalid(format!(
                "cannot create directory {path}: what is there is not a directory"
            ))),
            None => {
                let parent = path.parent().map(|parent| self.lookup(&parent)).transpose()?;
                let mut meta = new.meta.clone();
                if let Some(parent) = parent.flatten().filter(|parent| parent.mode & SET_GROUP != 0) {
                    meta.mode |= SET_GROUP;
                    if !new.owned {
                        meta.gid = parent.gid;
                    }
                }
                self.insert(path, NewFile::bare(meta), false)
            }
        }
    }

    /// Changes what was put at `path`, if anything was.
    pub(crate) fn amend(&mut self, path: &ImagePath, change: impl FnOnce(&mut Meta)) {
        if let Some(Change::Node { meta, .. }) = self.changes.get_mut(path) {
            change(meta);
        }
    }

    /// Puts a file or directory at `path`, whose parent must be there. What is at `path` is replaced, except that a
    /// directory put on a directory keeps its contents.
    pub(crate) fn put(&mut self, path: &ImagePath, file: NewFile) -> Result<(), StepError> {
        let before = self.lookup(path)?.map(|meta| meta.is_directory());
        if before.is_some_and(|directory| directory != file.meta.is_directory()) {
            self.drop_below(path);
        }
        self.insert(path, file, before == Some(true))
    }

    /// Makes `path` one more name of the regular file `target`.
    pub(crate) fn link(
        &mut self,
        path: &ImagePath,
        target: &ImagePath,
        key: LinkKey,
    ) -> Result<(), StepError> {
        let missing = || {
            StepError::Invalid(format!(
                "{path}: the target of the hard link, {target}, is not there"
            ))
        };
        let file = match self.changes.get_mut(target) {
            Some(Change::Node {
                meta,
                source,
                content,
                link,
                ..
            }) if !meta.is_directory() => {
                let link = link.get_or_insert((0, key)).clone();
                NewFile {
                    meta: meta.clone(),
                    source: source.clone(),
                    content: *content,
                    link: Some(link),
                }
            }
            Some(_) => return Err(missing()),
            // a file of a lower layer is copied: links do not reach from one layer into another
            None => {
                let found = self
                    .below
                    .lookup(target)?
                    .filter(|f| !f.node.meta.is_directory())
                    .ok_or_else(missing)?;
                let source = match found.node.meta.kind {
                    Kind::File { .. } => self.below.source(target)?,
                    _ => Source::Empty,
                };
                NewFile {
                    meta: found.node.meta,
                    source,
                    content: found.node.content,
                    link: None,
                }
            }
        };
        self.put(path, file)
    }

    fn drop_below(&mut self, path: &ImagePath) {
        let gone: Vec<_> = self
            .changes
            .range(path.clone()..)
            .map(|(p, _)| p)
            .take_while(|p| p.starts_with(path))
            .cloned()
            .collect();
        gone.iter().for_each(|p| drop(self.changes.remove(p)));
    }

    fn insert(&mut self, path: &ImagePath, file: NewFile, was_directory: bool) -> Result<(), StepError> {
        self.insert_parents(path)?;
        self.allowance.take(path, &file.meta)?;
        let directory = file.meta.is_directory();
        self.changes.insert(path.clone(), node(file));
        if directory && was_directory {
            return Ok(());
        }
        // what was not a directory here before is a new entry of the one above
        let now = self.now;
        path.parent()
            .into_iter()
            .for_each(|parent| self.amend(&parent, |meta| meta.mtime = now));
        if directory {
            self.hide_below(path)?;
        }
        Ok(())
    }

    /// A directory that takes the place of something else must not show what a directory of that name holds in the layers
    /// below: each of those names vanishes by itself, as BuildKit writes it (dockerfile contract 11.4).
    fn hide_below(&mut self, path: &ImagePath) -> Result<(), StepError> {
        for (name, _) in self.below.read_dir(path)? {
            let hidden = path.join(&name);
            self.allowance.take_whiteout(&hidden)?;
            self.changes.insert(hidden, Change::Whiteout);
        }
        Ok(())
    }

    /// A layer lists every changed path after the directories above it, changed or not (dockerfile contract 11.3).
    fn insert_parents(&mut self, path: &ImagePath) -> Result<(), StepError> {
        let mut missing = Vec::new();
        let mut above = path.parent();
        while let Some(directory) = above.filter(|directory| !directory.is_root()) {
            if self.changes.contains_key(&directory) {
                break;
            }
            above = directory.parent();
            missing.push(directory);
        }
        for directory in missing.into_iter().rev() {
            let meta = self
                .lookup(&directory)?
                .filter(Meta::is_directory)
                .ok_or_else(|| {
                    StepError::Invalid(format!("cannot create {path}: {directory} is not a directory"))
                })?;
            self.allowance.take(&directory, &meta)?;
            self.changes.insert(directory, node(NewFile::bare(meta)));
        }
        Ok(())
    }
}

fn node(file: NewFile) -> Change {
    let NewFile {
        meta,
        source,
        content,
        link,
    } = file;
    Change::Node {
        meta,
        source,
        content,
        link,
        opaque: false,
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}
