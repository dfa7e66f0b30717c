//! Folders of clients that tell the truth, and of those that do not.

use std::io::Read;

use mica_store::OpenFolder;
use proptest::prelude::*;

use super::*;

/// Sends what it has, and counts what it was asked for.
#[derive(Clone, Default)]
struct Shelf {
    files: HashMap<u32, Vec<u8>>,
    asked: Arc<Mutex<Vec<u32>>>,
}

impl Shelf {
    fn asked(&self) -> Vec<u32> {
        let mut asked = std::mem::take(&mut *lock(&self.asked));
        asked.sort_unstable();
        asked
    }
}

impl FileSender for Shelf {
    fn send(
        &mut self,
        numbers: &[u32],
        take: &mut dyn FnMut(u32, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        lock(&self.asked).extend(numbers);
        // pieces of all files mixed, as a client that reads several at once sends them
        let longest = numbers.iter().map(|number| self.files[number].len()).max();
        for at in (0..longest.unwrap_or_default()).step_by(3) {
            for number in numbers {
                let bytes = &self.files[number];
                if at < bytes.len() {
                    take(*number, &bytes[at..bytes.len().min(at + 3)])?;
                }
            }
        }
        numbers.iter().try_for_each(|number| take(*number, b""))
    }
}

struct World {
    folder: tempfile::TempDir,
    store: Store,
    lease: Lease,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lease = store.lease();
        Self { folder, store, lease }
    }

    fn open(&self, files: Vec<ClientFile>, shelf: &Shelf) -> Result<(SyncedView, OpenFolder), Error> {
        let open = self.store.open_client_folder("key");
        let folder = ClientFolder {
            key: "key".to_owned(),
            files,
            ignore: None,
            sender: Box::new(shelf.clone()),
        };
        let view = SyncedView::new(folder, open.fingerprints().clone(), &self.store, &self.lease)?;
        Ok((view, open))
    }
}

fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

fn of(number: u32, path: &str, kind: Kind) -> ClientFile {
    ClientFile {
        number,
        path: path.as_bytes().to_vec(),
        meta: Meta {
            kind,
            mode: 0o644,
            ..Meta::directory(
                0o755,
                Mtime {
                    seconds: 1_600_000_000,
                    nanoseconds: 0,
                },
            )
        },
        link: None,
    }
}

fn file(number: u32, path: &str, size: u64) -> ClientFile {
    of(number, path, Kind::File { size })
}

fn directory(number: u32, path: &str) -> ClientFile {
    of(number, path, Kind::Directory)
}

fn linked(number: u32, path: &str, to: &str) -> ClientFile {
    ClientFile {
        link: Some(to.as_bytes().to_vec()),
        ..file(number, path, 0)
    }
}

fn shelf(files: &[(u32, &str)]) -> Shelf {
    let files = files.iter();
    Shelf {
        files: files
            .map(|(number, text)| (*number, text.as_bytes().to_vec()))
            .collect(),
        ..Shelf::default()
    }
}

fn read(view: &SyncedView, at: &str) -> String {
    let mut text = String::new();
    let content = view.open(&path(at)).unwrap();
    content.reader().read_to_string(&mut text).unwrap();
    text
}

fn names(view: &SyncedView, at: &str) -> Vec<String> {
    let names = view.names(&path(at)).unwrap().into_iter();
    names.map(|name| String::from_utf8(name.name).unwrap()).collect()
}

fn node(view: &SyncedView, at: &str) -> Node {
    match view.find(&path(at)).unwrap() {
        Finding::Node { node, .. } => node,
        _ => panic!("{at} is not there"),
    }
}

#[test]
fn a_folder_is_what_was_told_of_it() {
    let world = World::new();
    let shelf = shelf(&[(1, "one"), (3, "three"), (4, "four"), (6, "")]);
    let files = vec![
        directory(0, "a"),
        file(1, "a/one", 3),
        directory(2, "a/b"),
        file(3, "a/b/three", 5),
        file(4, "a-b", 4),
        of(
            5,
            "link",
            Kind::Symlink {
                target: b"a/one".to_vec(),
            },
        ),
        file(6, "nothing", 0),
    ];
    let (view, _open) = world.open(files, &shelf).unwrap();
    assert_eq!(names(&view, ""), ["a", "a-b", "link", "nothing"]);
    assert_eq!(names(&view, "a"), ["b", "one"]);
    assert!(names(&view, "a/b/three").is_empty() && names(&view, "nowhere").is_empty());
    let listed = view.files(&path("a")).unwrap().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(shelf.asked().is_empty(), "no bytes are needed for this");

    assert_eq!(
        (read(&view, "a/b/three"), read(&view, "nothing")),
        ("three".into(), String::new())
    );
    assert_eq!(shelf.asked(), [3, 6]);
    // once here it is not asked for again, and its digest is known
    assert_eq!(read(&view, "a/b/three"), "three");
    assert!(shelf.asked().is_empty());
    assert_eq!(node(&view, "a/b/three").content, Some(Digest::of(b"three")));
    assert!(view.open(&path("link")).is_err() && view.open(&path("a")).is_err());
    assert!(matches!(view.find(&path("nowhere")).unwrap(), Finding::Silent));
}

