//! The directory of one cache mount on disk: made whole or not at all, and measured.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err as fs;
use mica_oci::CacheKey;

use crate::disk;
use crate::error::Error;
use crate::mounts::{CacheMount, Seed};
use crate::store::Inner;

/// Bytes of one block as `stat(2)` counts them.
const BLOCK: u64 = 512;

/// The most hard links that are remembered so that a file counts once; files beyond count once for each name.
const LINKS: usize = 1 << 20;

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

/// Bytes that all below takes on disk. What cannot be looked at does not count. Nobody may write there meanwhile.
pub(super) fn size(place: &Path) -> u64 {
    let mut bytes = 0;
    let mut links = HashSet::new();
    let mut ahead = vec![place.to_owned()];
    while let Some(path) = ahead.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            ahead.extend(entries.map(|entry| entry.path()));
        } else if meta.nlink() > 1 && links.len() < LINKS && !links.insert((meta.dev(), meta.ino())) {
            continue;
        }
        bytes += meta.blocks() * BLOCK;
    }
    bytes
}
