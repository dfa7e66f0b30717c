//! A build cache as it lies in a registry: BuildKit's document of layers and of the records that lead to them, with what only
//! mica reads in a field that others pass over.
//!
//! BuildKit's records are named after its own operations, and mica's after its own steps: either program reads the other's
//! document and finds nothing in it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::digest::{CacheKey, ChainId, ContentDigest, DiffId, Digest};
use crate::document::{Document, null_as_default};
use crate::manifest::{Descriptor, Index, Manifest};
use crate::media::MediaType;

/// The media type of the document (BuildKit, `cache/remotecache`).
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// What a layer that lies on nothing has as the number of the one below.
const NOTHING: i64 = -1;

/// A step that a cache knows, and the layer it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    /// Its inputs.
    pub key: CacheKey,
    /// The layer it made.
    pub layer: DiffId,
    /// The blob that is said to hold the layer.
    pub blob: Descriptor,
    /// The layers below.
    pub parent: ChainId,
    /// What the layer holds.
    pub content: ContentDigest,
    /// When it was made.
    pub created: Timestamp,
    /// The instruction, for people.
    pub description: String,
}

/// Why a cache's document makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// A number that names no layer.
    #[error("it speaks of layer {number} and has {layers}")]
    NoLayer {
        /// The number.
        number: i64,
        /// How many layers there are.
        layers: usize,
    },
    /// Layers that lie on each other in a ring.
    #[error("layer {0} lies on itself")]
    Ring(usize),
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheConfig {
    /// The layers. A layer on top of a base image lies on nothing here: who has the step has its base.
    #[serde(default, deserialize_with = "null_as_default")]
    layers: Vec<Layer>,
    /// What leads to them.
    #[serde(default, deserialize_with = "null_as_default")]
    records: Vec<Record>,
}

impl Document for CacheConfig {
    const KIND: &'static str = "cache config";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Layer {
    #[serde(default, deserialize_with = "lenient")]
    blob: Option<Digest>,
    /// The number of the layer below; Go leaves out a 0.
    #[serde(default)]
    parent: i64,
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    annotations: Option<LayerNotes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerNotes {
    media_type: MediaType,
    #[serde(rename = "diffID")]
    diff_id: DiffId,
    size: u64,
    created_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    #[serde(default, deserialize_with = "lenient")]
    digest: Option<CacheKey>,
    #[serde(default, deserialize_with = "null_as_default")]
    layers: Vec<Outcome>,
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    mica: Option<Own>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    layer: i64,
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    created_at: Option<String>,
}

/// What only mica reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Own {
    content: ContentDigest,
    /// The layers below, base image included.
    below: ChainId,
    about: String,
}

/// Takes what another program wrote in its own way for absent.
fn lenient<'de, D: Deserializer<'de>, T: for<'a> Deserialize<'a>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl CacheConfig {
    /// The document that says `steps`: the same steps give the same document.
    pub fn of(steps: &[CachedStep]) -> Self {
        let distinct: BTreeMap<CacheKey, &CachedStep> = steps.iter().map(|step| (step.key, step)).collect();
        let mut numbers: HashMap<ChainId, usize> = HashMap::new();
        let mut made: Vec<&CachedStep> = Vec::new();
        for step in distinct.values() {
            numbers.entry(step.parent.push(&step.layer)).or_insert_with(|| {
                made.push(step);
                made.len() - 1
            });
        }
        let number = |chain: &ChainId| {
            let found = numbers.get(chain).and_then(|number| i64::try_from(*number).ok());
            found.unwrap_or(NOTHING)
        };
        let layer = |step: &&CachedStep| Layer {
            blob: Some(step.blob.digest),
            // a layer may be said to be what nothing is called, and must not lie on itself by that
            parent: match step.parent == ChainId::empty() {
                true => NOTHING,
                false => number(&step.parent),
            },
            annotations: Some(LayerNotes {
                media_type: step.blob.media_type.clone(),
                diff_id: step.layer,
                size: step.blob.size,
                created_at: step.created.to_string(),
            }),
        };
        let record = |step: &&CachedStep| Record {
            digest: Some(step.key),
            layers: vec![Outcome {
                layer: number(&step.parent.push(&step.layer)),
                created_at: Some(step.created.to_string()),
            }],
            mica: Some(Own {
                content: step.content,
                below: step.parent,
                about: step.description.clone(),
            }),
        };
        Self {
            layers: made.iter().map(layer).collect(),
            records: distinct.values().map(record).collect(),
        }
    }

    /// How many records there are, other programs' included.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// The steps whose layers are among `blobs`, which are the layers that the manifest names. Records that another program
    /// wrote are passed over.
    ///
    /// # Errors
    /// If layers lie on what is not there or on themselves, or a record names a layer that is not there.
    pub fn steps(&self, blobs: &[Descriptor]) -> Result<Vec<CachedStep>, CacheError> {
        self.check_layers()?;
        let named: HashMap<Digest, &Descriptor> = blobs.iter().map(|blob| (blob.digest, blob)).collect();
        let mut steps = Vec::new();
        for record in &self.records {
            for outcome in &record.layers {
                let layer = &self.layers[self.number(outcome.layer)?];
                if let (Some(key), Some(own), Some(notes)) = (record.digest, &record.mica, &layer.annotations)
                    && let Some(blob) = layer.blob.and_then(|blob| named.get(&blob))
                    && is_a_layer(blob)
                {
                    steps.push(CachedStep {
                        key,
                        layer: notes.diff_id,
                        // other places to fetch it from are none of a cache's business
                        blob: Descriptor::new(blob.media_type.clone(), blob.digest, blob.size),
                        parent: own.below,
                        content: own.content,
                        created: time(outcome.created_at.as_ref().unwrap_or(&notes.created_at)),
                        description: own.about.clone(),
                    });
                }
            }
        }
        Ok(steps)
    }

    fn number(&self, number: i64) -> Result<usize, CacheError> {
        let found = usize::try_from(number).ok();
        found
            .filter(|found| *found < self.layers.len())
            .ok_or(CacheError::NoLayer {
                number,
                layers: self.layers.len(),
            })
    }

    /// Makes sure that every layer lies on another, and at last on nothing.
    fn check_layers(&self) -> Result<(), CacheError> {
        let mut sound = vec![false; self.layers.len()];
        for start in 0..self.layers.len() {
            let mut way = Vec::new();
            let mut at = start;
            while !sound[at] {
                if way.len() >= self.layers.len() {
                    return Err(CacheError::Ring(start));
                }
                way.push(at);
                match self.layers[at].parent {
                    NOTHING => break,
                    parent => at = self.number(parent)?,
                }
            }
            way.into_iter().for_each(|passed| sound[passed] = true);
        }
        Ok(())
    }
}

