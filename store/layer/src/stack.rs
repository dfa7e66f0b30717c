//! The layers of an image seen as one tree, by name, as overlayfs would show them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use mica_oci::Digest;

use crate::entry::{LinkKey, Meta, Mtime, Node};
use crate::error::Error;
use crate::path::ImagePath;
use crate::resolve::resolve;
use crate::source::Source;
use crate::view::{Content, Enters, Finding, LayerView};

/// How many directories the memory of a stack holds before it starts anew.
const REMEMBERED_DIRECTORIES: usize = 4096;

/// How deep a walk goes: no path that a kernel takes (`PATH_MAX`) is deeper.
const DEPTH_LIMIT: u64 = 2048;

/// The merged, read-only tree of some layers. Cheap to clone and safe to share between threads.
///
/// Links are followed by [`resolve`](Self::resolve) only; every other method takes a path without links above its last
/// component and finds nothing below a link.
#[derive(Clone, Default)]
pub struct Stack {
    layers: Arc<[Arc<dyn LayerView>]>,
    memory: Arc<Mutex<Memory>>,
}

/// The layers that make up a directory, topmost first; `None` if there is no such directory.
type Part = Option<Arc<[u32]>>;
type Memory = HashMap<ImagePath, Part>;

/// A file of a stack and the layer it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub node: Node,
    /// The layer that says so, counted from the bottom; for a directory the topmost of those that have it.
    pub layer: u32,
}

impl Found {
    /// Names the file among all files of the stack, if it has other names in its layer.
    pub fn link(&self) -> Option<(u32, LinkKey)> {
        self.node.link.clone().map(|key| (self.layer, key))
    }
}

/// What a walk does after a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Goes on, into a directory first.
    Into,
    /// Leaves out what is below this path.
    Over,
}

impl Stack {
    /// Stacks `layers`, the bottom one first, as a manifest lists them.
    pub fn new(layers: Vec<Arc<dyn LayerView>>) -> Self {
        Self {
            layers: layers.into(),
            memory: Arc::default(),
        }
    }

