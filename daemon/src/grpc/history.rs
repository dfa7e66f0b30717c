//! Builds of before and those that go on, as `docker buildx history` asks for them. They are kept in memory, the last of them,
//! and end with the daemon; the logs that outlast it are the engine's.

mod filter;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use mica_buildkit::message::control::{
    BuildHistoryEvent, BuildHistoryEventKind, BuildHistoryRecord, BuildHistoryRequest, SolveRequest,
    SolveResponse, StatusResponse, UpdateBuildHistoryRequest,
};
use mica_buildkit::message::solver;
use prost::Message;
use tokio::sync::{broadcast, mpsc, watch};
use tonic::{Code, Status};

use crate::grpc::history::filter::Filters;
use crate::grpc::status::time;

/// How many builds that have ended are kept.
const BUILDS: usize = 100;
/// How much is kept of what one build told, in bytes; after that only how its steps end.
const TOLD_LIMIT: usize = 1 << 20;
/// How much a build may keep beyond that of how its steps end, in bytes.
const ENDS_LIMIT: usize = TOLD_LIMIT / 4;
/// What a message takes beside its bytes, roughly.
const MESSAGE_COST: usize = 64;
/// How much is kept of all that have ended, in bytes.
const ALL_LIMIT: usize = 16 << 20;
/// The most steps of a build that are counted.
const STEPS: usize = 10_000;
/// The longest settings of a build that are kept, in bytes of keys and values.
const SETTINGS_LIMIT: usize = 32 << 10;
/// The longest name of a build that is kept.
const NAME_LIMIT: usize = 256;
/// How many changes wait for a listener; one that is slower is cut off.
const WAITING: usize = 256;

/// The builds.
#[derive(Clone)]
pub(crate) struct History {
    known: Arc<Mutex<Known>>,
    changes: broadcast::Sender<BuildHistoryEvent>,
}

#[derive(Default)]
struct Known {
    running: HashMap<String, Arc<Recording>>,
    /// The oldest first.
    ended: VecDeque<Arc<Recording>>,
}

/// What is written down of one build.
pub(crate) struct Recording {
    record: Mutex<Record>,
    /// How many messages were written down, and whether that is all.
    progress: watch::Sender<(usize, bool)>,
}

struct Record {
    told: BuildHistoryRecord,
    messages: Vec<Bytes>,
    size: usize,
    /// Whether a step is cached, and whether it has ended, by its digest.
    steps: HashMap<String, (bool, bool)>,
    /// Whether it was deleted while it went on.
    unwanted: bool,
}

/// Writes down a build; one that is dropped before its end was given up.
pub(crate) struct Recorder {
    history: History,
    name: String,
    recording: Arc<Recording>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            changes: broadcast::Sender::new(WAITING),
        }
    }
}

impl History {
    /// A build begins, which this was made for.
    pub(crate) fn begin(&self, recording: Arc<Recording>) -> Recorder {
        let record = recording.record();
        let name = record.reference.clone();
        lock(&self.known).running.insert(name.clone(), recording.clone());
        self.say(BuildHistoryEventKind::Started, record);
        Recorder {
            history: self.clone(),
            name,
            recording,
        }
    }

