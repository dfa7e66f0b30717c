//! Build caches of registries for the builder: read when they are named, their layers when they are wanted, written at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mica_builder::ports::{Caches, KnownStep, MadeStep, PortError};
use mica_oci::{Descriptor, DiffId, Reference};
use mica_registry::{Keyring, Remote};
use mica_store::{CacheRecord, Lease};
use mica_task::{Cancel, Chore, Event, LayerState, Reporter, TransferEvent};

use crate::bridge::{Runtime, blocking};
use crate::engine::Engine;
use crate::error::Error;
use crate::resolve::whole_id;
use crate::transfer::{CacheExport, Made, Sink, sink};

/// The caches of one build.
pub(crate) struct RemoteCaches<'a> {
    engine: &'a Engine,
    credentials: &'a Keyring,
    reporter: &'a Reporter,
    runtime: &'a Runtime,
    read: Mutex<HashMap<String, Known>>,
    made: Mutex<Vec<(Vec<MadeStep>, Lease)>>,
}

/// A cache that was read.
struct Known {
    remote: Arc<Remote>,
    layers: HashMap<DiffId, Descriptor>,
}

impl<'a> RemoteCaches<'a> {
    /// Nothing read and nothing made.
    pub(crate) fn new(
        engine: &'a Engine,
        credentials: &'a Keyring,
        reporter: &'a Reporter,
        runtime: &'a Runtime,
    ) -> Self {
        Self {
            engine,
            credentials,
            reporter,
            runtime,
            read: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// Writes what was made to all places it is to go to. One that cannot be written to is an error unless it says that it
    /// need not be.
    pub(crate) fn write(&self, exports: &[CacheExport], cancel: &Cancel) -> Result<(), Error> {
        for export in exports {
            let chore = Chore::CacheExport;
            self.reporter.report(Event::Begun { chore: chore.clone() });
            let written = self.write_one(export, &chore, cancel);
            let failure = written.as_ref().err().map(|error| match error {
                Error::Cancelled => String::new(),
                error => error.describe(),
            });
            self.reporter.report(Event::Ended { chore, failure });
            match written {
                Err(error) if export.ignore_error && !matches!(error, Error::Cancelled) => {
                    let name = export.reference.familiar();
                    self.reporter.report(Event::Warning {
                        text: format!("the cache {name} is not written: {}", error.describe()),
                        line: None,
                        finding: None,
                    });
                }
                written => written?,
            }
        }
        Ok(())
    }

    fn write_one(&self, export: &CacheExport, chore: &Chore, cancel: &Cancel) -> Result<(), Error> {
        let kept = std::mem::take(&mut *lock(&self.made));
        let elsewhere = lock(&self.read)
            .values()
            .flat_map(|known| {
                let place =
                    |(layer, blob): (&DiffId, &Descriptor)| (*layer, (known.remote.clone(), blob.clone()));
                known.layers.iter().map(place)
            })
            .collect();
        let steps: Vec<MadeStep> = kept.iter().flat_map(|(steps, _)| steps.clone()).collect();
        let leases: Vec<&Lease> = kept.iter().map(|(_, lease)| lease).collect();
        let own = self.engine.store().lease();
        let made = Made {
            steps: &steps,
            elsewhere: &elsewhere,
            // what several builds made is held by each of their own
            lease: leases.first().copied().unwrap_or(&own),
        };
        let credential = self.credentials.of(export.reference.repository.registry());
        let written = self.told(cancel, chore, "writing layer", async |sink| {
            self.engine.write_cache(export, &credential, &made, &sink).await
        });
        *lock(&self.made) = kept;
        written
    }

    /// Does something with a registry, and tells what goes on.
    fn told<T>(
        &self,
        cancel: &Cancel,
        chore: &Chore,
        verb: &'static str,
        work: impl AsyncFnOnce(Sink) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (sink, mut events) = sink();
        let (reporter, chore) = (self.reporter.clone(), chore.clone());
        self.runtime.wait(cancel, async {
            // a reporter may wait for its client, which connections must not
            let telling = blocking(move || {
                while let Some(event) = events.blocking_recv() {
                    if let Some(event) = shown(event, &chore, verb) {
                        reporter.report(event);
                    }
                }
                Ok(())
            });
            let (done, told) = tokio::join!(work(sink), telling);
            told.and(done)
        })
    }
}

impl Caches for RemoteCaches<'_> {
    fn known(
        &self,
        name: &str,
        _lease: &Lease,
        cancel: &Cancel,
    ) -> Result<Option<Vec<KnownStep>>, PortError> {
        let is_elsewhere = whole_id(name).is_none()
            && matches!(self.engine.image_for(name, None), Err(Error::NoSuchImage { .. }));
        if !is_elsewhere {
            return Ok(None);
        }
        let reference: Reference = name.parse()?;
        let credential = self.credentials.of(reference.repository.registry());
        let chore = Chore::CacheImport {
            name: name.to_owned(),
        };
        let found = self.told(cancel, &chore, "reading", async |sink| {
            self.engine.read_cache(reference, &credential, &sink).await
        })?;
        let Some(found) = found else { return Ok(None) };
        let layers = found.steps.iter().map(|step| (step.layer, step.blob.clone()));
        let known = Known {
            remote: found.remote,
            layers: layers.collect(),
        };
        lock(&self.read).insert(name.to_owned(), known);
        let step = |step: mica_oci::CachedStep| KnownStep {
            key: step.key,
            record: CacheRecord {
                layer: step.layer,
                parent: step.parent,
                content: step.content,
                created: step.created,
                description: step.description,
            },
        };
        Ok(Some(found.steps.into_iter().map(step).collect()))
    }

    fn bring(&self, name: &str, layers: &[DiffId], lease: &Lease, cancel: &Cancel) -> Result<(), PortError> {
        let (remote, wanted) = {
            let read = lock(&self.read);
            let known = read.get(name).ok_or(Error::Worker)?;
            let wanted = layers
                .iter()
                .filter_map(|layer| Some((*layer, known.layers.get(layer)?.clone())));
            (known.remote.clone(), wanted.collect::<Vec<_>>())
        };
        let chore = Chore::CacheLayers {
            name: name.to_owned(),
        };
        self.reporter.report(Event::Begun { chore: chore.clone() });
        let brought = self.told(cancel, &chore, "downloading", async |sink| {
            self.engine.fetch_cached(&remote, &wanted, lease, &sink).await
        });
        let failure = brought.as_ref().err().map(|error| match error {
            Error::Cancelled => String::new(),
            error => error.describe(),
        });
        self.reporter.report(Event::Ended { chore, failure });
        Ok(brought?)
    }

    fn keep(&self, made: Vec<MadeStep>, lease: &Lease) {
        lock(&self.made).push((made, lease.clone()));
    }
}

/// What a build tells of something that goes on with a registry.
fn shown(event: TransferEvent, chore: &Chore, verb: &str) -> Option<Event> {
    match event {
        TransferEvent::Layer { digest, state } => {
            let (current, total) = match state {
                LayerState::Fetching { current, total } => (current, Some(total)),
                LayerState::Sending { current, total } => (current, total),
                LayerState::Prepared => (0, None),
                _ => return None,
            };
            Some(Event::Moved {
                chore: chore.clone(),
                what: format!("{verb} {digest}"),
                current,
                total,
            })
        }
        TransferEvent::Note(text) => Some(Event::Note { step: None, text }),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
