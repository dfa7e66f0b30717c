//! What happened: the last happenings in their order, and those who follow them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use mica_oci::{ImageId, Reference};
use mica_store::Image;
use tokio::sync::watch;

/// How many happenings are kept for those who ask for the past, and how far a follower may fall behind.
const KEPT: usize = 1024;
/// The most bytes of labels that one happening carries. Whoever makes an image writes what he likes into its labels, and all
/// of them together must not fill the memory: `KEPT` times this is the most there can be.
const LABELS_LIMIT: usize = 32 << 10;
/// What a label takes beside its text; without it a great many tiny ones would be free.
const LABEL_COST: usize = 64;

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A build made an image.
    Create,
    /// An image got a name.
    Tag,
    /// An image lost a name.
    Untag,
    /// An image is gone.
    Delete,
    /// An image was made of a tar of a file system.
    Import,
    /// An image came out of an archive.
    Load,
    /// An image was written into an archive.
    Save,
    /// A name was brought here from its registry.
    Pull,
    /// A name was brought to its registry.
    Push,
    /// What nobody needs was removed.
    Prune,
}

impl Action {
    /// The word clients know it by (Docker Engine API, `/events`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Tag => "tag",
            Self::Untag => "untag",
            Self::Delete => "delete",
            Self::Import => "import",
            Self::Load => "load",
            Self::Save => "save",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Prune => "prune",
        }
    }
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// This image.
    Image(ImageId),
    /// What this name means.
    Name(Reference),
    /// All images.
    Images,
    /// The build cache.
    Cache,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When. The clock may have been put back since the one before.
    pub time: Timestamp,
    /// What was done.
    pub action: Action,
    /// To what.
    pub subject: Subject,
    /// `name` or `reclaimed`, and those labels of the image that are not too long: in the order of their names, each that
    /// fits into what is left of 32 KiB.
    pub attributes: BTreeMap<String, String>,
}

/// The last happenings. Clones are the same feed.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// Wakes the followers, each of which has one receiver.
    news: watch::Sender<()>,
    prunes: AtomicU64,
    reclaimed: AtomicU64,
}

#[derive(Default)]
struct Ring {
    /// The number of the oldest that is kept; they are numbered from 0 on.
    first: u64,
    kept: VecDeque<Arc<Happening>>,
    ended: bool,
}

impl Ring {
    /// The number the next one will have.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
}

/// Reads a feed, one happening after the other. The feed holds nothing for it.
pub struct Follower {
    shared: Arc<Shared>,
    news: watch::Receiver<()>,
    next: u64,
}

/// What comes next in a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This happened.
    Happening(Arc<Happening>),
    /// The follower was too slow, and this many are gone. It goes on with the oldest that is kept.
    Missed(u64),
    /// Nothing will come any more.
    Ended,
}