#[test]
fn several_files_come_at_once_and_only_those_that_are_wanted() {
    let world = World::new();
    let shelf = shelf(&[(1, "one"), (3, "three"), (4, "four"), (5, "five")]);
    let files = vec![
        directory(0, "a"),
        file(1, "a/one", 3),
        directory(2, "a/left-out"),
        file(3, "a/left-out/three", 5),
        file(4, "a/z", 4),
        file(5, "beside", 4),
    ];
    let (view, _open) = world.open(files, &shelf).unwrap();
    view.prepare(&path("a"), &|directory| *directory != path("a/left-out"))
        .unwrap();
    assert_eq!(shelf.asked(), [1, 4]);
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert_eq!(shelf.asked(), [3, 5]);
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert!(shelf.asked().is_empty());
    assert_eq!(
        ["a/one", "a/left-out/three", "a/z", "beside"].map(|at| read(&view, at)),
        ["one", "three", "four", "five"]
    );
}

#[test]
fn hard_links_are_one_file_with_one_coming() {
    let world = World::new();
    let shelf = shelf(&[(0, "text")]);
    let files = vec![file(0, "a", 4), linked(1, "b", "a"), linked(2, "c", "b")];
    let (view, _open) = world.open(files, &shelf).unwrap();
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert_eq!(shelf.asked(), [0]);
    for at in ["a", "b", "c"] {
        assert_eq!(read(&view, at), "text");
        assert_eq!(node(&view, at).meta.size(), 4);
        assert_eq!(node(&view, at).link, Some(LinkKey::Offset(0)), "{at}");
    }
    // what has one name is no link
    let (view, _open) = world.open(vec![file(0, "a", 4)], &shelf).unwrap();
    assert_eq!(node(&view, "a").link, None);
}

#[test]
fn what_was_learned_is_known_to_the_next_build() {
    let world = World::new();
    let shelf = shelf(&[(0, "text"), (1, "more")]);
    let told = || vec![file(0, "a", 4), file(1, "b", 4)];
    let (view, open) = world.open(told(), &shelf).unwrap();
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert_eq!(shelf.asked(), [0, 1]);
    drop((view, open));

    let (view, open) = world.open(told(), &shelf).unwrap();
    assert_eq!(node(&view, "a").content, Some(Digest::of(b"text")));
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert!(shelf.asked().is_empty());
    // whose bytes are wanted all the same still come
    assert_eq!(read(&view, "b"), "more");
    assert_eq!(shelf.asked(), [1]);
    drop((view, open));

    // another time, another size or another mode is another file
    let mut changed = told();
    changed[0].meta.mtime.seconds += 1;
    changed[1].meta.mode = 0o755;
    let (view, _open) = world.open(changed, &shelf).unwrap();
    assert_eq!((node(&view, "a").content, node(&view, "b").content), (None, None));
    assert!(world.folder.path().exists());
}

#[test]
fn what_is_too_young_is_not_remembered() {
    let world = World::new();
    let shelf = shelf(&[(0, "text")]);
    let told = || {
        let mut young = file(0, "a", 4);
        young.meta.mtime = now();
        vec![young]
    };
    let (view, open) = world.open(told(), &shelf).unwrap();
    view.prepare(&ImagePath::root(), &|_| true).unwrap();
    assert_eq!(shelf.asked(), [0]);
    let young = told();
    drop((view, open));
    let (view, _open) = world.open(young, &shelf).unwrap();
    assert_eq!(node(&view, "a").content, None);
}

#[test]
fn other_lengths_than_were_told_are_refused_and_not_learned() {
    let world = World::new();
    for (sent, words) in [("longer text", "grew"), ("te", "shrank"), ("", "shrank")] {
        let liar = shelf(&[(0, sent)]);
        let told = || vec![file(0, "a", 4)];
        let (view, open) = world.open(told(), &liar).unwrap();
        let error = view.prepare(&ImagePath::root(), &|_| true).unwrap_err();
        let text = format!(
            "{error} {:?}",
            std::error::Error::source(&error).map(ToString::to_string)
        );
        assert!(text.contains(words), "{text}");
        assert!(view.open(&path("a")).is_err());
        drop((view, open));
        let (view, _open) = world.open(told(), &shelf(&[(0, "text")])).unwrap();
        assert_eq!(node(&view, "a").content, None);
    }
}

