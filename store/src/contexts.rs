//! What is remembered of folders that were built from: a file of fingerprints for each, which may be lost at any time.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use fs_err as fs;
use mica_layer::Fingerprints;
use mica_oci::Digest;

use crate::disk;
use crate::error::Error;
use crate::locks::lock;
use crate::space;
use crate::store::{Inner, Store};

/// How much all files of fingerprints may take, in memory and on disk each, in bytes: three quarters of a million files.
const LIMIT: u64 = 64 << 20;

/// A folder: its file system, and its number there.
type Place = (u64, u64);

/// The fingerprints in memory as they are on disk, with when they were used last.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    folders: HashMap<Place, (Arc<[u8]>, u64)>,
    uses: u64,
}

impl Remembered {
    fn keep(&mut self, place: Place, bytes: Arc<[u8]>) {
        self.uses += 1;
        self.folders.insert(place, (bytes, self.uses));
        let mut total: u64 = self.folders.values().map(|(bytes, _)| bytes.len() as u64).sum();
        while total > LIMIT {
            let Some(oldest) = self.folders.iter().min_by_key(|(_, (_, use_of))| *use_of) else {
                return;
            };
            let oldest = *oldest.0;
            total -= self
                .folders
                .remove(&oldest)
                .map_or(0, |(bytes, _)| bytes.len() as u64);
        }
    }
}

/// A folder that is built from. What was learned of its files is kept when this is dropped.
pub struct OpenFolder {
    store: Arc<Inner>,
    place: Place,
    prints: Arc<Fingerprints>,
}

impl OpenFolder {
    /// What is known of its files.
    pub fn fingerprints(&self) -> &Arc<Fingerprints> {
        &self.prints
    }
}

impl fmt::Debug for OpenFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenFolder").field(&self.place).finish()
    }
}

impl Store {
    /// What is known of the folder that `folder` is open at, by its file system and number.
    pub fn open_folder(&self, folder: impl AsFd) -> Result<OpenFolder, Error> {
        let stat = rustix::fs::fstat(folder).map_err(|errno| Error::io("look at a folder")(errno.into()))?;
        Ok(self.open_place((stat.st_dev, stat.st_ino)))
    }

    /// What is known of the folder of a client that calls it `key`.
    pub fn open_client_folder(&self, key: &str) -> OpenFolder {
        let digest = Digest::of(key.as_bytes());
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&digest.as_raw()[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        self.open_place((number(0), number(8)))
    }

    fn open_place(&self, place: Place) -> OpenFolder {
        let held = lock(&self.inner.contexts.0)
            .folders
            .get(&place)
            .map(|(bytes, _)| bytes.clone());
        // a file that cannot be read costs time and nothing else
        let bytes = held.unwrap_or_else(|| {
            let file = self.inner.paths.context(place);
            let small = fs::metadata(&file).is_ok_and(|meta| meta.len() <= LIMIT);
            let read = if small {
                fs::read(&file).unwrap_or_default()
            } else {
                Vec::new()
            };
            read.into()
        });
        let prints = Arc::new(Fingerprints::read(&bytes));
        lock(&self.inner.contexts.0).keep(place, bytes);
        OpenFolder {
            store: self.inner.clone(),
            place,
            prints,
        }
    }
}

impl Store {
    /// Forgets all folders; gives the number of bytes. Those that are built from at this moment are remembered again.
    pub(crate) fn forget_folders(&self) -> Result<u64, Error> {
        lock(&self.inner.contexts.0).folders.clear();
        let entries = match fs::read_dir(self.inner.paths.contexts()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            entries => entries.map_err(Error::io("list what is known of folders"))?,
        };
        let mut bytes = 0;
        for entry in entries.flatten() {
            bytes += space::at(&entry.path());
            disk::remove(&entry.path()).map_err(Error::io("forget a folder"))?;
        }
        Ok(bytes)
    }
}

impl Drop for OpenFolder {
    fn drop(&mut self) {
        if !self.prints.has_news() {
            return;
        }
        let bytes: Arc<[u8]> = self.prints.bytes().into();
        if bytes.len() as u64 > LIMIT {
            return;
        }
        let folder = self.store.paths.contexts();
        let file = self.store.paths.context(self.place);
        // what cannot be kept is learned again
        let _ = disk::make_folder(&folder, 0o700).and_then(|()| disk::replace(&file, &bytes, false));
        lock(&self.store.contexts.0).keep(self.place, bytes);
        drop_oldest(&folder);
    }
}

/// Removes the files that were written longest ago until the rest is no more than [`LIMIT`].
fn drop_oldest(folder: &std::path::Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((written, meta.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if total <= LIMIT {
            return;
        }
        // one that stays is tried again after the next build
        let _ = disk::remove(&path);
        total -= len;
    }
}