impl Feed {
    /// A feed in which nothing happened.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::default(),
            news: watch::Sender::new(()),
            prunes: AtomicU64::new(0),
            reclaimed: AtomicU64::new(0),
        }))
    }

    /// Follows what happens from now on.
    pub fn follow(&self) -> Follower {
        self.follower(Ring::end)
    }

    /// Follows from the oldest that is kept.
    pub fn follow_all(&self) -> Follower {
        self.follower(|ring| ring.first)
    }

    fn follower(&self, start: impl Fn(&Ring) -> u64) -> Follower {
        let news = self.0.news.subscribe();
        let next = start(&self.0.ring());
        Follower {
            shared: self.0.clone(),
            news,
            next,
        }
    }

    /// How many follow it.
    pub fn followers(&self) -> usize {
        self.0.news.receiver_count()
    }

    /// How many prunes there were, and how many bytes they freed.
    pub(crate) fn pruned(&self) -> (u64, u64) {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (count(&self.0.prunes), count(&self.0.reclaimed))
    }

    /// Ends it: followers read what is there, and then that it has ended.
    pub fn end(&self) {
        self.0.ring().ended = true;
        self.0.news.send_replace(());
    }

    /// Something was done to an image, which is called so or, where that is no name, has this ID.
    pub(crate) fn image(&self, action: Action, image: &Image, name: String) {
        let mut attributes = labels(image);
        attributes.insert("name".to_owned(), name);
        self.publish(action, Subject::Image(image.id), attributes);
    }

    /// As [`image`](Self::image), of one whose config cannot be read: its labels are not told.
    pub(crate) fn damaged_image(&self, action: Action, image: ImageId, name: String) {
        let attributes = BTreeMap::from([("name".to_owned(), name)]);
        self.publish(action, Subject::Image(image), attributes);
    }

    /// A name of an image was pulled or pushed. Of a whole repository each tag is told, when it is done, where docker says it
    /// once at the end: what is done before one that fails stays done.
    pub(crate) fn transfer(&self, action: Action, reference: &Reference, image: &Image) {
        let mut attributes = labels(image);
        attributes.insert("name".to_owned(), reference.repository.familiar());
        self.publish(action, Subject::Name(reference.clone()), attributes);
    }

    /// This many bytes were freed.
    pub(crate) fn prune(&self, subject: Subject, bytes: u64) {
        self.0.prunes.fetch_add(1, Ordering::Relaxed);
        self.0.reclaimed.fetch_add(bytes, Ordering::Relaxed);
        let attributes = BTreeMap::from([("reclaimed".to_owned(), bytes.to_string())]);
        self.publish(Action::Prune, subject, attributes);
    }

    /// Neither waits for a follower nor fails.
    fn publish(&self, action: Action, subject: Subject, attributes: BTreeMap<String, String>) {
        let mut ring = self.0.ring();
        // the time is taken under the lock, so that the order is that of the times
        ring.kept.push_back(Arc::new(Happening {
            time: Timestamp::now(),
            action,
            subject,
            attributes,
        }));
        if ring.kept.len() > KEPT {
            ring.kept.pop_front();
            ring.first += 1;
        }
        drop(ring);
        self.0.news.send_replace(());
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Waits for what comes next. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Next {
        loop {
            // seen before the look, so that what comes after it wakes this again
            self.news.borrow_and_update();
            if let Some(next) = self.look() {
                return next;
            }
            if self.news.changed().await.is_err() {
                return Next::Ended;
            }
        }
    }

    fn look(&mut self) -> Option<Next> {
        let ring = self.shared.ring();
        let Some(at) = self.next.checked_sub(ring.first) else {
            let missed = ring.first - self.next;
            self.next = ring.first;
            return Some(Next::Missed(missed));
        };
        let found = usize::try_from(at).ok().and_then(|at| ring.kept.get(at));
        if let Some(happening) = found {
            self.next += 1;
            return Some(Next::Happening(happening.clone()));
        }
        ring.ended.then_some(Next::Ended)
    }

    /// How many have happened that it has not read.
    pub fn behind(&self) -> u64 {
        self.shared.ring().end() - self.next
    }
}

