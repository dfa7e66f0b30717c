//! What lies at addresses, as files to copy from.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use mica_layer::{
    Content, Error as LayerError, Finding, ImagePath, Kind, LayerView, Meta, Mtime, Name, Node, Stack, Xattrs,
};
use mica_oci::{DiffId, Digest, Hasher, Platform};
use mica_store::{Lease, Store};
use mica_task::{Cancel, Chore, Event, Reporter, StepId};

use crate::address::{commit_prefix, file_name, shown};
use crate::error::{BadAddress, StepError};
use crate::input::Blobs;
use crate::materials::Materials;
use crate::ports::{BaseImage, Commit, Errand, Fetch, GitAddress, PortError, RemoteFile};
use crate::selection::{Selected, Tree};

/// The mode of a file that came from the web (dockerfile contract 7.15).
const FILE_MODE: u32 = 0o600;

/// Fetches for one build.
#[derive(Clone, Copy)]
pub(crate) struct Remotes<'a> {
    /// Who fetches.
    pub fetch: &'a dyn Fetch,
    /// Where it goes.
    pub store: &'a Store,
    /// What holds it.
    pub lease: &'a Lease,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// Who notes what came.
    pub materials: &'a Materials,
    /// Who wants to know.
    pub reporter: &'a Reporter,
    /// The step it is for; a context is for none.
    pub step: Option<StepId>,
}

impl Remotes<'_> {
    /// The file at an address.
    pub(crate) fn file(&self, url: &str, expected: Option<Digest>) -> Result<RemoteFile, StepError> {
        let file = self.errand(url, |errand| self.fetch.file(url, expected, errand))?;
        self.materials.file(url, file.digest);
        Ok(file)
    }

    /// A fetched file as a tree of its own, under the name it gets.
    pub(crate) fn tree_of(&self, url: &str, file: &RemoteFile) -> Result<(Tree, Selected), StepError> {
        let name = file_name(url);
        let view = OneFile::new(name.clone(), file, self.view(&file.layer)?)?;
        let stack = Stack::new(vec![Arc::new(view)]);
        let path = ImagePath::root().join(&name);
        let found = stack.lookup(&path)?.ok_or_else(|| lost(url))?;
        let tree = Tree {
            stack,
            place: shown(url),
            is_context: true,
            ignore: None,
        };
        Ok((tree, Selected { name, path, found }))
    }

    /// The bytes of a fetched file.
    pub(crate) fn content_of(&self, file: &RemoteFile) -> Result<Content, StepError> {
        Ok(self.view(&file.layer)?.open(&file.path)?)
    }

    /// The commit that an address means now.
    pub(crate) fn commit(&self, git: &GitAddress) -> Result<Commit, StepError> {
        let commit = self.errand(&git.remote, |errand| self.fetch.commit(git, errand))?;
        self.materials.repository(git, &commit);
        Ok(commit)
    }

    /// The wanted directory of a commit as a tree.
    pub(crate) fn checkout(&self, git: &GitAddress, commit: &Commit) -> Result<Tree, StepError> {
        Ok(Tree {
            stack: Stack::new(vec![self.checkout_view(git, commit)?]),
            place: shown(&git.remote),
            is_context: true,
            ignore: None,
        })
    }

    /// The wanted directory of a commit as a layer.
    pub(crate) fn checkout_view(
        &self,
        git: &GitAddress,
        commit: &Commit,
    ) -> Result<Arc<dyn LayerView>, StepError> {
        let layer = self.errand(&git.remote, |errand| self.fetch.checkout(git, commit, errand))?;
        let whole = self.view(&layer)?;
        let stack = Stack::new(vec![whole.clone()]);
        let root = stack.resolve(&git.subdir, true)?;
        let is_there = stack
            .lookup(&root)?
            .is_some_and(|found| found.node.meta.is_directory());
        if !is_there {
            return Err(StepError::Invalid(format!(
                "there is no directory {} in {} at {commit}",
                git.subdir,
                shown(&git.remote)
            )));
        }
        Ok(match root.is_root() {
            true => whole,
            false => Arc::new(Below { whole, root }),
        })
    }

    /// An image of an OCI layout.
    pub(crate) fn layout(
        &self,
        folder: &OwnedFd,
        image: Option<&str>,
        platform: &Platform,
    ) -> Result<BaseImage, StepError> {
        self.errand("oci-layout", |errand| {
            self.fetch.layout(folder, image, platform, errand)
        })
    }

    /// An image whose blobs lie elsewhere.
    pub(crate) fn image(
        &self,
        blobs: &dyn Blobs,
        image: &Digest,
        platform: &Platform,
    ) -> Result<BaseImage, StepError> {
        self.errand("oci-layout", |errand| {
            self.fetch.image(blobs, image, platform, errand)
        })
    }

    fn view(&self, layer: &DiffId) -> Result<Arc<dyn LayerView>, StepError> {
        Ok(self.store.view(self.lease, layer)?)
    }

    fn errand<T>(
        &self,
        address: &str,
        go: impl FnOnce(&Errand<'_>) -> Result<T, PortError>,
    ) -> Result<T, StepError> {
        self.cancel.check()?;
        let what = shown(address);
        let tell = |current, total| {
            let what = what.clone();
            self.reporter.report(match self.step {
                Some(step) => Event::Progress {
                    step,
                    what,
                    current,
                    total,
                },
                None => Event::Moved {
                    chore: Chore::Context,
                    what,
                    current,
                    total,
                },
            });
        };
        let errand = Errand {
            lease: self.lease,
            cancel: self.cancel,
            tell: &tell,
        };
        let gone = go(&errand);
        // what was broken off fails with errors of its own
        self.cancel.check()?;
        gone.map_err(StepError::Fetch)
    }
}