#[test]
fn sizes_that_no_disk_has_are_refused() {
    let world = World::new();
    let shelf = shelf(&[(0, ""), (1, ""), (2, "")]);
    let most = i64::MAX.unsigned_abs();
    let files = (0..3)
        .map(|number| file(number, &number.to_string(), most))
        .collect();
    let (view, _open) = world.open(files, &shelf).unwrap();
    let error = view.prepare(&ImagePath::root(), &|_| true).unwrap_err();
    assert!(error.to_string().contains("cannot have a file of"), "{error}");
    assert!(shelf.asked().is_empty());
    let (view, _open) = world.open(vec![file(0, "0", u64::MAX)], &shelf).unwrap();
    assert!(view.open(&path("0")).is_err());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = World::new();
    let target = |length: usize| Kind::Symlink {
        target: vec![b'x'; length],
    };
    for (files, words) in [
        (vec![file(0, "../x", 1)], "not a path"),
        (vec![file(0, "a/../x", 1)], "not a path"),
        (vec![file(0, "", 1)], "not a path"),
        (vec![file(0, "/", 1)], "not a path"),
        (vec![file(0, ".", 1)], "not a path"),
        (vec![file(0, "a\0b", 1)], "not a path"),
        (vec![file(0, "a", 1), file(1, "./a", 1)], "twice"),
        (vec![directory(0, "a"), directory(1, "a")], "twice"),
        (vec![file(0, "a/x", 1), directory(1, "a")], "not in a directory"),
        (vec![file(0, "a", 1), file(1, "a/x", 1)], "not in a directory"),
        (
            vec![of(0, "a", target(1)), file(1, "a/x", 1)],
            "not in a directory",
        ),
        (vec![linked(0, "a", "b")], "another name"),
        (vec![linked(0, "a", "a")], "another name"),
        (vec![linked(0, "a", "../a")], "another name"),
        (vec![directory(0, "d"), linked(1, "a", "d")], "another name"),
        (vec![file(0, &"n".repeat(4096), 1)], "longer than"),
        (vec![of(0, "a", target(4096))], "longer than"),
    ] {
        let shown = format!("{files:?}");
        let Err(error) = world.open(files, &Shelf::default()) else {
            panic!("{shown:.200} is taken");
        };
        let text = format!(
            "{error} {:?}",
            std::error::Error::source(&error).map(ToString::to_string)
        );
        assert!(text.contains(words), "{shown:.200}: {text}");
        assert!(text.len() < 1000, "{} bytes", text.len());
    }
    let deep = format!("{}x", "n/".repeat(3));
    assert!(world.open(vec![file(0, &deep, 1)], &Shelf::default()).is_err());
}

/// Names that come together in all wrong ways.
fn any_path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[abc]",
        "[abc]",
        "[abc]",
        Just("..".to_owned()),
        Just(String::new())
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn any_file() -> impl Strategy<Value = ClientFile> {
    let kind = prop_oneof![
        any::<u64>().prop_map(|size| Kind::File { size }),
        Just(Kind::Directory),
        Just(Kind::Directory),
        any_path().prop_map(|target| Kind::Symlink {
            target: target.into_bytes()
        }),
    ];
    let link = prop::option::weighted(0.2, any_path());
    (any_path(), kind, link, 0_u32..4).prop_map(|(path, kind, link, number)| ClientFile {
        link: link
            .filter(|_| matches!(kind, Kind::File { .. }))
            .map(String::into_bytes),
        ..of(number, &path, kind)
    })
}

proptest! {
    #[test]
    fn whatever_is_told_is_a_tree_or_refused(files in prop::collection::vec(any_file(), 0..12)) {
        let Ok(found) = told(files.clone(), &Fingerprints::read(&[])) else {
            return Ok(());
        };
        prop_assert_eq!(found.len(), files.len() + 1, "each file once, and the root");
        for (path, file) in &found {
            if let Some(parent) = path.parent() {
                prop_assert!(found[&parent].node.meta.is_directory());
            }
            if file.node.link.is_some() {
                let same = found.values().filter(|other| other.node.link == file.node.link);
                prop_assert!(same.count() > 1);
            }
        }
    }
}

#[test]
fn whoever_reads_on_is_asked_for_more_at_once() {
    let world = World::new();
    let names: Vec<String> = (1..=6).map(|number| format!("f{number}")).collect();
    let numbered = names.iter().zip(1_u32..);
    let texts: Vec<(u32, &str)> = numbered
        .clone()
        .map(|(name, number)| (number, name.as_str()))
        .collect();
    let shelf = shelf(&texts);
    let files = || {
        numbered
            .clone()
            .map(|(name, number)| file(number, name, 2))
            .collect()
    };
    let (view, _open) = world.open(files(), &shelf).unwrap();
    // one file that is wanted is one file
    assert_eq!(read(&view, "f2"), "f2");
    assert_eq!(shelf.asked(), [2]);
    assert_eq!(read(&view, "f4"), "f4");
    assert_eq!(shelf.asked(), [4]);
    // the one behind it is the beginning of all the rest
    assert_eq!(read(&view, "f5"), "f5");
    assert_eq!(shelf.asked(), [5, 6]);
    assert_eq!(read(&view, "f6"), "f6");
    assert!(shelf.asked().is_empty());
}