    /// This stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: Arc<dyn LayerView>) -> Self {
        Self::new(self.layers.iter().cloned().chain([layer]).collect())
    }

    /// The layers, the bottom one first.
    pub fn layers(&self) -> &[Arc<dyn LayerView>] {
        &self.layers
    }

    /// The file at `path`, links not followed. The root is always a directory 0755 of 0:0: its own attributes never
    /// come from a layer.
    pub fn lookup(&self, path: &ImagePath) -> Result<Option<Found>, Error> {
        let Some(parent) = path.parent() else {
            return Ok(Some(root()));
        };
        match self.part(&parent)? {
            Some(part) => Ok(self.find(&part, path)?.map(|(found, _)| found)),
            None => Ok(None),
        }
    }

    /// The path that `path` leads to when the links on its way are followed inside the root; those of the last
    /// component only if `follow_last`. A path that does not exist (or only its beginning does) leads to where it would
    /// be made.
    ///
    /// # Errors
    /// [`Error::Limit`] after 255 links.
    pub fn resolve(&self, path: &ImagePath, follow_last: bool) -> Result<ImagePath, Error> {
        resolve(path, follow_last, |path| {
            Ok(match self.lookup(path)?.map(|found| found.node.meta.kind) {
                Some(crate::entry::Kind::Symlink { target }) => Some(target),
                _ => None,
            })
        })
    }

    /// The files in the directory `path` by name, sorted by bytes; empty if `path` is no directory.
    pub fn read_dir(&self, path: &ImagePath) -> Result<Vec<(Vec<u8>, Found)>, Error> {
        let Some(part) = self.part(path)? else {
            return Ok(Vec::new());
        };
        if let [layer] = part[..]
            && let Some(files) = self.layers[layer as usize].files(path)?
        {
            let found = |(name, node)| (name, Found { node, layer });
            return Ok(files.into_iter().map(found).collect());
        }
        // the part from which a name's files are to be found; whiteouts hide it from all below
        let mut names: BTreeMap<Vec<u8>, Option<usize>> = BTreeMap::new();
        for (at, layer) in part.iter().enumerate() {
            for name in self.layers[*layer as usize].names(path)? {
                names.entry(name.name).or_insert((!name.whiteout).then_some(at));
            }
        }
        let mut files = Vec::with_capacity(names.len());
        for (name, at) in names {
            let Some(at) = at else { continue };
            if let Some((found, _)) = self.find(&part[at..], &path.join(&name))? {
                files.push((name, found));
            }
        }
        Ok(files)
    }

    /// The bytes of the regular file at `path`, links not followed.
    ///
    /// # Errors
    /// [`Error::Path`] if there is none or it is not a regular file.
    pub fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        self.layers[self.file_layer(path)? as usize].open(path)
    }

    /// The bytes of the regular file at `path`, to be opened later; fails as [`open`](Self::open) does.
    pub fn source(&self, path: &ImagePath) -> Result<Source, Error> {
        let layer = self.file_layer(path)?;
        Ok(Source::Layer(self.layers[layer as usize].clone(), path.clone()))
    }

    /// Gets ready for a walk through `start` as far as `enters` wants to see what is below it.
    pub fn prepare(&self, start: &ImagePath, enters: &Enters<'_>) -> Result<(), Error> {
        self.layers
            .iter()
            .try_for_each(|layer| layer.prepare(start, enters))
    }

    /// Whether most bytes of the files met so far would have to be read to know their digests.
    pub fn is_unread(&self) -> bool {
        self.layers.iter().any(|layer| layer.is_unread())
    }

    /// Hears that all bytes of the file at `path` were read, and what their digest is if it was taken; see
    /// [`LayerView::was_read`].
    pub fn was_read(&self, path: &ImagePath, digest: Option<&Digest>) -> Result<(), Error> {
        self.layers[self.file_layer(path)? as usize].was_read(path, digest)
    }

    /// Shows `visit` what is at `start` and below it, parents first and each directory's names sorted by bytes (the order
    /// of [`ImagePath`]). Links are shown, not followed; nothing is shown if there is nothing at `start`.
    pub fn walk(
        &self,
        start: &ImagePath,
        visit: &mut dyn FnMut(&ImagePath, &Found) -> Result<Step, Error>,
    ) -> Result<(), Error> {
        let mut ahead: Vec<(ImagePath, Found)> = self
            .lookup(start)?
            .into_iter()
            .map(|found| (start.clone(), found))
            .collect();
        while let Some((path, found)) = ahead.pop() {
            if visit(&path, &found)? == Step::Over || !found.node.meta.is_directory() {
                continue;
            }
            if path.components().count() as u64 >= DEPTH_LIMIT {
                return Err(Error::Limit {
                    what: format!("depth of {path}"),
                    limit: DEPTH_LIMIT,
                });
            }
            let below = self.read_dir(&path)?;
            ahead.extend(
                below
                    .into_iter()
                    .rev()
                    .map(|(name, found)| (path.join(&name), found)),
            );
        }
        Ok(())
    }

    fn file_layer(&self, path: &ImagePath) -> Result<u32, Error> {
        let reason = match self.lookup(path)? {
            Some(found) if matches!(found.node.meta.kind, crate::entry::Kind::File { .. }) => {
                return Ok(found.layer);
            }
            Some(_) => "not a regular file",
            None => "no such file",
        };
        Err(Error::Path {
            path: path.clone(),
            reason: reason.to_owned(),
        })
    }

    /// The layers that make up the directory `path`.
    fn part(&self, path: &ImagePath) -> Result<Part, Error> {
        // from the nearest directory that is remembered, one name at a time as the kernel does
        let mut unknown = Vec::new();
        let mut near = path.clone();
        let mut part = loop {
            if let Some(part) = self.remembered(&near) {
                break part;
            }
            let Some(above) = near.parent() else {
                break self.remember(near, Some(self.root_part()?));
            };
            unknown.push(std::mem::replace(&mut near, above));
        };
        while let Some(next) = unknown.pop() {
            let found = match &part {
                Some(above) => self.find(above, &next)?,
                None => None,
            };
            part = self.remember(next, found.and_then(|(_, part)| part));
        }
        Ok(part)
    }

    /// All layers down to the first whose root lets nothing show through.
    fn root_part(&self) -> Result<Arc<[u32]>, Error> {
        let mut part = Vec::with_capacity(self.layers.len());
        for (at, layer) in self.layers.iter().enumerate().rev() {
            part.push(number(at));
            if let Finding::Node { opaque: true, .. } = layer.find(&ImagePath::root())? {
                break;
            }
        }
        Ok(part.into())
    }

    /// The file at `path` in the layers `above`, which make up the directory it is in; for a directory also the layers
    /// that make it up.
    fn find(&self, above: &[u32], path: &ImagePath) -> Result<Option<(Found, Part)>, Error> {
        let mut top = None;
        let mut part = Vec::new();
        for layer in above {
            match self.layers[*layer as usize].find(path)? {
                Finding::Silent => {}
                Finding::Whiteout => break,
                Finding::Node { node, opaque } => {
                    let directory = node.meta.is_directory();
                    if !directory && top.is_some() {
                        // a file below a directory ends the directory
                        break;
                    }
                    top.get_or_insert(Found { node, layer: *layer });
                    if !directory {
                        break;
                    }
                    part.push(*layer);
                    if opaque {
                        break;
                    }
                }
            }
        }
        let part = (!part.is_empty()).then(|| part.into());
        Ok(top.map(|found| (found, part)))
    }

    fn remembered(&self, path: &ImagePath) -> Option<Part> {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned()
    }

    fn remember(&self, path: ImagePath, part: Part) -> Part {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= REMEMBERED_DIRECTORIES {
            memory.clear();
        }
        memory.insert(path, part.clone());
        part
    }
}

fn root() -> Found {
    Found {
        node: Node {
            meta: Meta::directory(0o755, Mtime::default()),
            link: None,
            content: None,
        },
        layer: 0,
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("an image has far fewer than 2^32 layers")
}
