//! Fetches files from the web, and hands on to others what is a repository or an OCI layout.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fs_err::{File, OpenOptions};
use mica_builder::Blobs;
use mica_builder::ports::{
    BaseImage, Commit, Errand, Fetch, GitAddress, PortError, RemoteFile, shown_address,
};
use mica_layer::{Change, Changes, Content, ImagePath, Kind, Meta, Mtime, Source, Xattrs};
use mica_oci::{DiffId, Digest, Hasher, Platform};
use mica_registry::{Validators, WebAnswer};
use mica_store::WorkDir;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::adapters::kept::{Kept, key};
use crate::adapters::{elsewhere, git, layout};
use crate::bridge::Runtime;
use crate::engine::Engine;
use crate::error::Error;

/// The largest file that is fetched, in bytes. No image registry takes a larger layer than some ten gigabytes.
const FILE_LIMIT: u64 = 32 << 30;
/// The longest note about a file, in bytes.
const NOTE_LIMIT: u64 = 16 << 10;
/// How many pieces wait between the connection and the disk.
const WAITING_PIECES: usize = 16;
/// How often the number of bytes is told.
const TELL: Duration = Duration::from_millis(100);
/// No length is this one.
const UNKNOWN: u64 = u64::MAX;
/// How the only file of a kept layer is called.
const FILE: &[u8] = b"file";

/// Fetches for one build.
pub(crate) struct Fetcher<'a> {
    pub(crate) engine: &'a Engine,
    /// What its connections are driven by.
    pub(crate) runtime: &'a Runtime,
}

/// What is remembered of an address between builds.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    etag: Option<String>,
    last_modified: Option<String>,
    digest: Digest,
}

/// A file that came from an address before and is still here.
struct Known {
    validators: Validators,
    digest: Digest,
    layer: DiffId,
}

/// What came from an address.
enum Came {
    Unchanged,
    New(Received),
}

/// A file that just came.
struct Received {
    file: File,
    size: u64,
    digest: Digest,
    validators: Validators,
    _work: WorkDir,
}

impl Fetch for Fetcher<'_> {
    fn file(
        &self,
        url: &str,
        expected: Option<Digest>,
        errand: &Errand<'_>,
    ) -> Result<RemoteFile, PortError> {
        Ok(self.fetch_file(url, expected, errand)?)
    }

    fn commit(&self, git: &GitAddress, errand: &Errand<'_>) -> Result<Commit, PortError> {
        Ok(git::commit(git, errand)?)
    }

    fn checkout(&self, git: &GitAddress, commit: &Commit, errand: &Errand<'_>) -> Result<DiffId, PortError> {
        Ok(git::checkout(git, commit, self.kept(errand))?)
    }

    fn layout(
        &self,
        folder: &OwnedFd,
        image: Option<&str>,
        platform: &Platform,
        errand: &Errand<'_>,
    ) -> Result<BaseImage, PortError> {
        Ok(layout::import(folder, image, platform, self.kept(errand))?)
    }

    fn image(
        &self,
        blobs: &dyn Blobs,
        image: &Digest,
        platform: &Platform,
        errand: &Errand<'_>,
    ) -> Result<BaseImage, PortError> {
        let tell = errand.tell;
        Ok(elsewhere::import(
            blobs,
            image,
            platform,
            self.kept(errand),
            tell,
        )?)
    }
}

