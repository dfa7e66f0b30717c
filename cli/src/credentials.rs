//! The user's credentials for registries: where they are looked for and how they travel to the daemon.
//!
//! The daemon keeps none. Each request that may need some carries them in a header.

mod config;
mod entry;
mod file;
mod header;
mod helper;
mod keep;
mod places;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use mica_api::AuthConfig;

pub(crate) use crate::credentials::header::{auth_header, config_header};
pub(crate) use crate::credentials::places::Places;
pub(crate) use crate::credentials::server::{HUB, Target};

use crate::credentials::config::{Config, Matching};
use crate::credentials::helper::{Helper, LIMIT};
use crate::credentials::server::{host, is_part};
use crate::error::Error;
use crate::ui;

/// What `DOCKER_AUTH_CONFIG` is called in messages.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// All places the user's credentials may be in. Files are read when they are asked for.
#[derive(Debug)]
pub(crate) struct Credentials {
    places: Places,
}

impl Credentials {
    /// The credentials in these places; nothing is read yet.
    pub(crate) fn new(places: Places) -> Self {
        Self { places }
    }

    /// The same of one file alone, one of podman's, if there is one.
    #[must_use]
    pub(crate) fn only_from(mut self, file: Option<PathBuf>) -> Self {
        if file.is_some() {
            self.places.text = None;
            self.places.only = file;
        }
        self
    }

    /// The credentials for one server or repository; nobody's if there are none. `DOCKER_AUTH_CONFIG` comes first,
    /// then docker's `config.json`, then podman's files; in a file, a helper comes before `auths`.
    ///
    /// # Errors
    /// A file that is not JSON, and an entry that is meant and makes no sense. A helper that fails is a warning.
    pub(crate) async fn find(&self, target: &Target) -> Result<AuthConfig, Error> {
        if let Some(config) = self.variable()?
            && let Some(found) = config.find(target)?
        {
            return Ok(found);
        }
        for config in self.files() {
            if let Some(found) = find_in(&config?, target).await? {
                return Ok(found);
            }
        }
        Ok(AuthConfig::default())
    }

    /// All credentials the user has, by the keys they are kept under. What fails on the way is a warning: the work
    /// may need none of it. Helpers get as long for all servers as one gets for one.
    pub(crate) async fn all(&self) -> BTreeMap<String, AuthConfig> {
        let mut all = BTreeMap::new();
        let deadline = Instant::now() + LIMIT;
        let files: Vec<Config> = self.files().into_iter().filter_map(readable).collect();
        for config in files.iter().rev() {
            add_entries(config, &mut all);
            add_kept(config, deadline, &mut all).await;
        }
        if let Some(config) = self.variable().transpose().and_then(readable) {
            add_entries(&config, &mut all);
        }
        // A daemon knows servers only. Where one has credentials as a whole, those of its parts are not its own.
        let hosts: Vec<String> = all.keys().filter(|key| !is_part(key)).cloned().collect();
        all.retain(|key, _| !is_part(key) || !hosts.iter().any(|other| host(other) == host(key)));
        all
    }

    fn variable(&self) -> Result<Option<Config>, Error> {
        let text = self.places.text.as_ref();
        text.map(|text| Config::parse(VARIABLE.to_owned(), Matching::Docker, text.reveal()))
            .transpose()
    }

    /// The files that are there, first come first. One that may not be read is told and passed over.
    fn files(&self) -> Vec<Result<Config, Error>> {
        let only = self.places.only.as_ref();
        let docker = self.places.docker_file().filter(|_| only.is_none());
        let docker = docker.map(|path| (path, Matching::Docker));
        let podman = match only {
            Some(only) => vec![only.clone()],
            None => self.places.podman_files(),
        };
        let podman = podman.into_iter().map(|path| (path, Matching::Podman));
        let mut files = Vec::new();
        for (path, matching) in docker.into_iter().chain(podman) {
            match Config::read(&path, matching) {
                Err(error @ Error::File { .. }) => ui::warn(error.chain()),
                read => files.push(read),
            }
        }
        files
    }
}

/// What could be read; what could not is told.
fn readable(read: Result<Config, Error>) -> Option<Config> {
    read.map_err(|error| ui::warn(error.chain())).ok()
}

async fn find_in(config: &Config, target: &Target) -> Result<Option<AuthConfig>, Error> {
    let Some(helper) = config.helper(target) else {
        return config.find(target);
    };
    let kept = helper.get(target.key()).await;
    if let Ok(Some(found)) = kept {
        return Ok(Some(found));
    }
    // A login without the helper has put them here.
    let found = config.find(target)?;
    if let Err(error) = kept
        && found.is_none()
    {
        ui::warn(format!("{} (named in {})", error.chain(), config.origin()));
    }
    Ok(found)
}

fn add_entries(config: &Config, all: &mut BTreeMap<String, AuthConfig>) {
    // Of several spellings of a server the one that docker writes now counts, so it comes last.
    let (plain, odd): (Vec<&String>, Vec<&String>) = config.keys().partition(|key| general(key) == **key);
    for key in odd.into_iter().chain(plain) {
        match config.entry(key) {
            Ok(Some(auth)) => {
                all.insert(general(key), auth);
            }
            Ok(None) => {}
            Err(error) => ui::warn(error.chain()),
        }
    }
}

/// The key under which all spellings of a server meet; that of a part of one is its own.
fn general(key: &str) -> String {
    match is_part(key) {
        true => key.to_owned(),
        false => Target::server(key).key().to_owned(),
    }
}

/// Adds what helpers keep: all that the one for all servers has, then what the others have for their own.
async fn add_kept(config: &Config, deadline: Instant, all: &mut BTreeMap<String, AuthConfig>) {
    let mut asked: Vec<(String, Helper)> = Vec::new();
    if let Some(helper) = config.store() {
        match helper.clone().within(left(deadline)).list().await {
            Ok(keys) => asked.extend(keys.into_iter().map(|key| (key, helper.clone()))),
            Err(error) => ui::warn(error.chain()),
        }
    }
    asked.extend(config.helpers().map(|(key, helper)| (key.to_owned(), helper)));
    for (key, helper) in asked {
        if left(deadline).is_zero() {
            ui::warn("credential helpers took too long; some were not asked");
            return;
        }
        match helper.within(left(deadline)).get(&key).await {
            Ok(Some(auth)) => {
                all.insert(general(&key), auth);
            }
            Ok(None) => {}
            Err(error) => ui::warn(error.chain()),
        }
    }
}

fn left(deadline: Instant) -> std::time::Duration {
    deadline.saturating_duration_since(Instant::now())
}
