//! The file system of an image, to be read from outside.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use mica_layer::{
    Change, Changes, ImagePath, Kind, LayerView, Meta, Mtime, Policy, Source, Stack, Step, XattrPolicy, pack,
};
use mica_oci::{Attestation, Hashing, ImageId, Subject};
use mica_store::{Image, Lease};
use mica_task::Cancel;

use crate::beside::Beside;
use crate::engine::Engine;
use crate::error::Error;
use crate::glob::Glob;

/// The file system of an image. Its layers stay as long as this lives.
pub struct ImageRoot {
    stack: Stack,
    image: Image,
    _lease: Lease,
}

/// A file of an image.
#[derive(Debug, Clone)]
pub struct RootFile {
    /// Where it is.
    pub path: ImagePath,
    /// What it is.
    pub meta: Meta,
    /// The path shown before that is the same file.
    pub link: Option<ImagePath>,
}

/// Files that can be looked through and opened.
pub trait FileTree {
    /// Shows all files but the root, each directory before what is in it; stops at the first error.
    fn files(
        &self,
        cancel: &Cancel,
        show: &mut dyn FnMut(RootFile) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Opens a regular file.
    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send>, Error>;
}

impl Engine {
    /// The file system of an image.
    pub fn root_of(&self, id: &ImageId) -> Result<ImageRoot, Error> {
        let lease = self.store().lease();
        let image = self
            .store()
            .hold_image(&lease, id)?
            .ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
        let layers = &image.config.rootfs.diff_ids;
        let views: Result<Vec<Arc<dyn LayerView>>, _> = layers
            .iter()
            .map(|layer| self.store().view(&lease, layer))
            .collect();
        Ok(ImageRoot {
            stack: Stack::new(views?),
            image,
            _lease: lease,
        })
    }
}

impl ImageRoot {
    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// With what is said of the files as files beside them, each a statement about all that are regular.
    pub fn with_statements(self, said: &[Attestation], cancel: &Cancel) -> Result<Self, Error> {
        if said.is_empty() {
            return Ok(self);
        }
        let subjects = self.subjects(cancel)?;
        let mut files = BTreeMap::new();
        for one in said {
            let path = ImagePath::root().join(one.file.as_bytes());
            let is_taken = self.stack.lookup(&path).map_err(Error::Root)?.is_some();
            let bytes = one.statement(&subjects).map_err(Error::Attestation)?;
            if is_taken
                || files
                    .insert(one.file.clone().into_bytes(), bytes.into())
                    .is_some()
            {
                return Err(Error::Beside {
                    name: one.file.clone(),
                });
            }
        }
        let mtime = Mtime {
            seconds: self.image.created.map_or(0, jiff::Timestamp::as_second),
            nanoseconds: 0,
        };
        let mut layers = self.stack.layers().to_vec();
        layers.push(Arc::new(Beside::new(files, mtime)));
        Ok(Self {
            stack: Stack::new(layers),
            ..self
        })
    }

    /// All regular files, with the digests of what is in them.
    fn subjects(&self, cancel: &Cancel) -> Result<Vec<Subject>, Error> {
        let mut subjects = Vec::new();
        self.files(cancel, &mut |file| {
            if matches!(file.meta.kind, Kind::File { .. }) {
                let mut reader = cancel.guard(self.open(&file.path)?);
                let mut hashing = Hashing::new(io::sink());
                io::copy(&mut reader, &mut hashing).map_err(Error::sending)?;
                let (_, digest, _) = hashing.finish();
                let name = String::from_utf8_lossy(file.path.as_bytes());
                subjects.push(Subject::new(name, &digest));
            }
            Ok(())
        })?;
        Ok(subjects)
    }

    /// What a path leads to, links followed.
    pub fn resolve(&self, path: &str) -> Result<RootFile, Error> {
        let written = ImagePath::clamped(path.as_bytes());
        let place = self.stack.resolve(&written, true).map_err(Error::Root)?;
        let found = self.stack.lookup(&place).map_err(Error::Root)?;
        match found {
            Some(found) => Ok(RootFile {
                path: place,
                meta: found.node.meta,
                link: None,
            }),
            None => Err(Error::NoSuchFile { path: written }),
        }
    }

