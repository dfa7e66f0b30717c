//! What a run leaves in an overlay becomes a layer that shows the same to whoever comes after. Needs the right to mount.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic and say why it does not run"
)]

mod hand_made;
mod mounted;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hand_made::{Chance, RawTar, dir_view, listing, unpack};
use mica_layer::{
    Allowance, Change, Changes, ImagePath, Packed, Policy, Root, Stack, TreeWriter, XattrPolicy,
    changes_of_tree, diff, normalise, pack,
};
use mounted::Overlay;

/// One run over some layers.
struct Run {
    scratch: tempfile::TempDir,
    trees: Vec<PathBuf>,
    overlay: Option<Overlay>,
}

impl Run {
    /// Mounts the layers, the bottom one first; `None` without the right to.
    fn over(layers: Vec<RawTar>) -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let mut trees = Vec::new();
        for (at, layer) in layers.into_iter().enumerate() {
            let place = scratch.path().join(format!("layer{at}"));
            if unpack(&layer.end(), &place).is_ok() {
                trees.push(place);
            }
        }
        match Overlay::mount(&trees, scratch.path(), "run") {
            Ok(overlay) => Some(Self {
                overlay: Some(overlay),
                trees,
                scratch,
            }),
            Err(rustix::io::Errno::PERM) => {
                eprintln!("skipped: no right to mount");
                None
            }
            Err(error) => panic!("cannot mount: {error}"),
        }
    }

    fn root(&self) -> &Path {
        self.overlay.as_ref().unwrap().root()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn below(&self) -> Stack {
        Stack::new(self.trees.iter().map(|tree| dir_view(tree)).collect())
    }

    fn above(&self, tree: &Path) -> Stack {
        self.below().with(dir_view(tree))
    }

    /// Ends the run; gives its upper directory.
    fn end(&mut self) -> PathBuf {
        self.overlay.take().unwrap().into_upper()
    }

    /// Ends the run; gives its changes and its upper directory as it was.
    fn changes(&mut self) -> (Changes, PathBuf) {
        let upper = self.end();
        (diff_of(&upper, &self.below()), upper)
    }

    /// Checks that all forms of the layer say the same, and that it shows what the run showed at its end.
    fn check(mut self, what: &str) {
        let shown = plain(&Stack::new(vec![dir_view(self.root())]));
        let (changes, upper) = self.changes();
        let tree = self.scratch.path().join("written");
        let (tar, packed) = packed(&changes, Some(&tree));
        normalise(&upper, &changes, None, &|| Ok(())).unwrap();
        assert_eq!(plain(&self.above(&upper)), shown, "{what}: the upper directory");
        let (again, packed_again) = {
            let changes = tree_changes(&upper);
            crate::packed(&changes, None)
        };
        assert!(tar == again, "{what}: another tar from the normalised tree");
        assert_eq!(packed, packed_again, "{what}");
        let unpacked = self.scratch.path().join("unpacked");
        let applied = unpack(&tar, &unpacked).unwrap();
        assert_eq!(
            (applied.diff_id, applied.size),
            (packed.diff_id, packed.size),
            "{what}"
        );
        let normal = listing(&self.above(&upper));
        assert_eq!(listing(&self.above(&unpacked)), normal, "{what}: unpacked");
        assert_eq!(listing(&self.above(&tree)), normal, "{what}: written in passing");
        let second: Vec<_> = diff_of(&upper, &self.below()).into_keys().collect();
        assert_eq!(
            second,
            changes.into_keys().collect::<Vec<_>>(),
            "{what}: changes of the normalised tree"
        );
    }
}

fn diff_of(upper: &Path, below: &Stack) -> Changes {
    diff(upper, below, Allowance::default(), &|| Ok(())).unwrap()
}

fn tree_changes(tree: &Path) -> Changes {
    changes_of_tree(
        tree,
        XattrPolicy::CapabilityOnly,
        Allowance::default(),
        &|| Ok(()),
    )
    .unwrap()
}

fn packed(changes: &Changes, tree: Option<&Path>) -> (Vec<u8>, Packed) {
    let mut tar = Vec::new();
    let mut writer = tree.map(|place| {
        fs::create_dir(place).unwrap();
        TreeWriter::new(Root::open(place).unwrap())
    });
    let sink = writer
        .as_mut()
        .map(|writer| writer as &mut dyn mica_layer::TreeSink);
    let packed = pack(changes, &Policy::default(), &mut tar, sink).unwrap();
    if let Some(writer) = writer {
        writer.finish().unwrap();
    }
    (tar, packed)
}

