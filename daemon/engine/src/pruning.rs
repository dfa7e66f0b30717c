//! How a prune goes on: told to whoever waits for it, and given up between two items once nobody does.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mica_store::{Pruned, Store};
use mica_task::Cancel;

use crate::error::Error;

/// How long a wait for the disk may last before it is looked whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(100);

/// How far a prune has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneProgress {
    /// What is being done.
    pub doing: &'static str,
    /// How many of those that were chosen have been gone through: removed, or left as they came to be used.
    pub done: u64,
    /// How many images or records were chosen to go.
    pub total: u64,
    /// Bytes given back so far.
    pub bytes: u64,
}

/// Who waits for a prune.
pub struct PruneWatch<'a> {
    /// Stops it between two items. What is gone stays gone.
    pub cancel: &'a Cancel,
    /// Hears how far it has got.
    pub tell: &'a mut dyn FnMut(PruneProgress),
}

/// A prune that goes on before someone's eyes.
pub(crate) struct Watched<'a, 'b> {
    watch: &'a mut PruneWatch<'b>,
    progress: PruneProgress,
}

impl<'a, 'b> Watched<'a, 'b> {
    pub(crate) fn new(watch: &'a mut PruneWatch<'b>) -> Self {
        Self {
            watch,
            progress: PruneProgress::default(),
        }
    }

    /// What comes now: `total` of something are to go.
    pub(crate) fn removes(&mut self, doing: &'static str, total: usize) {
        self.progress.total = total as u64;
        if total > 0 {
            self.begins(doing);
        }
    }

    /// What comes now.
    pub(crate) fn begins(&mut self, doing: &'static str) {
        self.progress.doing = doing;
        (self.watch.tell)(self.progress);
    }

    /// So many more were gone through, and bytes are gone, since it was told last.
    pub(crate) fn gone(&mut self, items: usize, bytes: u64) {
        self.progress.done += items as u64;
        self.progress.bytes += bytes;
        (self.watch.tell)(self.progress);
    }

    /// As [`gone`](Self::gone), of records; whether to go on.
    pub(crate) fn gone_records(&mut self, some: &Pruned) -> ControlFlow<()> {
        self.gone(some.keys.len(), some.bytes);
        match self.watch.cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Whether anybody still wants it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(self.watch.cancel.check()?)
    }

    /// Waits until what was removed has given its room back, but no longer than `patience`.
    pub(crate) fn wait_for_room(&mut self, store: &Store, patience: Duration) -> Result<(), Error> {
        let began = Instant::now();
        if store.wait_for_room(Duration::ZERO) {
            return Ok(());
        }
        self.begins("waiting for the disk");
        while began.elapsed() < patience && !store.wait_for_room(LOOK) {
            self.check()?;
        }
        Ok(())
    }
}

