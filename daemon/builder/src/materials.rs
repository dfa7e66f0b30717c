//! What a build took in that its Dockerfile does not hold: images, repositories, files of the web, folders of the client, and
//! which secrets and agents it was lent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mica_oci::attestation::purl;
use mica_oci::{Digest, Platform, Reference};
use serde_json::{Value, json};

use crate::address::{Address, without_password};
use crate::input::{Input, Source};
use crate::ports::{BaseImage, Commit, GitAddress};

/// What the client's own build context and Dockerfile are called (BuildKit's names).
const CONTEXT: &str = "context";
const DOCKERFILE: &str = "dockerfile";

/// Gathers what a build takes in while it does.
#[derive(Debug, Default)]
pub(crate) struct Materials(Mutex<Taken>);

/// What was taken in so far. What is named twice is there once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    /// Package URLs of images, with the digest of the manifest or index; of images made here, of the config.
    images: BTreeMap<String, Digest>,
    /// Commits of repositories.
    repositories: BTreeMap<String, Commit>,
    /// Files by address.
    files: BTreeMap<String, Digest>,
    /// IDs of secrets, and whether the build could have done without.
    pub secrets: BTreeMap<String, bool>,
    /// IDs of agents, and whether the build could have done without.
    pub agents: BTreeMap<String, bool>,
}

/// What kind of image was taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    /// By the name of a repository.
    Named,
    /// Out of a folder.
    Layout,
}

impl Materials {
    /// An image was taken in.
    pub(crate) fn image(&self, name: &str, platform: &Platform, image: &BaseImage, found: Found) {
        let kind = match found {
            Found::Named => "docker",
            Found::Layout => "oci",
        };
        let uri = match name.parse::<Reference>() {
            Ok(reference) => purl(kind, &reference, Some(platform)),
            // an ID, or what only this store calls so
            Err(_) => format!("pkg:{kind}/{}", image.id),
        };
        let digest = image.manifest.unwrap_or(*image.id.digest());
        self.lock().images.insert(uri, digest);
    }

    /// A repository was taken in.
    pub(crate) fn repository(&self, git: &GitAddress, commit: &Commit) {
        self.lock().repositories.insert(git_uri(git), commit.clone());
    }

    /// A file was taken in.
    pub(crate) fn file(&self, url: &str, digest: Digest) {
        self.lock().files.insert(without_password(url), digest);
    }

    /// A secret was asked for.
    pub(crate) fn secret(&self, id: &str, optional: bool) {
        merge(&mut self.lock().secrets, id, optional);
    }

    /// An agent was asked for.
    pub(crate) fn agent(&self, id: &str, optional: bool) {
        merge(&mut self.lock().agents, id, optional);
    }

