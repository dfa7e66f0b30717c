//! bollard, the Rust library of the Engine API.

mod builds;
mod images;
mod registries;
mod system;

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{BuildInfo, CreateImageInfo};
use bollard::query_parameters::{
    BuildImageOptions, BuildImageOptionsBuilder, CreateImageOptionsBuilder, RemoveImageOptions,
    TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use futures_util::{Stream, TryStreamExt};
use tokio::runtime::Runtime;

use crate::cell::Cells;
use crate::world::{PASSWORD, USER, World};

/// How many seconds an answer may take.
const PATIENCE: u64 = 60;

/// A connection and the world it leads to.
pub(crate) struct Bollard<'a> {
    docker: Docker,
    runtime: Runtime,
    world: &'a World<'a>,
}

pub(crate) fn all(world: &World) -> Result<Cells, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let docker = Docker::connect_with_unix(&world.daemon.host(), PATIENCE, API_DEFAULT_VERSION);
    let docker = docker.map_err(|error| error.to_string())?;
    let bollard = Bollard {
        docker,
        runtime,
        world,
    };
    let mut cells = Cells::default();
    bollard.system(&mut cells);
    bollard.builds(&mut cells);
    bollard.registries(&mut cells);
    bollard.images(&mut cells);
    bollard.housekeeping(&mut cells);
    Ok(cells)
}

impl Bollard<'_> {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// All that a stream gives until it ends or fails.
    fn all<T>(&self, stream: impl Stream<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
        self.wait(stream.try_collect())
    }

    /// Builds what is in this archive; what it told.
    fn build_tar(&self, options: BuildImageOptions, tar: Vec<u8>) -> Result<Vec<BuildInfo>, Error> {
        self.all(
            self.docker
                .build_image(options, None, Some(body_full(tar.into()))),
        )
    }

    /// Builds a folder of the world's.
    fn build(&self, folder: &str, options: BuildImageOptionsBuilder) -> Result<Vec<BuildInfo>, Error> {
        self.build_tar(options.rm(true).build(), self.tar(folder))
    }

    /// A folder of the world's in an archive.
    fn tar(&self, folder: &str) -> Vec<u8> {
        let folder = self.world.arg(folder);
        let packed = std::process::Command::new("tar")
            .args(["-c", "-C", &folder, "--exclude=./ignored", "."])
            .output();
        packed.unwrap().stdout
    }

    /// A small image, its label telling of its name; its ID.
    fn small(&self, name: &str) -> String {
        let labels = HashMap::from([("for", name)]);
        self.build(
            "small",
            BuildImageOptionsBuilder::default().t(name).labels(&labels),
        )
        .unwrap();
        self.id(name)
    }

    /// An image that no other is like; its ID.
    fn imported(&self, name: &str) -> String {
        let changes = vec![format!("LABEL for={name}")];
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(name)
            .changes(changes)
            .build();
        let root = fs_err::read(self.world.arg("root.tar")).unwrap();
        let told = self.all(
            self.docker
                .create_image(Some(options), Some(body_full(root.into())), None),
        );
        told.unwrap().pop().and_then(|line| line.status).unwrap()
    }

    fn id(&self, name: &str) -> String {
        self.wait(self.docker.inspect_image(name)).unwrap().id.unwrap()
    }

    fn pull(
        &self,
        repository: &str,
        tag: &str,
        account: Option<DockerCredentials>,
    ) -> Result<Vec<CreateImageInfo>, Error> {
        let options = CreateImageOptionsBuilder::default()
            .from_image(repository)
            .tag(tag)
            .build();
        self.all(self.docker.create_image(Some(options), None, account))
    }

    fn tag(&self, name: &str, repository: &str, tag: &str) -> Result<(), Error> {
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        self.wait(self.docker.tag_image(name, Some(options)))
    }

    /// Removes an image; what went, `Untagged` names before `Deleted` IDs of one line each.
    fn remove(&self, name: &str, force: bool) -> Result<Vec<String>, Error> {
        let options = RemoveImageOptions {
            force,
            ..RemoveImageOptions::default()
        };
        let gone = self.wait(self.docker.remove_image(name, Some(options), None))?;
        let text = |item: bollard::models::ImageDeleteResponseItem| match (item.untagged, item.deleted) {
            (Some(name), _) => format!("Untagged {name}"),
            (_, id) => format!("Deleted {}", id.unwrap_or_default()),
        };
        Ok(gone.into_iter().map(text).collect())
    }

    /// Who may use the registry that wants a password.
    fn account(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(USER.to_owned()),
            password: Some(PASSWORD.to_owned()),
            serveraddress: Some(self.world.places.locked.address()),
            ..DockerCredentials::default()
        }
    }
}

/// What a build said.
fn text(lines: &[BuildInfo]) -> String {
    let texts = lines.iter().filter_map(|line| line.stream.as_deref());
    texts.collect()
}

/// Fails if a text does not have these words.
#[track_caller]
fn has(text: &str, words: &str) {
    assert!(text.contains(words), "{words:?} is not in:\n{text}");
}

/// Fails if an answer is not this status with these words.
#[track_caller]
fn refused<T>(answer: Result<T, Error>, status: u16, words: &str) {
    match answer.err().expect("it must fail") {
        Error::DockerResponseServerError { status_code, message } => {
            assert_eq!(status_code, status, "{message}");
            has(&message, words);
        }
        other => panic!("{other:?}"),
    }
}

/// Fails if a stream did not end with an error of these words.
#[track_caller]
fn broken<T>(answer: Result<T, Error>, words: &str) {
    match answer.err().expect("it must fail") {
        Error::DockerStreamError { error } => has(&error, words),
        other => panic!("{other:?}"),
    }
}
