//! Mending what a check finds: with what is here, else from the registries it came from; what nobody has is set aside and named.

mod fetch;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use mica_oci::{Digest, Repository};
use mica_registry::Credentials;
use mica_store::{CheckEvent, Cure, Errand, Finding, GivenUp, Level, Mending, Thing};
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::bridge::Runtime;
use crate::check::{CheckNews, CheckOutcome, tell};
use crate::engine::Engine;
use crate::error::Error;

/// What was mended may uncover something else: so often the store is looked over again, the last time to see that all is well.
const PASSES: usize = 4;
/// The most findings that are mended; with more than that, the rest waits for the next repair.
const MOST: usize = 10_000;
/// The most images and names that are kept of a finding until its turn comes.
const HARMS: usize = 4;

/// What became of a finding.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// Its number, from 1.
    pub number: u64,
    /// The thing.
    pub thing: Thing,
    /// What became of it.
    pub outcome: RepairOutcome,
}

/// What becomes of a thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairOutcome {
    /// It is well, by what is here.
    Mended(Cure),
    /// It was fetched again from this repository.
    Fetched(Repository),
    /// It is not well.
    Left {
        /// Why it could not be mended.
        reason: String,
        /// Where what was damaged was moved, if it was.
        aside: Option<PathBuf>,
        /// What a user may do.
        advice: String,
    },
}

/// A repair that goes on.
pub(crate) struct Repair {
    engine: Engine,
    credentials: Credentials,
    runtime: Runtime,
    news: mpsc::Sender<CheckNews>,
    cancel: Cancel,
    /// All that was found, by what it is and where it lies, with its number and whether it is left.
    known: HashMap<String, Known>,
    /// What is found because of what was given up before, and is no finding of its own.
    lost: HashSet<String>,
    /// Registries that did not answer: they are not asked for everything that they had.
    silent: HashMap<String, String>,
    /// What could not be had from where, and why.
    refused: HashMap<(Repository, Digest), String>,
}

struct Known {
    number: u64,
    is_left: bool,
}

/// A finding whose turn comes.
struct Patient {
    number: u64,
    finding: Finding,
    /// Why it could not be mended.
    reason: String,
    /// A repository that is known to have had it.
    origin: Option<Repository>,
    /// Whether a registry that may have it did not answer.
    may_come: bool,
}

/// How an attempt to mend something ended.
enum Attempt {
    Well(RepairOutcome),
    /// Nobody is found who has what it needs.
    Waiting,
    /// It is well to leave it as it is, for this reason.
    Hopeless(String),
}