/// A time; the beginning of time if it is none.
fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_default()
}

fn is_a_layer(blob: &Descriptor) -> bool {
    blob.media_type.layer_compression().is_some() && !blob.media_type.is_nondistributable()
}

/// Where the document of a cache is, and which blobs are named beside it; `None` if this is no cache.
pub fn cache_in_manifest(manifest: &Manifest) -> Option<(&Descriptor, Vec<Descriptor>)> {
    let config = &manifest.config;
    (config.media_type.as_str() == CACHE_CONFIG).then(|| (config, manifest.layers.clone()))
}

/// As [`cache_in_manifest`], for the older form: an index whose entries are the layers and the document.
pub fn cache_in_index(index: &Index) -> Option<(&Descriptor, Vec<Descriptor>)> {
    let is_config = |entry: &&Descriptor| entry.media_type.as_str() == CACHE_CONFIG;
    let config = index.manifests.iter().find(is_config)?;
    let layers = index.manifests.iter().filter(|entry| !is_config(entry));
    Some((config, layers.cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Raw;
    use crate::media::OCI_LAYER_GZIP;
    use serde_json::json;

    fn step(name: &str, below: &ChainId) -> CachedStep {
        let digest = |what: &str| Digest::of(format!("{what} {name}").as_bytes());
        CachedStep {
            key: CacheKey(digest("key")),
            layer: DiffId(digest("layer")),
            blob: Descriptor::new(OCI_LAYER_GZIP, digest("blob"), 7),
            parent: *below,
            content: ContentDigest(digest("content")),
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            description: format!("RUN {name}"),
        }
    }

    /// Two layers on a base, and two records that lead to the upper one.
    fn steps() -> Vec<CachedStep> {
        let base = ChainId::of(&[DiffId(Digest::of(b"base"))]);
        let one = step("one", &base);
        let two = step("two", &base.push(&one.layer));
        let again = CachedStep {
            key: CacheKey(Digest::of(b"again")),
            ..two.clone()
        };
        vec![two, one, again]
    }

    fn blobs() -> Vec<Descriptor> {
        steps().iter().map(|step| step.blob.clone()).collect()
    }

    fn document() -> Value {
        serde_json::to_value(CacheConfig::of(&steps())).unwrap()
    }

    fn read(value: &Value) -> Result<Vec<CachedStep>, CacheError> {
        let raw = Raw::<CacheConfig>::parse(value.to_string().as_bytes()).unwrap();
        raw.steps(&blobs())
    }

    fn sorted(mut steps: Vec<CachedStep>) -> Vec<CachedStep> {
        steps.sort_by_key(|step| step.key);
        steps
    }

    #[test]
    fn what_is_written_is_read_whatever_its_order() {
        assert_eq!(sorted(read(&document()).unwrap()), sorted(steps()));
        let mut turned = steps();
        turned.reverse();
        assert_eq!(
            serde_json::to_value(CacheConfig::of(&turned)).unwrap(),
            document()
        );
        let document = document();
        let layers = document["layers"].as_array().unwrap();
        assert_eq!(
            (layers.len(), document["records"].as_array().unwrap().len()),
            (2, 3)
        );
        // the names are BuildKit's
        let parents: Vec<i64> = layers
            .iter()
            .map(|layer| layer["parent"].as_i64().unwrap())
            .collect();
        assert!(
            parents.contains(&-1) && parents.iter().any(|parent| *parent >= 0),
            "{parents:?}"
        );
        assert_eq!(layers[0]["annotations"]["size"], 7);
        for name in ["mediaType", "diffID", "createdAt"] {
            assert!(layers[0]["annotations"][name].is_string(), "{name}");
        }
        assert!(document["records"][0]["layers"][0]["createdAt"].is_string());
    }

    #[test]
    fn another_program_s_records_are_passed_over() {
        let mut foreign = document();
        foreign["records"][0] = json!({
            "digest": "sha512:beef", "inputs": [[{"link": 1}], [{"selector": "x", "link": 2}]],
            "chains": [{"layers": [0], "createdAt": "x"}],
        });
        foreign["records"][1]["mica"] = json!({"content": 7});
        assert_eq!(read(&foreign).unwrap().len(), 1);
        foreign["layers"][0] = json!({"blob": 5, "annotations": null, "parent": -1});
        foreign["layers"][1] = json!({"blob": "sha256:x"});
        assert_eq!(read(&foreign).unwrap(), []);
        for empty in ["{}", r#"{"layers":null,"records":null}"#] {
            let raw = Raw::<CacheConfig>::parse(empty.as_bytes()).unwrap();
            assert_eq!(raw.steps(&blobs()).unwrap(), []);
        }
    }

    #[test]
    fn layers_that_are_not_there_are_noticed() {
        for number in [2, -1, i64::MIN, i64::MAX] {
            let mut lying = document();
            lying["records"][0]["layers"][0]["layer"] = json!(number);
            assert_eq!(read(&lying), Err(CacheError::NoLayer { number, layers: 2 }));
        }
        for number in [2, -2, i64::MAX] {
            let mut lying = document();
            lying["layers"][0]["parent"] = json!(number);
            assert_eq!(read(&lying), Err(CacheError::NoLayer { number, layers: 2 }));
        }
        // named by the document and not by the manifest
        let raw = Raw::<CacheConfig>::parse(document().to_string().as_bytes()).unwrap();
        assert_eq!(raw.steps(&[]).unwrap(), []);
        // nor is what is no layer one
        let odd: Vec<Descriptor> = blobs()
            .into_iter()
            .map(|blob| Descriptor::new("application/json", blob.digest, blob.size))
            .collect();
        assert_eq!(raw.steps(&odd).unwrap(), []);
    }

    #[test]
    fn layers_in_a_ring_are_noticed() {
        let mut lying = document();
        lying["layers"][0]["parent"] = json!(1);
        lying["layers"][1]["parent"] = json!(0);
        assert!(matches!(read(&lying), Err(CacheError::Ring(_))));
        lying["layers"][0]["parent"] = json!(0);
        assert!(matches!(read(&lying), Err(CacheError::Ring(_))));
        // a long chain is none, and is walked once
        let layers: Vec<Value> = (0..20_000).map(|n| json!({"parent": n - 1})).collect();
        assert_eq!(read(&json!({"layers": layers})).unwrap(), []);
    }

    #[test]
    fn what_was_read_can_be_written_whatever_it_says() {
        let odd = CachedStep {
            layer: DiffId(*ChainId::empty().digest()),
            ..step("odd", &ChainId::empty())
        };
        let on_top = step("top", &ChainId::empty());
        let document = CacheConfig::of(&[odd.clone(), on_top.clone()]);
        let read = document.steps(&[odd.blob, on_top.blob]);
        assert_eq!(read.map(|steps| steps.len()), Ok(2));
    }

    #[test]
    fn a_cache_is_known_by_its_document() {
        let config = Descriptor::new(CACHE_CONFIG, Digest::of(b"c"), 1);
        let manifest = Manifest::new(config.clone(), blobs());
        assert_eq!(cache_in_manifest(&manifest), Some((&config, blobs())));
        let mut index = Index {
            schema_version: 2,
            media_type: None,
            manifests: blobs(),
            annotations: BTreeMap::new(),
        };
        assert_eq!(cache_in_index(&index), None);
        index.manifests.push(config.clone());
        assert_eq!(cache_in_index(&index), Some((&config, blobs())));
    }
}
