//! A client of image registries: resolve, pull, push, log in (OCI distribution spec v1.1, Docker registry HTTP API v2).
//! Asynchronous; knows neither the store nor the disk.

mod address;
mod answer;
mod ask;
mod authorization;
mod challenge;
mod credential;
mod download;
mod encoding;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hint;
pub mod hosts;
mod lanes;
mod login;
mod manifests;
mod ports;
mod push_check;
mod refusal;
mod remote;
mod retry;
mod scope;
mod search;
mod sending;
mod site;
mod token;
mod traffic;
mod trouble;
mod upload;
mod web;

pub use credential::{Credential, Credentials, Keyring, registry_of_server};
pub use error::Error;
pub use hosts::{Folders, HostError, Proxies, Settings, credential_key};
pub use login::Login;
pub use manifests::{Described, Fetched, MANIFEST_LIMIT, Which};
pub use ports::{Content, Later, Listener, Notice, Piece, Pieces, Source};
pub use push_check::{CheckAnswer, PushCheck};
pub use refusal::Refusal;
pub use remote::{Client, Intent, Remote};
pub use search::{Hit, Term};
pub use trouble::Trouble;
pub use upload::{Arrival, Uploaded};
pub use web::{Validators, WebAnswer};
