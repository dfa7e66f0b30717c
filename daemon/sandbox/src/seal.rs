//! A copy of the helper's program that nothing can change.
//!
//! CVE-2019-5736: until it executes the image's program, pid 1 of the sandbox is the helper's
//! program, and `/proc/self/exe` names it. An image whose program is a script with `#!/proc/self/exe`
//! (or a link to it) makes the kernel execute that file again, this time with the image's C library;
//! what runs then can open `/proc/self/exe`, keep the descriptor, and write to the file once it is no
//! longer being executed. Were that the daemon's binary, the next start of the daemon would be the
//! image's. So the helper is never the file on disk but a sealed file in memory: executing it again
//! gives the image nothing, for it cannot be written to by anybody, and it holds no more rights than
//! whatever the image could execute otherwise.
//!
//! Other ways to it are closed too: the helper itself is outside the pid namespace and cannot be
//! named in the sandbox's `/proc`, all its descriptors close on exec, and nothing of the image runs
//! before that exec. Looking at what is about to be executed instead would leave a race where a
//! directory is shared with another sandbox (a cache mount), and a read-only mount of the binary
//! would have to be made again in each mount namespace.
//!
//! The copy is made once for each program in the life of the daemon, so a run pays nothing for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::error::Error;

static COPIES: Mutex<Vec<(PathBuf, Arc<Sealed>)>> = Mutex::new(Vec::new());

/// A program in memory.
pub(crate) struct Sealed {
    path: PathBuf,
    _program: OwnedFd,
}

impl Sealed {
    /// The copy of this program, made the first time it is asked for.
    ///
    /// # Errors
    /// [`Error::Seal`] if the program cannot be read or the kernel refuses files in memory.
    pub(crate) fn of(program: &Path) -> Result<Arc<Sealed>, Error> {
        let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sealed)) = copies.iter().find(|(path, _)| path == program) {
            return Ok(Arc::clone(sealed));
        }
        let memory = copy(program).map_err(|source| Error::Seal {
            path: program.to_owned(),
            source,
        })?;
        // The child that is about to execute has the same descriptors under the same numbers.
        let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        let sealed = Arc::new(Sealed {
            path,
            _program: memory,
        });
        copies.push((program.to_owned(), Arc::clone(&sealed)));
        Ok(sealed)
    }

    /// The name under which a child of this process can execute it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn copy(program: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag and let every file in memory be executed.
    let memory = match memfd_create("mica-sandbox", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create("mica-sandbox", flags)?,
        other => other?,
    };
    let mut memory = File::from(memory);
    io::copy(&mut File::open(program)?, &mut memory)?;
    fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Sealed;
    use crate::error::Error;

    #[test]
    fn the_copy_is_whole_made_once_and_unwritable() {
        let program = std::env::current_exe().unwrap();
        let sealed = Sealed::of(&program).unwrap();
        assert!(fs::read(sealed.path()).unwrap() == fs::read(&program).unwrap());
        assert_eq!(Sealed::of(&program).unwrap().path(), sealed.path());
        let error = fs::write(sealed.path(), b"other").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        match Sealed::of(Path::new("/nonexistent")) {
            Err(Error::Seal { path, .. }) => assert_eq!(path, Path::new("/nonexistent")),
            other => panic!("{:?}", other.map(|sealed| sealed.path().to_owned())),
        }
    }
}
