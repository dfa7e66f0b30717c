//! A daemon that is killed over and over while clients use it: whatever they were told must be so when it is there again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Daemon;
use crate::servers::DockerRegistry;
use crate::soak::client::Client;
use crate::soak::process;
use crate::soak::random::Random;
use crate::soak::tally::Tally;
use crate::soak::world::World;

/// How long the daemon lives at most, in ms; it is killed at a time below that.
const LIFE: u64 = 900;

/// All clients look into all their images after so many kills; one of them does after each.
const THOROUGH: u32 = 20;

/// How long what a dead daemon left may take to be gone when there is one again.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a daemon may take to start, at most.
const START: Duration = Duration::from_secs(1);

/// What came of the kills.
#[derive(Debug, Clone, Default)]
pub struct Killings {
    /// What was done.
    pub tally: Tally,
    /// How often the daemon was killed.
    pub kills: u32,
    /// How many names were looked at after a kill and were as told.
    pub kept: usize,
    /// How many had been left open by a kill: done or not done, and nothing else.
    pub open: usize,
    /// How many archives of images were read to the last byte.
    pub archives: usize,
    /// What was not as told.
    pub losses: Vec<String>,
    /// How long each start took, from the process to the answer.
    starts: Vec<Duration>,
}

impl Killings {
    /// Everything that must not be. How long starts took is none of it: that is what a machine is like.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.losses.clone();
        problems.extend(self.tally.failures());
        if self.tally.broken_answers > 0 {
            problems.push(format!("{} answers of 500 and above", self.tally.broken_answers));
        }
        problems
    }

    /// How many starts took longer than they may.
    pub fn slow_starts(&self) -> usize {
        self.starts.iter().filter(|took| **took > START).count()
    }
}

impl fmt::Display for Killings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.tally)?;
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        let at = |percent: usize| {
            let place = (starts.len() * percent / 100).min(starts.len().saturating_sub(1));
            starts.get(place).copied().unwrap_or_default()
        };
        writeln!(
            f,
            "starts: middle {:.0?}, longest {:.0?}, {} of more than {START:?}",
            at(50),
            at(100),
            self.slow_starts()
        )?;
        write!(
            f,
            "{} kills, {} names as told, {} left open, {} archives read, {} losses",
            self.kills,
            self.kept,
            self.open,
            self.archives,
            self.losses.len()
        )
    }
}

/// Kills a daemon so many times while so many clients do what they like; when it is killed follows from `seed`.
///
/// # Panics
/// If the daemon or the registry cannot be started.
pub fn kill(kills: u32, clients: u32, seed: u64) -> Killings {
    let mut daemon = Daemon::start();
    let registry = DockerRegistry::plain();
    let world = Arc::new(World::new(daemon.socket(), &registry));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(world.load_base());
    let mut random = Random::new(seed);
    let mut killings = Killings::default();
    let mut crowd: Vec<Client> = (1..=clients)
        .map(|number| Client::new(world.clone(), number))
        .collect();
    while killings.kills < kills {
        let life = Duration::from_millis(random.below(LIFE));
        crowd = runtime.block_on(live(&mut daemon, &world, crowd, life));
        killings.kills += 1;
        let began = Instant::now();
        daemon.spawn();
        runtime.block_on(world.await_answer());
        killings.starts.push(began.elapsed());
        world.set_killed(false);
        let is_thorough = killings.kills.is_multiple_of(THOROUGH) || killings.kills == kills;
        runtime.block_on(settle(&mut killings, &mut crowd, &mut random, is_thorough));
        let left = swept(&daemon, &world);
        let left = left.into_iter().map(|what| format!("left behind: {what}"));
        let mut losses: Vec<String> = left.collect();
        let level = if is_thorough { "full" } else { "quick" };
        let checked = daemon.mica(["system", "check", "--level", level]);
        if checked.code != 0 {
            losses.push(format!("check: {}{}", checked.stdout, checked.stderr));
        }
        let number = killings.kills;
        let losses = losses.into_iter().map(|loss| format!("kill {number}: {loss}"));
        killings.losses.extend(losses);
    }
    killings.tally = world.tally().clone();
    killings
}

/// Lets all clients go on for so long, then kills the daemon under them.
async fn live(daemon: &mut Daemon, world: &World, crowd: Vec<Client>, life: Duration) -> Vec<Client> {
    let tasks: Vec<_> = crowd
        .into_iter()
        .map(|client| tokio::spawn(client.run_until_killed()))
        .collect();
    tokio::time::sleep(life).await;
    world.set_killed(true);
    daemon.kill();
    let mut crowd = Vec::new();
    for task in tasks {
        crowd.push(task.await.expect("clients do not panic"));
    }
    crowd
}

/// Has all clients compare, and some of them or all look into their images.
async fn settle(killings: &mut Killings, crowd: &mut [Client], random: &mut Random, is_thorough: bool) {
    let number = killings.kills;
    let chosen = random.below(crowd.len() as u64);
    for (client, at) in crowd.iter_mut().zip(0..) {
        match client.settle().await {
            Ok((kept, open)) => {
                killings.kept += kept;
                killings.open += open;
            }
            Err(why) => killings.losses.push(format!("kill {number}: {why}")),
        }
        if is_thorough || at == chosen {
            match client.save_all().await {
                Ok(count) => killings.archives += count,
                Err(why) => killings.losses.push(format!("kill {number}: {why}")),
            }
        }
    }
}

/// What is left of the daemon that was killed, when the next one had time to sweep.
fn swept(daemon: &Daemon, world: &World) -> Vec<String> {
    let began = Instant::now();
    loop {
        let mut left = process::scratch(&daemon.root());
        if process::runs(&["sleep", &world.endless]) {
            left.push("a step that runs on".to_owned());
        }
        if left.is_empty() || began.elapsed() > SWEEP {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
