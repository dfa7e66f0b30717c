//! What commands are given besides their own flags: the daemon and the user's credentials.

use std::path::PathBuf;

use crate::client::Client;
use crate::credentials::{Credentials, Places};
use crate::error::Error;
use crate::host::{Choice, Host};

/// The flags that stand before a command.
#[derive(Debug)]
pub(crate) struct Session {
    /// `--host`
    pub(crate) host: Option<String>,
    /// `--context`
    pub(crate) context: Option<String>,
    /// `--config`
    pub(crate) config: Option<PathBuf>,
}

impl Session {
    /// Where the daemon is; nothing is connected.
    ///
    /// # Errors
    /// An address that cannot be used, or a context that is not there.
    pub(crate) fn host(&self) -> Result<Host, Error> {
        Choice::from_environment(self.host.clone(), self.context.clone()).host()
    }

    /// The daemon.
    ///
    /// # Errors
    /// As [`Session::host`].
    pub(crate) fn client(&self) -> Result<Client, Error> {
        self.host().map(Client::new)
    }

    /// The user's credentials.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(Places::from_environment(self.config.clone()))
    }
}
