//! One of the clients: what it was told, and its holding the daemon to that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use crate::http::{Answer, Question, escaped};
use crate::soak::random::Random;
use crate::soak::step::{STEPS, Step};
use crate::soak::world::World;

/// The label of images that a client made for itself.
pub(super) const OWNER: &str = "owner";

/// More names than this are not kept.
const NAMES: usize = 8;

/// An image as a client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    /// Whether it has this client's label.
    pub(super) is_own: bool,
}

/// An image at the registry as a client knows it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) digest: String,
    pub(super) id: String,
}

/// What else a name may be than what was told, if the daemon is killed while it is asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Gone.
    Gone,
    /// This image.
    Is(Known),
    /// An image that nobody knows yet.
    New,
}

impl Doubt {
    fn allows(&self, found: Option<&Known>) -> bool {
        match self {
            Self::Gone => found.is_none(),
            Self::Is(known) => found == Some(known),
            Self::New => found.is_some(),
        }
    }
}

pub(super) struct Client {
    pub(super) world: Arc<World>,
    /// The first part of all its names.
    pub(super) name: String,
    pub(super) random: Random,
    /// What it was told to be here, by name.
    pub(super) here: BTreeMap<String, Known>,
    /// What it was told to be at the registry, by name.
    pub(super) there: BTreeMap<String, Sent>,
    /// What the step it takes may have changed already.
    doubts: BTreeMap<String, Vec<Doubt>>,
    made: u64,
}

/// What went wrong.
pub(super) type Outcome<T> = Result<T, String>;

impl Client {
    pub(super) fn new(world: Arc<World>, number: u32) -> Self {
        Self {
            world,
            name: format!("soak{number}"),
            random: Random::new(u64::from(number)),
            here: BTreeMap::new(),
            there: BTreeMap::new(),
            doubts: BTreeMap::new(),
            made: 0,
        }
    }

