//! A layer read from its unpacked tree.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::directory::names;
use crate::entry::Node;
use crate::error::Error;
use crate::handle::Handle;
use crate::path::ImagePath;
use crate::root::{Place, Root};
use crate::view::{Content, Finding, LayerView, Name};

/// A layer whose form is a tree as overlayfs takes it: a character device 0:0 says that a name is gone, an extended
/// attribute that a directory is opaque. Sockets are not seen.
#[derive(Debug)]
pub struct DirView {
    root: Root,
}

impl DirView {
    /// Views the tree at `place`, which must not change while it is viewed.
    pub fn open(place: &Path) -> Result<Self, Error> {
        Ok(Self {
            root: Root::open(place)?,
        })
    }

    /// The tree.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    fn is_whiteout(&self, file: &Handle, path: &ImagePath) -> Result<bool, Error> {
        if file.file_type() == FileType::RegularFile && file.size() == 0 {
            let meta = file
                .meta()
                .map_err(|error| self.root.failed("read", path, error))?;
            return Ok(meta.is_some_and(|(_, marks)| marks.whiteout));
        }
        Ok(file.is_whiteout_device())
    }
}

impl LayerView for DirView {
    fn find(&self, path: &ImagePath) -> Result<Finding, Error> {
        let file = match self.root.look(path)? {
            Place::File(file) if file.is_whiteout_device() => return Ok(Finding::Whiteout),
            Place::File(file) => file,
            Place::Nothing => return Ok(Finding::Silent),
            Place::Blocked => return Ok(Finding::Whiteout),
        };
        Ok(
            match file
                .meta()
                .map_err(|error| self.root.failed("read", path, error))?
            {
                None => Finding::Silent,
                Some((_, marks)) if marks.whiteout && !file.is_directory() => Finding::Whiteout,
                Some((meta, marks)) => Finding::Node {
                    opaque: meta.is_directory() && marks.opaque,
                    node: Node {
                        meta,
                        link: file.link(),
                        content: None,
                    },
                },
            },
        )
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, Error> {
        let Place::File(dir) = self.root.look(path)? else {
            return Ok(Vec::new());
        };
        if !dir.is_directory() {
            return Ok(Vec::new());
        }
        let marks = dir
            .meta()
            .map_err(|error| self.root.failed("read", path, error))?
            .map(|(_, marks)| marks);
        let marked_files = marks.is_some_and(|marks| marks.marked_files);
        let listed = dir
            .open()
            .and_then(names)
            .map_err(|error| self.root.failed("list", path, error))?;
        let mut found = Vec::with_capacity(listed.len());
        for (name, file_type) in listed {
            // only what may be a whiteout or a socket is looked at
            let plain = match file_type {
                FileType::RegularFile => !marked_files,
                FileType::Directory | FileType::Symlink | FileType::BlockDevice | FileType::Fifo => true,
                _ => false,
            };
            let mut whiteout = false;
            if !plain {
                let at = path.join(&name);
                match Handle::at(dir.as_fd(), &name)
                    .map_err(|error| self.root.failed("look at", &at, error))?
                {
                    Some(file) if file.file_type() != FileType::Socket => {
                        whiteout = self.is_whiteout(&file, &at)?
                    }
                    _ => continue,
                }
            }
            found.push(Name { name, whiteout });
        }
        found.sort_unstable();
        Ok(found)
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        match self.root.look(path)? {
            Place::File(file) if file.file_type() == FileType::RegularFile => {
                let fd = file
                    .open()
                    .map_err(|error| self.root.failed("open", path, error))?;
                let file_path = self.root.place().join(path.as_path());
                Ok(Content::Range {
                    file: Arc::new(fs_err::File::from_parts(File::from(fd), file_path)),
                    offset: 0,
                    len: file.size(),
                })
            }
            _ => Err(Error::Path {
                path: path.clone(),
                reason: "not a regular file".to_owned(),
            }),
        }
    }
}
