//! Many clients at once against one daemon and one registry, for as long as is wanted; and whether anything suffered.
//!
//! Each client has names of its own, and does one thing after the other. Whatever it is told must be so, now and in the end, whoever else
//! builds, pulls, pushes, prunes, hangs up or cancels in the meantime: it sees exactly the tags it was told of, each with its image.
//! The only refusal it takes from others is that another prune is running.

mod client;
mod killing;
mod process;
mod random;
mod report;
mod step;
mod tally;
mod transfers;
mod verbs;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use killing::{Killings, kill};
pub use process::Holdings;
pub use report::Report;
pub use tally::Tally;

use crate::servers::DockerRegistry;
use crate::soak::client::Client;
use crate::soak::world::World;
use crate::{Daemon, Options};

/// How long the daemon may take to come to rest when all clients are gone.
const REST: Duration = Duration::from_secs(60);

/// How long a daemon is left alone before it is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Lets so many clients do what they like for so long, and looks at what came of it.
///
/// # Panics
/// If the daemon or the registry cannot be started.
pub fn run(length: Duration, clients: u32) -> Report {
    // as systemd/micad.service and `mica` start it
    let mut daemon = Daemon::with(Options::default().env("MALLOC_ARENA_MAX", "2"));
    let registry = DockerRegistry::plain();
    let world = Arc::new(World::new(daemon.socket(), &registry));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut report = Report::default();
    let crowd = runtime.block_on(async {
        world.load_base().await;
        // what is there once it was needed once is no leak
        Client::new(world.clone(), 0).once_everything().await;
        report.before = rested(&daemon, None).await;
        let until = Instant::now() + length;
        let crowd: Vec<_> = (1..=clients)
            .map(|number| tokio::spawn(Client::new(world.clone(), number).run(until)))
            .collect();
        while Instant::now() < until {
            report.curve.push(Holdings::of(daemon.pid()));
            tokio::time::sleep(length / 100).await;
        }
        let mut done = Vec::new();
        for client in crowd {
            done.push(client.await.expect("clients do not panic"));
        }
        for client in &done {
            client.check_all(true).await;
        }
        done
    });
    // connections to it that are kept for later end with it
    drop(registry);
    report.after = runtime.block_on(rested(&daemon, Some(&report.before)));
    report.open = process::open_files(daemon.pid());
    report.scratch = process::scratch(&daemon.root());
    report.exit = daemon.stop();
    daemon.spawn();
    runtime.block_on(async {
        for client in &crowd {
            client.check_all(false).await;
        }
    });
    report.damaged = process::damaged_blobs(&daemon.root());
    report.kept = crowd.iter().map(Client::promises).sum();
    report.tally = world.tally().clone();
    report
}

/// What the daemon has when it has come to rest: as little as before, or what it still has when there was time enough.
async fn rested(daemon: &Daemon, before: Option<&Holdings>) -> Holdings {
    let began = Instant::now();
    let mut least = Holdings::of(daemon.pid());
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = Holdings::of(daemon.pid());
        let is_rested = match before {
            Some(before) => now.is_within(before),
            // threads that idle go after ten seconds
            None => now == least && began.elapsed() > Duration::from_secs(2),
        };
        least = now;
        if is_rested || began.elapsed() > REST {
            return least;
        }
    }
}
