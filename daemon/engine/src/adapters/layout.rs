//! Takes an image out of an OCI layout on this machine.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use fs_err::File;
use mica_builder::Blobs;
use mica_builder::ports::BaseImage;
use mica_oci::{Descriptor, Digest, Index, Platform};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::adapters::elsewhere::{self, document, read_json, refuse};
use crate::adapters::kept::Kept;
use crate::error::Error;

const INDEX: &str = "index.json";
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
    let index = layout.file(INDEX).map_err(|error| refuse(error.to_string()))?;
    let index: Index = read_json(&document(index, INDEX)?, INDEX)?;
    let top = named(&index, wanted)?;
    elsewhere::import(&layout, &top.digest, platform, kept, &|_, _| {})
}

/// A folder that should be an OCI layout.
struct Layout<'a> {
    folder: &'a OwnedFd,
}

impl Layout<'_> {
    /// Opens a regular file of the folder; nothing leads out of it.
    fn file(&self, path: &str) -> io::Result<File> {
        let opened = openat2(
            self.folder,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        );
        let file = opened.map_err(|error| io::Error::other(format!("{path}: {}", io::Error::from(error))))?;
        let file = File::from_parts(std::fs::File::from(file), path);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other(format!("{path} is no file"))),
        }
    }
}

impl Blobs for Layout<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.file(&elsewhere::blob_path(digest))?))
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
