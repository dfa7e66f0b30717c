//! Work that takes a while: told in the log when it ends, and when it begins to those who look closely, and counted as long as it
//! goes on.

use std::sync::Arc;
use std::time::Instant;

use mica_engine::{Error, Kind};
use mica_oci::Reference;
use serde_json::Value;
use tonic::{Code, Status};

use crate::keeping::Upkeep;
use crate::log::{self, Field, Level};
use crate::metrics::Metrics;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// A build, by whichever API.
    Build,
    /// Images from a registry.
    Pull,
    /// Images to a registry.
    Push,
    /// Images out of an archive.
    Load,
    /// Images into an archive.
    Save,
    /// An image made of a file system.
    Import,
    /// What nobody needs, removed.
    Prune,
}

impl Task {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Build,
        Self::Pull,
        Self::Push,
        Self::Load,
        Self::Save,
        Self::Import,
        Self::Prune,
    ];

    /// Whether it may add to the store.
    fn adds(self) -> bool {
        !matches!(self, Self::Prune)
    }

    /// What it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Load => "load",
            Self::Save => "save",
            Self::Import => "import",
            Self::Prune => "prune",
        }
    }
}

/// How work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// It was stopped: its client went away or asked for that, or the daemon leaves.
    Cancelled,
}

impl Outcome {
    /// What it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Work that goes on. Dropped before its end was told, it was cancelled.
pub(crate) struct Work {
    task: Task,
    names: Vec<String>,
    request: Option<u64>,
    began: Instant,
    metrics: Arc<Metrics>,
    upkeep: Arc<Upkeep>,
    is_over: bool,
}

/// The most names that are told of one piece of work.
const NAMES: usize = 16;

impl Work {
    /// Work begins that is about these names; inside of the answer to the request that asks for it.
    pub(crate) fn begin(
        (metrics, upkeep): (&Arc<Metrics>, &Arc<Upkeep>),
        task: Task,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        metrics.begins(task);
        if task.adds() {
            upkeep.begins();
        }
        let work = Self {
            task,
            names: names.into_iter().take(NAMES).collect(),
            request: log::request(),
            began: Instant::now(),
            metrics: metrics.clone(),
            upkeep: upkeep.clone(),
            is_over: false,
        };
        log::say(
            Level::Debug,
            &format!("{} begins", task.word()),
            &work.described(),
        );
        work
    }

    /// It is about these images, as it turns out.
    pub(crate) fn about(&mut self, names: impl IntoIterator<Item = String>) {
        let room = NAMES.saturating_sub(self.names.len());
        self.names.extend(names.into_iter().take(room));
    }

    /// It ended like this.
    pub(crate) fn end<T>(self, result: &Result<T, Error>) {
        match result {
            Ok(_) => self.over(Outcome::Done, None),
            Err(error) if error.is_full_disk() => {
                self.upkeep.found_full();
                self.over(Outcome::Failed, Some("full-disk"));
            }
            Err(error) => match error.kind() {
                Kind::Cancelled => self.over(Outcome::Cancelled, None),
                kind => self.over(Outcome::Failed, Some(kind_word(kind))),
            },
        }
    }

    /// The same of work that gRPC asked for.
    pub(crate) fn end_called<T>(self, result: &Result<T, Status>) {
        match result {
            Ok(_) => self.over(Outcome::Done, None),
            Err(status) => match status.code() {
                Code::Cancelled => self.over(Outcome::Cancelled, None),
                code => self.over(Outcome::Failed, Some(code_word(code))),
            },
        }
    }

    /// What it is, in fields of a line.
    fn described(&self) -> Vec<Field<'static>> {
        let mut fields = vec![("work", Value::from(self.task.word()))];
        fields.extend(self.request.map(|request| ("request", request.into())));
        if !self.names.is_empty() {
            fields.push(("names", self.names.join(",").into()));
        }
        fields
    }

    fn over(mut self, outcome: Outcome, error: Option<&'static str>) {
        self.tell(outcome, error);
    }

    /// The texts of failures stay out of the log: they repeat what a RUN was, with the values of its build arguments.
    fn tell(&mut self, outcome: Outcome, error: Option<&'static str>) {
        self.is_over = true;
        let took = self.began.elapsed();
        self.metrics.ends(self.task, outcome, took, error);
        if self.task.adds() {
            self.upkeep.ends();
        }
        let mut fields = self.described();
        fields.push(("outcome", outcome.word().into()));
        fields.extend(error.map(|error| ("error", error.into())));
        fields.push(("seconds", seconds(took).into()));
        let message = format!("{} {}", self.task.word(), outcome.word());
        log::say(Level::Info, &message, &fields);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Outcome::Cancelled, None);
        }
    }
}

/// Seconds with as many digits as mean something.
pub(crate) fn seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Names as people write them.
pub(crate) fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::NotFound => "not-found",
        Kind::Invalid => "invalid",
        Kind::Conflict => "conflict",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::Unsupported => "unsupported",
        Kind::Unavailable => "unavailable",
        Kind::Cancelled => "cancelled",
        Kind::Internal => "internal",
    }
}

fn code_word(code: Code) -> &'static str {
    match code {
        Code::NotFound => "not-found",
        Code::InvalidArgument => "invalid",
        Code::FailedPrecondition | Code::AlreadyExists => "conflict",
        Code::Unauthenticated => "unauthorized",
        Code::PermissionDenied => "forbidden",
        Code::Unimplemented => "unsupported",
        Code::Unavailable => "unavailable",
        _ => "internal",
    }
}
