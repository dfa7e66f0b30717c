//! Where a build's cache is to be written, as buildx says it.

use mica_oci::{Compression, Reference};

use crate::transfer::or_latest;

/// A cache to be written to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheExport {
    /// Where to; it has a tag.
    pub reference: Reference,
    /// Whether all steps of all stages are written (`mode=max`), or those of the image alone.
    pub all: bool,
    /// How layers that were made here are compressed; as for a push if `None`.
    pub compression: Option<Compression>,
    /// As what it lies there.
    pub form: CacheForm,
    /// Whether the build goes on if it cannot be written.
    pub ignore_error: bool,
}

/// As what a cache lies in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheForm {
    /// An OCI manifest, the document in the place of an image's config.
    Manifest,
    /// An OCI index whose entries are the layers and the document: BuildKit's older form.
    Index,
    /// Docker's list of manifests with the same entries: BuildKit's oldest form.
    DockerList,
}

/// Why a cache cannot be written as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCacheExport {
    /// There is no such thing here.
    #[error("cache export {0} is not supported: use type=registry,ref=NAME or type=inline")]
    Unsupported(String),
    /// An attribute makes no sense.
    #[error("invalid {name} of a cache export: {reason}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl CacheExport {
    /// Reads the attributes of a cache export other than `type=inline`. Those that nobody knows are passed over, as BuildKit
    /// does.
    pub fn read<'a>(kind: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadCacheExport> {
        if kind != "registry" {
            return Err(BadCacheExport::Unsupported(format!("type={kind}")));
        }
        let bad = |name, reason: String| BadCacheExport::Attribute { name, reason };
        let name = attribute("ref").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| bad("ref", "say where to: ref=NAME".to_owned()))?;
        let reference: Reference = name.parse().map_err(|error| bad("ref", format!("{error}")))?;
        if reference.digest.is_some() {
            return Err(bad(
                "ref",
                format!("{name} has a digest, which nobody can write to"),
            ));
        }
        let flag = |name: &'static str| match attribute(name) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(bad(name, format!("{other:?} is neither true nor false"))),
        };
        let form = match (flag("oci-mediatypes")?.unwrap_or(true), flag("image-manifest")?) {
            (true, None | Some(true)) => CacheForm::Manifest,
            (true, Some(false)) => CacheForm::Index,
            (false, None | Some(false)) => CacheForm::DockerList,
            (false, Some(true)) => {
                return Err(bad("image-manifest", "it needs oci-mediatypes=true".to_owned()));
            }
        };
        Ok(Self {
            reference: or_latest(reference),
            all: match attribute("mode").unwrap_or_default() {
                "" | "min" => false,
                "max" => true,
                other => return Err(bad("mode", format!("{other:?} is neither min nor max"))),
            },
            compression: match attribute("compression").unwrap_or_default() {
                "" => None,
                "uncompressed" => Some(Compression::None),
                "gzip" => Some(Compression::Gzip),
                "zstd" => Some(Compression::Zstd),
                other => {
                    let reason = format!("{other:?} is neither gzip, zstd nor uncompressed");
                    return Err(bad("compression", reason));
                }
            },
            form,
            ignore_error: flag("ignore-error")?.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CacheExport, BadCacheExport> {
        let pairs: Vec<_> = text.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let value = |key: &str| {
            pairs
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        };
        CacheExport::read(value("type").unwrap_or_default(), value)
    }

    #[test]
    fn attributes_mean_what_buildkit_means() {
        let plain = read("type=registry,ref=r:5000/a").unwrap();
        assert_eq!(plain.reference.to_string(), "r:5000/a:latest");
        assert_eq!(
            (plain.all, plain.compression, plain.form, plain.ignore_error),
            (false, None, CacheForm::Manifest, false)
        );
        let all =
            read("type=registry,ref=a/b:c,mode=max,compression=zstd,image-manifest=false,ignore-error=1,x=y");
        let all = all.unwrap();
        assert_eq!(
            (all.all, all.compression, all.form, all.ignore_error),
            (true, Some(Compression::Zstd), CacheForm::Index, true)
        );
        let old = read("type=registry,ref=a,oci-mediatypes=false").unwrap();
        assert_eq!(old.form, CacheForm::DockerList);
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (text, part) in [
            ("type=gha", "type=gha"),
            ("type=s3,bucket=b", "type=s3"),
            ("type=azblob", "type=azblob"),
            ("type=local,dest=d", "type=local"),
            ("type=registry", "invalid ref"),
            ("type=registry,ref=", "invalid ref"),
            ("type=registry,ref=A", "invalid ref"),
            (
                "type=registry,ref=a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "has a digest",
            ),
            ("type=registry,ref=a,mode=most", "neither min nor max"),
            ("type=registry,ref=a,compression=estargz", "estargz"),
            ("type=registry,ref=a,ignore-error=maybe", "neither true nor false"),
            (
                "type=registry,ref=a,oci-mediatypes=false,image-manifest=true",
                "oci-mediatypes=true",
            ),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
