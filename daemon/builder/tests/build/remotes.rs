//! A web and git servers that are none: what lies where is said by the test.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use mica_builder::Blobs;
use mica_builder::ports::{BaseImage, Commit, Errand, Fetch, GitAddress, PortError, RemoteFile};
use mica_layer::{Policy, pack};
use mica_oci::{DiffId, Digest, Platform};
use mica_store::{Lease, Store};

use crate::files::{Files, path};

/// A file's bytes, and when they changed.
type Dated = (Vec<u8>, Option<i64>);
/// A branch's name, its commit, and the files of that.
type Branch = (String, String, Files);

/// Fetches what a test put where.
pub(crate) struct Remotes {
    store: Store,
    files: Mutex<BTreeMap<String, Dated>>,
    /// By address: branches with their commits, and the files of each commit.
    repositories: Mutex<BTreeMap<String, Vec<Branch>>>,
    pub(crate) layout: Mutex<Option<BaseImage>>,
    /// What was fetched, in order: `file URL`, `ask REMOTE`, `checkout REMOTE COMMIT`.
    pub(crate) fetched: Mutex<Vec<String>>,
}

/// The commit whose digits are all this one.
pub(crate) fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Remotes {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            files: Mutex::default(),
            repositories: Mutex::default(),
            layout: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    /// Puts a file somewhere.
    pub(crate) fn file(&self, url: &str, bytes: &[u8], modified: Option<i64>) {
        self.files
            .lock()
            .unwrap()
            .insert(url.to_owned(), (bytes.to_vec(), modified));
    }

    /// Puts a commit somewhere; the branch leads to it.
    pub(crate) fn commit(&self, remote: &str, branch: &str, id: &str, files: Files) {
        let mut repositories = self.repositories.lock().unwrap();
        let commits = repositories.entry(remote.to_owned()).or_default();
        commits.insert(0, (branch.to_owned(), id.to_owned(), files));
    }

    /// What was fetched since this was asked last.
    pub(crate) fn fetches(&self) -> Vec<String> {
        std::mem::take(&mut self.fetched.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.fetched.lock().unwrap().push(what);
    }

    fn layer(&self, files: &Files, lease: &Lease) -> DiffId {
        let mut ingest = self.store.ingest(lease).unwrap();
        let packed = pack(files.changes(), &Policy::default(), &mut ingest, None).unwrap();
        self.store.add_layer_tar(lease, ingest, &packed).unwrap().diff_id
    }
}

impl Fetch for Remotes {
    fn file(
        &self,
        url: &str,
        expected: Option<Digest>,
        errand: &Errand<'_>,
    ) -> Result<RemoteFile, PortError> {
        self.note(format!("file {url}"));
        let files = self.files.lock().unwrap();
        let (bytes, modified) = files.get(url).ok_or("404 Not Found")?;
        let digest = Digest::of(bytes);
        if expected.is_some_and(|expected| expected != digest) {
            return Err("digest mismatch".into());
        }
        (errand.tell)(bytes.len() as u64, None);
        Ok(RemoteFile {
            layer: self.layer(&Files::new().file("kept", bytes), errand.lease),
            path: path("kept"),
            digest,
            modified: *modified,
        })
    }

    fn commit(&self, git: &GitAddress, _: &Errand<'_>) -> Result<Commit, PortError> {
        self.note(format!("ask {}", git.remote));
        let wanted = git.reference.clone().unwrap_or_else(|| "main".to_owned());
        let repositories = self.repositories.lock().unwrap();
        let commits = repositories.get(&git.remote).ok_or("no such repository")?;
        let found = commits
            .iter()
            .find(|(branch, id, _)| *branch == wanted || *id == wanted);
        let (_, id, _) = found.ok_or("no such reference")?;
        match &git.checksum {
            Some(checksum) if !id.starts_with(checksum.as_str()) => Err("another commit".into()),
            _ => Ok(id.parse().unwrap()),
        }
    }

    fn checkout(&self, git: &GitAddress, commit: &Commit, errand: &Errand<'_>) -> Result<DiffId, PortError> {
        self.note(format!("checkout {} {}", git.remote, &commit.as_str()[..1]));
        let repositories = self.repositories.lock().unwrap();
        let commits = repositories.get(&git.remote).ok_or("no such repository")?;
        let found = commits.iter().find(|(_, id, _)| id == commit.as_str());
        let mut files = found.ok_or("no such commit")?.2.clone();
        if git.keep_git_dir {
            files = files.dir(".git").file(".git/HEAD", commit.as_str());
        }
        Ok(self.layer(&files, errand.lease))
    }

    fn layout(
        &self,
        _: &OwnedFd,
        image: Option<&str>,
        platform: &Platform,
        _: &Errand<'_>,
    ) -> Result<BaseImage, PortError> {
        self.note(format!("layout {image:?} {platform}"));
        Ok(self.layout.lock().unwrap().clone().ok_or("no layout")?)
    }

    fn image(
        &self,
        _: &dyn Blobs,
        image: &Digest,
        platform: &Platform,
        _: &Errand<'_>,
    ) -> Result<BaseImage, PortError> {
        self.note(format!("image {image} {platform}"));
        Ok(self.layout.lock().unwrap().clone().ok_or("no image")?)
    }
}
