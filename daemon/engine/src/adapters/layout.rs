//! Takes an image out of an OCI layout on this machine into the store, as an archive of it would be loaded.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use fs_err::File;
use mica_builder::ports::BaseImage;
use mica_layer::{ImagePath, Kind, Meta, Mtime, TarWriter, Xattrs};
use mica_oci::{Descriptor, Digest, Index, Manifest, Platform};
use mica_store::archive;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::adapters::kept::Kept;
use crate::error::Error;

/// The longest index or manifest that is read, in bytes (the limit of the distribution spec).
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How deep indexes may lie in indexes.
const DEPTH: usize = 4;
const INDEX: &str = "index.json";
const MARK: &str = "oci-layout";
const MARK_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The annotations that name an image of a layout: the tag, and the whole reference.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Takes the image that `wanted` (a tag or a digest) names, or the only one there is, into the store, without a name.
pub(super) fn import(
    folder: &OwnedFd,
    wanted: Option<&str>,
    platform: &Platform,
    kept: Kept<'_>,
) -> Result<BaseImage, Error> {
    let layout = Layout { folder };
    let index: Index = read_json(layout.document(INDEX)?, INDEX)?;
    let top = named(&index, wanted)?;
    let (descriptor, manifest) = layout.manifest(top, platform)?;
    let files: Vec<Digest> = [&descriptor, &manifest.config]
        .into_iter()
        .chain(&manifest.layers)
        .map(|part| part.digest)
        .collect();
    let (reader, writer) = io::pipe().map_err(failed)?;
    let loaded = thread::scope(|scope| {
        let writing = scope.spawn(|| layout.write(&descriptor, &files, writer));
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

/// A folder that should be an OCI layout.
struct Layout<'a> {
    folder: &'a OwnedFd,
}

impl Layout<'_> {
    /// Opens a regular file of the folder; nothing leads out of it.
    fn open(&self, path: &str) -> Result<(File, u64), Error> {
        let opened = openat2(
            self.folder,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        );
        let file = opened.map_err(|error| refuse(format!("{path}: {}", io::Error::from(error))))?;
        let file = File::from_parts(std::fs::File::from(file), path);
        let meta = file.metadata().map_err(failed)?;
        match meta.is_file() {
            true => Ok((file, meta.len())),
            false => Err(refuse(format!("{path} is no file"))),
        }
    }

    fn document(&self, path: &str) -> Result<Vec<u8>, Error> {
        let (file, size) = self.open(path)?;
        if size > DOCUMENT_LIMIT {
            return Err(refuse(format!("{path} is larger than {DOCUMENT_LIMIT} bytes")));
        }
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(bytes)
    }

    /// A document by its digest, which must be right.
    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = blob_path(digest);
        let bytes = self.document(&path)?;
        match Digest::of(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(refuse(format!("{path} has digest {actual}"))),
        }
    }

    /// The manifest below a descriptor that is for a platform.
    fn manifest(&self, top: &Descriptor, platform: &Platform) -> Result<(Descriptor, Manifest), Error> {
        let mut at = top.clone();
        for _ in 0..DEPTH {
            let path = blob_path(&at.digest);
            let bytes = self.blob(&at.digest)?;
            if !at.media_type.is_index() {
                return Ok((at, read_json(bytes, &path)?));
            }
            let index: Index = read_json(bytes, &path)?;
            at = platform
                .choose(&index.manifests)
                .ok_or_else(|| refuse(format!("nothing in it is for {platform}")))?
                .clone();
        }
        Err(refuse("its indexes are too deep".to_owned()))
    }

    /// Writes the one image as an archive.
    fn write(&self, image: &Descriptor, files: &[Digest], to: PipeWriter) -> Result<(), Error> {
        let mut tar = TarWriter::new(to);
        // the names it has there are none here
        let index = Index {
            schema_version: 2,
            media_type: None,
            manifests: vec![Descriptor {
                annotations: BTreeMap::new(),
                ..image.clone()
            }],
            annotations: BTreeMap::new(),
        };
        let index = serde_json::to_vec(&index).map_err(|error| refuse(error.to_string()))?;
        for (path, bytes) in [(MARK, MARK_TEXT), (INDEX, &index)] {
            append(&mut tar, path, bytes.len() as u64, bytes)?;
        }
        let mut written = Vec::new();
        for digest in files {
            if !written.contains(digest) {
                written.push(*digest);
                let path = blob_path(digest);
                let (file, size) = self.open(&path)?;
                append(&mut tar, &path, size, file)?;
            }
        }
        tar.finish().map(drop).map_err(unwritten)
    }
}

/// The descriptor of an index that `wanted` names.
fn named<'a>(index: &'a Index, wanted: Option<&str>) -> Result<&'a Descriptor, Error> {
    let Some(wanted) = wanted else {
        return match index.manifests.as_slice() {
            [only] => Ok(only),
            several => Err(refuse(format!(
                "it has {} images: say which, by tag or digest",
                several.len()
            ))),
        };
    };
    let wanted_digest = wanted.parse::<Digest>().ok();
    let is_it = |descriptor: &&Descriptor| {
        Some(descriptor.digest) == wanted_digest
            || NAMES
                .iter()
                .filter_map(|name| descriptor.annotations.get(*name))
                .any(|name| name == wanted || name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted))
    };
    index
        .manifests
        .iter()
        .find(is_it)
        .ok_or_else(|| refuse(format!("it has no image {wanted}")))
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
        false => Err(refuse(format!("{path} became shorter"))),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(bytes: Vec<u8>, path: &str) -> Result<T, Error> {
    serde_json::from_slice(&bytes).map_err(|error| refuse(format!("{path}: {error}")))
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn refuse(reason: String) -> Error {
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
