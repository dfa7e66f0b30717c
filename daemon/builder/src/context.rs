//! The build context: a folder read where it lies, or the tar a client sends, kept in one file as it is and read through an
//! index.

mod ignored;
mod synced;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mica_dockerfile::ignore::IgnorePatterns;
use mica_layer::{
    Content, Error as LayerError, Finding, FolderView, Holes, ImagePath, IndexOptions, LayerView, Name,
    Stack, TarView, decompress, disk, spool,
};
use mica_store::{Lease, OpenFolder, Store, WorkDir};
use mica_task::Cancel;

use crate::absence::IgnoreFile;
use crate::context::ignored::Ignored;
use crate::context::synced::SyncedView;
use crate::error::Error;
use crate::input::{ClientFolder, Source};
use crate::selection::Tree;

/// The longest Dockerfile or ignore file that is read, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;
pub(crate) const DEFAULT_NAME: &str = "Dockerfile";
const FALLBACK_NAME: &str = "dockerfile";
const IGNORE_FILE: &str = ".dockerignore";

/// A build context. What was received is in the store's scratch space and gone when this is dropped; what was learned of a
/// folder is kept then.
pub(crate) struct Context {
    view: Arc<dyn LayerView>,
    /// The Dockerfile, if it is no file of the context.
    dockerfile: Option<Vec<u8>>,
    /// Whether it is the client's own folder, of which nothing was left out yet.
    is_folder: bool,
    /// Whether its ignore file means anything.
    ignores: bool,
    /// Name and text of the ignore file, if it comes apart from it.
    ignore: Option<(String, Vec<u8>)>,
    _work: Option<WorkDir>,
    _folder: Option<OpenFolder>,
}

impl Context {
    /// Opens what a client handed over. `dockerfile` is the Dockerfile where it comes apart from the context.
    pub(crate) fn open(
        source: Source,
        dockerfile: Option<Vec<u8>>,
        store: &Store,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let context = match source {
            Source::Empty => Self::empty(),
            Source::Tar(tar) => Self::receive(tar, store, lease, cancel)?,
            Source::Folder(folder) => Self::look_into(folder, store)?,
            Source::Synced(folder) => Self::synced(folder, store, lease)?,
            other => return Err(Error::Source(format!("{other:?}"))),
        };
        context.with_dockerfile(dockerfile)
    }

    /// The same context with a Dockerfile that comes apart from it, if there is one.
    pub(crate) fn with_dockerfile(self, dockerfile: Option<Vec<u8>>) -> Result<Self, Error> {
        if dockerfile
            .as_ref()
            .is_some_and(|bytes| bytes.len() as u64 > TEXT_LIMIT)
        {
            return Err(Error::LargeDockerfile {
                name: DEFAULT_NAME.to_owned(),
                limit: TEXT_LIMIT,
            });
        }
        Ok(Self {
            dockerfile: dockerfile.or(self.dockerfile),
            ..self
        })
    }

    fn of(view: Arc<dyn LayerView>) -> Self {
        Self {
            view,
            dockerfile: None,
            is_folder: false,
            ignores: true,
            ignore: None,
            _work: None,
            _folder: None,
        }
    }

    fn empty() -> Self {
        Self::of(Arc::new(ignored::Nothing))
    }

    fn look_into(folder: OwnedFd, store: &Store) -> Result<Self, Error> {
        let open = store.open_folder(&folder)?;
        let view = FolderView::new(folder, open.fingerprints().clone()).map_err(Error::Context)?;
        Ok(Self {
            is_folder: true,
            _folder: Some(open),
            ..Self::of(Arc::new(view))
        })
    }

    fn synced(mut folder: ClientFolder, store: &Store, lease: &Lease) -> Result<Self, Error> {
        let open = store.open_client_folder(&folder.key);
        let ignore = folder.ignore.take();
        let view = SyncedView::new(folder, open.fingerprints().clone(), store, lease)?;
        Ok(Self {
            // the client has left out what it names, and asking again costs nothing
            is_folder: true,
            ignores: ignore.is_some(),
            ignore,
            _folder: Some(open),
            ..Self::of(Arc::new(view))
        })
    }

    /// Receives a context: a tar in any compression. No bytes at all are an empty context.
    pub(crate) fn receive(
        input: impl Read + 'static,
        store: &Store,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let work = store.work(lease)?;
        let path = work.path().join("context.tar");
        let mut file = Holes::new(disk::create(&path).map_err(Error::ContextIo)?);
        let (tar, _) = decompress(cancel.guard(input)).map_err(|e| failed(e, cancel))?;
        let options = IndexOptions {
            whiteouts: false,
            hash_contents: true,
        };
        let index = spool(tar, &mut file, options).map_err(|e| failed(e, cancel))?;
        let file = file.finish().map_err(Error::ContextIo)?.unwatched();
        Ok(Self {
            _work: Some(work),
            ..Self::of(Arc::new(TarView::new(Arc::new(file), Arc::new(index), 0)))
        })
    }

    /// A context that lies in the store, of which nothing is left out.
    pub(crate) fn of_view(view: Arc<dyn LayerView>) -> Self {
        Self {
            ignores: false,
            ..Self::of(view)
        }
    }

    /// What lies at an address and is no archive: a Dockerfile without files beside it.
    pub(crate) fn of_dockerfile(bytes: Vec<u8>) -> Self {
        Self {
            dockerfile: Some(bytes),
            ..Self::empty()
        }
    }

