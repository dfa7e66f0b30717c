//! What a registry sent as a manifest, read as what it is and nothing else.

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use crate::document::Raw;
use crate::error::DocumentError;
use crate::manifest::{Index, Manifest};
use crate::media::{DOCKER_LIST, DOCKER_MANIFEST, MediaType, OCI_INDEX, OCI_MANIFEST};

/// Docker's image manifests of before 2017, plain and signed.
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// A manifest or an index, with the bytes it came as.
#[derive(Debug, Clone)]
pub enum Received {
    /// One image.
    Manifest(Box<Raw<Manifest>>),
    /// A list of manifests.
    Index(Raw<Index>),
}

/// Bytes that are neither manifest nor index.
#[derive(Debug, Error)]
pub enum ReceivedError {
    /// A manifest of before 2017, which docker does not take any more either.
    #[error("it is a schema 1 manifest")]
    Schema1,
    /// It says to be two things at once: what one program takes for an image is a list to another (CVE-2021-41190).
    #[error("it is ambiguous: {0}")]
    Ambiguous(String),
    /// It is something else.
    #[error("{0:?} is neither a manifest nor an index")]
    Unknown(String),
    /// It cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// What of a document tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl crate::document::Document for Outline {
    const KIND: &'static str = "manifest";
}

impl Received {
    /// Reads a document of which the registry says that it is of type `content_type`. What header, document and shape say
    /// must agree; what is left open is told by the shape (OCI image spec, "Image Manifest", `mediaType`).
    pub fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ReceivedError> {
        let content_type = content_type
            .map(|text| {
                text.split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase()
            })
            // what servers say of files they know nothing of
            .filter(|text| text.contains("vnd."));
        if content_type
            .as_deref()
            .is_some_and(|text| SCHEMA_1.contains(&text))
        {
            return Err(ReceivedError::Schema1);
        }
        let outline = Raw::<Outline>::parse(bytes)?;
        if outline.schema_version == Some(1) || outline.fs_layers.is_some() {
            return Err(ReceivedError::Schema1);
        }
        let lists = outline.manifests.is_some();
        let describes = outline.config.is_some() || outline.layers.is_some();
        if lists && describes {
            return Err(ReceivedError::Ambiguous("it has manifests and layers".to_owned()));
        }
        let own = outline.media_type.clone().filter(|text| !text.is_empty());
        if let (Some(header), Some(own)) = (&content_type, &own)
            && header != own
        {
            return Err(ReceivedError::Ambiguous(format!(
                "it was sent as {header} and calls itself {own}"
            )));
        }
        let kind = match own.or(content_type) {
            Some(text) => MediaType::new(text),
            None if lists => MediaType::new(OCI_INDEX),
            None => MediaType::new(OCI_MANIFEST),
        };
        match (kind.is_index(), kind.is_manifest()) {
            (true, _) if !describes => Ok(Self::Index(Raw::parse(bytes)?)),
            (_, true) if !lists => Ok(Self::Manifest(Box::new(Raw::parse(bytes)?))),
            (false, false) => Err(ReceivedError::Unknown(kind.as_str().chars().take(200).collect())),
            _ => Err(ReceivedError::Ambiguous(format!(
                "it calls itself {kind} and is not shaped like one"
            ))),
        }
    }

    /// What it is, whether it says so itself or not.
    pub fn media_type(&self) -> MediaType {
        let (own, default) = match self {
            Self::Manifest(manifest) => (&manifest.media_type, OCI_MANIFEST),
            Self::Index(index) => (&index.media_type, OCI_INDEX),
        };
        own.clone().unwrap_or_else(|| MediaType::new(default))
    }

    /// The media types that can be read, the ones to prefer first.
    pub const ACCEPTED: [&'static str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
    const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

    fn with_type(document: &str, media_type: &str) -> String {
        document.replacen('{', &format!(r#"{{"mediaType":"{media_type}","#), 1)
    }

    fn read(text: &str, content_type: Option<&str>) -> Result<Received, ReceivedError> {
        Received::read(text.as_bytes(), content_type)
    }

    #[test]
    fn header_document_and_shape_tell_what_it_is() {
        for kind in [OCI_MANIFEST, DOCKER_MANIFEST] {
            for (text, header) in [
                (with_type(MANIFEST, kind), Some(kind)),
                (with_type(MANIFEST, kind), None),
                (with_type(MANIFEST, kind), Some("application/json; charset=utf-8")),
            ] {
                let received = read(&text, header).unwrap();
                assert!(matches!(received, Received::Manifest(_)) && received.media_type().as_str() == kind);
            }
        }
        assert!(matches!(
            read(MANIFEST, Some(OCI_MANIFEST)).unwrap(),
            Received::Manifest(_)
        ));
        assert!(matches!(read(MANIFEST, None).unwrap(), Received::Manifest(_)));
        assert!(matches!(read(INDEX, None).unwrap(), Received::Index(_)));
        assert!(matches!(
            read(INDEX, Some(&format!("{DOCKER_LIST}; charset=utf-8"))).unwrap(),
            Received::Index(_)
        ));
    }

    #[test]
    fn what_could_be_two_things_is_refused() {
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        let config = r#"{"schemaVersion":2,"manifests":[],"config":{}}"#;
        for (text, header) in [
            (both.to_owned(), None),
            (config.to_owned(), Some(OCI_INDEX)),
            (INDEX.to_owned(), Some(OCI_MANIFEST)),
            (MANIFEST.to_owned(), Some(OCI_INDEX)),
            (with_type(MANIFEST, OCI_MANIFEST), Some(DOCKER_MANIFEST)),
            (with_type(INDEX, OCI_MANIFEST), None),
        ] {
            assert!(
                matches!(read(&text, header), Err(ReceivedError::Ambiguous(_))),
                "{text} {header:?}"
            );
        }
    }

    #[test]
    fn what_is_too_old_or_something_else_is_refused() {
        for (text, header) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, Some("text/plain")),
            (
                "{}",
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ),
            (r#"{"fsLayers":[]}"#, None),
        ] {
            assert!(
                matches!(read(text, header), Err(ReceivedError::Schema1)),
                "{text}"
            );
        }
        assert!(matches!(
            read(MANIFEST, Some("application/vnd.other+json")),
            Err(ReceivedError::Unknown(_))
        ));
        assert!(matches!(read("no json", None), Err(ReceivedError::Document(_))));
        assert!(matches!(read("[]", None), Err(ReceivedError::Document(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Received::read(&bytes, None);
        }
    }
}
