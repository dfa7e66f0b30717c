//! Attestations: in-toto statements about images, and the manifest that carries those about one image in an index (BuildKit's
//! documentation, "Image attestation storage").

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::ImageConfig;
use crate::digest::{Digest, ImageId};
use crate::document::Raw;
use crate::error::DocumentError;
use crate::manifest::{Descriptor, Index, Manifest};
use crate::media::{MediaType, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::platform::Platform;
use crate::reference::Reference;

/// The media type of a statement (in-toto attestation framework, "Payload type").
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The type of statements that are written.
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";
/// Says in the descriptor of a statement what it says of its subjects.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// Says in an index's entry what it is to another.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Says in an index's entry which other it is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// The value of [`REFERENCE_TYPE`] of attestations.
const ATTESTATION_MANIFEST: &str = "attestation-manifest";
/// Operating system and architecture of what can be run nowhere.
const UNKNOWN: &str = "unknown";

/// What is said, without a word of what it is said about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// What kind of thing is said, as an address.
    pub predicate_type: String,
    /// What it is called as a file.
    pub file: String,
    predicate: Arc<str>,
}

/// What is said of images.
pub type Attested = BTreeMap<ImageId, Arc<[Attestation]>>;

/// Something that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// What it is called: of an image its package URL.
    pub name: String,
    /// Its digests by algorithm.
    pub digest: BTreeMap<String, String>,
}

/// A statement as others write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Foreign {
    predicate_type: String,
    predicate: Box<RawValue>,
}

/// A statement as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    predicate_type: &'a str,
    subject: &'a [Subject],
    predicate: &'a RawValue,
}

impl Subject {
    /// Something with a digest.
    pub fn new(name: impl Into<String>, digest: &Digest) -> Self {
        Self {
            name: name.into(),
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
        }
    }

    /// The image of this manifest under all its names; under none of its own, without them.
    pub fn image(names: &[Reference], platform: &Platform, manifest: &Digest) -> Vec<Self> {
        let named = |name: &Reference| Self::new(purl("docker", name, Some(platform)), manifest);
        match names {
            [] => vec![Self::new("_", manifest)],
            names => names.iter().map(named).collect(),
        }
    }
}

impl Attestation {
    /// Says `predicate`.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn new(
        predicate_type: impl Into<String>,
        file: impl Into<String>,
        predicate: &impl Serialize,
    ) -> Result<Self, DocumentError> {
        Ok(Self {
            predicate_type: predicate_type.into(),
            file: file.into(),
            predicate: serde_json::to_string(predicate).map_err(no_json)?.into(),
        })
    }

    /// What a statement of somebody else's says; what it says it of is not taken over.
    ///
    /// # Errors
    /// If it is no statement, or more than one.
    pub fn of_statement(file: impl Into<String>, statement: &[u8]) -> Result<Self, DocumentError> {
        let Foreign {
            predicate_type,
            predicate,
        } = serde_json::from_slice(statement).map_err(no_json)?;
        Ok(Self {
            predicate_type,
            file: file.into(),
            predicate: Box::<str>::from(predicate).into(),
        })
    }

    /// What is said, as JSON.
    pub fn predicate(&self) -> &str {
        &self.predicate
    }

    /// The statement that says it of `subjects`.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn statement(&self, subjects: &[Subject]) -> Result<Vec<u8>, DocumentError> {
        let statement = Statement {
            kind: STATEMENT,
            predicate_type: &self.predicate_type,
            subject: subjects,
            predicate: serde_json::from_str(&self.predicate).map_err(no_json)?,
        };
        serde_json::to_vec(&statement).map_err(no_json)
    }
}

/// A manifest of statements about one image, with everything it names.
#[derive(Debug, Clone)]
pub struct AttestationManifest {
    /// The manifest.
    pub manifest: Raw<Manifest>,
    /// The config and the statements: small blobs that it names.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
    /// Its entry in the index that has the image's.
    pub entry: Descriptor,
}