    /// Does one thing after the other until then.
    pub(super) async fn run(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            let step = self.choose();
            self.take(step).await;
        }
        self
    }

    /// Does one thing after the other until the daemon is killed; what it had asked for by then may have been done or not.
    pub(super) async fn run_until_killed(mut self) -> Self {
        while !self.world.is_killed() {
            self.doubts.clear();
            let step = self.choose();
            let began = Instant::now();
            match self.act(step).await {
                Ok(()) => {
                    self.world.tally().done(step.name(), began.elapsed());
                    self.doubts.clear();
                }
                Err(_) if self.world.is_killed() => {}
                Err(why) => {
                    self.world
                        .tally()
                        .failed(format!("{} {}: {why}", self.name, step.name()));
                }
            }
        }
        self
    }

    /// Compares what a daemon that was killed has with what was told, and goes by it from now on. Gives how many names were as told, and
    /// how many had been left open.
    pub(super) async fn settle(&mut self) -> Outcome<(usize, usize)> {
        let listed = self.listed().await?;
        let (mut kept, mut open, mut lost) = (0, 0, Vec::new());
        let names: BTreeSet<&String> = self.here.keys().chain(listed.keys()).collect();
        for name in names {
            let (told, found) = (self.here.get(name), listed.get(name));
            let doubts = self.doubts.get(name).map_or(&[][..], Vec::as_slice);
            if doubts.iter().any(|doubt| doubt.allows(found)) || !doubts.is_empty() && told == found {
                open += 1;
            } else if told == found {
                kept += 1;
            } else {
                lost.push(format!(
                    "{name} was told to be {told:?} and is {found:?} ({doubts:?})"
                ));
            }
        }
        self.doubts.clear();
        self.here = listed;
        match lost.is_empty() {
            true => Ok((kept, open)),
            false => Err(lost.join("; ")),
        }
    }

    /// Says what a name may be from now on, done or not.
    pub(super) fn doubt(&mut self, name: &str, doubt: Doubt) {
        self.doubts.entry(name.to_owned()).or_default().push(doubt);
    }

    /// Takes down what a name was told to be.
    pub(super) fn know(&mut self, name: &str, known: Known) {
        self.doubts.remove(name);
        self.here.insert(name.to_owned(), known);
    }

    /// Takes down that there is no such name any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.doubts.remove(name);
        self.here.remove(name);
    }

    /// Does everything there is to do once, and leaves nothing.
    pub(super) async fn once_everything(mut self) {
        for (step, _) in STEPS {
            self.take(Step::Build).await;
            self.take(step).await;
        }
        while !self.here.is_empty() {
            self.take(Step::Remove).await;
        }
    }

    fn choose(&mut self) -> Step {
        if self.here.is_empty() {
            return Step::Build;
        }
        if self.here.len() > NAMES {
            return Step::Remove;
        }
        let all: u32 = STEPS.iter().map(|(_, weight)| weight).sum();
        let mut chosen = self.random.below(u64::from(all));
        for (step, weight) in STEPS {
            match chosen.checked_sub(u64::from(weight)) {
                Some(rest) => chosen = rest,
                None => return step,
            }
        }
        Step::Inspect
    }

    async fn take(&mut self, step: Step) {
        let began = Instant::now();
        match self.act(step).await {
            Ok(()) => self.world.tally().done(step.name(), began.elapsed()),
            Err(why) => {
                self.world
                    .tally()
                    .failed(format!("{} {}: {why}", self.name, step.name()));
                // one failure is told once: what follows goes by what is there
                if let Ok(listed) = self.listed().await {
                    self.here = listed;
                }
            }
        }
    }

    /// How much it was told that must hold.
    pub(super) fn promises(&self) -> usize {
        self.here.len() + self.there.len()
    }

    /// Whether all it was told holds; what does not is written down. Without a registry only what is here is looked at.
    pub(super) async fn check_all(&self, with_registry: bool) {
        let mut wrong = Vec::new();
        match self.listed().await {
            Ok(listed) if listed == self.here => {}
            Ok(listed) => wrong.push(differences(&self.here, &listed)),
            Err(why) => wrong.push(why),
        }
        for (name, known) in &self.here {
            let path = format!("/images/{}/json", escaped(name));
            match self.get(&path).await.and_then(|answer| json(&answer)) {
                Ok(image) if image["Id"] == known.id.as_str() => {}
                Ok(image) => wrong.push(format!("{name} is {} instead of {}", image["Id"], known.id)),
                Err(why) => wrong.push(why),
            }
        }
        for (name, sent) in self.there.iter().filter(|_| with_registry) {
            let path = format!("/distribution/{}/json", escaped(name));
            match self.get(&path).await.and_then(|answer| json(&answer)) {
                Ok(found) if found["Descriptor"]["digest"] == sent.digest.as_str() => {}
                Ok(found) => wrong.push(format!("{name} is {found} instead of {}", sent.digest)),
                Err(why) => wrong.push(why),
            }
        }
        for why in wrong {
            self.world
                .tally()
                .failed(format!("{} in the end: {why}", self.name));
        }
    }

    /// A word that it has not said before.
    pub(super) fn new_word(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }

    /// One of its names.
    pub(super) fn some_name(&mut self) -> Outcome<String> {
        let names: Vec<String> = self.here.keys().cloned().collect();
        match names.is_empty() {
            true => Err("it has no image".to_owned()),
            false => Ok(self.random.one_of(&names).clone()),
        }
    }

    /// Whether a name in a list is one of this client's.
    fn is_own_name(&self, name: &str) -> bool {
        let local = name
            .strip_prefix(&self.world.registry)
            .and_then(|rest| rest.strip_prefix('/'));
        let rest = local.unwrap_or(name).strip_prefix(&self.name);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// All its names that the daemon lists.
    pub(super) async fn listed(&self) -> Outcome<BTreeMap<String, Known>> {
        let answer = self.get("/images/json?all=1").await?;
        let mut found = BTreeMap::new();
        for image in json(&answer)?.as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            for name in image["RepoTags"].as_array().into_iter().flatten().map(text) {
                if self.is_own_name(&name) {
                    let known = Known {
                        id: text(&image["Id"]),
                        is_own: image["Labels"][OWNER] == self.name.as_str(),
                    };
                    found.insert(name, known);
                }
            }
        }
        Ok(found)
    }

    /// Looks a name up and keeps what it is as told.
    pub(super) async fn learn(&mut self, name: &str) -> Outcome<Known> {
        let answer = self.get(&format!("/images/{}/json", escaped(name))).await?;
        let image = json(&answer)?;
        let known = Known {
            id: image["Id"].as_str().unwrap_or_default().to_owned(),
            is_own: image["Config"]["Labels"][OWNER] == self.name.as_str(),
        };
        self.know(name, known.clone());
        Ok(known)
    }

    /// Asks, and counts an answer that no client should see.
    pub(super) async fn ask(&self, question: Question) -> Outcome<Answer> {
        let answer = question.ask(&self.world.socket).await?;
        if answer.status >= 500 {
            self.world.tally().broken_answers += 1;
        }
        Ok(answer)
    }

    /// `GET` with 200.
    pub(super) async fn get(&self, path: &str) -> Outcome<Answer> {
        self.asked(Method::GET, path, Bytes::new(), 200).await
    }

    /// Asks and takes this status only.
    pub(super) async fn asked(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
        status: u16,
    ) -> Outcome<Answer> {
        let question = Question::new(method.clone(), path).with(body);
        let answer = self.ask(question).await?;
        match answer.status == status {
            true => Ok(answer),
            false => Err(format!(
                "{method} {path}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body).trim_end()
            )),
        }
    }
}

/// An answer as JSON.
pub(super) fn json(answer: &Answer) -> Outcome<Value> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is no JSON: {error}"))
}

/// The messages of a stream that tells no failure.
pub(super) fn messages(body: &[u8]) -> Outcome<Vec<Value>> {
    let read = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let messages: Vec<Value> = read
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the stream is no JSON: {error}"))?;
    match messages.iter().find(|message| !message["error"].is_null()) {
        Some(failure) => Err(format!("the stream tells {}", failure["error"])),
        None => Ok(messages),
    }
}

fn differences(told: &BTreeMap<String, Known>, listed: &BTreeMap<String, Known>) -> String {
    let missing = told
        .iter()
        .filter(|(name, known)| listed.get(*name) != Some(known));
    let more = listed.keys().filter(|name| !told.contains_key(*name));
    let texts = missing
        .map(|(name, known)| format!("{name} was told to be {known:?} and is {:?}", listed.get(name)))
        .chain(more.map(|name| format!("{name} is there and was not told")));
    texts.collect::<Vec<_>>().join("; ")
}

impl Client {
    /// Whether the daemon lists exactly its names.
    pub(super) async fn compare_list(&self) -> Outcome<()> {
        let listed = self.listed().await?;
        match listed == self.here {
            true => Ok(()),
            false => Err(differences(&self.here, &listed)),
        }
    }
}
