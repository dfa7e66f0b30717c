//! The builds that go on and those that have ended just now, by what their clients call them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic::Status;

use crate::grpc::job::{Job, Told, lock};

/// How long calls about a build wait for it to begin: clients send them before (BuildKit's own time, rounded up).
const WAIT: Duration = Duration::from_secs(6);
/// How long what was told of a build stays after its end, if nobody has asked (BuildKit's own time): a build that does next to
/// nothing is over before the other question of its client has come.
const LATE: Duration = Duration::from_secs(10);
/// Of how many ended builds it stays.
const LATE_BUILDS: usize = 64;

/// The builds that go on, by what their clients call them.
#[derive(Clone)]
pub(crate) struct Jobs {
    known: Arc<Mutex<Known>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    running: HashMap<String, Arc<Job>>,
    /// The oldest first.
    ended: VecDeque<Ended>,
}

/// A build that has ended just now.
struct Ended {
    name: String,
    at: Instant,
    /// What was told of it, if nobody has asked yet.
    told: Option<Told>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }
}

/// A build that goes on; when it is dropped the build is stopped and forgotten.
pub(crate) struct Running {
    jobs: Jobs,
    name: String,
    pub(crate) job: Arc<Job>,
}

impl Jobs {
    /// A build begins.
    pub(crate) fn begin(&self, name: String, job: Job) -> Result<Running, Status> {
        if name.is_empty() {
            return Err(Status::invalid_argument("a build without a name of its client's"));
        }
        let job = Arc::new(job);
        let mut known = lock(&self.known);
        if known.running.contains_key(&name) {
            return Err(Status::already_exists(format!(
                "a build {name:?} is going on already"
            )));
        }
        known.running.insert(name.clone(), job.clone());
        drop(known);
        self.changes.send_modify(|count| *count += 1);
        Ok(Running {
            jobs: self.clone(),
            name,
            job,
        })
    }

    /// The build of this name, which may not have begun yet.
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<Job>, Status> {
        let find = |known: &mut Known| match known.running.get(name) {
            Some(job) => Some(Ok(job.clone())),
            None => known.ended(name).map(|_| Err(no_such(name))),
        };
        self.wait(name, find).await?
    }

    /// What is told of the build of this name, which may not have begun yet, or have ended just now. The first who asks gets it.
    pub(crate) async fn listen(&self, name: &str) -> Result<Told, Status> {
        let find = |known: &mut Known| match known.running.get(name) {
            Some(job) => Some(job.told()),
            None => known.ended(name).map(|ended| ended.told.take()),
        };
        self.wait(name, find).await?.ok_or_else(|| {
            Status::failed_precondition("what is told of a build goes to the first who asks, within seconds")
        })
    }

    /// The same of a build that is known by now, if nobody has asked yet.
    pub(crate) fn untold(&self, name: &str) -> Option<Told> {
        let mut known = lock(&self.known);
        match known.running.get(name) {
            Some(job) => job.told(),
            None => known.ended(name).and_then(|ended| ended.told.take()),
        }
    }

    async fn wait<T>(&self, name: &str, mut find: impl FnMut(&mut Known) -> Option<T>) -> Result<T, Status> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(found) = find(&mut lock(&self.known)) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(WAIT, found).await.map_err(|_| no_such(name))
    }
}

impl Known {
    /// A build has ended, of which this was told and nobody has asked.
    fn keep(&mut self, name: String, told: Option<Told>) {
        let at = Instant::now();
        self.ended.push_back(Ended { name, at, told });
        let late = |ended: &Ended| at.duration_since(ended.at) > LATE;
        while self.ended.len() > LATE_BUILDS || self.ended.front().is_some_and(late) {
            self.ended.pop_front();
        }
    }

    fn ended(&mut self, name: &str) -> Option<&mut Ended> {
        self.ended.iter_mut().find(|ended| ended.name == name)
    }
}

fn no_such(name: &str) -> Status {
    Status::not_found(format!("no such job {name}"))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.job.stop();
        let mut known = lock(&self.jobs.known);
        known.running.remove(&self.name);
        let told = self.job.told();
        known.keep(std::mem::take(&mut self.name), told);
        drop(known);
        self.job.finish(Err(Status::cancelled("the build was given up")));
    }
}

#[cfg(test)]
mod tests {
    use mica_buildkit::message::control::StatusResponse;
    use mica_task::Cancel;
    use tokio::sync::mpsc;

    use super::*;
    use crate::grpc::caching::Caching;

    fn running(jobs: &Jobs, name: &str) -> Running {
        let job = Job::new(None, Vec::new(), Caching::default(), Cancel::new(), 0);
        jobs.begin(name.to_owned(), job).unwrap()
    }

    #[tokio::test]
    async fn what_was_told_is_there_for_who_asks_first() {
        let jobs = Jobs::default();
        // before it begins
        let asked = tokio::spawn({
            let jobs = jobs.clone();
            async move { jobs.listen("a").await }
        });
        tokio::task::yield_now().await;
        let build = running(&jobs, "a");
        let mut told = asked.await.unwrap().unwrap();
        assert!(jobs.listen("a").await.is_err());
        drop(build);
        assert_eq!(told.recv().await, None);
        // after its end
        let build = running(&jobs, "b");
        build
            .job
            .say(StatusResponse {
                vertexes: vec![Default::default()],
                ..Default::default()
            })
            .await;
        drop(build);
        let mut told = jobs.listen("b").await.unwrap();
        assert!(told.recv().await.is_some());
        assert_eq!(told.recv().await, None);
    }

    #[tokio::test]
    async fn an_ended_build_is_not_waited_for() {
        let jobs = Jobs::default();
        drop(running(&jobs, "a"));
        let began = Instant::now();
        assert!(jobs.get("a").await.is_err());
        assert!(jobs.listen("a").await.is_ok());
        assert!(jobs.listen("a").await.is_err());
        assert!(began.elapsed() < WAIT / 2);
    }

    #[test]
    fn what_nobody_hears_is_forgotten() {
        let mut known = Known::default();
        let told = || Some(mpsc::channel(1).1);
        for number in 0..=LATE_BUILDS {
            known.keep(number.to_string(), told());
        }
        assert!(known.ended("0").is_none(), "the oldest of too many");
        assert!(known.ended("1").is_some());
        let long_ago = known.ended[0].at.checked_sub(LATE * 2).unwrap();
        known.ended[0].at = long_ago;
        known.keep("new".to_owned(), told());
        assert!(known.ended("1").is_none(), "too late");
        assert!(known.ended("2").is_some());
    }
}