/// A listing without what a layer may lose: which names are one file, and the times of directories.
fn plain(stack: &Stack) -> BTreeMap<String, String> {
    let cut = |text: String| {
        let text = text.split(" = ").next().unwrap().to_owned();
        match text.strip_prefix("Directory ") {
            Some(rest) => {
                let words: Vec<_> = rest.split(' ').collect();
                format!("Directory {} {}", words[0], words[2])
            }
            None => text,
        }
    };
    listing(stack)
        .into_iter()
        .map(|(path, text)| (path, cut(text)))
        .collect()
}

/// The changes in words: `+` for a file, `-` for a whiteout.
fn words(changes: &Changes) -> Vec<String> {
    let word = |(path, change): (&ImagePath, &Change)| match change {
        Change::Whiteout => format!("-{path}"),
        Change::Node { .. } => format!("+{path}"),
    };
    changes.iter().map(word).collect()
}

fn base() -> RawTar {
    RawTar::default()
        .dir("etc/", 0o755)
        .file("etc/a", "a")
        .file("etc/b", "b")
        .dir("etc/sub/", 0o755)
        .file("etc/sub/c", "c")
        .dir("tmp/", 0o1777)
        .link("link", "etc/a")
        .file("names/one", "1")
        .hard("names/two", "names/one")
}

#[test]
fn random_runs_become_layers_that_show_the_same() {
    for seed in 0..150 {
        let mut chance = Chance::new(seed);
        let layers = (0..1 + chance.below(3)).map(|_| chance.layer(9)).collect();
        let Some(run) = Run::over(layers) else { return };
        for step in 0..chance.below(14) {
            act(&mut chance, run.root(), step);
        }
        run.check(&format!("seed {seed}"));
    }
}

/// Does something, or fails to: both happens in runs.
fn act(chance: &mut Chance, root: &Path, step: usize) {
    let path = root.join(chance.path());
    let to = root.join(chance.path());
    if has_link(root, path.parent().unwrap()) || has_link(root, to.parent().unwrap()) {
        return;
    }
    let linked = path.is_symlink();
    _ = match chance.below(14) {
        0..=2 if !linked => fs::write(&path, format!("run {step}")),
        3 => fs::remove_file(&path),
        4 => fs::remove_dir_all(&path),
        5 | 6 => fs::create_dir(&path),
        7 => fs::rename(&path, &to),
        8 => fs::hard_link(&path, &to),
        9 => symlink(chance.path(), &path),
        10 if !linked => fs::set_permissions(&path, PermissionsExt::from_mode(0o4711)),
        11 => std::os::unix::fs::lchown(&path, Some(7), Some(8)),
        12 if !linked && path.is_file() => fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_millis(1500))),
        // replaced by a directory that hides what was below
        _ => fs::remove_dir_all(&path).and_then(|()| {
            fs::create_dir(&path)?;
            fs::write(path.join("a"), "new")
        }),
    };
}

fn has_link(root: &Path, path: &Path) -> bool {
    path.ancestors()
        .take_while(|above| *above != root)
        .any(Path::is_symlink)
}

