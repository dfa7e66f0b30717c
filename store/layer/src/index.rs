//! What is where in a tar: the tree it would unpack to, kept in memory without the contents.

mod record;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::entry::Node;
use crate::path::ImagePath;
use crate::view::{Finding, Name};
use record::{Record, Shape};
pub use scan::{IndexOptions, spool};

/// The tree a tar unpacks to. Later entries replaced earlier ones of the same path, links of the archive above a path
/// were followed, directories that the archive does not have were added as 0755 0:0 with time 0.
#[derive(Debug)]
pub struct TarIndex {
    nodes: BTreeMap<ImagePath, Record>,
    /// What the archive says is gone from the layers below, whether it has a file there or not.
    gone: BTreeSet<ImagePath>,
    layer: bool,
}

impl TarIndex {
    /// How many files there are, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The file at `path`, no link followed.
    pub fn get(&self, path: &ImagePath) -> Option<Node> {
        self.nodes.get(path).map(Record::node)
    }

    /// All files in the order of their paths, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (&ImagePath, Node)> {
        self.nodes.iter().map(|(path, record)| (path, record.node()))
    }

    /// The paths that the archive says are gone from the layers below, in their order.
    pub fn whiteouts(&self) -> impl Iterator<Item = &ImagePath> {
        self.gone.iter()
    }

    /// Whether `path` is a directory that the archive itself does not have.
    pub fn is_implied(&self, path: &ImagePath) -> bool {
        self.nodes.get(path).is_some_and(|record| record.implied)
    }

    /// The paths in the directory `path`, in their order.
    pub fn children(&self, path: &ImagePath) -> impl Iterator<Item = &ImagePath> {
        let mut next = self.nodes.range((Bound::Excluded(path), Bound::Unbounded)).next();
        let above = path.clone();
        std::iter::from_fn(move || {
            let (child, record) = next.take()?;
            if !child.starts_with(&above) {
                return None;
            }
            next = if record.is_directory() {
                self.nodes.range(behind(child)..).next()
            } else {
                self.nodes
                    .range((Bound::Excluded(child), Bound::Unbounded))
                    .next()
            };
            Some(child)
        })
    }

    /// What the archive, as a layer, says of `path`.
    pub(crate) fn find(&self, path: &ImagePath) -> Finding {
        if let Some(record) = self.nodes.get(path) {
            return match self.is_whiteout(record) {
                true => Finding::Whiteout,
                false => Finding::Node {
                    node: record.node(),
                    opaque: record.opaque || record.is_directory() && self.gone.contains(path),
                },
            };
        }
        if self.gone.contains(path) {
            return Finding::Whiteout;
        }
        for above in path.ancestors() {
            match self.nodes.get(&above) {
                Some(record) if record.is_directory() => {}
                Some(_) => return Finding::Whiteout,
                None if self.gone.contains(&above) => return Finding::Whiteout,
                // nothing is below what is not there
                None => return Finding::Silent,
            }
        }
        Finding::Silent
    }

    /// The names in the directory `path`, those of whiteouts included, sorted.
    pub(crate) fn names(&self, path: &ImagePath) -> Vec<Name> {
        if !self.nodes.get(path).is_some_and(Record::is_directory) {
            return Vec::new();
        }
        let name = |path: &ImagePath, whiteout| Name {
            name: path.file_name().unwrap_or_default().to_vec(),
            whiteout,
        };
        let here = self.children(path).map(|child| {
            let record = self.nodes.get(child);
            name(child, record.is_some_and(|record| self.is_whiteout(record)))
        });
        let mut names: Vec<_> = here.collect();
        let gone = self.gone.range((Bound::Excluded(path), Bound::Unbounded));
        let gone = gone
            .take_while(|gone| gone.starts_with(path))
            .filter(|gone| gone.parent().as_ref() == Some(path) && !self.nodes.contains_key(gone));
        let before = names.len();
        names.extend(gone.map(|gone| name(gone, true)));
        if names.len() > before {
            names.sort();
        }
        names
    }

    pub(crate) fn record(&self, path: &ImagePath) -> Option<&Record> {
        self.nodes.get(path)
    }

    /// A device 0:0 is how overlayfs keeps a whiteout, and unpacked it would be one.
    fn is_whiteout(&self, record: &Record) -> bool {
        self.layer && matches!(record.shape, Shape::CharDevice { major: 0, minor: 0 })
    }
}

/// Sorts behind all that is below `path`, which is not the root, and before its next sibling, as no name has a NUL in it.
fn behind(path: &ImagePath) -> ImagePath {
    let name = path.file_name().unwrap_or_default();
    path.parent().unwrap_or_default().join(&[name, b"\0"].concat())
}
