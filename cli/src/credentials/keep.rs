//! Keeping and forgetting credentials: with a helper where one is named, else in docker's `config.json`.

use std::path::PathBuf;

use mica_api::AuthConfig;

use crate::credentials::config::{Config, Matching};
use crate::credentials::{Credentials, Target, file};
use crate::error::Error;
use crate::ui;

impl Credentials {
    /// Keeps credentials under their `serveraddress`. Without a helper, or with one that fails, they go into the file,
    /// and the user is told.
    ///
    /// # Errors
    /// A file that is not docker's, or cannot be replaced.
    pub(crate) async fn store(&self, auth: &AuthConfig) -> Result<(), Error> {
        let path = self.writable()?;
        let config = Config::read(&path, Matching::Docker)?;
        if let Some(helper) = config.helper(&Target::server(&auth.serveraddress)) {
            match helper.store(auth).await {
                Ok(()) => {
                    let place = AuthConfig {
                        serveraddress: auth.serveraddress.clone(),
                        ..AuthConfig::default()
                    };
                    return file::store(&path, &place);
                }
                Err(error) => ui::warn(format!(
                    "{}; keeping the credentials in a file instead",
                    error.chain()
                )),
            }
        }
        file::store(&path, auth)?;
        if !auth.password.is_empty() {
            ui::notice(format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove \
                 this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                path.display()
            ));
        }
        Ok(())
    }

    /// Forgets what earlier logins to a server have left under any spelling of it.
    ///
    /// # Errors
    /// A file that is not docker's or cannot be replaced, and a helper that fails at every spelling.
    pub(crate) async fn erase(&self, target: &Target) -> Result<(), Error> {
        let path = self.writable()?;
        let config = Config::read(&path, Matching::Docker)?;
        let keys = target.left_keys();
        file::erase(&path, &keys)?;
        let Some(helper) = config.helper(target) else {
            return Ok(());
        };
        let mut failures = Vec::new();
        for key in &keys {
            match helper.erase(key).await {
                Err(error @ Error::HelperMissing { .. }) => {
                    ui::warn(error.chain());
                    return Ok(());
                }
                Err(error) => failures.push(format!("{key}: {}", error.chain())),
                Ok(()) => {}
            }
        }
        if failures.len() < keys.len() {
            return Ok(());
        }
        Err(Error::Several {
            message: format!("could not erase credentials:\n{}", failures.join("\n")),
        })
    }

    /// Says beforehand what [`Credentials::store`] would fail with, so that nobody types a password in vain.
    ///
    /// # Errors
    /// A file that is not docker's or cannot be read, or no place for one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Config::read(&self.writable()?, Matching::Docker).map(|_| ())
    }

    fn writable(&self) -> Result<PathBuf, Error> {
        self.places.docker_file().ok_or_else(|| Error::Refused {
            message: "there is no place for credentials: set HOME, or DOCKER_CONFIG=/path/of/folder"
                .to_owned(),
        })
    }
}