    /// The files in a directory whose names match a shell pattern, if one is given.
    pub fn list(&self, path: &ImagePath, pattern: &str) -> Result<Vec<RootFile>, Error> {
        let mut files = self.stack.read_dir(path).map_err(Error::Root)?;
        if !pattern.is_empty() {
            let glob = Glob::parse(pattern);
            let matches = |name: &[u8]| {
                let name = String::from_utf8_lossy(name);
                glob.as_ref().is_some_and(|glob| glob.matches(&name))
            };
            files.retain(|(name, _)| matches(name));
        }
        let file = |(name, found): (Vec<u8>, mica_layer::Found)| RootFile {
            path: path.join(&name),
            meta: found.node.meta,
            link: None,
        };
        Ok(files.into_iter().map(file).collect())
    }

    /// Writes all files as one tar.
    pub fn write_tar(&self, out: &mut (dyn Write + Send), cancel: &Cancel) -> Result<(), Error> {
        write_changes(&self.changes(cancel, &mut |layer| layer)?, out, cancel)
    }

    /// All files but the root. `number` gives layers the numbers by which linked files are told apart.
    pub(crate) fn changes(
        &self,
        cancel: &Cancel,
        number: &mut dyn FnMut(u32) -> u32,
    ) -> Result<Changes, Error> {
        let mut changes = Changes::new();
        self.stack
            .walk(&ImagePath::root(), &mut |path, found| {
                if path.is_root() {
                    return Ok(Step::Into);
                }
                if cancel.is_cancelled() {
                    return Ok(Step::Over);
                }
                let source = match found.node.meta.size() {
                    0 => Source::Empty,
                    _ => Source::Layer(self.stack.layers()[found.layer as usize].clone(), path.clone()),
                };
                let change = Change::Node {
                    meta: found.node.meta.clone(),
                    source,
                    content: found.node.content,
                    link: found.link().map(|(layer, key)| (number(layer), key)),
                    opaque: false,
                };
                changes.insert(path.clone(), change);
                Ok(Step::Into)
            })
            .map_err(Error::Root)?;
        cancel.check()?;
        Ok(changes)
    }
}

impl FileTree for ImageRoot {
    fn files(
        &self,
        cancel: &Cancel,
        show: &mut dyn FnMut(RootFile) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut firsts = std::collections::HashMap::new();
        let mut failure = None;
        self.stack
            .walk(&ImagePath::root(), &mut |path, found| {
                if failure.is_some() {
                    return Ok(Step::Over);
                }
                if path.is_root() {
                    return Ok(Step::Into);
                }
                let mut link = None;
                if matches!(found.node.meta.kind, Kind::File { .. })
                    && let Some(key) = found.link()
                {
                    link = firsts.get(&key).cloned();
                    firsts.entry(key).or_insert_with(|| path.clone());
                }
                let file = RootFile {
                    path: path.clone(),
                    meta: found.node.meta.clone(),
                    link,
                };
                let shown = cancel.check().map_err(Error::from).and_then(|()| show(file));
                if let Err(error) = shown {
                    failure = Some(error);
                }
                Ok(Step::Into)
            })
            .map_err(Error::Root)?;
        failure.map_or(Ok(()), Err)
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send>, Error> {
        let content = self.stack.open(path).map_err(Error::Root)?;
        Ok(Box::new(content.reader()))
    }
}

/// Writes files as one tar.
pub(crate) fn write_changes(
    changes: &Changes,
    out: &mut (dyn Write + Send),
    cancel: &Cancel,
) -> Result<(), Error> {
    let policy = Policy {
        xattrs: XattrPolicy::All,
        ..Policy::default()
    };
    let mut out = cancel.guard(out);
    pack(changes, &policy, &mut out, None).map_err(Error::Root)?;
    Ok(())
}
