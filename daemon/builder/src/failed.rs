//! RUN steps that failed, kept for a while so that someone can look at what they left.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mica_oci::BuildId;
use mica_store::{Lease, WorkDir};

use crate::ports::{MountSource, Process, Scratch};

/// How many failed steps are kept.
const KEPT: usize = 8;

/// How long one is kept.
const AGE: Duration = Duration::from_secs(60 * 60);

/// The failed steps of the last builds. They are in memory only, with the secrets they were lent.
#[derive(Debug, Default)]
pub(crate) struct FailedSteps(Mutex<VecDeque<(BuildId, Arc<FailedStep>)>>);

/// A step that failed: what its process saw, as it left it.
#[derive(Debug)]
pub struct FailedStep {
    process: Process,
    /// The program that shell forms of the stage are run with.
    shell: String,
    work: WorkDir,
    /// What it takes on the disk.
    bytes: u64,
    _lease: Lease,
    since: Instant,
    entered: AtomicBool,
    /// Overlays need folders of their own each time.
    times: AtomicU64,
}

/// The right to be in a failed step, which one process at a time has.
pub struct Entry(Arc<FailedStep>);

/// Somebody else is in the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupied;

impl FailedSteps {
    /// Keeps a step; the oldest go.
    pub(crate) fn keep(&self, build: BuildId, process: Process, shell: String, work: WorkDir, lease: &Lease) {
        let step = FailedStep {
            process,
            shell,
            bytes: work.count(),
            work,
            _lease: lease.clone(),
            since: Instant::now(),
            entered: AtomicBool::new(false),
            times: AtomicU64::new(0),
        };
        let mut steps = self.fresh();
        steps.push_back((build, Arc::new(step)));
        while steps.len() > KEPT {
            steps.pop_front();
        }
    }

    /// The step of this build, if it is still kept.
    pub(crate) fn find(&self, build: &BuildId) -> Option<Arc<FailedStep>> {
        let steps = self.fresh();
        let found = steps.iter().find(|(kept, _)| kept == build);
        found.map(|(_, step)| step.clone())
    }

    /// Forgets all steps, and gives how many bytes that frees; those that somebody is in go when they are left.
    pub(crate) fn clear(&self) -> u64 {
        let steps = std::mem::take(&mut *self.fresh());
        let free = steps.iter().filter(|(_, step)| Arc::strong_count(step) == 1);
        free.map(|(_, step)| step.bytes).sum()
    }

    /// Forgets those that are too old.
    pub(crate) fn clear_old(&self) {
        drop(self.fresh());
    }

    /// Those that are not too old.
    fn fresh(&self) -> MutexGuard<'_, VecDeque<(BuildId, Arc<FailedStep>)>> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|(_, step)| step.since.elapsed() < AGE);
        steps
    }
}

impl FailedStep {
    /// Enters the step.
    ///
    /// # Errors
    /// [`Occupied`] while somebody else is in it: what both wrote would get lost.
    pub fn enter(self: Arc<Self>) -> Result<Entry, Occupied> {
        match self.entered.swap(true, Ordering::AcqRel) {
            true => Err(Occupied),
            false => Ok(Entry(self)),
        }
    }
}

impl Entry {
    /// The process that failed with another command, or the stage's shell if there is none, on what it left.
    ///
    /// # Errors
    /// If the folders it needs cannot be made.
    pub fn process(&self, command: &[String]) -> std::io::Result<Process> {
        let step = &self.0;
        let number = step.times.fetch_add(1, Ordering::Relaxed);
        let folder = |name: &str| -> std::io::Result<PathBuf> {
            let path = step.work.path().join(format!("{name}-{number}"));
            fs_err::create_dir(&path)?;
            Ok(path)
        };
        let mut process = step.process.clone();
        process.work = folder("again")?;
        process.argv = match command {
            [] => vec![step.shell.clone()],
            command => command.to_vec(),
        };
        for (at, mount) in process.mounts.iter_mut().enumerate() {
            if let MountSource::Layers {
                scratch: Some(scratch),
                ..
            } = &mut mount.source
            {
                *scratch = Scratch {
                    upper: scratch.upper.clone(),
                    work: folder(&format!("mount-{at}"))?,
                };
            }
        }
        Ok(process)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.entered.store(false, Ordering::Release);
    }
}
