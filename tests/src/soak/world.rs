//! What all clients share: the daemon, the registry, the base of their images, and where they write down how it went.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// For how many seconds a step that takes too long sleeps: a number that no other process of this machine has.
    pub(super) endless: String,
    common: Vec<Vec<u8>>,
    is_killed: AtomicBool,
    tally: Mutex<Tally>,
}

impl World {
    pub(super) fn new(socket: PathBuf, registry: &DockerRegistry) -> Self {
        let mut random = Random::new(1);
        Self {
            socket,
            registry: registry.address().replace("127.0.0.1", "localhost"),
            endless: format!("1{:07}", std::process::id()),
            is_killed: AtomicBool::new(false),
            common: (0..COMMON).map(|_| random.bytes(20_000)).collect(),
            tally: Mutex::default(),
        }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics with it")
    }

    /// Whether the daemon was killed, so that it answers nobody.
    pub(super) fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::SeqCst)
    }

    /// To be said before it is killed, and when there is one again.
    pub(super) fn set_killed(&self, is_killed: bool) {
        self.is_killed.store(is_killed, Ordering::SeqCst);
    }

    /// Waits until the daemon answers.
    pub(super) async fn await_answer(&self) {
        let answer = Question::new(Method::GET, "/_ping").ask(&self.socket).await;
        assert_eq!(answer.expect("the daemon answers").status, 200);
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
