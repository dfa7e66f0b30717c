//! The files of several images as one tree: each image's in a folder of its own, or all together.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};

use mica_layer::{Change, Changes, ImagePath, Kind, Meta, Mtime, Source};
use mica_task::Cancel;

use crate::error::Error;
use crate::root::{FileTree, ImageRoot, RootFile, write_changes};

/// The files of several images as one tree. They stay as long as this lives.
pub struct Roots {
    changes: Changes,
    _roots: Vec<ImageRoot>,
}

impl Roots {
    /// Puts the files of images together, each in the folder that is named beside it, or all in one tree unless `is_split`.
    ///
    /// # Errors
    /// [`Error::Overlap`] for a file that two images have, where they are not in folders of their own.
    pub fn new(roots: Vec<(String, ImageRoot)>, is_split: bool, cancel: &Cancel) -> Result<Self, Error> {
        let mut all = Gathered::default();
        for (name, root) in &roots {
            all.add(name, root, is_split, cancel)?;
        }
        Ok(Self {
            changes: all.changes,
            _roots: roots.into_iter().map(|(_, root)| root).collect(),
        })
    }

    /// Writes all files as one tar.
    pub fn write_tar(&self, out: &mut (dyn Write + Send), cancel: &Cancel) -> Result<(), Error> {
        write_changes(&self.changes, out, cancel)
    }
}

impl FileTree for Roots {
    fn files(
        &self,
        cancel: &Cancel,
        show: &mut dyn FnMut(RootFile) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut firsts = HashMap::new();
        for (path, change) in &self.changes {
            cancel.check()?;
            let Change::Node { meta, link: key, .. } = change else {
                continue;
            };
            let key = key.as_ref().filter(|_| matches!(meta.kind, Kind::File { .. }));
            let link = key.and_then(|key| firsts.get(key).cloned());
            if let (Some(key), None) = (key, &link) {
                firsts.insert(key.clone(), path.clone());
            }
            show(RootFile {
                path: path.clone(),
                meta: meta.clone(),
                link,
            })?;
        }
        Ok(())
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send>, Error> {
        match self.changes.get(path) {
            Some(Change::Node {
                source: Source::Layer(layer, path),
                ..
            }) => {
                let content = layer.open(path).map_err(Error::Root)?;
                Ok(Box::new(content.reader()))
            }
            Some(Change::Node { .. }) => Ok(Box::new(std::io::empty())),
            _ => Err(Error::NoSuchFile { path: path.clone() }),
        }
    }
}

/// What was gathered so far.
#[derive(Default)]
struct Gathered<'a> {
    changes: Changes,
    /// Whose a file is, where several images are in one tree.
    owners: BTreeMap<ImagePath, &'a str>,
    /// The numbers of layers among those of all images.
    layers: HashMap<(&'a str, u32), u32>,
}

impl<'a> Gathered<'a> {
    fn add(&mut self, name: &'a str, root: &ImageRoot, is_split: bool, cancel: &Cancel) -> Result<(), Error> {
        let folder = match is_split {
            true => ImagePath::clamped(name.as_bytes()),
            false => ImagePath::root(),
        };
        if is_split {
            let own = Change::Node {
                meta: Meta::directory(0o755, Mtime::default()),
                source: Source::Empty,
                content: None,
                link: None,
                opaque: false,
            };
            self.changes.insert(folder.clone(), own);
        }
        let mut changes = root.changes(cancel, &mut |layer| {
            let count = u32::try_from(self.layers.len()).unwrap_or(u32::MAX);
            *self.layers.entry((name, layer)).or_insert(count)
        })?;
        while let Some((path, change)) = changes.pop_first() {
            let path = folder.join_path(&path);
            if is_split {
                self.changes.insert(path, change);
                continue;
            }
            if let Some(known) = self.changes.get(&path) {
                if is_directory(known) && is_directory(&change) {
                    continue;
                }
                return Err(Error::Overlap {
                    first: self.owners.get(&path).copied().unwrap_or_default().to_owned(),
                    second: name.to_owned(),
                    path,
                });
            }
            self.owners.insert(path.clone(), name);
            self.changes.insert(path, change);
        }
        Ok(())
    }
}

fn is_directory(change: &Change) -> bool {
    matches!(change, Change::Node { meta, .. } if meta.kind == Kind::Directory)
}
