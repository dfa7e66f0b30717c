//! What the sources of one COPY or ADD are, before anything of them is copied.

use mica_oci::Digest;
use mica_task::Cancel;

use crate::address::Address;
use crate::error::StepError;
use crate::ops::parents::Entry;
use crate::ops::remote::{Remotes, file_checksum, identity, with_flags};
use crate::ports::{Commit, GitAddress};
use crate::selection::{Excludes, Selected, Tree};

/// What one source argument names.
pub(crate) enum Part {
    /// Paths of a tree.
    Paths(Tree, Vec<Selected>),
    /// Paths that keep those above them (`--parents`).
    Entries(Tree, Vec<Entry>),
    /// A file from the web.
    File(Tree, Selected),
    /// A repository at a commit, which is not fetched yet.
    Repository(GitAddress, Commit),
}

impl Part {
    /// A digest of all that is named, times aside.
    pub(crate) fn digest(&self, excludes: &Excludes, cancel: &Cancel) -> Result<Digest, StepError> {
        match self {
            Self::Paths(tree, selected) => tree.digest(selected, excludes, cancel),
            Self::Entries(tree, entries) => tree.digest_entries(entries, cancel),
            Self::File(tree, selected) => tree.digest(std::slice::from_ref(selected), excludes, cancel),
            Self::Repository(git, commit) => Ok(identity(git, commit)),
        }
    }

    /// Looks at all that is named, by more than one thread where that pays.
    pub(crate) fn prepare(&self, excludes: &Excludes) -> Result<(), StepError> {
        match self {
            Self::Paths(tree, selected) => tree.prepare(selected, excludes),
            _ => Ok(()),
        }
    }

    /// Whether most bytes of what is named would have to be read to know their digests.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Paths(tree, _) if tree.stack.is_unread())
    }

    /// Whether it names nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Paths(_, selected) => selected.is_empty(),
            Self::Entries(_, entries) => entries.is_empty(),
            Self::File(..) | Self::Repository(..) => false,
        }
    }
}

/// The addresses among the sources of an instruction, each at its place.
pub(crate) struct Addresses(Vec<Option<Address>>);

impl Addresses {
    /// Reads expanded sources. Only ADD takes addresses.
    pub(crate) fn read(sources: &[String], adds: bool) -> Result<Self, StepError> {
        let addresses = sources
            .iter()
            .map(|source| Address::of_source(source))
            .collect::<Result<Vec<_>, _>>()?;
        let refused = addresses
            .iter()
            .flatten()
            .find(|_| !adds)
            .map(|address| match address {
                Address::File(_) => "source can't be a URL for COPY",
                Address::Repository(_) => "source can't be a git ref for COPY",
            });
        match refused {
            Some(text) => Err(StepError::Invalid(text.to_owned())),
            None => Ok(Self(addresses)),
        }
    }

    /// Whether there is nothing but addresses.
    pub(crate) fn are_all(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Fails unless `--checksum` can be meant for the one address there is.
    pub(crate) fn check_checksum(&self, checksum: Option<&str>) -> Result<(), StepError> {
        let bad = |text: &str| Err(StepError::Invalid(text.to_owned()));
        match (checksum, self.0.as_slice()) {
            (None, _) | (Some(_), [Some(_)]) => Ok(()),
            (Some(_), [None]) => bad("checksum requires HTTP(S) or Git sources"),
            (Some(_), _) => bad("checksum can't be specified for multiple sources"),
        }
    }

    /// What the addresses lead to; `local` gives what a path names.
    pub(crate) fn resolve(
        self,
        flags: Flags<'_>,
        remotes: &Remotes<'_>,
        mut local: impl FnMut(usize) -> Result<Part, StepError>,
    ) -> Result<Vec<Part>, StepError> {
        let parts = self.0.into_iter().enumerate().map(|(at, address)| match address {
            None => local(at),
            Some(Address::File(url)) => {
                let expected = flags.checksum.map(file_checksum).transpose()?;
                let file = remotes.file(&url, expected)?;
                let (tree, selected) = remotes.tree_of(&url, &file)?;
                Ok(Part::File(tree, selected))
            }
            Some(Address::Repository(git)) => {
                let git = with_flags(git, flags.checksum, flags.keep_git_dir)?;
                let commit = remotes.commit(&git)?;
                Ok(Part::Repository(git, commit))
            }
        });
        parts.collect()
    }
}

/// What an ADD says of its addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags<'a> {
    /// `--checksum`, expanded.
    pub checksum: Option<&'a str>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
}