    /// All of it so far.
    pub(crate) fn taken(&self) -> Taken {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(known: &mut BTreeMap<String, bool>, id: &str, optional: bool) {
    let both = known.entry(id.to_owned()).or_insert(true);
    *both = *both && optional;
}

impl Taken {
    /// `{uri, digest}` of each.
    pub(crate) fn list(&self) -> Vec<Value> {
        let sha256 = |digest: &Digest| json!({"sha256": digest.hex()});
        let images = self.images.iter().map(|(uri, digest)| (uri, sha256(digest)));
        let repositories = self
            .repositories
            .iter()
            .map(|(uri, commit)| (uri, of_commit(commit)));
        let files = self.files.iter().map(|(uri, digest)| (uri, sha256(digest)));
        let all = images.chain(repositories).chain(files);
        all.map(|(uri, digest)| json!({"uri": uri, "digest": digest}))
            .collect()
    }

    /// The address of a build context as it was understood, and the digest of what lay there.
    pub(crate) fn of_context(&self, address: &str) -> (String, Option<Value>) {
        match Address::of_context(address) {
            Ok(Address::Repository(git)) => {
                // that .git stays makes it no other repository
                let uri = git_uri(&git);
                let commit = self.repositories.get(&uri).map(of_commit);
                (uri, commit)
            }
            Ok(Address::File(url)) => {
                let url = without_password(&url);
                let digest = self.files.get(&url).map(|digest| json!({"sha256": digest.hex()}));
                (url, digest)
            }
            Err(_) => (without_password(address), None),
        }
    }
}

/// A commit's ID is a SHA-1 or, in repositories that have those, a SHA-256.
fn of_commit(commit: &Commit) -> Value {
    match commit.as_str() {
        id if id.len() == 64 => json!({"sha256": id}),
        id => json!({"sha1": id}),
    }
}

fn git_uri(git: &GitAddress) -> String {
    let remote = without_password(&git.remote);
    match &git.reference {
        Some(reference) => format!("{remote}#{reference}"),
        None => remote,
    }
}

/// Where a client's own part of a build lies, told before it is used up.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// The address of the build context, if it has one.
    pub address: Option<String>,
    /// What came from the client itself: nobody else can tell what was in it.
    pub locals: Vec<String>,
    /// Named contexts, as clients write them.
    pub named: Vec<(String, String)>,
}

impl Origins {
    /// Where `input` is from.
    pub(crate) fn of(input: &Input) -> Self {
        let mut origins = Self::default();
        match &input.context {
            Source::Address(address) => origins.address = Some(address.clone()),
            Source::Empty | Source::Image(_) | Source::Layout { .. } | Source::Blobs { .. } => {}
            Source::Tar(_) | Source::Folder(_) | Source::Synced(_) => {
                origins.locals = vec![CONTEXT.to_owned(), DOCKERFILE.to_owned()];
            }
        }
        if input.dockerfile.is_some() && origins.locals.is_empty() {
            origins.locals.push(DOCKERFILE.to_owned());
        }
        for (name, source) in &input.named {
            let text = match source {
                Source::Image(image) => format!("docker-image://{image}"),
                Source::Layout { image, .. } => {
                    format!("oci-layout://{}", image.as_deref().unwrap_or_default())
                }
                Source::Blobs { image, .. } => format!("oci-layout://@{image}"),
                Source::Address(address) => without_password(address),
                Source::Empty | Source::Tar(_) | Source::Folder(_) | Source::Synced(_) => {
                    origins.locals.push(name.clone());
                    format!("local:{name}")
                }
            };
            origins.named.push((name.clone(), text));
        }
        origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::{ImageConfig, ImageId};

    #[test]
    fn what_was_taken_in_is_listed_once_and_without_passwords() {
        let materials = Materials::default();
        let platform = "linux/amd64".parse().unwrap();
        let mut image = BaseImage {
            id: ImageId(Digest::of(b"config")),
            manifest: Some(Digest::of(b"manifest")),
            config: ImageConfig::default(),
            layers: Vec::new(),
        };
        materials.image("alpine", &platform, &image, Found::Named);
        materials.image("docker.io/library/alpine:latest", &platform, &image, Found::Named);
        image.manifest = None;
        materials.image("own:1", &platform, &image, Found::Named);
        materials.file("https://u:p@h/a", Digest::of(b"a"));
        let Ok(Address::Repository(git)) = Address::of_context("https://u:p@h/r.git#main") else {
            panic!();
        };
        let commit: Commit = "ab".repeat(20).parse().unwrap();
        materials.repository(&git, &commit);
        let taken = materials.taken();
        let sha256 = |bytes: &[u8]| json!({"sha256": Digest::of(bytes).hex()});
        assert_eq!(
            taken.list(),
            [
                json!({"uri": "pkg:docker/alpine@latest?platform=linux%2Famd64", "digest": sha256(b"manifest")}),
                json!({"uri": "pkg:docker/own@1?platform=linux%2Famd64", "digest": sha256(b"config")}),
                json!({"uri": "https://h/r.git#main", "digest": {"sha1": commit.as_str()}}),
                json!({"uri": "https://h/a", "digest": sha256(b"a")}),
            ]
        );
        let (uri, digest) = taken.of_context("https://u:p@h/r.git#main:sub");
        assert_eq!(
            (uri.as_str(), digest),
            ("https://h/r.git#main", Some(json!({"sha1": commit.as_str()})))
        );
    }

    #[test]
    fn a_secret_is_optional_if_it_always_is() {
        let materials = Materials::default();
        materials.secret("a", true);
        materials.secret("b", true);
        materials.secret("b", false);
        materials.secret("b", true);
        assert_eq!(
            materials.taken().secrets,
            BTreeMap::from([("a".into(), true), ("b".into(), false)])
        );
    }
}
