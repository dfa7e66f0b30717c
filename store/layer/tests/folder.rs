//! A folder read where it lies, while others do to it what they like.
// only functions marked as tests may unwrap by themselves
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mica_layer::{Finding, Fingerprints, FolderView, ImagePath, Kind, LayerView, Stack, Step};
use mica_oci::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use tempfile::TempDir;

fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

fn view_with(folder: &Path, prints: &Arc<Fingerprints>) -> FolderView {
    let fd = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    FolderView::new(fd, prints.clone()).unwrap()
}

fn view(folder: &Path) -> FolderView {
    view_with(folder, &Arc::default())
}

fn kind(view: &FolderView, name: &str) -> Option<Kind> {
    match view.find(&path(name)).unwrap() {
        Finding::Node { node, .. } => Some(node.meta.kind),
        _ => None,
    }
}

fn text(view: &FolderView, name: &str) -> String {
    let mut text = String::new();
    view.open(&path(name))
        .unwrap()
        .reader()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Makes `name` lead elsewhere without leaving it absent for long.
fn swap(folder: &Path, name: &str, make: impl Fn(&Path)) {
    let new = folder.join("swapped");
    make(&new);
    let old = folder.join(name);
    fs::rename(&old, folder.join("gone")).unwrap();
    fs::rename(&new, &old).unwrap();
}

#[test]
fn all_kinds_of_files_are_seen_as_they_are() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "text").unwrap();
    fs::set_permissions(root.join("d/f"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(root.join("d/f"), root.join("same")).unwrap();
    symlink("/etc/../x", root.join("l")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let view = view(root);
    assert_eq!(text(&view, "d/f"), "text");
    assert_eq!(
        kind(&view, "l"),
        Some(Kind::Symlink {
            target: b"/etc/../x".to_vec()
        })
    );
    assert_eq!(kind(&view, "pipe"), Some(Kind::Fifo));
    assert_eq!(kind(&view, "socket"), Some(Kind::File { size: 0 }));
    assert_eq!(text(&view, "socket"), "");
    let stack = Stack::new(vec![Arc::new(view)]);
    let found = stack.lookup(&path("d/f")).unwrap().unwrap();
    assert_eq!(found.node.meta.mode, 0o4751);
    assert_eq!(found.link(), stack.lookup(&path("same")).unwrap().unwrap().link());
    let mut seen = Vec::new();
    stack
        .walk(&path(""), &mut |path, _| {
            seen.push(path.to_string());
            Ok(Step::Into)
        })
        .unwrap();
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let folder = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    let view = view(folder.path());
    assert_eq!(view.find(&path("out/secret")).unwrap(), Finding::Whiteout);
    assert!(view.names(&path("out")).unwrap().is_empty());
    assert!(view.open(&path("out/secret")).is_err());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    let folder = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("f"), "secret").unwrap();
    fs::create_dir_all(folder.path().join("d/e")).unwrap();
    fs::write(folder.path().join("d/f"), "mine").unwrap();
    let link = |at: &Path| symlink(outside.path(), at).unwrap();
    // before it is listed
    let first = view(folder.path());
    first.find(&path("d")).unwrap();
    swap(folder.path(), "d", link);
    let error = first.names(&path("d")).unwrap_err().to_string();
    assert_eq!(error, "/d: changed while it was read");
    // after it is listed
    fs::remove_file(folder.path().join("d")).unwrap();
    fs::rename(folder.path().join("gone"), folder.path().join("d")).unwrap();
    let second = view(folder.path());
    second.find(&path("d/f")).unwrap();
    swap(folder.path(), "d", link);
    let error = second.open(&path("d/f")).err().unwrap().to_string();
    assert_eq!(error, "/d/f: changed while it was read");
}

#[test]
fn a_file_that_changes_is_an_error_and_not_another_digest() {
    let folder = TempDir::new().unwrap();
    for name in ["longer", "other", "after", "pipe", "link"] {
        fs::write(folder.path().join(name), "text").unwrap();
    }
    let view = view(folder.path());
    view.find(&path("after")).unwrap();
    // the file system's clock may stand still for a moment
    std::thread::sleep(Duration::from_millis(20));
    let opened = view.open(&path("after")).unwrap();
    fs::write(folder.path().join("longer"), "text and more").unwrap();
    fs::write(folder.path().join("other"), "TEXT").unwrap();
    fs::write(folder.path().join("after"), "TEXT").unwrap();
    swap(folder.path(), "pipe", |at| {
        rustix::fs::mknodat(rustix::fs::CWD, at, FileType::Fifo, Mode::RUSR, 0).unwrap();
    });
    fs::remove_file(folder.path().join("gone")).unwrap();
    swap(folder.path(), "link", |at| symlink("/etc/passwd", at).unwrap());
    for name in ["longer", "other", "pipe", "link"] {
        let error = view.open(&path(name)).err().unwrap().to_string();
        assert_eq!(error, format!("/{name}: changed while it was read"));
    }
    std::io::copy(&mut opened.reader(), &mut std::io::sink()).unwrap();
    let error = view.was_read(&path("after"), None).unwrap_err().to_string();
    assert_eq!(error, "/after: changed while it was read");
}

fn read(view: &FolderView, name: &str) -> Option<Digest> {
    let known = match view.find(&path(name)).unwrap() {
        Finding::Node { node, .. } => node.content,
        _ => None,
    };
    if known.is_none() {
        let digest = Digest::of(text(view, name).as_bytes());
        view.was_read(&path(name), Some(&digest)).unwrap();
    }
    known
}

fn next(prints: &Arc<Fingerprints>) -> Arc<Fingerprints> {
    Arc::new(Fingerprints::read(&prints.bytes()))
}

#[test]
fn only_what_did_not_change_is_known_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["same", "edited", "replaced", "chmod", "touched"] {
        fs::write(at(name), "one").unwrap();
    }
    let prints = Arc::default();
    fs::write(at("same"), "one").unwrap();
    let young = view_with(folder.path(), &prints);
    read(&young, "same");
    let young = view_with(folder.path(), &next(&prints));
    assert_eq!(read(&young, "same"), None, "it could have changed within a tick");
    std::thread::sleep(Duration::from_millis(2200));
    let prints = Arc::default();
    let first = view_with(folder.path(), &prints);
    for name in ["same", "edited", "replaced", "chmod", "touched"] {
        assert_eq!(read(&first, name), None);
    }
    // as sly as can be: same size, and the old time put back
    let times = fs::metadata(at("edited")).unwrap().modified().unwrap();
    fs::write(at("edited"), "two").unwrap();
    set_time(&at("edited"), times);
    fs::write(at("new"), "two").unwrap();
    set_time(&at("new"), times);
    fs::rename(at("new"), at("replaced")).unwrap();
    fs::set_permissions(at("chmod"), fs::Permissions::from_mode(0o600)).unwrap();
    set_time(&at("touched"), times);
    assert_eq!(fs::metadata(at("edited")).unwrap().size(), 3);
    let second = view_with(folder.path(), &next(&prints));
    assert_eq!(read(&second, "same"), Some(Digest::of(b"one")));
    for name in ["edited", "replaced", "chmod", "touched"] {
        assert_eq!(read(&second, name), None, "{name}");
    }
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn what_a_user_set_on_a_file_is_seen_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, "x").unwrap();
    let set = |name: &str| rustix::fs::setxattr(&file, name, b"v", rustix::fs::XattrFlags::empty());
    if set("user.a").is_err() {
        // a file system without attributes shows nothing of this
        return;
    }
    // only root may, and it is not shown either way
    let _ = set("trusted.b");
    let Finding::Node { node, .. } = view(folder.path()).find(&path("f")).unwrap() else {
        panic!("the file is there");
    };
    let names: Vec<_> = node.meta.xattrs.keys().cloned().collect();
    assert_eq!(names, [b"user.a".to_vec()]);
}

#[test]
fn a_walk_is_prepared_as_far_as_it_goes() {
    let folder = TempDir::new().unwrap();
    for at in 0..30 {
        let sub = folder.path().join(format!("d{at}/e/f"));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join("x"), "x").unwrap();
    }
    fs::create_dir_all(folder.path().join("no/entry")).unwrap();
    let view = view(folder.path());
    view.prepare(&path(""), &|directory| directory.as_bytes() != b"no")
        .unwrap();
    // what was listed is known from then on, what was not is not
    fs::remove_dir_all(folder.path().join("d7")).unwrap();
    fs::write(folder.path().join("no/late"), "").unwrap();
    assert_eq!(view.names(&path("d7/e/f")).unwrap().len(), 1);
    assert_eq!(view.names(&path("no")).unwrap().len(), 2);
}