impl Fetcher<'_> {
    fn kept<'k>(&'k self, errand: &Errand<'k>) -> Kept<'k> {
        Kept {
            store: self.engine.store(),
            lease: errand.lease,
            cancel: errand.cancel,
        }
    }

    fn fetch_file(
        &self,
        url: &str,
        expected: Option<Digest>,
        errand: &Errand<'_>,
    ) -> Result<RemoteFile, Error> {
        let kept = self.kept(errand);
        let known = known(&kept, url)?;
        let known = match (known, expected) {
            // what was there once has no other bytes today
            (Some(known), Some(expected)) if known.digest == expected => return Ok(known.into()),
            (known, _) => known,
        };
        let validators = known.as_ref().map(|known| known.validators.clone());
        let file = match (self.receive(url, validators.unwrap_or_default(), errand)?, known) {
            (Came::Unchanged, Some(known)) => known,
            (Came::Unchanged, None) => return Err(Error::Worker),
            (Came::New(received), _) => {
                check(url, expected, &received.digest)?;
                keep(&kept, url, received)?
            }
        };
        check(url, expected, &file.digest)?;
        Ok(file.into())
    }

    /// Fetches what lies at an address unless it is what `known` came with.
    fn receive(&self, url: &str, known: Validators, errand: &Errand<'_>) -> Result<Came, Error> {
        let work = self.engine.store().work(errand.lease)?;
        let failed = |source| Error::Io {
            action: "keep what is fetched",
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(work.path().join("file"))
            .map_err(failed)?;
        let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
        let (client, address) = (self.engine.registries().clone(), url.to_owned());
        let total = Arc::new(AtomicU64::new(UNKNOWN));
        let told = total.clone();
        let download = self.runtime.start(async move {
            let tell = |_, total: Option<u64>| told.store(total.unwrap_or(UNKNOWN), Ordering::Relaxed);
            client.fetch(&address, &known, FILE_LIMIT, &sender, &tell).await
        })?;
        let (mut size, mut hasher) = (0, Hasher::new());
        let mut last_told = Instant::now();
        while let Some(piece) = self.runtime.next(errand.cancel, &mut pieces)? {
            // after a failure it may begin anew, but only there
            if piece.offset == 0 && size > 0 {
                (size, hasher) = (0, Hasher::new());
                file.set_len(0).map_err(failed)?;
                std::io::Seek::rewind(&mut file).map_err(failed)?;
            }
            file.write_all(&piece.bytes).map_err(failed)?;
            hasher.update(&piece.bytes);
            size += piece.bytes.len() as u64;
            if last_told.elapsed() >= TELL {
                last_told = Instant::now();
                let total = Some(total.load(Ordering::Relaxed)).filter(|total| *total != UNKNOWN);
                (errand.tell)(size, total);
            }
        }
        let answer = self.runtime.finish(errand.cancel, download)?;
        match answer.map_err(|error| Error::Registry(Box::new(error)))? {
            WebAnswer::Unchanged => Ok(Came::Unchanged),
            WebAnswer::Whole(validators) => {
                (errand.tell)(size, Some(size));
                Ok(Came::New(Received {
                    file,
                    size,
                    digest: hasher.finish(),
                    validators,
                    _work: work,
                }))
            }
        }
    }
}

impl From<Known> for RemoteFile {
    fn from(known: Known) -> Self {
        Self {
            layer: known.layer,
            path: ImagePath::root().join(FILE),
            digest: known.digest,
            modified: known.validators.modified(),
        }
    }
}

fn check(url: &str, expected: Option<Digest>, actual: &Digest) -> Result<(), Error> {
    match expected.filter(|expected| expected != actual) {
        None => Ok(()),
        Some(expected) => Err(Error::OtherContent {
            address: shown_address(url),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
    }
}

/// What came from an address before, if note and bytes are both here.
fn known(kept: &Kept<'_>, url: &str) -> Result<Option<Known>, Error> {
    let Some(note) = kept.find(&key("note", &[url.as_bytes()]))? else {
        return Ok(None);
    };
    let note = kept.read(&note, &ImagePath::root().join(FILE), NOTE_LIMIT);
    // one that cannot be read costs a download
    let note = note.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
    let Some(note) = note else { return Ok(None) };
    let layer = kept.find(&key("file", &[note.digest.as_raw()]))?;
    Ok(layer.map(|layer| Known {
        validators: Validators {
            etag: note.etag,
            last_modified: note.last_modified,
        },
        digest: note.digest,
        layer,
    }))
}

/// Keeps a file by its digest, and by its address a note of that and of how to ask for it again.
fn keep(kept: &Kept<'_>, url: &str, received: Received) -> Result<Known, Error> {
    let Received {
        file,
        size,
        digest,
        validators,
        _work,
    } = received;
    let shown = shown_address(url);
    let by_digest = key("file", &[digest.as_raw()]);
    let layer = match kept.find(&by_digest)? {
        Some(layer) => layer,
        None => {
            let content = Content::Range {
                file: Arc::new(file),
                offset: 0,
                len: size,
            };
            kept.put(&by_digest, &one_file(content, digest), &shown)?
        }
    };
    let note = Note {
        etag: validators.etag.clone(),
        last_modified: validators.last_modified.clone(),
        digest,
    };
    let note = serde_json::to_vec(&note).map_err(|error| Error::Io {
        action: "note what was fetched",
        source: error.into(),
    })?;
    let note_digest = Digest::of(&note);
    let note = one_file(Content::Bytes(note.into()), note_digest);
    kept.put(&key("note", &[url.as_bytes()]), &note, &shown)?;
    Ok(Known {
        validators,
        digest,
        layer,
    })
}

/// A layer of one file.
fn one_file(content: Content, digest: Digest) -> Changes {
    let size = content.len();
    let meta = Meta {
        kind: Kind::File { size },
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: Mtime::default(),
        xattrs: Xattrs::new(),
    };
    let source = match size {
        0 => Source::Empty,
        _ => Source::Content(content),
    };
    let change = Change::Node {
        meta,
        source,
        content: Some(digest),
        link: None,
        opaque: false,
    };
    Changes::from([(ImagePath::root().join(FILE), change)])
}