impl Repair {
    pub(crate) fn new(
        engine: Engine,
        credentials: Credentials,
        news: mpsc::Sender<CheckNews>,
        cancel: Cancel,
    ) -> Self {
        Self {
            engine,
            credentials,
            runtime: Runtime::current(),
            news,
            cancel,
            known: HashMap::new(),
            lost: HashSet::new(),
            silent: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// Looks the store over and mends what is found, until nothing new is.
    pub(crate) fn run(mut self, level: Level) -> Result<CheckOutcome, Error> {
        let (mut checked, mut patients) = self.pass(level)?;
        for _ in 1..PASSES {
            if patients.is_empty() {
                break;
            }
            self.treat(patients)?;
            // every byte that was put in place was hashed: what is left to see is whether things fit together
            (_, patients) = self.pass(Level::Quick)?;
        }
        // what the last look found is told of, and left
        for mut patient in patients {
            patient.reason = "it was found after all else was mended: repair again".to_owned();
            self.leave(patient, None);
        }
        let left = self.known.values().filter(|known| known.is_left).count() as u64;
        checked.findings = self.known.len() as u64;
        Ok(CheckOutcome { checked, left })
    }

    /// Looks the store over; gives what was not found before, or was mended and is found again.
    fn pass(&mut self, level: Level) -> Result<(mica_store::Checked, Vec<Patient>), Error> {
        let Self {
            engine,
            cancel,
            news,
            known,
            lost,
            ..
        } = self;
        let mut patients = Vec::new();
        let checked = engine.look_over(level, cancel, &mut |event| {
            let CheckEvent::Found(finding) = event else {
                return tell(news, event);
            };
            let key = key(&finding);
            if lost.contains(&key) {
                return;
            }
            let next = known.len() as u64 + 1;
            let one = known.entry(key).or_insert(Known {
                number: next,
                is_left: false,
            });
            if one.is_left {
                return;
            }
            if one.number == next {
                tell(news, CheckEvent::Found(finding.clone()));
            }
            // what was mended and is not well is left if it is not mended now
            one.is_left = true;
            if patients.len() < MOST {
                patients.push(Patient {
                    number: one.number,
                    finding: shortened(*finding),
                    reason: String::new(),
                    origin: None,
                    may_come: false,
                });
            }
        })?;
        Ok((checked, patients))
    }

    /// Mends what can be, and gives up what cannot.
    fn treat(&mut self, mut patients: Vec<Patient>) -> Result<(), Error> {
        patients.sort_by_key(|patient| rank(&patient.finding.thing));
        let total = patients.len();
        let mut waiting = self.try_all(patients)?;
        // one may have waited for another: a config's length is in its manifest
        if waiting.len() < total {
            waiting = self.try_all(waiting)?;
        }
        for patient in waiting {
            if patient.may_come && is_used_damaged(&patient.finding.thing) {
                self.leave(patient, None);
                continue;
            }
            let go_on = || self.cancel.check().map_err(io::Error::other);
            let given_up = self.engine.store().give_up(&patient.finding, &go_on)?;
            match given_up {
                GivenUp::Done(cure) => self.well(patient, RepairOutcome::Mended(cure)),
                GivenUp::Lost { aside } => {
                    self.lost.extend(layer_key(&patient.finding.thing));
                    self.leave(patient, aside);
                }
            }
        }
        Ok(())
    }

    /// Tries to mend all; gives those that are not.
    fn try_all(&mut self, patients: Vec<Patient>) -> Result<Vec<Patient>, Error> {
        let mut waiting = Vec::new();
        for mut patient in patients {
            // it may be missed
            let _ = self.news.try_send(CheckNews::Progress {
                doing: "what to mend",
                bytes: 0,
                total: 0,
            });
            match self.try_one(&mut patient)? {
                Attempt::Well(outcome) => self.well(patient, outcome),
                Attempt::Waiting => waiting.push(patient),
                Attempt::Hopeless(reason) => {
                    patient.reason = reason;
                    self.leave(patient, None);
                }
            }
        }
        Ok(waiting)
    }

    /// Tries to mend one.
    fn try_one(&mut self, patient: &mut Patient) -> Result<Attempt, Error> {
        let errands = match self.mend(&patient.finding)? {
            Mending::Done(cure) => return Ok(Attempt::Well(RepairOutcome::Mended(cure))),
            Mending::Left(reason) => return Ok(Attempt::Hopeless(reason)),
            Mending::Fetch(errands) => errands,
        };
        let Some(from) = self.fetch_any(&errands, patient)? else {
            return Ok(Attempt::Waiting);
        };
        // with what was fetched the rest is made here
        Ok(match self.mend(&patient.finding)? {
            Mending::Done(_) => Attempt::Well(RepairOutcome::Fetched(from)),
            Mending::Fetch(_) => Attempt::Waiting,
            Mending::Left(reason) => Attempt::Hopeless(reason),
        })
    }

    /// What the store can do by itself. Its failures are about this one thing, but for the repair's being unwanted.
    fn mend(&self, finding: &Finding) -> Result<Mending, Error> {
        let go_on = || self.cancel.check().map_err(io::Error::other);
        let mended = self.engine.store().mend(finding, &go_on);
        self.cancel.check()?;
        Ok(mended.unwrap_or_else(|error| Mending::Left(Error::from(error).describe())))
    }

    fn fetch_any(&mut self, errands: &[Errand], patient: &mut Patient) -> Result<Option<Repository>, Error> {
        let mut failures = Vec::new();
        patient.may_come = false;
        for errand in errands {
            for repository in &errand.from {
                patient.origin.get_or_insert_with(|| repository.clone());
                match self.fetch(errand, repository)? {
                    Ok(()) => return Ok(Some(repository.clone())),
                    Err(reason) => {
                        patient.may_come |= self.silent.contains_key(repository.registry());
                        failures.push(format!("{}: {reason}", repository.familiar()));
                    }
                }
            }
        }
        failures.dedup();
        patient.reason = match failures.is_empty() {
            true => "no registry is known to have it".to_owned(),
            false => format!("it cannot be fetched again: {}", failures.join("; ")),
        };
        Ok(None)
    }

    fn well(&mut self, patient: Patient, outcome: RepairOutcome) {
        if let Some(known) = self.known.get_mut(&key(&patient.finding)) {
            known.is_left = false;
        }
        self.told(patient.number, patient.finding.thing, outcome);
    }

    fn leave(&mut self, patient: Patient, aside: Option<PathBuf>) {
        let advice = advice(&patient);
        let outcome = RepairOutcome::Left {
            reason: patient.reason,
            aside,
            advice,
        };
        self.told(patient.number, patient.finding.thing, outcome);
    }

    fn told(&self, number: u64, thing: Thing, outcome: RepairOutcome) {
        let repaired = Repaired {
            number,
            thing,
            outcome,
        };
        // nobody may be left who wants to know; then the repair is cancelled too
        let _ = self.news.blocking_send(CheckNews::Repaired(Box::new(repaired)));
    }
}

/// Tells things apart, those without a digest by their place.
fn key(finding: &Finding) -> String {
    match &finding.thing {
        Thing::Derived | Thing::Stray => format!("{} {}", finding.thing, finding.place.display()),
        thing => thing.to_string(),
    }
}

/// What a layer is found as once none of its forms is there.
fn layer_key(thing: &Thing) -> Option<String> {
    match thing {
        Thing::Compressed(layer, _) | Thing::Tar(layer) | Thing::Tree(layer) => {
            Some(Thing::Layer(*layer).to_string())
        }
        _ => None,
    }
}

/// Whether giving a thing up takes it from images that can be used without it: they would lose for good what a registry has that
/// does not answer now.
fn is_used_damaged(thing: &Thing) -> bool {
    matches!(
        thing,
        Thing::Manifest(..) | Thing::Document(_) | Thing::Compressed(..)
    )
}

/// In which order things are mended: what others are made of comes first.
fn rank(thing: &Thing) -> u8 {
    match thing {
        Thing::Document(_) => 0,
        Thing::Manifest(..) => 1,
        Thing::Config(_) => 2,
        Thing::LayerList(_) => 3,
        Thing::Compressed(..) => 4,
        Thing::Tar(_) => 5,
        Thing::Tree(_) => 6,
        Thing::Layer(_) => 7,
        Thing::Name(_) | Thing::CacheRecord(..) => 8,
        Thing::Stray => 9,
        Thing::Derived | Thing::Database => 10,
    }
}

/// A finding without most of what it harms: a great many may wait.
fn shortened(mut finding: Finding) -> Finding {
    finding.harms.truncate(HARMS);
    for harmed in &mut finding.harms {
        // a tag is what people pull by
        harmed.names.sort_by_key(|name| name.tag.is_none());
        harmed.names.truncate(HARMS);
    }
    finding
}

/// What a user may do about what is left.
fn advice(patient: &Patient) -> String {
    if patient.finding.thing == Thing::Database {
        return patient.finding.remedy.to_string();
    }
    if patient.may_come && is_used_damaged(&patient.finding.thing) {
        return "next: repair again once the registry answers".to_owned();
    }
    let mut names = patient.finding.harms.iter().flat_map(|harmed| &harmed.names);
    let of_origin = names
        .clone()
        .find(|name| Some(&name.repository) == patient.origin.as_ref());
    match (of_origin, names.next(), patient.finding.harms.first()) {
        (Some(name), ..) => format!(
            "next: `mica pull {}` once its registry has it again, or `mica rmi {0}`",
            name.familiar()
        ),
        (None, Some(name), _) => format!(
            "next: build, load or pull {} again, or `mica rmi {0}`",
            name.familiar()
        ),
        (None, None, Some(harmed)) => format!("next: `mica rmi {}`", harmed.image),
        (None, None, None) => "nothing that has a name is broken by it".to_owned(),
    }
}