/// Prunes while nobody looks.
#[cfg(test)]
pub(crate) fn unwatched<T>(prune: impl FnOnce(&mut PruneWatch<'_>) -> T) -> T {
    prune(&mut PruneWatch {
        cancel: &Cancel::new(),
        tell: &mut |_| {},
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mica_layer::Packed;
    use mica_oci::{CacheKey, ChainId, ContentDigest, DiffId, Digest, ImageConfig, Raw};
    use mica_store::{CacheMount, CacheRecord, Level, Sharing};

    use super::*;
    use crate::engine::{Config, Engine};
    use crate::gc::CacheSelection;
    use crate::select::Selection;

    /// So many that it takes several turns to remove them.
    const IMAGES: usize = 100;
    /// The same of records and cache mounts, half of each.
    const RECORDS: usize = 300;

    fn engine(folder: &std::path::Path) -> Engine {
        Engine::open(Config {
            root: folder.join("store"),
            helper: "/nonexistent".into(),
            registries: mica_registry::Settings::default(),
            insecure_allowed: false,
        })
        .unwrap()
    }

    fn add_images(engine: &Engine) {
        let lease = engine.store().lease();
        for at in 0..IMAGES {
            let config = ImageConfig {
                author: at.to_string(),
                ..ImageConfig::default()
            };
            let config = Raw::of(config).unwrap();
            engine.store().commit_image(&lease, &config, None, &[]).unwrap();
        }
    }

    fn add_cache(engine: &Engine) {
        let (store, lease) = (engine.store(), engine.store().lease());
        for at in 0..RECORDS / 2 {
            let key = CacheKey(Digest::of(&at.to_le_bytes()));
            let text = at.to_string();
            let packed = Packed {
                diff_id: DiffId(Digest::of(text.as_bytes())),
                size: text.len() as u64,
                content: ContentDigest(Digest::of(text.as_bytes())),
            };
            let mut ingest = store.ingest(&lease).unwrap();
            ingest.write_all(text.as_bytes()).unwrap();
            store.add_layer_tar(&lease, ingest, &packed).unwrap();
            let record = CacheRecord {
                layer: packed.diff_id,
                parent: ChainId::empty(),
                content: packed.content,
                created: jiff::Timestamp::now(),
                description: text.clone(),
            };
            store.remember(&lease, &key, &record).unwrap();
            let wanted = CacheMount {
                key,
                name: text,
                mode: None,
                owner: None,
            };
            let held = store.cache_mount::<Error>(&wanted, Sharing::Shared, None, &mut || Ok(()));
            fs_err::write(held.unwrap().path().join("f"), "kept").unwrap();
        }
    }

    /// Prunes, and gives all that was told of it.
    fn prune<T>(
        stop_at: u64,
        prune: impl FnOnce(&mut PruneWatch<'_>) -> Result<T, Error>,
    ) -> (Result<T, Error>, Vec<PruneProgress>) {
        let (cancel, mut heard) = (Cancel::new(), Vec::new());
        let pruned = prune(&mut PruneWatch {
            cancel: &cancel,
            tell: &mut |progress| {
                if progress.done >= stop_at {
                    cancel.cancel();
                }
                heard.push(progress);
            },
        });
        (pruned, heard)
    }

    /// Every number is at least what it was before, and those of the removal come in several turns.
    fn assert_grows(heard: &[PruneProgress], total: u64, bytes: u64) {
        let numbers = |progress: &PruneProgress| (progress.done, progress.bytes);
        assert_eq!(
            numbers(&heard[0]),
            (0, 0),
            "the first tells only how many there are"
        );
        for pair in heard.windows(2) {
            assert!(
                pair[0].done <= pair[1].done && pair[0].bytes <= pair[1].bytes,
                "{heard:?}"
            );
        }
        assert!(heard.iter().all(|progress| progress.total == total), "{heard:?}");
        let mut steps: Vec<u64> = heard.iter().map(|progress| progress.done).collect();
        steps.dedup();
        assert!(steps.len() > 3, "{steps:?}");
        assert_eq!(heard.last().map(numbers), Some((total, bytes)));
    }

    fn assert_sound(engine: &Engine) {
        let mut heard = Vec::new();
        let checked = engine.look_over(Level::Trees, &Cancel::new(), &mut |event| heard.push(event));
        assert_eq!(checked.unwrap().findings, 0, "{heard:?}");
    }

    #[test]
    fn it_is_told_how_many_images_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        add_images(&engine);
        let (pruned, heard) = prune(u64::MAX, |watch| {
            engine.prune_images(&Selection::default(), watch)
        });
        let pruned = pruned.unwrap();
        assert_eq!(pruned.removals.len(), IMAGES);
        assert_grows(&heard, IMAGES as u64, pruned.bytes);
        assert!(pruned.bytes > 0);
    }

    #[test]
    fn it_is_told_how_many_records_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        add_cache(&engine);
        let all = CacheSelection {
            all: true,
            ..CacheSelection::default()
        };
        let (pruned, heard) = prune(u64::MAX, |watch| engine.prune_cache(&all, watch));
        let pruned = pruned.unwrap();
        assert_eq!(pruned.keys.len(), RECORDS);
        assert_grows(&heard, RECORDS as u64, pruned.bytes);
        assert!(pruned.bytes > 0);
    }

    #[test]
    fn images_that_are_wanted_no_more_gone_stay() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        add_images(&engine);
        let told = engine.counted();
        let (pruned, heard) = prune(1, |watch| engine.prune_images(&Selection::default(), watch));
        assert!(matches!(pruned, Err(Error::Cancelled)), "{pruned:?}");
        let last = heard.last().unwrap();
        let left = engine.store().image_entries().unwrap().len();
        assert_eq!(
            left as u64,
            IMAGES as u64 - last.done,
            "nothing went after the wish"
        );
        assert!(left > 0 && left < IMAGES);
        assert_sound(&engine);
        let now = engine.counted();
        assert_eq!(now.prunes, told.prunes + 1, "what went is told");
        assert_eq!(now.reclaimed_bytes, told.reclaimed_bytes + last.bytes);
        // the next one takes the rest
        let pruned = unwatched(|watch| engine.prune_images(&Selection::default(), watch));
        assert_eq!(pruned.unwrap().removals.len(), left);
    }

    #[test]
    fn records_that_are_wanted_no_more_gone_stay() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        add_cache(&engine);
        let all = CacheSelection {
            all: true,
            ..CacheSelection::default()
        };
        // in the midst of the records, at their end, and in the midst of the mounts that come after them
        let mut left = RECORDS as u64;
        for _ in 0..3 {
            let (pruned, heard) = prune(1, |watch| engine.prune_cache(&all, watch));
            assert!(matches!(pruned, Err(Error::Cancelled)), "{pruned:?}");
            left -= heard.last().unwrap().done;
            assert_eq!(engine.cache().unwrap().len() as u64, left);
            assert!(left > 0 && left < RECORDS as u64);
            assert_sound(&engine);
        }
        let pruned = unwatched(|watch| engine.prune_cache(&all, watch)).unwrap();
        assert_eq!(pruned.keys.len() as u64, left);
        assert_sound(&engine);
    }

    #[test]
    fn who_is_gone_at_once_has_nothing_removed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        add_images(&engine);
        add_cache(&engine);
        let told = engine.counted().prunes;
        let cancel = Cancel::new();
        cancel.cancel();
        let mut watch = PruneWatch {
            cancel: &cancel,
            tell: &mut |progress| panic!("{progress:?}"),
        };
        engine
            .prune_images(&Selection::default(), &mut watch)
            .unwrap_err();
        engine
            .prune_cache(&CacheSelection::default(), &mut watch)
            .unwrap_err();
        assert_eq!(engine.store().image_entries().unwrap().len(), IMAGES);
        assert_eq!(engine.cache().unwrap().len(), RECORDS);
        assert_eq!(engine.counted().prunes, told);
    }
}
