//! HTTP clients, one for all hosts that need the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Proxy, Url, redirect};

use crate::hosts::error::HostError;
use crate::hosts::proxy::Proxies;
use crate::hosts::tls::{self, SystemRoots};
use crate::hosts::trust::Trust;

/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(30);
/// Without a byte from the other side.
const IDLE: Duration = Duration::from_secs(60);
/// Between probes of a connection on which nothing happens.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A connection nobody uses is closed.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Connections kept for later, per host: more than are ever used at once.
const POOL_SIZE: usize = 16;
/// Clients kept; a folder of certificates that changes all the time makes new ones.
const CLIENTS: usize = 64;

const USER_AGENT: &str = concat!("mica/", env!("CARGO_PKG_VERSION"));

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// To us: silence of [`IDLE`] ends it.
    Down,
    /// To the registry, which is silent until it has all: taking no bytes for [`IDLE`] ends it.
    Up,
}

/// What makes two clients different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Needs {
    pub(crate) trust: Arc<Trust>,
    pub(crate) verified: bool,
    pub(crate) dial_timeout: Option<Duration>,
    pub(crate) direction: Direction,
}

/// The clients made so far.
#[derive(Debug)]
pub(crate) struct Clients {
    proxies: Arc<Proxies>,
    system: SystemRoots,
    made: Mutex<HashMap<Needs, Client>>,
}

impl Clients {
    pub(crate) fn new(proxies: Proxies) -> Self {
        Self {
            proxies: Arc::new(proxies),
            system: SystemRoots::default(),
            made: Mutex::default(),
        }
    }

    /// Whether requests to an address go through a proxy.
    pub(crate) fn has_proxy(&self, url: &Url) -> bool {
        self.proxies.of(url).is_some()
    }

    /// The client for what is needed.
    pub(crate) fn get(&self, needs: Needs) -> Result<Client, HostError> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made().get(&needs) {
            return Ok(client.clone());
        }
        let client = self.make(&needs)?;
        let mut made = made();
        if made.len() >= CLIENTS {
            made.clear();
        }
        // somebody else may have been faster, and its connections are better shared
        Ok(made.entry(needs).or_insert(client).clone())
    }

    fn make(&self, needs: &Needs) -> Result<Client, HostError> {
        let tls = tls::settings(&needs.trust, needs.verified, &self.system)?;
        let proxies = Arc::clone(&self.proxies);
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .proxy(Proxy::custom(move |url| proxies.of(url).cloned()))
            .connect_timeout(needs.dial_timeout.unwrap_or(CONNECT))
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE);
        let builder = match needs.direction {
            Direction::Down => builder.read_timeout(IDLE),
            Direction::Up => builder.tcp_user_timeout(IDLE),
        };
        builder.build().map_err(|source| HostError::Client { source })
    }
}
