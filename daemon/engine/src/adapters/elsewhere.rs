//! Takes an image whose blobs lie elsewhere into the store, as an archive of it would be loaded.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Read, Write};
use std::thread;

use mica_builder::Blobs;
use mica_builder::ports::BaseImage;
use mica_layer::{ImagePath, Kind, Meta, Mtime, TarWriter, Xattrs};
use mica_oci::media::OCI_MANIFEST;
use mica_oci::{Descriptor, Digest, Index, Manifest, MediaType, Platform};
use mica_store::archive;
use serde_json::Value;

use crate::adapters::kept::Kept;
use crate::error::Error;

/// The longest index or manifest that is read, in bytes (the limit of the distribution spec).
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How deep indexes may lie in indexes.
const DEPTH: usize = 4;
/// After how many bytes it is told that they came.
const TELL: u64 = 1 << 20;
const INDEX: &str = "index.json";
const MARK: &str = "oci-layout";
const MARK_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Hears how many bytes came.
type Tell<'a> = &'a (dyn Fn(u64, Option<u64>) + Sync);

/// Takes the image behind a digest into the store, without a name.
pub(super) fn import(
    blobs: &dyn Blobs,
    image: &Digest,
    platform: &Platform,
    kept: Kept<'_>,
    tell: Tell<'_>,
) -> Result<BaseImage, Error> {
    let place = Place { blobs, kept, tell };
    let (descriptor, manifest) = place.manifest(image, platform)?;
    let files: Vec<&Descriptor> = [&descriptor, &manifest.config]
        .into_iter()
        .chain(&manifest.layers)
        .collect();
    let (reader, writer) = io::pipe().map_err(failed)?;
    let loaded = thread::scope(|scope| {
        let writing = scope.spawn(|| place.write(&descriptor, &files, writer));
        let input = Box::new(kept.cancel.guard(reader));
        let loaded = archive::load(kept.store, kept.lease, input, &mut |_| {});
        match (writing.join(), loaded) {
            // what could not be read is why what was read made no sense
            (Ok(Err(error)), Err(_)) if !is_given_up(&error) => Err(error),
            (Err(_), _) => Err(Error::Worker),
            (_, loaded) => Ok(loaded?),
        }
    })?;
    let id = loaded.first().ok_or(Error::Worker)?.image;
    let image = kept.store.hold_image(kept.lease, &id)?.ok_or(Error::Worker)?;
    let config = image.config.value().clone();
    Ok(BaseImage {
        id,
        manifest: Some(descriptor.digest),
        layers: config.rootfs.diff_ids.clone(),
        config,
    })
}

/// Where the blobs of an image lie.
struct Place<'a> {
    blobs: &'a dyn Blobs,
    kept: Kept<'a>,
    tell: Tell<'a>,
}

impl Place<'_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        match self.kept.store.blob(self.kept.lease, digest)? {
            Some(blob) => Ok(Box::new(blob.open()?)),
            None => self.blobs.open(digest).map_err(|error| refuse(error.to_string())),
        }
    }

    /// A document by its digest, which must be right.
    fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = blob_path(digest);
        let bytes = document(self.open(digest)?, &path)?;
        match Digest::of(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(refuse(format!("{path} has digest {actual}"))),
        }
    }

    /// The manifest that a digest leads to for a platform.
    fn manifest(&self, top: &Digest, platform: &Platform) -> Result<(Descriptor, Manifest), Error> {
        let mut at = *top;
        for _ in 0..DEPTH {
            self.kept.cancel.check()?;
            let path = blob_path(&at);
            let bytes = self.document(&at)?;
            let found: Value = read_json(&bytes, &path)?;
            // what is both would be another image for every reader (OCI image spec 1.1, "Index": no `layers`)
            match (found.get("manifests").is_some(), found.get("layers").is_some()) {
                (true, true) => return Err(refuse(format!("{path} is an index and a manifest at once"))),
                (true, false) => {}
                (false, _) => {
                    let manifest: Manifest = read_json(&bytes, &path)?;
                    let kind = manifest.media_type.clone();
                    let kind = kind.unwrap_or_else(|| MediaType::new(OCI_MANIFEST));
                    return Ok((Descriptor::new(kind, at, bytes.len() as u64), manifest));
                }
            }
            let index: Index = read_json(&bytes, &path)?;
            at = platform
                .choose(&index.manifests)
                .ok_or_else(|| refuse(format!("nothing in it is for {platform}")))?
                .digest;
        }
        Err(refuse("its indexes are too deep".to_owned()))
    }

    /// Writes the one image as an archive.
    fn write(&self, image: &Descriptor, files: &[&Descriptor], to: PipeWriter) -> Result<(), Error> {
        let mut tar = TarWriter::new(to);
        // the names it has there are none here
        let index = Index {
            schema_version: 2,
            media_type: None,
            manifests: vec![image.clone()],
            annotations: BTreeMap::new(),
        };
        let index = serde_json::to_vec(&index).map_err(|error| refuse(error.to_string()))?;
        for (path, bytes) in [(MARK, MARK_TEXT), (INDEX, &index)] {
            append(&mut tar, path, bytes.len() as u64, bytes)?;
        }
        let mut written = Vec::new();
        for file in files {
            if !written.contains(&file.digest) {
                written.push(file.digest);
                let content = Told {
                    content: self.open(&file.digest)?,
                    size: file.size,
                    count: 0,
                    tell: self.tell,
                };
                append(&mut tar, &blob_path(&file.digest), file.size, content)?;
            }
        }
        tar.finish().map(drop).map_err(unwritten)
    }
}

/// Tells how much was read.
struct Told<'a, R> {
    content: R,
    size: u64,
    count: u64,
    tell: Tell<'a>,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buf)?;
        let before = self.count / TELL;
        self.count += count as u64;
        if self.count / TELL > before {
            (self.tell)(self.count, Some(self.size));
        }
        Ok(count)
    }
}

fn append(tar: &mut TarWriter<PipeWriter>, path: &str, size: u64, content: impl Read) -> Result<(), Error> {
    let meta = Meta {
        kind: Kind::File { size },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Mtime::default(),
        xattrs: Xattrs::new(),
    };
    tar.append(&ImagePath::clamped(path.as_bytes()), &meta)
        .map_err(unwritten)?;
    let copied = io::copy(&mut content.take(size), tar).map_err(failed)?;
    tar.flush().map_err(failed)?;
    match copied == size {
        true => Ok(()),
        false => Err(refuse(format!(
            "{path} has {copied} bytes and should have {size}"
        ))),
    }
}

/// The bytes of a document, which may not be too many.
pub(super) fn document(content: impl Read, path: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = content.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(format!("{path}: {error}")))?;
    match bytes.len() as u64 > DOCUMENT_LIMIT {
        true => Err(refuse(format!("{path} is larger than {DOCUMENT_LIMIT} bytes"))),
        false => Ok(bytes),
    }
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(bytes: &[u8], path: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| refuse(format!("{path}: {error}")))
}

pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(super) fn refuse(reason: String) -> Error {
    Error::Layout { reason }
}

fn failed(source: io::Error) -> Error {
    Error::Io {
        action: "read the OCI layout",
        source,
    }
}

fn unwritten(source: mica_layer::Error) -> Error {
    failed(io::Error::other(source))
}

/// Whether it only says that nobody read on.
fn is_given_up(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        let inner = io.and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}
