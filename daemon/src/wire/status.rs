//! Events of a build as BuildKit's vertices (engine API contract, section 6.6): the one conversion behind every way in which
//! they are sent.
//!
//! Every vertex that is told to have started is told to have completed: by its own event, or by [`Vertices::close`].

mod names;
mod work;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use mica_api::{Base64, SourceInfo, SourcePosition, SourceRange, Status, Vertex, VertexLog, VertexWarning};
use mica_oci::Digest;
use mica_task::{
    Chore, Event, Finding, LayerState, StagePlace, StagePlatform, StepId, Stream, TransferEvent,
};

use crate::wire::status::work::Work;

/// What a vertex stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// A step of the Dockerfile.
    Step(StepId),
    /// Something beside the steps, by its name.
    Chore(String),
    /// The layers of an image that no FROM names, on their way.
    Layers(String),
    /// Something that was only said.
    Note(u32),
}

/// A stage, where there are several platforms of one of them.
type Stage = (Option<StagePlatform>, u32);

fn stage_of(place: &StagePlace) -> Stage {
    (place.platform.clone(), place.stage)
}

/// Turns the events of a build into what changed among its vertices.
pub(crate) struct Vertices {
    seed: u64,
    /// How often something of that key ended: a build that is verified does its steps twice.
    ended: HashMap<Key, u32>,
    open: BTreeMap<Key, Work>,
    /// Steps that wait for the image they start from, and those images that are known.
    waiting: BTreeMap<StepId, (StagePlace, Vertex)>,
    known: BTreeMap<String, Option<Digest>>,
    /// The last vertex of every stage.
    stages: HashMap<Stage, String>,
    /// The vertex that read the Dockerfile.
    definition: String,
    notes: u32,
}

