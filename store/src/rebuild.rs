//! Making the database again from the files, when it is lost or damaged.
//!
//! Offline: whoever does it holds the store's lock. The old database is set aside first and the new one, made under another name, is
//! renamed into place last. Between the two there is none and the store is refused, so that whatever ends this in the midst leaves a
//! store in which it can be done again.

mod aside;
mod images;
mod inventory;
mod layers;
mod lists;
mod report;
mod trees;
mod write;

use std::collections::HashSet;
use std::path::Path;

use crate::database::Database;
use crate::error::Error;
use crate::paths::Paths;
use crate::room::Ballast;
use crate::{disk, format};

pub use report::{Harm, LostImage, Origin, RebuildProgress, Rebuilt};

/// Who is told how far it has got.
type Tell<'a> = &'a mut dyn FnMut(RebuildProgress);

/// Makes the database of the store at `root` again from `mica/refs.json`, or if that is lost from `index.json`, and from the blobs
/// and trees. What was in the old one only is lost: the build cache, cache mounts, where blobs came from.
///
/// # Errors
/// [`Error::Locked`] if a process has the store open; [`Error::Format`] if there is no store that is understood; what the disk says.
/// Until it succeeds the store cannot be opened, and this can be tried again.
pub fn rebuild(root: &Path, tell: Tell<'_>) -> Result<Rebuilt, Error> {
    let root = std::path::absolute(root).map_err(Error::io("find the store"))?;
    let paths = Paths::new(&root);
    // to the end
    let _lock = format::take_described(&paths)?;
    let mut report = Rebuilt::default();
    let aside = aside::set_database_aside(&paths)?;
    let mut bad = aside::Bad::new(&paths);

    let inventory = inventory::take(&paths, &mut bad, tell)?;
    let listed = lists::read(&paths, &inventory, aside.as_deref(), &mut report)?;
    let known = images::gather(&paths, &inventory, listed, &mut report)?;
    let mut layers = layers::Layers::new(&paths, &inventory);
    layers.look(&known, tell)?;
    layers.search(&known, tell)?;
    let images = images::settle(&paths, &inventory, known, &layers, &mut report)?;

    let named = write::named(&images, &layers);
    bad.remains(&inventory, &report.lost, &named)?;
    bad.trees(&layers)?;
    report.bad = bad.finish()?;
    report.aside = aside;
    report.mounts = folders_in(&paths.mounts())?;
    report.leftovers = leftovers(&inventory, &named);

    let next = paths.next_database();
    aside::remove_database(&next)?;
    let database = Database::open(&next, &Ballast::of(&paths))?;
    write::rows(&database, &images, &layers, &mut report)?;
    database.settle()?;
    // all that the rows call durable
    disk::sync_all(paths.root()).map_err(Error::io("sync the store"))?;
    disk::sync_folder(&paths.own()).map_err(Error::io("sync the store"))?;
    disk::rename(&next, &paths.database()).map_err(Error::io("put the new database in place"))?;
    disk::sync_folder(&paths.own()).map_err(Error::io("put the new database in place"))?;
    Ok(report)
}

/// How many things lie in a folder that may not be there.
fn folders_in(folder: &Path) -> Result<u64, Error> {
    match fs_err::read_dir(folder) {
        Ok(entries) => Ok(entries.count() as u64),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("look into the store")(error)),
    }
}

/// Bytes of blobs that were whole and are named by nothing: what only the build cache had.
fn leftovers(inventory: &inventory::Inventory, named: &HashSet<mica_oci::Digest>) -> u64 {
    let unnamed = inventory
        .blobs
        .iter()
        .filter(|(digest, _)| !named.contains(digest));
    unnamed.map(|(_, size)| size).sum()
}
