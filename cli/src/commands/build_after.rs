//! What is done with an image once it is built: its names pushed, what it is written down.

use std::fs;
use std::path::Path;

use mica_api::BuiltImage;
use mica_oci::Reference;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::commands::build_output::Destination;
use crate::commands::push::{self, How};
use crate::credentials::Credentials;
use crate::error::Error;
use crate::json::indented;
use crate::ui;

/// What was built, and where it went.
#[derive(Debug)]
pub(super) struct Built {
    /// The image's ID.
    pub(super) id: String,
    /// All images of a build for several platforms.
    pub(super) images: Vec<BuiltImage>,
    /// All its names, with registry and tag.
    pub(super) names: Vec<Reference>,
    /// Whether something is said of it.
    pub(super) is_attested: bool,
    /// The digest of its manifest in a registry, if it was pushed.
    pub(super) digest: Option<String>,
}

/// The names of a build, read before it begins so that a bad one costs no work.
///
/// # Errors
/// A name that is none, or none at all where there is something to push.
pub(super) fn names(tags: &[String], destination: &Destination) -> Result<Vec<Reference>, Error> {
    let mut names = Vec::new();
    for tag in tags.iter().chain(&destination.names) {
        names.push(tag.parse::<Reference>()?.or_latest());
    }
    if destination.push && names.is_empty() {
        return Err(Error::Refused {
            message: "tag is needed when pushing to registry".to_owned(),
        });
    }
    Ok(names)
}

impl Built {
    /// What names all that was built: the digest of an index, if one was pushed, or the image's ID.
    pub(super) fn whole(&self) -> &str {
        match &self.digest {
            Some(digest) if !self.images.is_empty() => digest,
            _ => &self.id,
        }
    }

    /// Says what the names do not mean: images for other platforms.
    pub(super) fn tell_others(&self) {
        let of = |is_own: bool| {
            let images = self.images.iter().filter(|image| (image.id == self.id) == is_own);
            let platforms: Vec<&str> = images.map(|image| image.platform.as_str()).collect();
            platforms.join(", ")
        };
        let others = of(false);
        if !others.is_empty() {
            ui::warn(format!(
                "a name means one image here, that for {}; those for {others} are in the store without a name: build with --push \
                 to hand on all of them",
                of(true)
            ));
        }
    }

    /// Pushes every name, one after the other.
    pub(super) async fn push(
        &mut self,
        destination: &Destination,
        is_quiet: bool,
        client: &Client,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        for name in &self.names {
            let how = How {
                platform: None,
                images: &self.images,
                compression: destination.compression.as_deref(),
                attested: self.is_attested.then_some(self.id.as_str()),
                is_quiet,
            };
            // standard output is for the image's ID
            let told = |line: &str| {
                ui::notice(line);
                Ok(())
            };
            self.digest = push::push(name, &how, client, credentials, told).await?;
        }
        Ok(())
    }

    /// Writes what was built as JSON, with buildx's keys.
    pub(super) fn write(&self, file: &Path) -> Result<(), Error> {
        fs::write(file, self.metadata()).map_err(|source| Error::File {
            action: "cannot write",
            path: file.to_owned(),
            source,
        })
    }

    fn metadata(&self) -> String {
        let digest = self.digest.as_ref().unwrap_or(&self.id);
        let mut keys = Map::new();
        // an index has no config
        if self.images.is_empty() || self.digest.is_none() {
            keys.insert(
                "containerimage.config.digest".to_owned(),
                Value::from(self.id.as_str()),
            );
        }
        keys.insert("containerimage.digest".to_owned(), Value::from(digest.as_str()));
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
            keys.insert("image.name".to_owned(), names.join(",").into());
        }
        indented(&Value::Object(keys).to_string(), "  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_before_the_work() {
        let tags = |tags: &[&str], push: bool| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let destination = Destination {
                push,
                names: vec![],
                compression: None,
            };
            let names = names(&tags, &destination).map_err(|error| error.to_string())?;
            Ok::<_, String>(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            tags(&["a", "ghcr.io/o/n:2"], true).unwrap(),
            ["docker.io/library/a:latest", "ghcr.io/o/n:2"]
        );
        assert!(tags(&[], false).unwrap().is_empty());
        assert!(tags(&[], true).unwrap_err().contains("tag is needed"));
        assert!(tags(&["A B"], false).is_err());
    }

    #[test]
    fn what_was_built_is_told_with_buildxs_keys() {
        let mut built = Built {
            id: "sha256:1".to_owned(),
            images: vec![],
            is_attested: false,
            names: vec![],
            digest: None,
        };
        assert_eq!(
            built.metadata(),
            "{\n  \"containerimage.config.digest\": \"sha256:1\",\n  \"containerimage.digest\": \"sha256:1\"\n}"
        );
        built.digest = Some("sha256:2".to_owned());
        built.names = vec!["a:1".parse().unwrap(), "r.io/b:2".parse().unwrap()];
        assert_eq!(
            built.metadata(),
            "{\n  \"containerimage.config.digest\": \"sha256:1\",\n  \"containerimage.digest\": \"sha256:2\",\n  \
             \"image.name\": \"docker.io/library/a:1,r.io/b:2\"\n}"
        );
    }
}