impl AttestationManifest {
    /// Says `attestations` of `subjects`, which are the image of the manifest `image`.
    ///
    /// # Errors
    /// If something cannot be written as JSON.
    pub fn new(
        image: &Digest,
        subjects: &[Subject],
        attestations: &[Attestation],
    ) -> Result<Self, DocumentError> {
        let mut blobs = Vec::new();
        for attestation in attestations {
            let bytes = attestation.statement(subjects)?;
            let mut statement = Descriptor::new(IN_TOTO, Digest::of(&bytes), bytes.len() as u64);
            let kind = attestation.predicate_type.clone();
            statement.annotations.insert(PREDICATE_TYPE.to_owned(), kind);
            blobs.push((statement, bytes));
        }
        let statements: Vec<Descriptor> = blobs.iter().map(|(statement, _)| statement.clone()).collect();
        let config = config(&statements);
        let described = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
        blobs.push((described.clone(), config));
        let manifest = Raw::of(Manifest::new(described, statements))?;
        let mut entry = Descriptor::new(OCI_MANIFEST, manifest.digest(), manifest.bytes().len() as u64);
        entry.platform = Some(unknown());
        entry.annotations = BTreeMap::from([
            (REFERENCE_TYPE.to_owned(), ATTESTATION_MANIFEST.to_owned()),
            (REFERENCE_DIGEST.to_owned(), image.to_string()),
        ]);
        Ok(Self {
            manifest,
            blobs,
            entry,
        })
    }
}

impl AttestationManifest {
    /// Says `attestations` of an image with this manifest and config under its names, in an index of both.
    ///
    /// # Errors
    /// If something cannot be written as JSON.
    pub fn with_image(
        mut image: Descriptor,
        config: &ImageConfig,
        names: &[Reference],
        attestations: &[Attestation],
    ) -> Result<(Self, Raw<Index>), DocumentError> {
        let platform = Platform {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            variant: config.variant.clone(),
        };
        let subjects = Subject::image(names, &platform, &image.digest);
        let said = Self::new(&image.digest, &subjects, attestations)?;
        image.platform = Some(platform);
        let index = Raw::of(Index {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_INDEX)),
            manifests: vec![image, said.entry.clone()],
            annotations: BTreeMap::new(),
        })?;
        Ok((said, index))
    }
}

/// The platform of what can be run nowhere: what looks for an image passes over it.
fn unknown() -> Platform {
    Platform {
        architecture: UNKNOWN.to_owned(),
        os: UNKNOWN.to_owned(),
        os_version: String::new(),
        variant: String::new(),
    }
}

