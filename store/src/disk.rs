//! Every durable write of the store: write, sync, rename, sync the folder; and the points where a test may kill it.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use mica_layer::disk;
pub(crate) use mica_layer::disk::{Output, boot, create, open, overwrite, set_mode, set_owner};

/// The names that `failpoint` is called with.
#[cfg(debug_assertions)]
pub const FAILPOINTS: &[&str] = &[
    "file.written",
    "file.synced",
    "rename.before",
    "rename.after",
    "folder.before",
    "folder.synced",
    "disk.synced",
    "trash.before",
    "trash.after",
    "remove.before",
    "remove.after",
    "tree.folder",
    "partial.written",
    "partial.cut",
    "layer.compressed",
    "mount.made",
    "mount.seeded",
    "mount.removed",
    "replace.written",
    "replace.renamed",
    "commit.before",
    "commit.after",
];

/// Aborts the process if `MICA_FAILPOINT` is `name`, or `name:n` and this is the n-th call. Debug builds only.
#[cfg(debug_assertions)]
pub(crate) fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static POINT: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    debug_assert!(FAILPOINTS.contains(&name), "{name} is not listed");
    let point = POINT.get_or_init(|| {
        let text = std::env::var("MICA_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU64::new(count.parse().unwrap_or(1))))
    });
    if let Some((wanted, left)) = point
        && wanted == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn failpoint(_name: &str) {}

/// Makes a directory with all above it; what is there already keeps its mode.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match disk::make_folder(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.parent().ok_or(error)?;
            make_folder(above, mode)?;
            make_folder(path, mode)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    failpoint("file.written");
    disk::sync(path)?;
    failpoint("file.synced");
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    failpoint("folder.before");
    disk::sync(path)?;
    failpoint("folder.synced");
    Ok(())
}

/// Makes all that lies on the file system of `path` durable.
pub(crate) fn sync_all(path: &Path) -> io::Result<()> {
    disk::sync_all(path)?;
    failpoint("disk.synced");
    Ok(())
}

/// Renames within the store; durable once the folder is synced.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    failpoint("rename.before");
    disk::rename(from, to)?;
    failpoint("rename.after");
    Ok(())
}

/// Renames into the trash.
pub(crate) fn discard(from: &Path, to: &Path) -> io::Result<()> {
    failpoint("trash.before");
    disk::rename(from, to)?;
    failpoint("trash.after");
    Ok(())
}

/// Removes a file that only takes up room.
pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    disk::remove_file(path)
}

/// Removes a file or a whole directory for good; what is not there is well removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_while(path, &|| true).map(drop)
}

/// As [`remove`], for as long as `go_on` says yes, which is asked before each file in a directory. Says whether all is gone.
pub(crate) fn remove_while(path: &Path, go_on: &dyn Fn() -> bool) -> io::Result<bool> {
    failpoint("remove.before");
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => mica_layer::remove_tree_while(path, go_on),
        Ok(_) => disk::remove_file(path).map(|()| true),
        Err(error) => Err(error),
    };
    failpoint("remove.after");
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        result => result,
    }
}

/// Takes "not found" for success.
pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Replaces a small file by rename. Durable only with `durable`; readers see the old bytes or the new ones in any case.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = disk::overwrite(&next)?;
    file.write_all(bytes)?;
    if durable {
        file.sync()?;
    }
    failpoint("replace.written");
    disk::rename(&next, path)?;
    failpoint("replace.renamed");
    if durable {
        let folder = path.parent().unwrap_or(Path::new("."));
        sync_folder(folder)?;
    }
    Ok(())
}
