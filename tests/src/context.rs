//! A folder to build from.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A build context in a temporary folder.
pub struct Context(TempDir);

/// Where Debian's statically linked busybox is.
const BUSYBOX: &str = "/bin/busybox";

/// A Dockerfile's beginning that makes a stage `base` with a shell out of the context's `busybox`.
const BASE: &str = "FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

impl Context {
    /// A folder with this Dockerfile and nothing else.
    pub fn new(dockerfile: &str) -> Self {
        let context = Self(
            tempfile::Builder::new()
                .prefix("mica-context-")
                .tempdir()
                .expect("a folder can be made"),
        );
        context.file("Dockerfile", dockerfile)
    }

    /// A folder whose Dockerfile goes on after a stage `base` that has a shell.
    pub fn with_shell(dockerfile: &str) -> Self {
        let context = Self::new(&format!("{BASE}{dockerfile}"));
        fs_err::copy(BUSYBOX, context.path().join("busybox")).expect("busybox-static is installed");
        context
    }

    /// Writes a file, and the folders above it.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a name is below the folder"))
            .expect("folders can be made");
        fs_err::write(path, text).expect("files can be written");
    }

    /// Makes a symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        symlink(target, self.path().join(name)).expect("links can be made");
        self
    }

    /// Changes a file's permission bits.
    pub fn chmod(&self, name: &str, mode: u32) {
        fs_err::set_permissions(self.path().join(name), std::fs::Permissions::from_mode(mode))
            .expect("chmod works");
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The folder as an argument.
    pub fn arg(&self) -> &str {
        self.path().to_str().expect("temporary folders have plain names")
    }

    /// A copy in another folder; every file is as old as the copy.
    pub fn copy(&self) -> Self {
        let copy = Self(
            tempfile::Builder::new()
                .prefix("mica-copy-")
                .tempdir()
                .expect("a folder can be made"),
        );
        copy_folder(self.path(), copy.path());
        copy
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs_err::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target: PathBuf = to.join(entry.file_name());
        let kind = entry.file_type().expect("types are known");
        if kind.is_dir() {
            fs_err::create_dir(&target).expect("folders can be made");
            copy_folder(&entry.path(), &target);
        } else if kind.is_symlink() {
            symlink(
                fs_err::read_link(entry.path()).expect("links can be read"),
                &target,
            )
            .expect("links can be made");
        } else {
            fs_err::copy(entry.path(), &target).expect("files can be copied");
        }
    }
}
