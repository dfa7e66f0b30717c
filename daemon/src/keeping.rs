//! Keeping the disk from filling up, in the background: after work that may have added to the store, and while some goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mica_engine::{Error, Leftovers, PrunedCache, blocking};
use tokio::sync::Notify;

use crate::daemon::Daemon;
use crate::log::{self, Level};
use crate::work::Task;

/// How often a look is taken at the disk while work goes on.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is taken while nothing does: some things go by age.
const LOOK_IDLE: Duration = Duration::from_secs(600);
/// Many that end at once are one reason to tidy up.
const GATHER: Duration = Duration::from_millis(300);
/// While the disk is short of room what nothing needs goes so often at most: it means a look at all names in the store.
const SWEEP: Duration = Duration::from_secs(60);
/// How often it is told how far a long prune is.
const TELL: Duration = Duration::from_secs(10);
/// A download may go on for so long after it broke off, however short of room the disk is; one that filled it may not.
const GOES_ON: Duration = Duration::from_secs(3600);

/// What is known of work, for whoever tidies up after it.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    running: AtomicUsize,
    /// Whether something failed for want of room since the last time.
    full: AtomicBool,
    news: Notify,
}

impl Upkeep {
    /// Work begins that may add to the store.
    pub(crate) fn begins(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }

    /// Such work ended.
    pub(crate) fn ends(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.news.notify_one();
    }

    /// What the cache is to be kept within changed.
    pub(crate) fn changed(&self) {
        self.news.notify_one();
    }

    /// There was no room for something. Told before that ends.
    pub(crate) fn found_full(&self) {
        self.full.store(true, Ordering::SeqCst);
    }

    /// Waits for news, and no longer than a while, which is shorter if work goes on.
    async fn wait(&self) {
        let look = match self.running.load(Ordering::SeqCst) {
            0 => LOOK_IDLE,
            _ => LOOK,
        };
        // in vain or not: it is time to look
        let _ = tokio::time::timeout(look, self.news.notified()).await;
    }
}

/// Tidies up until the daemon leaves. Begins with what one before it may have left undone.
pub(crate) async fn keep(daemon: Arc<Daemon>) {
    let mut swept = None;
    loop {
        tidy(&daemon, &mut swept).await;
        tokio::select! {
            () = daemon.stopped() => return,
            () = daemon.upkeep.wait() => {}
        }
        tokio::select! {
            () = daemon.stopped() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
    }
}

async fn tidy(daemon: &Arc<Daemon>, swept: &mut Option<Instant>) {
    let full = daemon.upkeep.full.swap(false, Ordering::SeqCst);
    let due = swept.is_none_or(|last: Instant| last.elapsed() >= SWEEP);
    let keeping = daemon.settings.get().keeping;
    let (engine, shared) = (daemon.engine.clone(), daemon.clone());
    let began = Instant::now();
    let result = blocking(move || {
        let short = engine.is_short(&keeping)?;
        let leftovers = match (full, short && due) {
            (true, _) => Leftovers::Go(Duration::ZERO),
            (false, true) => Leftovers::Go(GOES_ON),
            (false, false) => Leftovers::Stay,
        };
        let (mut told, mut work) = (Instant::now(), None);
        let pruned = engine.keep_within(&keeping, leftovers, &mut |bytes| {
            // most often there is nothing to do, which is no work
            work.get_or_insert_with(|| shared.work(Task::Prune, ["build cache".to_owned()]));
            if told.elapsed() >= TELL {
                told = Instant::now();
                tell_progress(bytes, began);
            }
        });
        if let Some(work) = work {
            work.end(&pruned);
        }
        Ok((pruned?, leftovers))
    })
    .await;
    match result {
        Ok((pruned, leftovers)) => {
            if leftovers != Leftovers::Stay {
                *swept = Some(began);
            }
            tell(&pruned, began);
        }
        Err(error) => tell_failure(&error),
    }
}

fn tell_progress(bytes: u64, began: Instant) {
    let fields = [
        ("work", "prune".into()),
        ("bytes", bytes.into()),
        ("seconds", crate::work::seconds(began.elapsed()).into()),
    ];
    log::say(
        Level::Info,
        "the build cache is being brought within its budget",
        &fields,
    );
}

fn tell(pruned: &PrunedCache, began: Instant) {
    if pruned.bytes == 0 && pruned.keys.is_empty() {
        return;
    }
    let fields = [
        ("work", "prune".into()),
        ("records", pruned.keys.len().into()),
        ("bytes", pruned.bytes.into()),
        ("seconds", crate::work::seconds(began.elapsed()).into()),
    ];
    log::say(Level::Info, "the build cache was kept within its budget", &fields);
}

fn tell_failure(error: &Error) {
    let text = format!(
        "the build cache cannot be kept within its budget: {}",
        error.describe()
    );
    log::say(Level::Warn, &text, &[]);
}