/// The config that programs which know nothing of attestations find in their manifest.
fn config(statements: &[Descriptor]) -> Vec<u8> {
    let digests: Vec<String> = statements.iter().map(|one| one.digest.to_string()).collect();
    let config = serde_json::json!({
        "architecture": UNKNOWN,
        "os": UNKNOWN,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    config.to_string().into_bytes()
}

/// The package URL of an image: `pkg:docker/ghcr.io/o/n@1?platform=linux%2Famd64` (package-url specification, types `docker` and `oci`).
pub fn purl(kind: &str, image: &Reference, platform: Option<&Platform>) -> String {
    let tag = match (&image.tag, &image.digest) {
        (Some(tag), _) => format!("@{}", tag.as_str()),
        (None, Some(_)) => String::new(),
        (None, None) => "@latest".to_owned(),
    };
    let digest = image.digest.as_ref().map(|digest| format!("digest={digest}"));
    // of the characters of a platform only this one has another meaning in a query
    let platform = platform.map(|platform| format!("platform={}", platform.to_string().replace('/', "%2F")));
    let qualifiers: Vec<String> = digest.into_iter().chain(platform).collect();
    let query = if qualifiers.is_empty() { "" } else { "?" };
    let name = image.repository.familiar();
    format!("pkg:{kind}/{name}{tag}{query}{}", qualifiers.join("&"))
}

fn no_json(source: serde_json::Error) -> DocumentError {
    DocumentError::Json {
        kind: "attestation",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn images_have_package_urls() {
        let digest = Digest::of(b"x");
        let arm: Platform = "linux/arm/v7".parse().unwrap();
        for (name, platform, url) in [
            ("alpine", None, "pkg:docker/alpine@latest".to_owned()),
            ("user/test:v2", None, "pkg:docker/user/test@v2".to_owned()),
            (
                "ghcr.io/foo/bar:v2",
                Some(&arm),
                "pkg:docker/ghcr.io/foo/bar@v2?platform=linux%2Farm%2Fv7".to_owned(),
            ),
            (
                &format!("alpine@{digest}"),
                None,
                format!("pkg:docker/alpine?digest={digest}"),
            ),
            (
                &format!("a/b:1@{digest}"),
                Some(&arm),
                format!("pkg:docker/a/b@1?digest={digest}&platform=linux%2Farm%2Fv7"),
            ),
        ] {
            assert_eq!(purl("docker", &reference(name), platform), url);
        }
    }

    #[test]
    fn a_statement_says_its_predicate_of_other_subjects() {
        let theirs = br#"{"_type":"x","predicateType":"https://spdx.dev/Document","subject":[{"name":"lie","digest":{}}],"predicate":{"b":1,"a":[2]}}"#;
        let said = Attestation::of_statement("sbom.spdx.json", theirs).unwrap();
        assert_eq!(said.predicate(), r#"{"b":1,"a":[2]}"#);
        let subject = Subject::image(
            &[reference("a:1")],
            &"linux/amd64".parse().unwrap(),
            &Digest::of(b"m"),
        );
        let statement: Value = serde_json::from_slice(&said.statement(&subject).unwrap()).unwrap();
        assert_eq!(
            statement,
            json!({
                "_type": "https://in-toto.io/Statement/v0.1",
                "predicateType": "https://spdx.dev/Document",
                "subject": [{"name": "pkg:docker/a@1?platform=linux%2Famd64", "digest": {"sha256": Digest::of(b"m").hex()}}],
                "predicate": {"b": 1, "a": [2]},
            })
        );
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"predicateType":1,"predicate":{}}"#,
            r#"{"predicateType":"x","predicate":{}}{}"#,
        ] {
            assert!(Attestation::of_statement("f", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_manifest_leads_to_its_image_and_to_all_statements() {
        let image = Digest::of(b"manifest");
        let subjects = Subject::image(&[], &"linux/amd64".parse().unwrap(), &image);
        let said =
            Attestation::new("https://slsa.dev/provenance/v0.2", "provenance.json", &json!({})).unwrap();
        let made = AttestationManifest::new(&image, &subjects, &[said]).unwrap();
        let [(statement, bytes), (config, config_bytes)] = &made.blobs[..] else {
            panic!("{:?}", made.blobs);
        };
        assert_eq!(made.manifest.config, *config);
        assert_eq!(made.manifest.layers, std::slice::from_ref(statement));
        assert_eq!(
            (statement.digest, statement.size),
            (Digest::of(bytes), bytes.len() as u64)
        );
        assert_eq!(statement.media_type.as_str(), IN_TOTO);
        assert_eq!(
            statement.annotations[PREDICATE_TYPE],
            "https://slsa.dev/provenance/v0.2"
        );
        let config: Value = serde_json::from_slice(config_bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], statement.digest.to_string());
        let entry = serde_json::to_value(&made.entry).unwrap();
        assert_eq!(entry["digest"], made.manifest.digest().to_string());
        assert_eq!(
            entry["platform"],
            json!({"architecture": "unknown", "os": "unknown"})
        );
        assert_eq!(
            entry["annotations"],
            json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.to_string()})
        );
    }
}
