//! What all clients share: the daemon, the registry, the base of their images, and where they write down how it went.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use hyper::Method;
use serde_json::json;

use crate::conformance::{Format, archive, shell, tar};
use crate::http::Question;
use crate::servers::DockerRegistry;
use crate::soak::random::Random;
use crate::soak::tally::Tally;

/// What all images are built on; nobody removes it.
pub(super) const BASE: &str = "soak/base";

/// How many contents several clients build of.
const COMMON: u64 = 8;

pub(super) struct World {
    pub(super) socket: PathBuf,
    /// Host and port of the registry.
    pub(super) registry: String,
    common: Vec<Vec<u8>>,
    tally: Mutex<Tally>,
}

impl World {
    pub(super) fn new(socket: PathBuf, registry: &DockerRegistry) -> Self {
        let mut random = Random::new(1);
        Self {
            socket,
            registry: registry.address().replace("127.0.0.1", "localhost"),
            common: (0..COMMON).map(|_| random.bytes(20_000)).collect(),
            tally: Mutex::default(),
        }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics with it")
    }

    /// A content that other clients build of too.
    pub(super) fn common(&self, random: &mut Random) -> Vec<u8> {
        random.one_of(&self.common).clone()
    }

    /// Gives the daemon the base.
    pub(super) async fn load_base(&self) {
        let layer = tar(&shell(), Format::Pax);
        let bytes = archive(BASE, &[layer], &json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}));
        let question = Question::new(Method::POST, "/images/load").with(bytes);
        let answer = question.ask(&self.socket).await.expect("the daemon answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("Loaded image: soak/base"), "{text}");
    }
}
