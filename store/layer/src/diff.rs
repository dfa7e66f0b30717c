//! What a run changed: the upper directory of an overlay against the layers below it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::mem::discriminant;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::allowance::{Allowance, GoOn, wanted};
use crate::changes::{Change, Changes};
use crate::entry::{CAPABILITY_XATTR, LinkKey, Meta, Node};
use crate::error::Error;
use crate::handle::Handle;
use crate::overlay::Marks;
use crate::pack::XattrPolicy;
use crate::path::{ImagePath, shown};
use crate::root::PATH_LIMIT;
use crate::source::Source;
use crate::stack::Stack;
use crate::tar::{OPAQUE_MARKER, WHITEOUT_PREFIX};
use crate::tree_view::DirView;

/// The number that stands for the upper directory where others stand for layers of the stack.
const UPPER: u32 = u32::MAX;

/// How many bytes are compared at once.
const COMPARED_BYTES: usize = 64 << 10;

/// The changes that the upper directory `upper` of an overlay makes to `below`, which must read the very trees that were
/// its lower directories (times are compared to the nanosecond). Bytes are read from `upper` later, as the changes are
/// packed; it must stay until then.
///
/// A path is changed if its type, mode, owner, device or capability differ and, unless it is a directory, its size or
/// time; where both times have no nanoseconds (a tar may have lost them) the bytes are compared. Changed paths come with the
/// directories above them, the root never. A directory that hides all below it becomes whiteouts of what it hides. Names
/// that begin with `.wh.`, which no layer can hold, become the deletions they would be read as; sockets are as if they were
/// not there. Names of one file stay so among the changed paths.
///
/// Of extended attributes the capability alone is among the changes: the others reach no tar.
///
/// # Errors
/// [`Error::Changes`] if the changes take more than `allowance`; [`Error::Io`] as soon as `go_on` fails; [`Error::Limit`] for a path too long for Linux; [`Error::Path`] for a file whose content overlayfs left in another layer.
pub fn diff(upper: &Path, below: &Stack, allowance: Allowance, go_on: GoOn<'_>) -> Result<Changes, Error> {
    let mut diff = Diff {
        upper: Arc::new(DirView::open(upper)?),
        below,
        changes: Changes::new(),
        unchanged: BTreeMap::new(),
        ahead: vec![(ImagePath::root(), false)],
        allowance,
        go_on,
    };
    while let Some((path, hiding)) = diff.ahead.pop() {
        diff.directory(&path, hiding)?;
    }
    diff.add_parents();
    let mut changes = diff.changes;
    drop_lone_links(&mut changes);
    Ok(changes)
}

struct Diff<'a> {
    upper: Arc<DirView>,
    below: &'a Stack,
    changes: Changes,
    /// Directories that are in the upper directory but not changed.
    unchanged: BTreeMap<ImagePath, Meta>,
    /// Directories still to be looked into, and whether they hide all that is below them.
    ahead: Vec<(ImagePath, bool)>,
    /// What all of that may still take.
    allowance: Allowance,
    go_on: GoOn<'a>,
}

