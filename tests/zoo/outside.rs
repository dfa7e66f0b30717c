//! What lies beside trees and stores and must stay as it is.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mica_tests::{Daemon, Options};
use tempfile::TempDir;

/// A folder with a few files of all kinds, a tree and a daemon's folder beside them.
pub(crate) struct Outside {
    folder: TempDir,
    before: String,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs_err::create_dir_all(at("beside/inner")).unwrap();
        fs_err::create_dir(at("tree")).unwrap();
        fs_err::create_dir(at("daemon")).unwrap();
        fs_err::write(at("canary"), "sings").unwrap();
        fs_err::write(at("beside/inner/canary"), "sings too").unwrap();
        fs_err::os::unix::fs::symlink("canary", at("link")).unwrap();
        let mut outside = Self {
            folder,
            before: String::new(),
        };
        outside.before = outside.now();
        outside
    }

    /// A daemon whose folder lies here.
    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::with(Options::default().within(&self.folder.path().join("daemon")))
    }

    /// An empty folder to unpack into.
    pub(crate) fn tree(&self) -> PathBuf {
        let tree = self.folder.path().join("tree/root");
        fs_err::create_dir(&tree).unwrap();
        tree
    }

    /// Nothing changed, and beside the daemon's folder there is nothing new either.
    pub(crate) fn check(&self, daemon: &Daemon, name: &str) {
        assert_eq!(self.now(), self.before, "{name}");
        assert!(daemon.folder().starts_with(self.folder.path().join("daemon")));
        for place in ["/mica-zoo-was-here", "/tmp/mica-zoo-was-here"] {
            assert!(!Path::new(place).exists(), "{name}: {place}");
        }
    }

    /// All that must not change, in words.
    fn now(&self) -> String {
        let mut text = String::new();
        describe(self.folder.path(), &mut text);
        let passwd = fs_err::metadata("/etc/passwd").unwrap();
        let known = (passwd.ino(), passwd.nlink(), passwd.mode(), passwd.ctime());
        writeln!(text, "passwd {known:?}").unwrap();
        text
    }
}

fn describe(folder: &Path, text: &mut String) {
    let mut entries: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let meta = fs_err::symlink_metadata(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // what these two hold changes all the time
        let own =
            matches!(name.as_str(), "tree" | "daemon") && folder.join("canary").exists() && meta.is_dir();
        let changed = (!own).then(|| (meta.ctime(), meta.ctime_nsec(), meta.nlink(), meta.size()));
        writeln!(
            text,
            "{} {:o} {} {changed:?}",
            path.display(),
            meta.mode(),
            meta.uid()
        )
        .unwrap();
        if meta.is_dir() && !own {
            describe(&path, text);
        }
    }
}

/// What a folder takes on the disk, in bytes. Trees may be deeper than a stack is.
pub(crate) fn blocks(folder: &Path) -> u64 {
    let mut ahead = vec![folder.to_owned()];
    let mut sum = 0;
    while let Some(folder) = ahead.pop() {
        // what is there at one moment may be gone at the next
        let Ok(entries) = fs_err::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(meta) = fs_err::symlink_metadata(&path) else {
                continue;
            };
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                ahead.push(path);
            }
        }
    }
    sum
}
