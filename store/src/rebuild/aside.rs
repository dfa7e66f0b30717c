//! What is moved to `mica/bad`: the old database, and what is not what its name says. Nothing that lies there is removed for it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use mica_oci::Digest;

use crate::disk;
use crate::error::Error;
use crate::paths::Paths;
use crate::rebuild::inventory::Inventory;
use crate::rebuild::layers::Layers;
use crate::rebuild::report::LostImage;

/// What SQLite puts behind a database's name for its other files.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

fn aside(source: std::io::Error) -> Error {
    Error::io("set the old database aside")(source)
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Moves the database with its other files to a folder in `mica/bad`, durably, and says where that is; `None` if there is nothing of
/// it. The database goes first: without its log it would be taken for an older one.
pub(super) fn set_database_aside(paths: &Paths) -> Result<Option<PathBuf>, Error> {
    let database = paths.database();
    let others: Vec<PathBuf> = BESIDE.iter().map(|ending| beside(&database, ending)).collect();
    let has_database = is_there(&database);
    if !has_database && !others.iter().any(|other| is_there(other)) {
        return Ok(None);
    }
    disk::make_folder(&paths.bad(), 0o700).map_err(aside)?;
    let is_empty = |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    let folder = match last_folder(paths).filter(|folder| !has_database || is_empty(folder)) {
        // an earlier attempt died before the first of them, or after it
        Some(folder) => folder,
        None => {
            let folder = fresh(&paths.bad(), "db");
            disk::make_folder(&folder, 0o700).map_err(aside)?;
            folder
        }
    };
    for folder in [&paths.own(), &paths.bad(), &folder] {
        disk::sync_folder(folder).map_err(aside)?;
    }
    for path in std::iter::once(&database).chain(&others) {
        if is_there(path) {
            disk::rename(path, &place(&folder, path)).map_err(aside)?;
            // each is gone from its place for good before the next
            disk::sync_folder(&folder).map_err(aside)?;
            disk::sync_folder(&paths.own()).map_err(aside)?;
        }
    }
    Ok(Some(folder))
}

/// The folder of the last database that was set aside.
fn last_folder(paths: &Paths) -> Option<PathBuf> {
    let numbers = (1..).take_while(|number| is_there(&paths.bad().join(format!("db-{number}"))));
    numbers
        .last()
        .map(|number| paths.bad().join(format!("db-{number}")))
}

/// A name in `folder` that is not taken.
fn fresh(folder: &Path, name: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let path = folder.join(format!("{name}-{number}"));
        if !is_there(&path) {
            return path;
        }
        number += 1;
    }
}

/// Where `path` comes to lie in `folder`: under its own name, or with a number if that is taken.
fn place(folder: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let plain = folder.join(name);
    match is_there(&plain) {
        true => fresh(folder, &name.to_string_lossy()),
        false => plain,
    }
}

/// Moves a list that cannot be read to where the old database lies, before it is written anew.
pub(super) fn set_list_aside(paths: &Paths, list: &Path, folder: Option<&Path>) -> Result<(), Error> {
    disk::make_folder(&paths.bad(), 0o700).map_err(aside)?;
    let bad = paths.bad();
    let folder = folder.unwrap_or(&bad);
    disk::rename(list, &place(folder, list)).map_err(aside)?;
    disk::sync_folder(folder).map_err(aside)
}

/// Removes what an attempt that died left of its new database.
pub(super) fn remove_database(database: &Path) -> Result<(), Error> {
    for ending in BESIDE.iter().chain(&[""]) {
        disk::remove(&beside(database, ending)).map_err(Error::io("remove a half-made database"))?;
    }
    Ok(())
}

/// What is moved there while the files are looked at.
pub(super) struct Bad<'a> {
    paths: &'a Paths,
    moved: Vec<PathBuf>,
}

impl<'a> Bad<'a> {
    pub(super) fn new(paths: &'a Paths) -> Self {
        Self {
            paths,
            moved: Vec::new(),
        }
    }

    /// Moves a file or a folder there.
    pub(super) fn take(&mut self, path: &Path) -> Result<(), Error> {
        let failed = Error::io("move what is damaged to mica/bad");
        let to = place(&self.paths.bad(), path);
        disk::make_folder(&self.paths.bad(), 0o700)
            .and_then(|()| disk::rename(path, &to))
            .map_err(failed)?;
        self.moved.push(to);
        Ok(())
    }

    /// What is left of images that are lost and that no other image has.
    pub(super) fn remains(
        &mut self,
        inventory: &Inventory,
        lost: &[LostImage],
        named: &HashSet<Digest>,
    ) -> Result<(), Error> {
        let parts: HashSet<Digest> = lost.iter().flat_map(|image| &image.parts).copied().collect();
        for digest in parts.into_iter().filter(|digest| !named.contains(digest)) {
            if inventory.blobs.contains_key(&digest) {
                self.take(&self.paths.blob(&digest))?;
            }
            let tree = self.paths.tree_folder(&digest.into());
            if is_there(&tree) {
                self.take(&tree)?;
            }
        }
        Ok(())
    }

    /// The trees of layers that nothing else is there of and that do not give their layers.
    pub(super) fn trees(&mut self, layers: &Layers<'_>) -> Result<(), Error> {
        for diff_id in layers.false_trees() {
            let tree = self.paths.tree_folder(diff_id);
            if is_there(&tree) {
                self.take(&tree)?;
            }
        }
        Ok(())
    }

    /// All that was moved, which is durable there now.
    pub(super) fn finish(self) -> Result<Vec<PathBuf>, Error> {
        let failed = || Error::io("move what is damaged to mica/bad");
        if !self.moved.is_empty() {
            disk::sync_folder(&self.paths.bad()).map_err(failed())?;
            disk::sync_folder(&self.paths.blobs()).map_err(failed())?;
        }
        Ok(self.moved)
    }
}