    /// What was told of a build, from its beginning, and of one that goes on all that is told of it yet.
    pub(crate) fn told(&self, name: &str) -> Option<mpsc::Receiver<StatusResponse>> {
        let recording = lock(&self.known).find(name)?;
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut progress = recording.progress.subscribe();
            let mut next = 0;
            loop {
                let (count, is_all) = *progress.borrow_and_update();
                while next < count {
                    let bytes = lock(&recording.record).messages.get(next).cloned();
                    let message = bytes.and_then(|bytes| StatusResponse::decode(bytes).ok());
                    // a listener that is gone needs no more
                    if sender.send(message.unwrap_or_default()).await.is_err() {
                        return;
                    }
                    next += 1;
                }
                if is_all || progress.changed().await.is_err() {
                    return;
                }
            }
        });
        Some(receiver)
    }

    /// The builds that are asked for: those that go on, those that have ended, and if the client stays what changes.
    pub(crate) fn listen(
        &self,
        request: &BuildHistoryRequest,
    ) -> Result<mpsc::Receiver<Result<BuildHistoryEvent, Status>>, Status> {
        let filters = Filters::read(&request.filter)?;
        let limit = usize::try_from(request.limit)
            .map_err(|_| Status::invalid_argument(format!("invalid limit {}", request.limit)))?;
        let changes = self.changes.subscribe();
        let is_meant = |record: &BuildHistoryRecord| {
            request.reference.is_empty() || request.reference == record.reference
        };
        let (running, mut ended) = {
            let known = lock(&self.known);
            let running = known.running.values().map(|one| one.record());
            let ended = known.ended.iter().rev().map(|one| one.record());
            (
                running.filter(is_meant).collect::<Vec<_>>(),
                ended
                    .filter(is_meant)
                    .filter(|record| filters.admit(record))
                    .collect::<Vec<_>>(),
            )
        };
        if limit > 0 {
            ended.truncate(limit);
        }
        if request.active_only {
            ended.clear();
        }
        let first = running
            .into_iter()
            .map(|record| event(BuildHistoryEventKind::Started, record))
            .chain(
                ended
                    .into_iter()
                    .map(|record| event(BuildHistoryEventKind::Complete, record)),
            )
            .collect::<Vec<_>>();
        let (sender, receiver) = mpsc::channel(16);
        let (stays, name) = (!request.early_exit, request.reference.clone());
        tokio::spawn(async move {
            for event in first {
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if stays {
                follow(changes, &sender, &name).await;
            }
        });
        Ok(receiver)
    }

    /// Removes a build, or keeps it longer than others.
    pub(crate) fn update(&self, request: &UpdateBuildHistoryRequest) -> Result<(), Status> {
        let name = &request.reference;
        let mut known = lock(&self.known);
        let recording = known
            .find(name)
            .ok_or_else(|| Status::not_found(format!("no build {name} is known")))?;
        if !request.delete {
            if !request.finalize {
                lock(&recording.record).told.pinned = request.pinned;
            }
            return Ok(());
        }
        lock(&recording.record).unwanted = true;
        known.ended.retain(|other| !Arc::ptr_eq(other, &recording));
        drop(known);
        self.say(BuildHistoryEventKind::Deleted, recording.record());
        Ok(())
    }

    fn say(&self, kind: BuildHistoryEventKind, record: BuildHistoryRecord) {
        // nobody may be listening
        let _ = self.changes.send(event(kind, record));
    }

    fn end(&self, name: &str, recording: &Arc<Recording>, end: Result<&SolveResponse, &Status>) {
        let mut known = lock(&self.known);
        known.running.remove(name);
        let record = recording.end(end);
        let unwanted = lock(&recording.record).unwanted;
        if !unwanted {
            // a name that is used again means the last build of it
            known.ended.retain(|other| other.name() != name);
            known.ended.push_back(recording.clone());
            known.shorten();
        }
        drop(known);
        if !unwanted {
            self.say(BuildHistoryEventKind::Complete, record);
        }
    }
}

/// Passes on what changes until the listener goes, or is too slow to hear all of it.
async fn follow(
    mut changes: broadcast::Receiver<BuildHistoryEvent>,
    sender: &mpsc::Sender<Result<BuildHistoryEvent, Status>>,
    name: &str,
) {
    loop {
        let next = tokio::select! {
            next = changes.recv() => next,
            () = sender.closed() => return,
        };
        let Ok(event) = next else {
            let slow = Status::resource_exhausted("the listener is too slow to hear of all builds");
            // it may have gone
            let _ = sender.send(Err(slow)).await;
            return;
        };
        let of = event.record.as_ref().map(|record| record.reference.as_str());
        if (name.is_empty() || of == Some(name)) && sender.send(Ok(event)).await.is_err() {
            return;
        }
    }
}

fn event(kind: BuildHistoryEventKind, record: BuildHistoryRecord) -> BuildHistoryEvent {
    BuildHistoryEvent {
        kind: kind.into(),
        record: Some(record),
    }
}

impl Known {
    fn find(&self, name: &str) -> Option<Arc<Recording>> {
        let ended = || self.ended.iter().find(|one| one.name() == name);
        self.running.get(name).or_else(ended).cloned()
    }

    /// Forgets the oldest until the rest is few and small enough, those that are pinned last.
    fn shorten(&mut self) {
        let size = |one: &Arc<Recording>| lock(&one.record).size;
        while self.ended.len() > BUILDS || self.ended.iter().map(size).sum::<usize>() > ALL_LIMIT {
            let pinned = |one: &Arc<Recording>| lock(&one.record).told.pinned;
            let oldest = self.ended.iter().position(|one| !pinned(one)).unwrap_or(0);
            self.ended.remove(oldest);
        }
    }
}

impl Recording {
    /// For a build that is asked for like this. Nothing is kept of builds that are no user's.
    pub(crate) fn of(request: &SolveRequest) -> Option<Arc<Self>> {
        if request.internal || request.reference.len() > NAME_LIMIT {
            return None;
        }
        let mut left = SETTINGS_LIMIT;
        let told = BuildHistoryRecord {
            reference: request.reference.clone(),
            frontend: kept(&request.frontend, &mut left),
            frontend_attrs: settings(&request.frontend_attrs, &mut left),
            exporters: request
                .exporters
                .iter()
                .map(|exporter| mica_buildkit::message::control::Exporter {
                    kind: kept(&exporter.kind, &mut left),
                    attrs: settings(&exporter.attrs, &mut left),
                })
                .take(16)
                .collect(),
            created_at: Some(time(Timestamp::now())),
            ..BuildHistoryRecord::default()
        };
        Some(Arc::new(Self {
            record: Mutex::new(Record {
                told,
                messages: Vec::new(),
                size: SETTINGS_LIMIT - left,
                steps: HashMap::new(),
                unwanted: false,
            }),
            progress: watch::Sender::new((0, false)),
        }))
    }

