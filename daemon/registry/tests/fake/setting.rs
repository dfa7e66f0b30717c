//! A client and a repository at a registry.

use std::sync::{Arc, Mutex};

use mica_oci::{Descriptor, Digest, Repository};
use mica_registry::{Client, Credential, Folders, Intent, Listener, Notice, Proxies, Remote, Settings};
use mica_tests::FakeRegistry;

/// A client that follows no settings of this machine.
pub(crate) fn client() -> Client {
    client_with(Folders::none(), Proxies::default())
}

pub(crate) fn client_with(folders: Folders, proxies: Proxies) -> Client {
    Client::new(Settings {
        folders,
        proxies,
        ..Settings::default()
    })
    .unwrap()
}

pub(crate) fn repository(registry: &FakeRegistry, path: &str) -> Repository {
    format!("{}/{path}", registry.host()).parse().unwrap()
}

/// What a client was told.
#[derive(Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    pub(crate) fn hear(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }

    pub(crate) fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn retries(&self) -> usize {
        let is_retry = |notice: &&Notice| matches!(notice, Notice::Retry { .. });
        self.0.lock().unwrap().iter().filter(is_retry).count()
    }
}

/// Who asks for a repository, and how.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) client: Client,
    pub(crate) credential: Credential,
    pub(crate) listener: Listener,
}

impl Asker {
    /// Nobody in particular.
    pub(crate) fn anybody() -> Self {
        Self::user(Credential::Anonymous)
    }

    pub(crate) fn user(credential: Credential) -> Self {
        Self {
            client: client(),
            credential,
            listener: Listener::deaf(),
        }
    }

    pub(crate) fn telling(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    pub(crate) fn remote(&self, repository: &Repository, intent: Intent) -> Remote {
        self.client
            .remote(repository, intent, &self.credential, &self.listener)
            .unwrap()
    }

    /// The repository `team/app` for reading.
    pub(crate) fn pulling(&self, registry: &FakeRegistry) -> Remote {
        self.remote(&repository(registry, "team/app"), Intent::Pull)
    }

    /// The repository `team/app` for writing.
    pub(crate) fn pushing(&self, registry: &FakeRegistry) -> Remote {
        self.remote(&repository(registry, "team/app"), Intent::Push)
    }
}

/// The repository `team/app` for reading, by nobody in particular.
pub(crate) fn pulling(registry: &FakeRegistry) -> Remote {
    Asker::anybody().pulling(registry)
}

/// The repository `team/app` for writing, by nobody in particular.
pub(crate) fn pushing(registry: &FakeRegistry) -> Remote {
    Asker::anybody().pushing(registry)
}

pub(crate) fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

/// The descriptor of a blob with these bytes.
pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64)
}

/// Bytes that repeat nowhere near.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An error and its causes in one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
