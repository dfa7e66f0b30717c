//! Shows the recorder what SQLite does to its files: its usual file system with three calls of each file in between.
//!
//! The index of the log (`-shm`) is not seen and not there after a cut: SQLite makes it again from the log. A new log's folder is
//! synced by SQLite with the log's first sync (`UNIXFILE_DIRSYNC` in `os_unix.c`), which is told of as a sync of its own.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, Once};

use mica_layer::disk::recorded::Act;
use rusqlite::ffi;
use rustix::io::Errno;

use crate::journal::Journal;

/// A file that SQLite has open.
struct Open {
    path: PathBuf,
    /// What its calls were.
    usual: &'static ffi::sqlite3_io_methods,
    /// Whether its folder is synced with it the first time.
    syncs_folder: bool,
}

static FILES: LazyLock<Mutex<HashMap<usize, Open>>> = LazyLock::new(Mutex::default);
/// The calls in use instead, by those they are instead of.
static CALLS: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

/// Has SQLite tell of its changes from now on.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's own file system lives as long as the process; the copy does so too, for it is leaked.
        unsafe {
            let usual = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut ours = *usual;
            ours.zName = c"watched".as_ptr();
            ours.pNext = std::ptr::null_mut();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            assert_eq!(
                ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1),
                ffi::SQLITE_OK
            );
        }
    });
}

fn usual() -> &'static ffi::sqlite3_vfs {
    static USUAL: LazyLock<usize> = LazyLock::new(|| {
        // SAFETY: the name is a C string; what is found is static.
        unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) as usize }
    });
    // SAFETY: as above.
    unsafe { &*(*USUAL as *const ffi::sqlite3_vfs) }
}

unsafe fn path_of(name: *const std::ffi::c_char) -> PathBuf {
    // SAFETY: SQLite gives a C string.
    PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

/// Makes a change that SQLite asked for; what fails is `code`.
fn change(
    path: &std::path::Path,
    act: &Act<'_>,
    code: c_int,
    make: &mut dyn FnMut(usize) -> c_int,
    bytes: usize,
) -> c_int {
    let Some(journal) = Journal::current() else {
        return make(usize::MAX);
    };
    let mut result = code;
    let verdict = journal.told(path, act, &mut |most| {
        result = make(most);
        (result == ffi::SQLITE_OK).then_some(most.min(bytes))
    });
    match verdict {
        Ok(()) => result,
        Err(Errno::NOSPC) if bytes > 0 => ffi::SQLITE_FULL,
        Err(_) => code,
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's arguments are handed on as they are; the file it opened has the calls that are copied here.
    unsafe {
        let Some(open) = usual().xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        if name.is_null() {
            return open(vfs, name, file, flags, out);
        }
        let path = path_of(name);
        let makes = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let mut make = |_: usize| open(vfs, name, file, flags, out);
        let result = match makes {
            true => change(&path, &Act::Create, ffi::SQLITE_CANTOPEN, &mut make, 0),
            false => make(0),
        };
        if result != ffi::SQLITE_OK {
            // else SQLite closes what was never opened
            (*file).pMethods = std::ptr::null();
            return result;
        }
        let methods: &'static ffi::sqlite3_io_methods = &*(*file).pMethods;
        let log = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
        let watched = Open {
            path,
            usual: methods,
            syncs_folder: makes && log,
        };
        FILES.lock().unwrap().insert(file as usize, watched);
        let mut calls = CALLS.lock().unwrap();
        let ours = *calls
            .entry(std::ptr::from_ref(methods) as usize)
            .or_insert_with(|| {
                let mut ours = *methods;
                ours.xClose = Some(close);
                ours.xWrite = Some(write);
                ours.xTruncate = Some(truncate);
                ours.xSync = Some(sync);
                Box::leak(Box::new(ours)) as *const ffi::sqlite3_io_methods as usize
            });
        (*file).pMethods = ours as *const ffi::sqlite3_io_methods;
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const std::ffi::c_char,
    folder: c_int,
) -> c_int {
    // SAFETY: SQLite's arguments are handed on as they are.
    unsafe {
        let Some(delete) = usual().xDelete else {
            return ffi::SQLITE_IOERR_DELETE;
        };
        let path = path_of(name);
        let mut make = |_: usize| delete(vfs, name, folder);
        let result = change(&path, &Act::Unlink, ffi::SQLITE_IOERR_DELETE, &mut make, 0);
        if result == ffi::SQLITE_OK && folder != 0 {
            let above = path.parent().unwrap_or(&path);
            return change(
                above,
                &Act::Sync,
                ffi::SQLITE_IOERR_DIR_FSYNC,
                &mut |_| ffi::SQLITE_OK,
                0,
            );
        }
        result
    }
}

fn known(file: *mut ffi::sqlite3_file) -> (PathBuf, &'static ffi::sqlite3_io_methods) {
    let files = FILES.lock().unwrap();
    let open = &files[&(file as usize)];
    (open.path.clone(), open.usual)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = FILES.lock().unwrap().remove(&(file as usize)).unwrap();
    // SAFETY: the call is SQLite's own for this file.
    unsafe { open.usual.xClose.unwrap()(file) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    at: i64,
) -> c_int {
    let (path, usual) = known(file);
    // SAFETY: SQLite says that so many bytes are there; the call is its own for this file.
    unsafe {
        let given = std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize);
        let mut make = |most: usize| {
            let some = most.min(count as usize) as c_int;
            usual.xWrite.unwrap()(file, bytes, some, at)
        };
        change(
            &path,
            &Act::Write(at as u64, given),
            ffi::SQLITE_IOERR_WRITE,
            &mut make,
            count as usize,
        )
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let (path, usual) = known(file);
    // SAFETY: the call is SQLite's own for this file.
    let mut make = |_: usize| unsafe { usual.xTruncate.unwrap()(file, size) };
    change(
        &path,
        &Act::Cut(size as u64),
        ffi::SQLITE_IOERR_TRUNCATE,
        &mut make,
        0,
    )
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let (path, usual) = known(file);
    // SAFETY: the call is SQLite's own for this file.
    let mut make = |_: usize| unsafe { usual.xSync.unwrap()(file, flags) };
    let result = change(&path, &Act::Sync, ffi::SQLITE_IOERR_FSYNC, &mut make, 0);
    if result != ffi::SQLITE_OK {
        return result;
    }
    let mut files = FILES.lock().unwrap();
    let first = files
        .get_mut(&(file as usize))
        .is_some_and(|open| std::mem::take(&mut open.syncs_folder));
    drop(files);
    if first {
        let above = path.parent().unwrap_or(&path);
        // SQLite passes over a folder that cannot be synced
        change(above, &Act::Sync, ffi::SQLITE_OK, &mut |_| ffi::SQLITE_OK, 0);
    }
    result
}