    /// Whether there are no files in it, but a Dockerfile.
    pub(crate) fn is_dockerfile(&self) -> bool {
        self.dockerfile.is_some()
    }

    /// The same context, whatever its ignore file says.
    #[must_use]
    pub(crate) fn without_ignore_file(self) -> Self {
        Self {
            ignores: false,
            ..self
        }
    }

    /// Reads the Dockerfile `name`; gives its real name too.
    pub(crate) fn dockerfile(&self, name: &str) -> Result<(String, Vec<u8>), Error> {
        let name = if name.is_empty() { DEFAULT_NAME } else { name };
        if let Some(bytes) = &self.dockerfile {
            return Ok((name.to_owned(), bytes.clone()));
        }
        if let Some(bytes) = self.read(name)? {
            return Ok((name.to_owned(), bytes));
        }
        match (name == DEFAULT_NAME)
            .then(|| self.read(FALLBACK_NAME))
            .transpose()?
            .flatten()
        {
            Some(bytes) => Ok((FALLBACK_NAME.to_owned(), bytes)),
            None => Err(Error::NoDockerfile(name.to_owned())),
        }
    }

    /// The files that COPY and ADD may take. Where the client already left out what its ignore file names, only the
    /// Dockerfile and the ignore file itself remain to be left out: clients always send those two.
    pub(crate) fn tree(&self, dockerfile: &str, filter: bool) -> Result<Tree, Error> {
        let mut view = self.view.clone();
        let mut ignore = None;
        if let Some((file, patterns)) = self.ignore_file(dockerfile)? {
            let patterns = Arc::new(patterns);
            ignore = Some(IgnoreFile {
                name: file.clone(),
                patterns: patterns.clone(),
            });
            if filter || self.is_folder {
                view = Arc::new(Ignored::new(view, patterns));
            } else {
                let always = [dockerfile, &file].map(|name| ImagePath::clamped(name.as_bytes()));
                let hidden: BTreeSet<ImagePath> = always
                    .into_iter()
                    .filter(|path| ignored::excludes(&patterns, path))
                    .collect();
                if !hidden.is_empty() {
                    view = Arc::new(Filtered { inner: view, hidden });
                }
            }
        }
        Ok(Tree {
            stack: Stack::new(vec![view]),
            place: "build context or excluded by .dockerignore".into(),
            is_context: true,
            ignore,
        })
    }

    /// What its ignore file leaves out, and that file's name; `None` if there is no such file.
    pub(crate) fn ignore_file(&self, dockerfile: &str) -> Result<Option<(String, IgnorePatterns)>, Error> {
        if !self.ignores {
            return Ok(None);
        }
        if let Some((name, bytes)) = &self.ignore {
            let parsed = IgnorePatterns::parse(bytes).map_err(|e| Error::IgnoreFile {
                file: name.clone(),
                reason: e.to_string(),
            })?;
            return Ok(Some((name.clone(), parsed)));
        }
        let own = format!("{dockerfile}{IGNORE_FILE}");
        // a Dockerfile that comes apart has no file beside it
        let beside = match self.dockerfile {
            Some(_) => None,
            None => self.read(&own)?,
        };
        let (file, bytes) = match beside {
            Some(bytes) => (own, Some(bytes)),
            None => (IGNORE_FILE.to_owned(), self.read(IGNORE_FILE)?),
        };
        match bytes.map(|bytes| IgnorePatterns::parse(&bytes)).transpose() {
            Ok(patterns) => Ok(patterns.map(|patterns| (file, patterns))),
            Err(e) => Err(Error::IgnoreFile {
                file,
                reason: e.to_string(),
            }),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let stack = Stack::new(vec![self.view.clone()]);
        let path = stack
            .resolve(&ImagePath::clamped(name.as_bytes()), true)
            .map_err(Error::Context)?;
        let found = stack.lookup(&path).map_err(Error::Context)?;
        let Some(found) = found.filter(|found| matches!(found.node.meta.kind, mica_layer::Kind::File { .. }))
        else {
            return Ok(None);
        };
        if found.node.meta.size() > TEXT_LIMIT {
            return Err(Error::LargeDockerfile {
                name: name.to_owned(),
                limit: TEXT_LIMIT,
            });
        }
        let mut bytes = Vec::new();
        stack
            .open(&path)
            .map_err(Error::Context)?
            .reader()
            .read_to_end(&mut bytes)
            .map_err(Error::ContextIo)?;
        Ok(Some(bytes))
    }
}

fn failed(error: LayerError, cancel: &Cancel) -> Error {
    if cancel.is_cancelled() {
        Error::Cancelled
    } else {
        Error::Context(error)
    }
}

/// A view without some of its paths and all below them.
struct Filtered {
    inner: Arc<dyn LayerView>,
    hidden: BTreeSet<ImagePath>,
}

impl Filtered {
    fn hides(&self, path: &ImagePath) -> bool {
        self.hidden.contains(path) || path.ancestors().any(|above| self.hidden.contains(&above))
    }
}

impl LayerView for Filtered {
    fn find(&self, path: &ImagePath) -> Result<Finding, LayerError> {
        if self.hides(path) {
            Ok(Finding::Silent)
        } else {
            self.inner.find(path)
        }
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, LayerError> {
        let mut names = self.inner.names(path)?;
        names.retain(|name| !self.hides(&path.join(&name.name)));
        Ok(names)
    }

    fn open(&self, path: &ImagePath) -> Result<Content, LayerError> {
        self.inner.open(path)
    }
}
