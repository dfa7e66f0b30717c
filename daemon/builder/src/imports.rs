//! Steps that caches elsewhere know, and their layers: named at once, brought here when somebody looks into them.
//!
//! A cache may promise a layer and not have it. Nothing is lost by that but time: the steps it told of are forgotten, and the
//! build goes over its stages once more.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mica_oci::{CacheKey, DiffId};
use mica_store::{CacheRecord, Lease, Store};
use mica_task::{Cancel, Cancelled};

use crate::chore::chain;
use crate::ports::{Caches, KnownStep};

/// What caches elsewhere know.
pub(crate) struct Imports<'a> {
    caches: &'a dyn Caches,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Each with the name of the cache that knows it.
    steps: HashMap<CacheKey, (CacheRecord, String)>,
    /// The layers of those steps, and the cache that promises them.
    layers: HashMap<DiffId, String>,
    /// What is to be remembered here once its layer is here.
    waiting: HashMap<DiffId, Vec<(CacheKey, CacheRecord)>>,
    /// Why a cache is not believed any more.
    broken: Option<String>,
}

impl<'a> Imports<'a> {
    /// Nothing known yet.
    pub(crate) fn new(caches: &'a dyn Caches) -> Self {
        Self {
            caches,
            known: Mutex::default(),
        }
    }

    /// Takes in what the cache of this name knows. What an earlier one knows stays.
    pub(crate) fn add(&self, cache: &str, steps: Vec<KnownStep>) {
        let mut known = self.lock();
        for KnownStep { key, record } in steps {
            known
                .layers
                .entry(record.layer)
                .or_insert_with(|| cache.to_owned());
            known.steps.entry(key).or_insert((record, cache.to_owned()));
        }
    }

    /// What the step with these inputs gave. Its layer need not be here.
    pub(crate) fn find(&self, key: &CacheKey) -> Option<CacheRecord> {
        let mut known = self.lock();
        let record = known.steps.get(key)?.0.clone();
        known.wait(key, &record);
        Some(record)
    }

    /// Whether a record is of a layer that is only promised: then it is remembered once the layer is here.
    pub(crate) fn keep(&self, key: &CacheKey, record: &CacheRecord) -> bool {
        let mut known = self.lock();
        let is_promised = known.layers.contains_key(&record.layer);
        if is_promised {
            known.wait(key, record);
        }
        is_promised
    }

    /// All inputs that are known to have led to this very layer on this very parent.
    pub(crate) fn keys_alike(&self, record: &CacheRecord) -> Vec<CacheKey> {
        let known = self.lock();
        let alike = known.steps.iter().filter(|(_, (other, _))| {
            (other.layer, other.parent, other.content) == (record.layer, record.parent, record.content)
        });
        alike.map(|(key, _)| *key).collect()
    }

    /// Brings those layers here that are only promised. If a cache does not have what it promised, the attempt that asked for
    /// it is stopped.
    pub(crate) fn bring(
        &self,
        layers: &[DiffId],
        store: &Store,
        lease: &Lease,
        cancel: &Cancel,
    ) -> Result<(), Cancelled> {
        for (cache, layers) in self.promised(layers) {
            let brought = self.caches.bring(&cache, &layers, lease, cancel);
            cancel.check()?;
            if let Err(error) = brought {
                self.lock().forget(
                    &cache,
                    format!("the cache {cache} is left aside: {}", chain(&*error)),
                );
                cancel.cancel();
                return Err(Cancelled);
            }
            let mut known = self.lock();
            for layer in &layers {
                known.layers.remove(layer);
                for (key, record) in known.waiting.remove(layer).unwrap_or_default() {
                    // a record that is not kept costs time and not the build
                    let _ = store.remember(lease, &key, &record);
                }
            }
        }
        Ok(())
    }

    /// Those of the layers that are only promised, by the cache that does.
    fn promised(&self, layers: &[DiffId]) -> HashMap<String, Vec<DiffId>> {
        let known = self.lock();
        let mut promised: HashMap<String, Vec<DiffId>> = HashMap::new();
        let distinct: HashSet<&DiffId> = layers.iter().collect();
        for layer in distinct {
            if let Some(cache) = known.layers.get(layer) {
                promised.entry(cache.clone()).or_default().push(*layer);
            }
        }
        promised
    }

    /// Why the attempt was stopped, if it was because of a cache.
    pub(crate) fn take_broken(&self) -> Option<String> {
        self.lock().broken.take()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn wait(&mut self, key: &CacheKey, record: &CacheRecord) {
        if self.layers.contains_key(&record.layer) {
            let waiting = self.waiting.entry(record.layer).or_default();
            if !waiting.iter().any(|(other, _)| other == key) {
                waiting.push((*key, record.clone()));
            }
        }
    }

    fn forget(&mut self, cache: &str, why: String) {
        self.steps.retain(|_, (_, from)| from != cache);
        self.layers.retain(|_, from| from != cache);
        let layers = &self.layers;
        self.waiting.retain(|layer, _| layers.contains_key(layer));
        self.broken = Some(why);
    }
}
