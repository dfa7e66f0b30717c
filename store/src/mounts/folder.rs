//! The directory of one cache mount on disk: made whole or not at all.

use std::path::Path;

use mica_oci::CacheKey;

use crate::disk;
use crate::error::Error;
use crate::mounts::{CacheMount, Seed};
use crate::store::Inner;

/// Makes the directory. Without a row it is swept at the next open, whatever is in it.
pub(super) fn make<E: From<Error>>(
    store: &Inner,
    id: &CacheKey,
    wanted: &CacheMount,
    seed: Option<&mut Seed<'_, E>>,
) -> Result<(), E> {
    let folder = store.paths.mount_folder(id);
    let made = fill(store, id, wanted, seed);
    if made.is_err() {
        // what cannot be moved away now is swept at the next open
        let _ = store.trash.take(&folder);
    }
    made
}

fn fill<E: From<Error>>(
    store: &Inner,
    id: &CacheKey,
    wanted: &CacheMount,
    seed: Option<&mut Seed<'_, E>>,
) -> Result<(), E> {
    let (folder, place) = (store.paths.mount_folder(id), store.paths.mount(id));
    let failed = Error::io("make a cache mount");
    disk::make_folder(&folder, 0o700)
        .and_then(|()| disk::make_folder(&place, 0o755))
        // whatever this process' umask says
        .and_then(|()| disk::set_mode(&place, 0o755))
        .map_err(failed)?;
    disk::failpoint("mount.made");
    let seeded = seed.is_some();
    if let Some(seed) = seed {
        seed(&place)?;
    }
    disk::failpoint("mount.seeded");
    finish(store, &place, wanted, seeded).map_err(Error::io("make a cache mount"))?;
    Ok(())
}

fn finish(store: &Inner, place: &Path, wanted: &CacheMount, seeded: bool) -> std::io::Result<()> {
    if let Some((uid, gid)) = wanted.owner {
        disk::set_owner(place, uid, gid)?;
    }
    if let Some(mode) = wanted.mode {
        disk::set_mode(place, mode)?;
    }
    // the row is going to say that all of the seed is there
    if seeded {
        disk::sync_all(place)?;
    }
    // each of these may be new
    let folder = place.parent().unwrap_or(place);
    disk::sync_folder(folder)?;
    disk::sync_folder(&store.paths.mounts())?;
    disk::sync_folder(&store.paths.own())
}
