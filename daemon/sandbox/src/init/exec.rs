//! Finding the program to execute, and docker's words when there is none.

use std::ffi::{CString, NulError};
use std::io;

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;

use crate::hidden::Hidden;
use crate::wire::describe;

/// Docker's search path for images that name none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The exit code of a program that is there but cannot be executed.
const CANNOT_EXECUTE: i32 = 126;

/// The exit code of a program that is not there.
const NOT_FOUND: i32 = 127;

/// A program that could not be executed.
pub(crate) struct NotExecuted {
    /// What the process exits with.
    pub code: i32,
    /// Why, in docker's words.
    pub text: String,
}

impl NotExecuted {
    /// `execve(2)` itself said no.
    pub(crate) fn refused(program: &CString, error: &io::Error) -> Self {
        // The file was found, so this is about the interpreter it names.
        let missing = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        let code = if missing { NOT_FOUND } else { CANNOT_EXECUTE };
        NotExecuted {
            code,
            text: format!("exec {}: {}", program.to_string_lossy(), describe(error)),
        }
    }

    fn unsuitable(name: &str, path: &str, errno: Errno) -> Self {
        let reason = describe(&errno.into());
        match errno {
            Errno::NOENT | Errno::NOTDIR => NotExecuted {
                code: NOT_FOUND,
                text: format!("exec: {name:?}: stat {path}: {reason}"),
            },
            _ => NotExecuted {
                code: CANNOT_EXECUTE,
                text: format!("exec: {name:?}: {reason}"),
            },
        }
    }
}

/// The environment with `PATH` and `HOME` if it lacks them (an empty `HOME` counts as none).
pub(crate) fn complete_env(env: &[String], home: &str) -> Vec<String> {
    let mut env = env.to_vec();
    if value(&env, "PATH").is_none() {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if value(&env, "HOME").is_none_or(str::is_empty) {
        env.retain(|entry| !entry.starts_with("HOME="));
        env.push(format!("HOME={home}"));
    }
    env
}

/// The environment as the process gets it: what is hidden takes the place of what has the same name.
pub(crate) fn with_hidden(env: &[String], hidden: &[(String, Hidden)]) -> Result<Vec<CString>, NulError> {
    let replaced = |entry: &&String| {
        let name = entry.split('=').next().unwrap_or_default();
        hidden.iter().any(|(other, _)| other == name)
    };
    let plain = env.iter().filter(|entry| !replaced(entry));
    let plain = plain.map(|entry| entry.as_bytes().to_vec());
    let hidden = hidden
        .iter()
        .map(|(name, value)| [name.as_bytes(), b"=", value.expose()].concat());
    plain.chain(hidden).map(CString::new).collect()
}

/// The file that a program's name stands for, searched in `PATH` as the current user.
///
/// # Errors
/// Docker's text for a file that is missing or cannot be executed.
pub(crate) fn find_program(name: &str, env: &[String]) -> Result<CString, NotExecuted> {
    if name.contains('/') {
        return check(name)
            .map_err(|errno| NotExecuted::unsuitable(name, name, errno))
            .and_then(|()| path(name));
    }
    let search = value(env, "PATH").unwrap_or_default();
    for dir in search.split(':').filter(|_| !name.is_empty()) {
        let dir = if dir.is_empty() { "." } else { dir };
        let candidate = format!("{dir}/{name}");
        if check(&candidate).is_ok() {
            return path(&candidate);
        }
    }
    Err(NotExecuted {
        code: NOT_FOUND,
        text: format!("exec: {name:?}: executable file not found in $PATH"),
    })
}

fn check(path: &str) -> Result<(), Errno> {
    if FileType::from_raw_mode(stat(path)?.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

fn path(path: &str) -> Result<CString, NotExecuted> {
    CString::new(path).map_err(|_| NotExecuted::unsuitable(path, path, Errno::INVAL))
}

/// The last value of a name, which is the one that programs see.
fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter()
        .rev()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_PATH, complete_env, find_program, value};

    fn env(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn path_and_home_are_added_only_when_missing() {
        let table: [(&[&str], &str, &str); 4] = [
            (&[], DEFAULT_PATH, "/h"),
            (&["HOME=/x", "PATH=/p"], "/p", "/x"),
            (&["HOME=", "PATH="], "", "/h"),
            (&["HOMES=/x", "PATHS=/p"], DEFAULT_PATH, "/h"),
        ];
        for (given, path, home) in table {
            let env = complete_env(&env(given), "/h");
            assert_eq!(
                (value(&env, "PATH"), value(&env, "HOME")),
                (Some(path), Some(home)),
                "{given:?}"
            );
            assert_eq!(env.iter().filter(|entry| entry.starts_with("HOME=")).count(), 1);
        }
    }

    #[test]
    fn refusals_read_as_dockers() {
        let table = [
            ("nope", 127, "exec: \"nope\": executable file not found in $PATH"),
            ("", 127, "exec: \"\": executable file not found in $PATH"),
            (
                "/no/such",
                127,
                "exec: \"/no/such\": stat /no/such: no such file or directory",
            ),
            ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
            ("/etc", 126, "exec: \"/etc\": is a directory"),
        ];
        for (name, code, text) in table {
            let refusal = find_program(name, &env(&["PATH=/usr/bin:/bin"])).unwrap_err();
            assert_eq!((refusal.code, refusal.text.as_str()), (code, text));
        }
    }

    #[test]
    fn the_search_path_is_the_images() {
        let found = find_program("sh", &env(&["PATH=/nonexistent:/bin"])).unwrap();
        assert_eq!(found.to_str(), Ok("/bin/sh"));
        assert!(find_program("sh", &env(&["PATH=/nonexistent"])).is_err());
    }

    impl std::fmt::Debug for super::NotExecuted {
        fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "{}: {}", self.code, self.text)
        }
    }
}
