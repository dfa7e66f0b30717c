//! What a registry holds: blobs on disk, each in some repositories; manifests and tags in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::registry::options::matches;

/// A manifest as it was put.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// A repository.
#[derive(Default)]
pub(crate) struct Repository {
    pub(crate) manifests: BTreeMap<String, Manifest>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) blobs: BTreeSet<String>,
}

/// All repositories.
pub(crate) struct Content {
    folder: PathBuf,
    public: Vec<String>,
    pub(crate) repositories: BTreeMap<String, Repository>,
}

/// The digest of some bytes, as registries write it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    written(&Sha256::digest(bytes))
}

/// A finished sum as registries write it.
pub(crate) fn written(sum: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in sum {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text is a digest of the kind that is kept here.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |rest: &str| {
        rest.len() == 64
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    text.strip_prefix("sha256:").is_some_and(hex)
}

impl Content {
    pub(crate) fn new(folder: &Path, public: Vec<String>) -> io::Result<Self> {
        fs_err::create_dir_all(folder.join("blobs"))?;
        fs_err::create_dir_all(folder.join("uploads"))?;
        Ok(Self {
            folder: folder.to_owned(),
            public,
            repositories: BTreeMap::new(),
        })
    }

    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "-"))
    }

    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.folder.join("uploads").join(id)
    }

    pub(crate) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(crate) fn publish(&mut self, pattern: &str) {
        self.public.push(pattern.to_owned());
    }

    pub(crate) fn is_public(&self, name: &str) -> bool {
        self.public.iter().any(|pattern| matches(pattern, name))
    }

    pub(crate) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.repositories
            .get(repository)
            .is_some_and(|repository| repository.blobs.contains(digest))
    }

    pub(crate) fn put_blob(&mut self, repository: &str, bytes: &[u8]) -> io::Result<String> {
        let digest = digest(bytes);
        fs_err::write(self.blob_path(&digest), bytes)?;
        self.repository(repository).blobs.insert(digest.clone());
        Ok(digest)
    }

    pub(crate) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> String {
        let digest = digest(&bytes);
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            bytes,
        };
        let repository = self.repository(repository);
        repository.manifests.insert(digest.clone(), manifest);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    /// A manifest by tag or digest, with its digest.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Manifest)> {
        let repository = self.repositories.get(repository)?;
        let digest = match reference.contains(':') {
            true => reference,
            false => repository.tags.get(reference)?,
        };
        let manifest = repository.manifests.get(digest)?;
        Some((digest.to_owned(), manifest.clone()))
    }

    /// The first thing that is missing for an image or index to be whole, or not what its digest says.
    pub(crate) fn lack(&self, repository: &str, reference: &str) -> Option<String> {
        let Some((digest, manifest)) = self.manifest(repository, reference) else {
            return Some(format!("no manifest {reference}"));
        };
        if self::digest(&manifest.bytes) != digest {
            return Some(format!("manifest {digest} has other bytes"));
        }
        let Ok(value) = serde_json::from_slice::<Value>(&manifest.bytes) else {
            return Some(format!("manifest {digest} is no JSON"));
        };
        let children = named(&value, "manifests").find_map(|child| self.lack(repository, &child.0));
        children.or_else(|| {
            blobs_of(&value).find_map(|(digest, size)| self.lacking_blob(repository, &digest, size))
        })
    }

    fn lacking_blob(&self, repository: &str, digest: &str, size: Option<u64>) -> Option<String> {
        if !self.has_blob(repository, digest) {
            return Some(format!("no blob {digest}"));
        }
        let (sum, length) = match self.sum(digest) {
            Ok(summed) => summed,
            Err(error) => return Some(format!("blob {digest}: {error}")),
        };
        if sum != digest || size != Some(length) {
            return Some(format!(
                "blob {digest} is {sum} of {length} bytes, not of {size:?}"
            ));
        }
        None
    }

    fn sum(&self, digest: &str) -> io::Result<(String, u64)> {
        let mut file = fs_err::File::open(self.blob_path(digest))?;
        let mut sum = Sha256::new();
        let mut length = 0;
        let mut step = vec![0; 256 << 10];
        loop {
            match file.read(&mut step)? {
                0 => return Ok((written(&sum.finalize()), length)),
                read => {
                    sum.update(&step[..read]);
                    length += read as u64;
                }
            }
        }
    }
}

/// What the descriptors in a list of a document name: digest and size.
pub(crate) fn named(value: &Value, list: &str) -> impl Iterator<Item = (String, Option<u64>)> {
    let descriptors = value[list].as_array().cloned().unwrap_or_default();
    descriptors
        .into_iter()
        .filter_map(|descriptor| described(&descriptor))
}

/// The blobs a manifest needs to have beside it: those that lie elsewhere by their `urls` are not among them.
pub(crate) fn blobs_of(value: &Value) -> impl Iterator<Item = (String, Option<u64>)> {
    let layers = value["layers"].as_array().cloned().unwrap_or_default();
    let own = layers
        .into_iter()
        .filter(|layer| layer["urls"].as_array().is_none_or(Vec::is_empty));
    described(&value["config"])
        .into_iter()
        .chain(own.filter_map(|layer| described(&layer)))
}

fn described(descriptor: &Value) -> Option<(String, Option<u64>)> {
    Some((
        descriptor["digest"].as_str()?.to_owned(),
        descriptor["size"].as_u64(),
    ))
}
