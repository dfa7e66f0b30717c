//! What an ignore file leaves of a build context, found out as the build asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mica_dockerfile::ignore::IgnorePatterns;
use mica_layer::{Content, Enters, Error, Files, Finding, ImagePath, LayerView, Name};
use mica_oci::Digest;

/// A view without what the patterns leave out. A directory that is left out is there all the same if anything in it is
/// not, and is looked into only where a pattern could bring something back.
pub(crate) struct Ignored {
    inner: Arc<dyn LayerView>,
    patterns: Arc<IgnorePatterns>,
    /// For directories that are left out, whether anything in them is not.
    kept: Mutex<HashMap<ImagePath, bool>>,
}

/// Whether the patterns leave `path` out.
pub(crate) fn excludes(patterns: &IgnorePatterns, path: &ImagePath) -> bool {
    patterns.excludes(&String::from_utf8_lossy(path.as_bytes()))
}

impl Ignored {
    /// What `patterns` leave of `inner`.
    pub(crate) fn new(inner: Arc<dyn LayerView>, patterns: Arc<IgnorePatterns>) -> Self {
        Self {
            inner,
            patterns,
            kept: Mutex::default(),
        }
    }

    /// Whether `path` is not to be seen.
    fn hides(
        &self,
        path: &ImagePath,
        is_directory: impl FnOnce() -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        if path.is_root() || !excludes(&self.patterns, path) {
            return Ok(false);
        }
        if !self.may_hold(path) || !is_directory()? {
            return Ok(true);
        }
        let known = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .copied();
        let keeps = match known {
            Some(keeps) => keeps,
            None => {
                let keeps = self.keeps_below(path)?;
                self.kept
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(path.clone(), keeps);
                keeps
            }
        };
        Ok(!keeps)
    }

    fn may_hold(&self, directory: &ImagePath) -> bool {
        self.patterns
            .may_reinclude_below(&String::from_utf8_lossy(directory.as_bytes()))
    }

    fn is_directory(&self, path: &ImagePath) -> Result<bool, Error> {
        Ok(match self.inner.find(path)? {
            Finding::Node { node, .. } => node.meta.is_directory(),
            _ => false,
        })
    }

    /// Whether anything below a directory that is left out is not.
    fn keeps_below(&self, directory: &ImagePath) -> Result<bool, Error> {
        let mut ahead = vec![directory.clone()];
        while let Some(directory) = ahead.pop() {
            for name in self.inner.names(&directory)? {
                let path = directory.join(&name.name);
                if !excludes(&self.patterns, &path) {
                    return Ok(true);
                }
                if self.may_hold(&path) && self.is_directory(&path)? {
                    ahead.push(path);
                }
            }
        }
        Ok(false)
    }
}

impl LayerView for Ignored {
    fn find(&self, path: &ImagePath) -> Result<Finding, Error> {
        let found = self.inner.find(path)?;
        let is_directory = || {
            Ok(match &found {
                Finding::Node { node, .. } => node.meta.is_directory(),
                _ => false,
            })
        };
        match self.hides(path, is_directory)? {
            true => Ok(Finding::Silent),
            false => Ok(found),
        }
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, Error> {
        let mut names = Vec::new();
        for name in self.inner.names(path)? {
            let below = path.join(&name.name);
            if !self.hides(&below, || self.is_directory(&below))? {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        self.inner.open(path)
    }

    fn files(&self, path: &ImagePath) -> Result<Option<Files>, Error> {
        let Some(files) = self.inner.files(path)? else {
            return Ok(None);
        };
        let mut seen = Vec::with_capacity(files.len());
        for (name, node) in files {
            if !self.hides(&path.join(&name), || Ok(node.meta.is_directory()))? {
                seen.push((name, node));
            }
        }
        Ok(Some(seen))
    }

    fn prepare(&self, start: &ImagePath, enters: &Enters<'_>) -> Result<(), Error> {
        self.inner.prepare(start, &|directory| {
            let hidden = excludes(&self.patterns, directory) && !self.may_hold(directory);
            !hidden && enters(directory)
        })
    }

    fn is_unread(&self) -> bool {
        self.inner.is_unread()
    }

    fn was_read(&self, path: &ImagePath, digest: Option<&Digest>) -> Result<(), Error> {
        self.inner.was_read(path, digest)
    }
}

/// A view of nothing.
pub(crate) struct Nothing;

impl LayerView for Nothing {
    fn find(&self, _: &ImagePath) -> Result<Finding, Error> {
        Ok(Finding::Silent)
    }

    fn names(&self, _: &ImagePath) -> Result<Vec<Name>, Error> {
        Ok(Vec::new())
    }

    fn open(&self, path: &ImagePath) -> Result<Content, Error> {
        Err(Error::Path {
            path: path.clone(),
            reason: "no such file".to_owned(),
        })
    }
}