impl Diff<'_> {
    fn directory(&mut self, dir: &ImagePath, mut hiding: bool) -> Result<(), Error> {
        let upper = self.upper.clone();
        let listed = upper.root().list_while(dir, &mut |name| {
            wanted(self.go_on)?;
            self.allowance.borrow(dir, name)
        })?;
        let Some((fd, names)) = listed else {
            return Ok(());
        };
        let reserved = |name: &&Vec<u8>| name.starts_with(WHITEOUT_PREFIX);
        hiding |= names.iter().any(|name| name == OPAQUE_MARKER);
        for name in names.iter().filter(|name| !reserved(name)) {
            wanted(self.go_on)?;
            let path = dir.join(name);
            check_length(&path)?;
            let failed = |error: io::Error| upper.root().failed("read", &path, error);
            let Some(file) = Handle::at(fd.as_fd(), name).map_err(|errno| failed(errno.into()))? else {
                continue;
            };
            match file.meta_with(XattrPolicy::CapabilityOnly).map_err(failed)? {
                Some((meta, marks)) if !is_whiteout(&file, marks) => {
                    self.file(path, &file, meta, marks, hiding)?;
                }
                _ => self.deletion(path)?,
            }
        }
        let names: BTreeSet<_> = names.into_iter().collect();
        for name in names.iter().filter(reserved) {
            match name.strip_prefix(WHITEOUT_PREFIX) {
                None | Some(b"" | b"." | b"..") => {}
                Some(gone) if gone.starts_with(WHITEOUT_PREFIX) || names.contains(gone) => {}
                Some(gone) => self.deletion(dir.join(gone))?,
            }
        }
        if hiding {
            for (name, _) in self.below.read_dir(dir)? {
                if !names.contains(&name) {
                    self.gone(dir.join(&name))?;
                }
            }
        }
        names.iter().for_each(|name| self.allowance.give_back(name));
        Ok(())
    }

    fn deletion(&mut self, path: ImagePath) -> Result<(), Error> {
        wanted(self.go_on)?;
        match self.below.lookup(&path)? {
            Some(_) => self.gone(path),
            None => Ok(()),
        }
    }

    fn gone(&mut self, path: ImagePath) -> Result<(), Error> {
        self.allowance.take_whiteout(&path)?;
        self.changes.insert(path, Change::Whiteout);
        Ok(())
    }

    fn file(
        &mut self,
        path: ImagePath,
        file: &Handle,
        meta: Meta,
        marks: Marks,
        hiding: bool,
    ) -> Result<(), Error> {
        if marks.elsewhere {
            return Err(Error::Path {
                path,
                reason: "its content is in another layer (overlayfs metacopy or redirect_dir)".to_owned(),
            });
        }
        if meta.is_directory() {
            self.ahead.push((path.clone(), hiding || marks.opaque));
        }
        let below = self.below.lookup(&path)?;
        let changed = match &below {
            Some(below) => self.is_changed(&path, &below.node, &meta)?,
            None => true,
        };
        if changed || meta.is_directory() {
            self.allowance.take(&path, &meta)?;
        }
        if changed {
            let change = self.change(&path, meta, file.link());
            self.changes.insert(path, change);
        } else if meta.is_directory() {
            self.unchanged.insert(path, meta);
        }
        Ok(())
    }

    fn change(&self, path: &ImagePath, meta: Meta, link: Option<LinkKey>) -> Change {
        Change::Node {
            source: match meta.size() {
                0 => Source::Empty,
                _ => Source::Layer(self.upper.clone(), path.clone()),
            },
            meta,
            content: None,
            link: link.map(|key| (UPPER, key)),
            opaque: false,
        }
    }

    fn is_changed(&self, path: &ImagePath, old: &Node, new: &Meta) -> Result<bool, Error> {
        let old = &old.meta;
        let capability = |meta: &Meta| meta.xattrs.get(CAPABILITY_XATTR).cloned();
        if discriminant(&old.kind) != discriminant(&new.kind)
            || (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid)
            || capability(old) != capability(new)
        {
            return Ok(true);
        }
        if new.is_directory() {
            return Ok(false);
        }
        // sizes, devices and targets of links are all in the kind
        if old.kind != new.kind || old.mtime != new.mtime {
            return Ok(true);
        }
        let exact = old.mtime.nanoseconds != 0;
        if exact || new.size() == 0 {
            return Ok(false);
        }
        let upper: Arc<DirView> = self.upper.clone();
        let (mut old, mut new) = (
            self.below.open(path)?.reader(),
            Source::Layer(upper, path.clone()).open()?.reader(),
        );
        let same = same_bytes(&mut old, &mut new, self.go_on)
            .map_err(|error| self.upper.root().failed("compare", path, error))?;
        Ok(!same)
    }

    /// Every directory in the upper one is either changed or not: from a path up to the first that is, or was already found to
    /// be needed, those above that are needed too.
    fn add_parents(&mut self) {
        let mut needed = Vec::new();
        for path in self.changes.keys() {
            let mut above = path.parent();
            while let Some((dir, meta)) = above.and_then(|dir| self.unchanged.remove_entry(&dir)) {
                above = dir.parent();
                needed.push((dir, meta));
            }
        }
        for (path, meta) in needed {
            let change = self.change(&path, meta, None);
            self.changes.insert(path, change);
        }
    }
}

/// Whether a file of a tree says that its name is gone.
pub(crate) fn is_whiteout(file: &Handle, marks: Marks) -> bool {
    file.is_whiteout_device() || (marks.whiteout && file.file_type() == FileType::RegularFile)
}

/// Forgets the link of a file that has but one name among `changes`.
pub(crate) fn drop_lone_links(changes: &mut Changes) {
    let mut names: BTreeMap<(u32, LinkKey), u32> = BTreeMap::new();
    for change in changes.values() {
        if let Change::Node { link: Some(key), .. } = change {
            *names.entry(key.clone()).or_default() += 1;
        }
    }
    for change in changes.values_mut() {
        if let Change::Node { link, .. } = change {
            link.take_if(|key| names.get(key) == Some(&1));
        }
    }
}

/// Refuses a path that no system call takes.
pub(crate) fn check_length(path: &ImagePath) -> Result<(), Error> {
    if path.as_bytes().len() as u64 > PATH_LIMIT {
        return Err(Error::Limit {
            what: format!("length of the path /{}", shown(path.as_bytes())),
            limit: PATH_LIMIT,
        });
    }
    Ok(())
}

/// Whether two readers give the same bytes.
fn same_bytes(a: &mut impl Read, b: &mut impl Read, go_on: GoOn<'_>) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        go_on()?;
        let n = fill(a, &mut left)?;
        if fill(b, &mut right)? != n || left[..n] != right[..n] {
            return Ok(false);
        }
        if n < COMPARED_BYTES {
            return Ok(true);
        }
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match reader.read(&mut buffer[at..])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}