    fn name(&self) -> String {
        lock(&self.record).told.reference.clone()
    }

    fn record(&self) -> BuildHistoryRecord {
        lock(&self.record).told.clone()
    }

    /// Writes down what is told.
    pub(crate) fn take(&self, response: &StatusResponse) {
        let mut record = lock(&self.record);
        record.count(response);
        let mut short = StatusResponse {
            vertexes: response.vertexes.clone(),
            // how far something was says nothing afterwards
            statuses: response
                .statuses
                .iter()
                .filter(|part| part.completed.is_some())
                .cloned()
                .collect(),
            logs: response.logs.clone(),
            warnings: response.warnings.clone(),
        };
        let mut limit = TOLD_LIMIT;
        if record.size + short.encoded_len() + MESSAGE_COST > limit {
            limit += ENDS_LIMIT;
            short.logs.clear();
            short.statuses.clear();
            short.warnings.clear();
        }
        let size = short.encoded_len() + MESSAGE_COST;
        if short == StatusResponse::default() || record.size + size > limit {
            return;
        }
        record.size += size;
        record.messages.push(short.encode_to_vec().into());
        let count = record.messages.len();
        drop(record);
        self.progress.send_modify(|(known, _)| *known = count);
    }

    fn end(&self, end: Result<&SolveResponse, &Status>) -> BuildHistoryRecord {
        let mut record = lock(&self.record);
        record.told.completed_at = Some(time(Timestamp::now()));
        match end {
            Ok(answer) => record.told.exporter_response = answer.exporter_response.clone(),
            Err(status) => {
                record.told.error = Some(solver::Status {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    details: Vec::new(),
                });
            }
        }
        record.size += record.told.encoded_len();
        record.steps = HashMap::new();
        let told = record.told.clone();
        drop(record);
        self.progress.send_modify(|(_, is_all)| *is_all = true);
        told
    }
}

impl Record {
    fn count(&mut self, response: &StatusResponse) {
        let known = response
            .vertexes
            .iter()
            .filter(|vertex| self.steps.len() < STEPS || self.steps.contains_key(&vertex.digest));
        for vertex in known.collect::<Vec<_>>() {
            let (cached, ended) = self.steps.entry(vertex.digest.clone()).or_default();
            *cached |= vertex.cached;
            *ended |= vertex.completed.is_some();
        }
        if response.vertexes.is_empty() && response.warnings.is_empty() {
            return;
        }
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let steps = || self.steps.values();
        self.told.cached_steps = number(steps().filter(|(cached, _)| *cached).count());
        self.told.completed_steps = number(steps().filter(|(_, ended)| *ended).count());
        self.told.total_steps = number(self.steps.len());
        let more = number(response.warnings.len());
        self.told.warnings = self.told.warnings.saturating_add(more);
    }
}

impl Recorder {
    /// The build has ended like this.
    pub(crate) fn end(mut self, end: Result<&SolveResponse, &Status>) {
        let name = std::mem::take(&mut self.name);
        self.history.end(&name, &self.recording, end);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // BuildKit's words
            let gone = Status::new(Code::Cancelled, "context canceled");
            self.history.end(&self.name, &self.recording, Err(&gone));
        }
    }
}

/// Settings without credentials, as many as there is room for.
fn settings(all: &HashMap<String, String>, left: &mut usize) -> HashMap<String, String> {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort();
    let mut found = HashMap::new();
    for (key, value) in sorted {
        if key.len() + value.len() <= *left {
            *left -= key.len() + value.len();
            found.insert(key.clone(), without_credentials(value));
        }
    }
    found
}

fn kept(text: &str, left: &mut usize) -> String {
    if text.len() > *left {
        return String::new();
    }
    *left -= text.len();
    text.to_owned()
}

/// A text whose addresses name no user and no password: `https://user:password@host/` may be a context or a proxy.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(['/', '?', '#', ',', ' ', '"', '\''])
            .unwrap_or(part.len());
        let (host, rest) = part.split_at(end);
        let host = match host.rsplit_once('@') {
            // what stands before the digest of a named context is no user
            Some((_, host)) if !host.starts_with("sha256:") => host,
            _ => host,
        };
        out.push_str("://");
        out.push_str(host);
        out.push_str(rest);
    }
    out
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
