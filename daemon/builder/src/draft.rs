//! A layer in the making: changes on top of the layers below, looked at as one tree.

use mica_layer::{Change, Changes, ImagePath, Kind, LinkKey, Meta, Mtime, Source, Stack};
use mica_oci::Digest;

use crate::error::StepError;

/// How many symbolic links one path may lead through (path_resolution(7) says 40; docker's securejoin 255).
const LINK_LIMIT: usize = 255;

/// The changes of a new layer on top of the layers below it.
pub(crate) struct Draft<'a> {
    below: &'a Stack,
    changes: Changes,
    now: Mtime,
}

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
        let hides = |change: &Change| match change {
            Change::Whiteout => true,
            Change::Node { meta, .. } => !meta.is_directory(),
        };
        if path
            .ancestors()
            .any(|above| self.changes.get(&above).is_some_and(hides))
        {
            return Ok(None);
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
        let mut at = root.clone();
        let mut links = 0;
        let mut open: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        while let Some(name) = open.pop() {
            if name == b".." {
                if at != *root {
                    at = at.parent().unwrap_or_default();
                }
                continue;
            }
            let next = at.join(&name);
            let follow = follow_last || !open.is_empty();
            match self.lookup(&next)?.map(|meta| meta.kind) {
                Some(Kind::Symlink { target }) if follow => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(StepError::Invalid(format!(
                            "{next}: too many levels of symbolic links"
                        )));
                    }
                    if target.starts_with(b"/") {
                        at = root.clone();
                    }
                    open.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }

    /// Makes the directory `path` and those above it, as far as they are missing; `path` must not lead through links.
    pub(crate) fn make_directories(&mut self, path: &ImagePath, new: &Meta) -> Result<(), StepError> {
        for directory in path.ancestors().chain((!path.is_root()).then(|| path.clone())) {
            self.make_directory(&directory, new)?;
        }
        Ok(())
    }

    /// Makes the directories of a path as it is written, one component after the other: links are followed, and what
    /// `..` leaves again is made too. Gives where it leads.
    pub(crate) fn make_path(&mut self, path: &[u8], new: &Meta) -> Result<ImagePath, StepError> {
        let mut at = ImagePath::root();
        for name in components(path) {
            let next = [at.as_bytes(), name].join(&b'/');
            at = self.resolve(&ImagePath::root(), &next, true)?;
            self.make_directories(&at, new)?;
        }
        Ok(at)
    }

    fn make_directory(&mut self, path: &ImagePath, new: &Meta) -> Result<(), StepError> {
        match self.lookup(path)? {
            Some(meta) if meta.is_directory() => Ok(()),
            Some(_) => Err(StepError::Invalid(format!(
                "cannot create directory {path}: what is there is not a directory"
            ))),
            None => self.insert(path, NewFile::bare(new.clone()), false),
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
            self.changes.insert(path.join(&name), Change::Whiteout);
        }
        Ok(())
    }

    /// A layer lists every changed path after the directories above it, changed or not (dockerfile contract 11.3).
    fn insert_parents(&mut self, path: &ImagePath) -> Result<(), StepError> {
        for above in path.ancestors() {
            if self.changes.contains_key(&above) {
                continue;
            }
            let meta = self.lookup(&above)?.filter(Meta::is_directory).ok_or_else(|| {
                StepError::Invalid(format!("cannot create {path}: {above} is not a directory"))
            })?;
            self.changes.insert(above, node(NewFile::bare(meta)));
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