impl Vertices {
    /// A build of which nothing was told yet. `seed` makes the digests of different builds differ.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ended: HashMap::new(),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            known: BTreeMap::new(),
            stages: HashMap::new(),
            definition: String::new(),
            notes: 0,
        }
    }

    /// What an event changes that happened `now`.
    pub(crate) fn event(&mut self, event: Event, now: Timestamp) -> Status {
        let mut out = Status::default();
        match event {
            Event::Planned { steps } => {
                for step in steps {
                    let vertex = self.of_step(step.step, &step.name, &step.place);
                    self.stages.insert(stage_of(&step.place), vertex.digest.clone());
                    out.vertexes.push(vertex);
                }
                self.stages.clear();
            }
            Event::Begun { chore } => self.begin_chore(&chore, now, &mut out),
            Event::Moved {
                chore,
                what,
                current,
                total,
            } => self.moved(
                &Key::Chore(names::chore(&chore)),
                &what,
                current,
                total,
                now,
                &mut out,
            ),
            Event::Ended { chore, failure } => self.end_chore(&chore, failure, now, &mut out),
            Event::Started {
                step,
                name,
                place: Some(place),
                ..
            } => self.start(step, &name, place, now, &mut out),
            Event::Log { step, stream, bytes } => self.log(&Key::Step(step), stream, bytes, now, &mut out),
            Event::Progress {
                step,
                what,
                current,
                total,
            } => self.moved(&Key::Step(step), &what, current, total, now, &mut out),
            Event::Transfer { image, event } => self.transfer(&image, event, now, &mut out),
            Event::Note {
                step: Some(step),
                text,
            } => {
                let bytes = format!("{text}\n").into_bytes();
                self.log(&Key::Step(step), Stream::Stderr, bytes, now, &mut out);
            }
            Event::Note { step: None, text } => self.note(text, now, &mut out),
            Event::Warning { text, finding, .. } => self.warn(text, finding, &mut out),
            Event::Done { step, cached, .. } => self.done(step, cached, now, &mut out),
            Event::Failed { step, reason } => {
                // one that waited for its image never began
                self.waiting.remove(&step);
                self.end(&Key::Step(step), Some(reason), false, now, &mut out);
            }
            Event::Built { image } => {
                let key = Key::Chore(names::chore(&Chore::Export));
                self.once(&key, "exporting layers".to_owned(), now, &mut out);
                self.once(&key, format!("writing image {image}"), now, &mut out);
            }
            Event::Tagged { reference } => {
                let key = Key::Chore(names::chore(&Chore::Export));
                self.once(&key, format!("naming to {reference}"), now, &mut out);
            }
            // steps without a place change settings only; the rest is told in other ways
            Event::Started { .. }
            | Event::Executing { .. }
            | Event::Triggers { .. }
            | Event::Excerpt { .. }
            | Event::Kept { .. } => {}
        }
        out
    }

    /// What the user should know and no event tells.
    pub(crate) fn warning(&self, text: String) -> Status {
        let mut out = Status::default();
        self.warn(text, None, &mut out);
        out
    }

    /// Ends all that has begun and did not end: the build is over.
    pub(crate) fn close(&mut self, now: Timestamp) -> Status {
        let mut out = Status::default();
        let open: Vec<Key> = self.open.keys().cloned().collect();
        for key in open {
            self.end(&key, Some(String::new()), false, now, &mut out);
        }
        self.waiting.clear();
        out
    }

    fn digest(&self, key: &Key) -> String {
        let generation = self.ended.get(key).copied().unwrap_or_default();
        Digest::of(format!("{} {key:?} {generation}", self.seed).as_bytes()).to_string()
    }

    /// The vertex of a step that has not begun.
    fn of_step(&self, step: StepId, name: &str, place: &StagePlace) -> Vertex {
        let digest = self.digest(&Key::Step(step));
        let before = self
            .stages
            .get(&stage_of(place))
            .filter(|before| **before != digest);
        Vertex {
            digest,
            inputs: before.cloned().into_iter().collect(),
            name: names::step(name, place, None),
            ..Vertex::default()
        }
    }

    fn start(&mut self, step: StepId, name: &str, place: StagePlace, now: Timestamp, out: &mut Status) {
        // one that begins anew has ended, though nobody said so
        self.end(&Key::Step(step), Some(String::new()), false, now, out);
        self.waiting.remove(&step);
        let vertex = self.of_step(step, name, &place);
        self.stages.insert(stage_of(&place), vertex.digest.clone());
        match &place.base {
            Some(base) if !self.known.contains_key(base) => {
                self.waiting.insert(step, (place, vertex));
            }
            _ => self.start_work(step, place, vertex, now, out),
        }
    }

    fn start_work(
        &mut self,
        step: StepId,
        place: StagePlace,
        mut vertex: Vertex,
        now: Timestamp,
        out: &mut Status,
    ) {
        if let Some(base) = &place.base {
            let digest = self.known.get(base).and_then(Option::as_ref);
            vertex.name = names::step("", &place, digest);
        }
        let work = Work::begin(vertex, place.base, now, out);
        self.open.insert(Key::Step(step), work);
    }

    /// An image is known now: what waits for it goes on.
    fn know(&mut self, image: &str, digest: Option<Digest>, now: Timestamp, out: &mut Status) {
        let known = self.known.entry(image.to_owned()).or_default();
        *known = digest.or(*known);
        let waits = |(place, _): &(StagePlace, Vertex)| place.base.as_deref() == Some(image);
        let ready = self.waiting.iter().filter(|(_, waiting)| waits(waiting));
        for step in ready.map(|(step, _)| *step).collect::<Vec<_>>() {
            if let Some((place, vertex)) = self.waiting.remove(&step) {
                self.start_work(step, place, vertex, now, out);
            }
        }
    }

    fn begin_chore(&mut self, chore: &Chore, now: Timestamp, out: &mut Status) {
        let name = names::chore(chore);
        let key = Key::Chore(name.clone());
        if self.open.contains_key(&key) {
            // the same image for another platform
            return;
        }
        let vertex = Vertex {
            digest: self.digest(&key),
            name,
            ..Vertex::default()
        };
        if let Chore::Definition { .. } = chore {
            self.definition.clone_from(&vertex.digest);
        }
        let mut work = Work::begin(vertex, None, now, out);
        if *chore == Chore::Export {
            work.part("exporting layers", "", (0, None), now, out);
        }
        self.open.insert(key, work);
    }

    fn end_chore(&mut self, chore: &Chore, failure: Option<String>, now: Timestamp, out: &mut Status) {
        let key = Key::Chore(names::chore(chore));
        if let Chore::Image { name } = chore {
            let layers = self.layers_of(name);
            if failure.is_none() {
                self.end(&key, None, false, now, out);
                self.know(name, None, now, out);
            }
            if let Some(layers @ Key::Layers(_)) = layers {
                self.end(&layers, failure.clone(), false, now, out);
            }
        }
        self.end(&key, failure, false, now, out);
    }

    fn end(&mut self, key: &Key, failure: Option<String>, cached: bool, now: Timestamp, out: &mut Status) {
        if let Some(work) = self.open.remove(key) {
            work.end(failure, cached, now, out);
            *self.ended.entry(key.clone()).or_default() += 1;
        }
    }

    fn done(&mut self, step: StepId, cached: bool, now: Timestamp, out: &mut Status) {
        if let Some((place, vertex)) = self.waiting.remove(&step) {
            self.start_work(step, place, vertex, now, out);
        }
        let key = Key::Step(step);
        // a base image of which nothing had to come is one that was there
        let was_there = self.open.get(&key).is_some_and(Work::is_idle_base);
        self.end(&key, None, cached || was_there, now, out);
    }

    fn log(&mut self, key: &Key, stream: Stream, bytes: Vec<u8>, now: Timestamp, out: &mut Status) {
        if let Some(work) = self.open.get(key) {
            out.logs.push(VertexLog {
                vertex: work.digest().to_owned(),
                stream: match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                },
                data: bytes,
                timestamp: Some(now),
            });
        }
    }

    fn moved(
        &mut self,
        key: &Key,
        what: &str,
        current: u64,
        total: Option<u64>,
        now: Timestamp,
        out: &mut Status,
    ) {
        if let Some(work) = self.open.get_mut(key) {
            work.part(what, "", (current, total), now, out);
        }
    }

    /// Something that is done at once.
    fn once(&mut self, key: &Key, what: String, now: Timestamp, out: &mut Status) {
        if let Some(work) = self.open.get_mut(key) {
            work.part(&what, "", (0, None), now, out);
            work.end_part(&what, "", now, out);
        }
    }

    /// Who is told of an image's layers, once something of them is to be told: its FROM, or a vertex of their own.
    fn layers_of(&self, image: &str) -> Option<Key> {
        let own = Key::Layers(image.to_owned());
        let base = self.open.iter().find(|(_, work)| work.base() == Some(image));
        match base {
            Some((key, _)) => Some(key.clone()),
            None => self.open.contains_key(&own).then_some(own),
        }
    }

    fn transfer(&mut self, image: &str, event: TransferEvent, now: Timestamp, out: &mut Status) {
        match event {
            TransferEvent::Found {
                repository,
                which,
                digest,
            } => {
                let lookup = Key::Chore(names::chore(&Chore::Image {
                    name: image.to_owned(),
                }));
                self.end(&lookup, None, false, now, out);
                self.know(image, Some(digest), now, out);
                let key = self
                    .layers_of(image)
                    .unwrap_or_else(|| self.begin_layers(image, now, out));
                let separator = if which.contains(':') { '@' } else { ':' };
                let resolved = match separator {
                    ':' => format!("resolve {repository}:{which}@{digest}"),
                    _ => format!("resolve {repository}@{which}"),
                };
                self.once(&key, resolved, now, out);
            }
            TransferEvent::Layer { digest, state } => {
                if let Some(work) = self.layers_of(image).and_then(|key| self.open.get_mut(&key)) {
                    layer(work, &digest.to_string(), &state, now, out);
                }
            }
            TransferEvent::Note(text) => {
                if let Some(key) = self.layers_of(image) {
                    let bytes = format!("{text}\n").into_bytes();
                    self.log(&key, Stream::Stderr, bytes, now, out);
                }
            }
            TransferEvent::Pulled { .. } | TransferEvent::Pushed { .. } => {}
        }
    }

    fn begin_layers(&mut self, image: &str, now: Timestamp, out: &mut Status) -> Key {
        let key = Key::Layers(image.to_owned());
        let digest = self.known.get(image).and_then(Option::as_ref);
        let vertex = Vertex {
            digest: self.digest(&key),
            name: names::base(image, digest),
            ..Vertex::default()
        };
        let work = Work::begin(vertex, None, now, out);
        self.open.insert(key.clone(), work);
        key
    }

    /// Something that was said of no step is a vertex that is done at once.
    fn note(&mut self, text: String, now: Timestamp, out: &mut Status) {
        self.notes += 1;
        let vertex = Vertex {
            digest: self.digest(&Key::Note(self.notes)),
            name: text,
            ..Vertex::default()
        };
        Work::begin(vertex, None, now, out).end(None, false, now, out);
    }

    fn warn(&self, text: String, finding: Option<Box<Finding>>, out: &mut Status) {
        let short = text.into_bytes();
        let mut warning = VertexWarning {
            vertex: self.definition.clone(),
            level: 1,
            short,
            ..VertexWarning::default()
        };
        if let Some(finding) = finding {
            let position = |line: u32| SourcePosition {
                line: i32::try_from(line).unwrap_or(i32::MAX),
                character: 0,
            };
            warning.detail = vec![Base64(finding.detail.into_bytes())];
            warning.url = finding.url;
            warning.source_info = Some(SourceInfo {
                filename: finding.file,
            });
            warning.range = vec![SourceRange {
                start: position(finding.lines.0),
                end: position(finding.lines.1),
            }];
        }
        out.warnings.push(warning);
    }
}

fn layer(work: &mut Work, id: &str, state: &LayerState, now: Timestamp, out: &mut Status) {
    match state {
        LayerState::Wanted => work.part(id, "downloading", (0, None), now, out),
        LayerState::Fetching { current, total } => {
            work.part(id, "downloading", (*current, Some(*total)), now, out);
        }
        LayerState::Fetched | LayerState::Done => work.end_part(id, "done", now, out),
        LayerState::AlreadyHere
        | LayerState::Verifying
        // these belong to pushes
        | LayerState::Prepared
        | LayerState::Sending { .. }
        | LayerState::Sent
        | LayerState::AlreadyThere
        | LayerState::Mounted(_)
        | LayerState::Left => {}
    }
}

#[cfg(test)]
mod tests;
