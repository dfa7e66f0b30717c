//! The cache inside an image: which step made each of its layers, so that another machine that has the image need not do
//! those steps (`BUILDKIT_INLINE_CACHE=1` writes it, `--cache-from` reads it).

use std::collections::BTreeMap;

use mica_oci::{CacheKey, ChainId, ContentDigest, ImageConfig};
use mica_store::{CacheRecord, Lease, Store};
use serde_json::{Value, json};

use crate::ports::BaseImage;
use crate::site::Outcome;

/// The field of the image config that holds it.
const FIELD: &str = "mica.cache.v1";

/// BuildKit's own, which means nothing once the image is another one.
const BUILDKIT_FIELD: &str = "moby.buildkit.cache.v0";

/// The steps that made an image's layers, by the number of the layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(BTreeMap<usize, (CacheKey, ContentDigest)>);

impl Origins {
    /// Notes what made a layer.
    pub(crate) fn note(&mut self, layer: usize, outcome: &Outcome) {
        self.0.insert(layer, (outcome.key, outcome.content));
    }

    /// Writes them into a config.
    pub(crate) fn write(&self, config: &mut ImageConfig) {
        let text = |digest: &mica_oci::Digest| digest.to_string();
        let steps = self.0.iter();
        let steps: Vec<Value> = steps
            .map(|(layer, (key, content))| json!([layer, text(key.digest()), text(content.digest())]))
            .collect();
        config.extra.insert(FIELD.to_owned(), Value::Array(steps));
    }

    /// Reads them from a config; nothing where there are none or they make no sense.
    fn read(config: &ImageConfig) -> Self {
        let read = |value: &Value| {
            let (layer, key, content): (usize, String, String) =
                serde_json::from_value(value.clone()).ok()?;
            Some((
                layer,
                (CacheKey(key.parse().ok()?), ContentDigest(content.parse().ok()?)),
            ))
        };
        let steps = config.extra.get(FIELD).and_then(Value::as_array);
        Self(steps.into_iter().flatten().filter_map(read).collect())
    }

    /// Takes a base image's cache out of a config that becomes another image's.
    pub(crate) fn forget(config: &mut ImageConfig) {
        config.extra.remove(FIELD);
        config.extra.remove(BUILDKIT_FIELD);
    }
}

/// Makes the steps of `image` known here, as far as they are not; gives how many it has.
pub(crate) fn import(image: &BaseImage, store: &Store, lease: &Lease) -> Result<usize, mica_store::Error> {
    let origins = Origins::read(&image.config);
    let made: Vec<_> = image
        .config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .collect();
    for (number, (key, content)) in &origins.0 {
        let Some(layer) = image.layers.get(*number) else {
            continue;
        };
        if store.cached(lease, key)?.is_some() {
            continue;
        }
        let history = made.get(*number);
        let record = CacheRecord {
            layer: *layer,
            parent: ChainId::of(&image.layers[..*number]),
            content: *content,
            created: history.and_then(|entry| entry.created).unwrap_or_default(),
            description: history.map_or(String::new(), |entry| entry.created_by.clone()),
        };
        store.remember(lease, key, &record)?;
    }
    Ok(origins.0.len())
}