/// Reads `--checksum` of a file.
pub(crate) fn file_checksum(text: &str) -> Result<Digest, StepError> {
    text.parse().map_err(|error| {
        StepError::Invalid(format!(
            "--checksum={text}: {error}; a file's is sha256: and 64 hexadecimal digits"
        ))
    })
}

/// A repository with what the flags of ADD say of it, which goes before what the address says.
pub(crate) fn with_flags(
    git: GitAddress,
    checksum: Option<&str>,
    keep_git_dir: Option<bool>,
) -> Result<GitAddress, StepError> {
    let bad = |reason| BadAddress {
        address: shown(&git.remote),
        reason,
    };
    let checksum = checksum.map(commit_prefix).transpose().map_err(bad)?;
    if let (Some(one), Some(other)) = (&checksum, &git.checksum)
        && !(one.starts_with(other.as_str()) || other.starts_with(one.as_str()))
    {
        return Err(bad(format!(
            "its own checksum is {other}, that of the instruction {one}"
        ))
        .into());
    }
    Ok(GitAddress {
        keep_git_dir: keep_git_dir.unwrap_or(git.keep_git_dir),
        checksum: checksum.or(git.checksum),
        ..git
    })
}

/// Identifies the files that a repository at a commit gives, without a look at them.
pub(crate) fn identity(git: &GitAddress, commit: &Commit) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(b"git");
    hasher.field(commit.as_str().as_bytes());
    hasher.field(git.subdir.as_bytes());
    hasher.field(format!("{} {}", git.keep_git_dir, git.submodules).as_bytes());
    hasher.finish()
}

fn lost(url: &str) -> StepError {
    StepError::Invalid(format!("what was fetched from {} is gone again", shown(url)))
}

fn directory() -> Finding {
    Finding::Node {
        node: Node {
            meta: Meta::directory(0o755, Mtime::default()),
            link: None,
            content: None,
        },
        opaque: false,
    }
}

/// One file of a layer, seen alone and under another name.
struct OneFile {
    name: Vec<u8>,
    node: Node,
    at: ImagePath,
    layer: Arc<dyn LayerView>,
}

impl OneFile {
    fn new(name: Vec<u8>, file: &RemoteFile, layer: Arc<dyn LayerView>) -> Result<Self, StepError> {
        let size = layer.open(&file.path)?.len();
        let meta = Meta {
            kind: Kind::File { size },
            mode: FILE_MODE,
            uid: 0,
            gid: 0,
            mtime: Mtime {
                seconds: file.modified.unwrap_or(0),
                nanoseconds: 0,
            },
            xattrs: Xattrs::new(),
        };
        Ok(Self {
            name,
            node: Node {
                meta,
                link: None,
                content: Some(file.digest),
            },
            at: file.path.clone(),
            layer,
        })
    }

    fn is_it(&self, path: &ImagePath) -> bool {
        path.as_bytes() == self.name
    }
}

impl LayerView for OneFile {
    fn find(&self, path: &ImagePath) -> Result<Finding, LayerError> {
        Ok(match path {
            path if path.is_root() => directory(),
            path if self.is_it(path) => Finding::Node {
                node: self.node.clone(),
                opaque: false,
            },
            _ => Finding::Silent,
        })
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, LayerError> {
        let own = || Name {
            name: self.name.clone(),
            whiteout: false,
        };
        Ok(path.is_root().then(own).into_iter().collect())
    }

    fn open(&self, path: &ImagePath) -> Result<Content, LayerError> {
        match self.is_it(path) {
            true => self.layer.open(&self.at),
            false => self.layer.open(path),
        }
    }
}

/// A directory of a layer, seen as if it was all there is.
struct Below {
    whole: Arc<dyn LayerView>,
    root: ImagePath,
}

impl LayerView for Below {
    fn find(&self, path: &ImagePath) -> Result<Finding, LayerError> {
        match path.is_root() {
            true => Ok(directory()),
            false => self.whole.find(&self.root.join_path(path)),
        }
    }

    fn names(&self, path: &ImagePath) -> Result<Vec<Name>, LayerError> {
        self.whole.names(&self.root.join_path(path))
    }

    fn open(&self, path: &ImagePath) -> Result<Content, LayerError> {
        self.whole.open(&self.root.join_path(path))
    }
}
