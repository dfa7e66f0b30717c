//! From a name to one image's manifest: through indexes, by platform.

use mica_oci::{Descriptor, Index, Manifest, Platform, Raw, Received};
use mica_registry::{Fetched, Remote, Which};

use crate::error::Error;

/// The deepest nesting of indexes.
const DEPTH: usize = 4;
/// Docker's words for manifests of before 2017 (moby, `distribution/pull_v2.go`).
const SCHEMA_1: &str =
    "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed";

/// What a name led to.
pub(crate) struct Resolved {
    /// What the registry has under the name.
    pub(crate) top: Descriptor,
    /// The indexes on the way, the outermost first.
    pub(crate) indexes: Vec<Raw<Index>>,
    /// The image's manifest.
    pub(crate) manifest: Raw<Manifest>,
}

/// Finds the manifest for `platform` below what was fetched.
pub(crate) async fn resolve(
    remote: &Remote,
    reference: &mica_oci::Reference,
    top: Fetched,
    platform: &Platform,
) -> Result<Resolved, Error> {
    let first = describe(&top, &read(&top, reference)?);
    let mut indexes = Vec::new();
    let mut fetched = top;
    loop {
        match read(&fetched, reference)? {
            Received::Manifest(manifest) => {
                return Ok(Resolved {
                    top: first,
                    indexes,
                    manifest: *manifest,
                });
            }
            Received::Index(index) => {
                let chosen = platform
                    .choose(&index.manifests)
                    .cloned()
                    .ok_or_else(|| Error::NoPlatform {
                        platform: platform.to_string(),
                        offered: offered(&index),
                    })?;
                indexes.push(index);
                if indexes.len() > DEPTH {
                    return Err(Error::Nested {
                        reference: reference.familiar(),
                        limit: DEPTH,
                    });
                }
                fetched = remote
                    .manifest(&Which::Digest(chosen.digest))
                    .await
                    .map_err(|error| crate::transfer::words::pull_error(reference, error))?;
                if fetched.bytes.len() as u64 != chosen.size {
                    return Err(Error::WrongSize {
                        what: format!("manifest {}", chosen.digest),
                        expected: chosen.size,
                        actual: fetched.bytes.len() as u64,
                    });
                }
            }
        }
    }
}

/// Reads what was fetched as what it is.
pub(crate) fn read(fetched: &Fetched, reference: &mica_oci::Reference) -> Result<Received, Error> {
    Received::read(&fetched.bytes, fetched.content_type.as_deref()).map_err(|source| match source {
        mica_oci::ReceivedError::Schema1 => Error::Schema1 {
            reference: reference.familiar(),
            words: SCHEMA_1,
        },
        source => Error::Manifest {
            reference: reference.familiar(),
            source,
        },
    })
}

/// A descriptor of what was fetched.
pub(crate) fn describe(fetched: &Fetched, received: &Received) -> Descriptor {
    Descriptor::new(received.media_type(), fetched.digest, fetched.bytes.len() as u64)
}

fn offered(index: &Index) -> String {
    let platforms = index
        .manifests
        .iter()
        .filter_map(|manifest| manifest.platform.as_ref());
    let texts: Vec<String> = platforms.map(Platform::to_string).collect();
    texts.join(", ")
}
