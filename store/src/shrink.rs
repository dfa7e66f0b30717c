//! What a store that was large would keep for no use, given back to the disk: pages of the database, its log, folders that had
//! many names, and what is only remembered.

use std::io;
use std::path::Path;

use crate::database::Durability;
use crate::disk;
use crate::error::Error;
use crate::locks::exclude;
use crate::space;
use crate::store::Store;

/// A folder that takes this many bytes had many names. Most file systems never give that back while the folder is there.
const LARGE: u64 = 64 << 10;

impl Store {
    /// Gives back to the disk what is of no use since much was removed. What fails is left for the next time.
    pub fn shrink(&self) -> Result<(), Error> {
        self.shrink_if(false)
    }

    /// As [`shrink`](Self::shrink), also where it is not worth it: so that a test may see what can go wrong.
    #[doc(hidden)]
    pub fn shrink_anyway(&self) -> Result<(), Error> {
        self.shrink_if(true)
    }

    fn shrink_if(&self, anyway: bool) -> Result<(), Error> {
        // the lists of what is gone may be as long as all the rest
        self.inner.catalogue.settle();
        self.inner.database.shrink(anyway)?;
        self.inner.ballast.make();
        let paths = &self.inner.paths;
        for (folder, mode) in [(paths.blobs(), 0o755), (paths.trees(), 0o700)] {
            if anyway || space::at(&folder) >= LARGE {
                self.renew(&folder, mode).map_err(Error::io("renew a folder"))?;
            }
        }
        Ok(())
    }

    /// Puts a new folder in the place of an empty one.
    fn renew(&self, folder: &Path, mode: u32) -> io::Result<()> {
        let new = self.inner.paths.fresh(self.inner.paths.work());
        disk::make_folder(&new, mode)?;
        // nobody puts anything there meanwhile
        let _gate = exclude(&self.inner.gate);
        match disk::rename(&new, folder) {
            Ok(()) => {
                let above = folder.parent().unwrap_or(folder);
                self.inner.synced(disk::sync_folder(above))
            }
            Err(error) => {
                disk::remove(&new)?;
                match error.kind() {
                    // the second is what XFS says
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Forgets what costs no more than time or an answer: the logs of builds that have ended, fingerprints of folders, and what
    /// steps were made of. Gives the number of bytes of files.
    pub fn forget_notes(&self) -> Result<u64, Error> {
        self.inner.database.write(Durability::Normal, |db| {
            db.execute("DELETE FROM step_inputs", [])?;
            Ok(())
        })?;
        Ok(self.forget_folders()? + self.forget_logs()?)
    }
}