/// The labels of an image, as far as there is room for them.
fn labels(image: &Image) -> BTreeMap<String, String> {
    let mut room = LABELS_LIMIT;
    let mut taken = BTreeMap::new();
    for (name, value) in image.config.config.labels.iter().flatten() {
        let cost = name.len() + value.len() + LABEL_COST;
        if let Some(left) = room.checked_sub(cost) {
            room = left;
            taken.insert(name.clone(), value.clone());
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::{Descriptor, ImageConfig, Raw};
    use std::time::Duration;

    fn image(labels: BTreeMap<String, String>) -> Image {
        let mut config = ImageConfig::default();
        config.config.labels = Some(labels);
        let config = Raw::of(config).unwrap();
        Image {
            id: ImageId(config.digest()),
            manifest: Descriptor::new(mica_oci::media::OCI_CONFIG, config.digest(), 1),
            config: Arc::new(config),
            created: None,
            size: 0,
            references: Vec::new(),
            tagged_at: None,
            parent: None,
        }
    }

    /// Publishes `count` happenings, the first with `from` bytes freed, the next with one more.
    fn publish(feed: &Feed, from: u64, count: u64) {
        for bytes in from..from + count {
            feed.prune(Subject::Cache, bytes);
        }
    }

    /// What happened before now, by the bytes freed.
    fn read(follower: &mut Follower) -> Vec<u64> {
        std::iter::from_fn(|| match follower.look() {
            Some(Next::Happening(happening)) => Some(number(&happening)),
            _ => None,
        })
        .collect()
    }

    fn number(happening: &Happening) -> u64 {
        happening.attributes["reclaimed"].parse().unwrap()
    }

    #[tokio::test]
    async fn followers_begin_where_they_want_and_read_everything_in_order() {
        let feed = Feed::new();
        publish(&feed, 0, 3);
        let (mut all, mut new) = (feed.follow_all(), feed.follow());
        assert_eq!((all.behind(), new.behind()), (3, 0));
        publish(&feed, 3, 2);
        assert_eq!(read(&mut all), [0, 1, 2, 3, 4]);
        assert_eq!(read(&mut new), [3, 4]);
        assert_eq!(new.look(), None);
        let later = feed.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            publish(&later, 5, 1);
            later.end();
        });
        let Next::Happening(happening) = new.next().await else {
            panic!("nothing happened");
        };
        assert_eq!(number(&happening), 5);
        assert_eq!(new.next().await, Next::Ended);
        assert_eq!(read(&mut all), [5]);
        assert_eq!(all.next().await, Next::Ended);
        assert_eq!(feed.follow().next().await, Next::Ended);
    }

    #[test]
    fn a_follower_that_falls_behind_is_told_how_much_it_missed() {
        let feed = Feed::new();
        let mut slow = feed.follow();
        publish(&feed, 0, KEPT as u64);
        let mut late = feed.follow_all();
        assert_eq!(late.behind(), KEPT as u64, "as many as can be are still there");
        publish(&feed, KEPT as u64, 5);
        assert_eq!(slow.look(), Some(Next::Missed(5)));
        assert_eq!(late.look(), Some(Next::Missed(5)));
        let rest: Vec<u64> = (5..KEPT as u64 + 5).collect();
        assert_eq!(read(&mut slow), rest);
        assert_eq!(feed.0.ring().kept.len(), KEPT);
    }

    #[test]
    fn nothing_is_left_of_a_follower_that_goes_away() {
        let feed = Feed::new();
        let mut followers: Vec<Follower> = (0..50).map(|_| feed.follow()).collect();
        assert_eq!(feed.followers(), 50);
        publish(&feed, 0, 1);
        let Some(Next::Happening(happening)) = followers[0].look() else {
            panic!("nothing happened");
        };
        publish(&feed, 1, KEPT as u64);
        assert_eq!(Arc::strong_count(&happening), 1, "only the reader has it now");
        drop(followers);
        assert_eq!((feed.followers(), Arc::strong_count(&feed.0)), (0, 1));
    }

    #[test]
    fn who_publishes_at_the_same_time_waits_for_nobody_and_nothing_is_lost() {
        const WRITERS: u64 = 4;
        const EACH: u64 = 20_000;
        let feed = Feed::new();
        // never reads
        let mut stuck = feed.follow();
        let reader = feed.follow();
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(count(reader))
            });
            let writers: Vec<_> = (0..WRITERS)
                .map(|own| {
                    let feed = &feed;
                    scope.spawn(move || publish(feed, own * EACH, EACH))
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            feed.end();
            let (read, missed) = counting.join().unwrap();
            assert_eq!(read + missed, WRITERS * EACH);
        });
        assert_eq!(stuck.look(), Some(Next::Missed(WRITERS * EACH - KEPT as u64)));
    }

    /// How many happenings a follower reads until the end, and how many it misses; those of each writer in their order.
    async fn count(mut reader: Follower) -> (u64, u64) {
        let (mut read, mut missed) = (0, 0);
        let mut last = BTreeMap::new();
        loop {
            match reader.next().await {
                Next::Happening(happening) => {
                    read += 1;
                    let number = number(&happening);
                    let before = last.insert(number / 20_000, number);
                    assert!(before.is_none_or(|before| before < number));
                }
                Next::Missed(count) => missed += count,
                Next::Ended => return (read, missed),
            }
        }
    }

    #[test]
    fn labels_are_told_as_far_as_there_is_room() {
        let long = "x".repeat(LABELS_LIMIT);
        let mut all: BTreeMap<String, String> =
            (0..10_000).map(|n| (format!("z{n:05}"), String::new())).collect();
        for (name, value) in [("a", "1"), ("b", long.as_str()), ("c", "3"), ("name", "mine")] {
            all.insert(name.to_owned(), value.to_owned());
        }
        let feed = Feed::new();
        let image = image(all);
        feed.image(Action::Tag, &image, "x:latest".to_owned());
        let Some(Next::Happening(happening)) = feed.follow_all().look() else {
            panic!("nothing happened");
        };
        assert_eq!(happening.subject, Subject::Image(image.id));
        let own = &happening.attributes;
        assert_eq!((own["a"].as_str(), own["c"].as_str()), ("1", "3"));
        assert!(!own.contains_key("b"), "it is too long");
        assert_eq!(own["name"], "x:latest", "a label does not hide the name");
        assert!(own.contains_key("z00000") && !own.contains_key("z09999"));
        assert!(own.len() <= LABELS_LIMIT / LABEL_COST);
    }
}