#[test]
fn only_what_changed_is_recorded() {
    let Some(mut run) = Run::over(vec![base()]) else {
        return;
    };
    // copied up but the same
    fs::File::options().append(true).open(run.at("etc/a")).unwrap();
    fs::set_permissions(run.at("etc/sub/c"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(run.at("etc/sub/c"), PermissionsExt::from_mode(0o644)).unwrap();
    // time only, then the root
    fs::write(run.at("tmp/x"), "").unwrap();
    fs::remove_file(run.at("tmp/x")).unwrap();
    fs::set_permissions(run.root(), PermissionsExt::from_mode(0o700)).unwrap();
    let (changes, upper) = run.changes();
    assert_eq!(words(&changes), [""; 0]);
    normalise(&upper, &changes, None, &|| Ok(())).unwrap();
    assert_eq!(fs::read_dir(&upper).unwrap().count(), 0);
    assert_eq!(fs::metadata(&upper).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn same_size_and_whole_seconds_are_compared_by_bytes() {
    for (text, changed) in [("a", false), ("z", true)] {
        let Some(mut run) = Run::over(vec![base()]) else {
            return;
        };
        fs::write(run.at("etc/a"), text).unwrap();
        let file = fs::File::options().write(true).open(run.at("etc/a")).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(0o1750))
            .unwrap();
        drop(file);
        let (changes, _) = run.changes();
        assert_eq!(!changes.is_empty(), changed, "{text}");
    }
}

#[test]
fn a_replaced_directory_becomes_whiteouts_of_what_it_hides() {
    let Some(run) = Run::over(vec![base()]) else {
        return;
    };
    fs::remove_dir_all(run.at("etc")).unwrap();
    fs::create_dir_all(run.at("etc/sub")).unwrap();
    fs::write(run.at("etc/new"), "").unwrap();
    let mut run = run;
    let (changes, _) = run.changes();
    // `etc/sub` is as it was, but comes with what is below it
    let expected = [
        "+/etc",
        "-/etc/a",
        "-/etc/b",
        "+/etc/new",
        "+/etc/sub",
        "-/etc/sub/c",
    ];
    assert_eq!(words(&changes), expected);
}

#[test]
fn names_a_layer_cannot_hold_become_deletions() {
    let Some(run) = Run::over(vec![base()]) else {
        return;
    };
    fs::write(run.at("etc/.wh.a"), "").unwrap();
    fs::write(run.at("etc/.wh.nothing"), "").unwrap();
    fs::create_dir_all(run.at(".wh.link/below")).unwrap();
    fs::write(run.at("names/.wh..wh..opq"), "").unwrap();
    let socket = UnixListener::bind(run.at("tmp/socket")).unwrap();
    drop(socket);
    let mut run = run;
    let (changes, upper) = run.changes();
    assert_eq!(
        words(&changes),
        [
            "+/etc",
            "-/etc/a",
            "-/link",
            "+/names",
            "-/names/one",
            "-/names/two"
        ]
    );
    normalise(&upper, &changes, None, &|| Ok(())).unwrap();
    let (tar, _) = packed(&changes, None);
    assert!(tar == packed(&tree_changes(&upper), None).0);
    let names: Vec<_> = plain(&run.above(&upper)).into_keys().collect();
    assert_eq!(
        names,
        ["/etc", "/etc/b", "/etc/sub", "/etc/sub/c", "/names", "/tmp"]
    );
}

#[test]
fn links_stay_among_changed_paths_only() {
    let Some(run) = Run::over(vec![base()]) else {
        return;
    };
    fs::hard_link(run.at("etc/a"), run.at("etc/unchanged-too")).unwrap();
    fs::write(run.at("etc/x"), "x").unwrap();
    fs::hard_link(run.at("etc/x"), run.at("etc/y")).unwrap();
    fs::write(run.at("names/one"), "changed").unwrap();
    let mut run = run;
    let (changes, upper) = run.changes();
    let linked = |path: &str| match &changes[&ImagePath::clamped(path.as_bytes())] {
        Change::Node { link, .. } => link.clone(),
        Change::Whiteout => panic!("{path} is gone"),
    };
    assert_eq!(linked("etc/unchanged-too"), None);
    assert_eq!(linked("names/one"), None);
    assert!(linked("etc/x").is_some() && linked("etc/x") == linked("etc/y"));
    assert!(!changes.contains_key(&ImagePath::clamped(b"etc/a")));
    normalise(&upper, &changes, None, &|| Ok(())).unwrap();
    let list = listing(&run.above(&upper));
    assert!(list["/etc/y"].ends_with("\"x\" = /etc/x"), "{}", list["/etc/y"]);
    assert!(list["/names/two"].ends_with("\"1\""), "{}", list["/names/two"]);
}

#[test]
fn times_are_clamped_and_attributes_are_kept() {
    let Some(run) = Run::over(vec![base()]) else {
        return;
    };
    fs::write(run.at("etc/new"), "x").unwrap();
    fs::write(run.at("etc/old"), "x").unwrap();
    let old = fs::File::options().write(true).open(run.at("etc/old")).unwrap();
    old.set_modified(UNIX_EPOCH + Duration::from_millis(500)).unwrap();
    drop(old);
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(run.at("etc/new"), "user.x", b"kept", flags).unwrap();
    let mut run = run;
    let (changes, upper) = run.changes();
    normalise(&upper, &changes, Some(1000), &|| Ok(())).unwrap();
    let time = |path: &str| {
        let meta = fs::symlink_metadata(upper.join(path)).unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    assert_eq!(
        (time("etc"), time("etc/new"), time("etc/old")),
        ((1000, 0), (1000, 0), (0, 500_000_000))
    );
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(upper.join("etc/new"), "user.x", value.as_mut_slice()).unwrap();
    assert_eq!(&value[..len], b"kept");
    let mut names = [0; 256];
    let len = rustix::fs::listxattr(upper.join("etc"), names.as_mut_slice()).unwrap();
    let names = String::from_utf8_lossy(&names[..len]).into_owned();
    assert!(!names.contains("overlay"), "{names}");
}
