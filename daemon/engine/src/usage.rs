//! How much of the disk is used by what; from what the store counted, never from a look at the disk.

use mica_store::{DiskUsage, LayerUsage};

use crate::engine::Engine;
use crate::error::Error;
use crate::select::{Listed, Selection};

/// What images take.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The images of a list, newest first.
    pub images: Vec<Listed>,
    /// For each of them, the bytes of layers that other images have too.
    pub shared: Vec<u64>,
    /// What the layers of all images take on disk.
    pub layers: LayerUsage,
}

impl Engine {
    /// What takes how much of the disk, to the block.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        Ok(self.store().disk_usage()?)
    }

    /// What images take.
    pub fn image_usage(&self) -> Result<ImageUsage, Error> {
        let images = self.list(&Selection::default())?;
        Ok(ImageUsage {
            shared: self.shared_sizes(&images)?,
            layers: self.store().layer_usage()?,
            images,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use mica_layer::Packed;
    use mica_oci::{CacheKey, ChainId, ContentDigest, DiffId, Digest, ImageConfig, Raw};
    use mica_store::CacheRecord;

    use super::*;
    use crate::cache_list::CacheItem;
    use crate::engine::Config;
    use crate::gc::{Budget, CacheSelection};
    use crate::keeping::{Keeping, Leftovers, Space};
    use crate::pruning::unwatched;

    /// An engine with a step for each of `steps`: what its layer holds, which of the others it was made on.
    fn engine(folder: &std::path::Path, steps: &[(&str, Option<usize>)]) -> Engine {
        let engine = Engine::open(Config {
            root: folder.join("store"),
            helper: "/nonexistent".into(),
            registries: mica_registry::Settings::default(),
            insecure_allowed: false,
        })
        .unwrap();
        let lease = engine.store().lease();
        let mut chains: Vec<ChainId> = Vec::new();
        for (at, (text, on)) in steps.iter().enumerate() {
            let diff_id = DiffId(Digest::of(text.as_bytes()));
            let packed = Packed {
                diff_id,
                size: text.len() as u64,
                content: ContentDigest(Digest::of(text.as_bytes())),
            };
            let mut ingest = engine.store().ingest(&lease).unwrap();
            ingest.write_all(text.as_bytes()).unwrap();
            engine.store().add_layer_tar(&lease, ingest, &packed).unwrap();
            let parent = on.map_or_else(ChainId::empty, |on| chains[on]);
            chains.push(parent.push(&diff_id));
            let record = CacheRecord {
                layer: diff_id,
                parent,
                content: packed.content,
                created: "2026-01-02T03:04:05Z".parse().unwrap(),
                description: format!("step {at}"),
            };
            engine.store().remember(&lease, &key(at), &record).unwrap();
        }
        engine
    }

    /// Bytes that the layer of this text takes on disk.
    fn taken(folder: &std::path::Path, text: &[u8]) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let blob = folder.join("store/blobs/sha256").join(Digest::of(text).hex());
        std::fs::metadata(blob).unwrap().blocks() * 512
    }

    fn key(at: usize) -> CacheKey {
        CacheKey(Digest::of(&at.to_le_bytes()))
    }

    fn items(engine: &Engine) -> Vec<(String, u64, bool, Option<CacheKey>)> {
        let items = engine.cache().unwrap().into_iter();
        let mut items: Vec<_> = items
            .map(|item| (item.description, item.size, item.shared, item.parent))
            .collect();
        items.sort();
        items
    }

    #[test]
    fn what_is_told_is_what_a_prune_frees() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(
            folder.path(),
            &[
                ("first", None),
                ("second!", Some(0)),
                ("first", None),
                ("third", Some(1)),
            ],
        );
        // each layer takes as much: what the least takes on this disk
        let block = taken(folder.path(), b"first");
        // of the two with the same layer, the later has its bytes and is what others were made on
        let told = |at: usize, size: u64, shared: bool, on: Option<usize>| {
            (format!("step {at}"), size, shared, on.map(key))
        };
        let expected = [
            told(0, 0, false, None),
            told(1, block, false, Some(2)),
            told(2, block, false, None),
            told(3, block, false, Some(1)),
        ];
        assert_eq!(items(&engine), expected);
        let lease = engine.store().lease();
        let config = ImageConfig {
            rootfs: mica_oci::config::RootFs {
                diff_ids: vec![DiffId(Digest::of(b"third"))],
                ..Default::default()
            },
            ..ImageConfig::default()
        };
        let committed = engine
            .store()
            .commit_image(&lease, &Raw::of(config).unwrap(), None, &[]);
        committed.unwrap();
        drop(lease);
        assert_eq!(items(&engine)[3], told(3, block, true, Some(1)));
        let total: u64 = engine.cache().unwrap().iter().map(CacheItem::own_bytes).sum();
        assert_eq!(total, 2 * block);
        // the layer of an image counts in no budget, and the earlier of two with one layer frees nothing
        let budget = |most: u64| CacheSelection {
            all: true,
            budget: Budget {
                most: Some(most),
                ..Budget::default()
            },
            ..CacheSelection::default()
        };
        assert_eq!(
            unwatched(|watch| engine.prune_cache(&budget(2 * block), watch))
                .unwrap()
                .keys,
            []
        );
        let pruned = unwatched(|watch| engine.prune_cache(&budget(2 * block - 1), watch)).unwrap();
        assert_eq!((pruned.keys, pruned.bytes), (vec![key(0), key(1)], block));
        let shared = CacheSelection {
            all: true,
            unused_since: Some(jiff::Timestamp::MAX),
            ..CacheSelection::default()
        };
        let pruned = unwatched(|watch| engine.prune_cache(&shared, watch)).unwrap();
        assert_eq!((pruned.keys.len(), pruned.bytes), (2, block));
        let layers = engine.image_usage().unwrap().layers;
        assert_eq!((layers.bytes, layers.only_images), (block, block));
    }

    #[test]
    fn the_cache_is_kept_within_its_budget_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(
            folder.path(),
            &[("one", None), ("two", Some(0)), ("six", None), ("ten", None)],
        );
        let size = |item: &CacheItem| item.own_bytes();
        let total = || -> u64 { engine.cache().unwrap().iter().map(size).sum() };
        let one = engine.cache().unwrap()[0].own_bytes();
        let keeping = |reserved: u64, most: u64, free: u64| Keeping {
            enabled: true,
            reserved: Some(Space::Bytes(reserved)),
            most: Some(Space::Bytes(most)),
            free: Some(Space::Bytes(free)),
        };
        let keep = |keeping: &Keeping| {
            let mut heard = 0;
            let gone = engine.keep_within(keeping, Leftovers::Stay, &mut |bytes| heard = bytes);
            let gone = gone.unwrap();
            assert_eq!(heard, gone.bytes, "what is told of at the end is all of it");
            gone.keys
        };
        let told = engine.counted().prunes;
        assert!(keep(&keeping(0, total(), 0)).is_empty());
        assert_eq!(engine.counted().prunes, told, "nothing happened");
        let off = Keeping {
            enabled: false,
            ..keeping(0, 0, 0)
        };
        assert!(keep(&off).is_empty());
        // a build uses the first, and another found the second a moment ago
        let lease = engine.store().lease();
        assert!(engine.store().cached(&lease, &key(0)).unwrap().is_some());
        let other = engine.store().lease();
        assert!(engine.store().cached(&other, &key(1)).unwrap().is_some());
        drop(other);
        assert_eq!(keep(&keeping(0, total() - one, 0)), [key(2)]);
        assert_eq!(engine.counted().prunes, told + 1);
        // no disk has so much: all goes but what is in use and what always stays
        assert_eq!(keep(&keeping(2 * one, 0, u64::MAX)), [key(3)]);
        assert!(engine.is_short(&keeping(0, 0, u64::MAX)).unwrap());
        assert_eq!(keep(&keeping(0, 0, u64::MAX)), [key(1)]);
        let left: Vec<CacheKey> = engine.cache().unwrap().iter().map(|item| item.id).collect();
        assert_eq!(left, [key(0)]);
        drop(lease);
        assert_eq!(keep(&keeping(0, 0, 0)), [key(0)]);
    }

    #[test]
    fn records_are_pruned_by_what_they_were_made_on() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path(), &[("a", None), ("b", Some(0)), ("c", Some(1))]);
        let selection = |parent: String| CacheSelection {
            parents: vec![parent],
            ..CacheSelection::default()
        };
        let prune = |parent: String| {
            unwatched(|watch| engine.prune_cache(&selection(parent), watch))
                .unwrap()
                .keys
        };
        assert_eq!(prune("0".repeat(64)), []);
        assert_eq!(prune(key(0).digest().hex()[..12].to_owned()), [key(1)]);
        let in_use = CacheSelection {
            in_use: Some(true),
            ..CacheSelection::default()
        };
        assert_eq!(
            unwatched(|watch| engine.prune_cache(&in_use, watch))
                .unwrap()
                .keys,
            []
        );
        assert_eq!(engine.cache().unwrap().len(), 2);
    }
}
