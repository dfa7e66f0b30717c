//! Names of this machine's users and groups: passwd(5), group(5), and what the system knows beside these files.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

/// How long the system may take to say who is meant; a directory service that does not answer takes for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is read of what it says, in bytes: a group is told with all its members.
const ANSWER_LIMIT: usize = 1 << 20;

/// Where names are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::User => "/etc/passwd",
            Self::Group => "/etc/group",
        }
    }

    /// What getent(1) calls it.
    fn database(self) -> &'static str {
        match self {
            Self::User => "passwd",
            Self::Group => "group",
        }
    }

    /// One of them, in words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// The number of a user or group of this machine, by the files alone.
pub(crate) fn local(kind: Kind, name: &str) -> Option<u32> {
    number(&fs_err::read_to_string(kind.file()).ok()?, name)
}

/// The system does not say who is meant.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "the system did not say within {} seconds which {} is called {name:?}: see why `getent {} {name}` takes so long; a number is taken as \
     it is", limit.as_secs(), kind.word(), kind.database()
)]
pub(crate) struct Unanswered {
    kind: Kind,
    name: String,
    limit: Duration,
}

/// The number of a user or group by whatever the system is set up to ask, a directory service for instance; `None` if nobody is called
/// so. A name that is a number means that number.
pub(crate) fn find(kind: Kind, name: &str) -> Result<Option<u32>, Unanswered> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    match local(kind, name) {
        Some(number) => Ok(Some(number)),
        None => ask(Path::new("getent"), kind, name, PATIENCE),
    }
}

/// Asks the program, which is getent(1).
fn ask(program: &Path, kind: Kind, name: &str, limit: Duration) -> Result<Option<u32>, Unanswered> {
    let started = Command::new(program)
        // a name that looks like an option is none
        .args([kind.database(), "--", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    // where there is no such program, the files are all that there is
    let Ok(mut asked) = started else { return Ok(None) };
    let said = asked.stdout.take().map(|stdout| read(stdout, limit));
    // it has said what it had to say, or nobody waits for it any more; in vain if it has ended
    let _ = asked.kill();
    let _ = asked.wait();
    match said {
        Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Unanswered {
            kind,
            name: name.to_owned(),
            limit,
        }),
        Some(Ok(said)) => Ok(number(&String::from_utf8_lossy(&said), name)),
        Some(Err(_)) | None => Ok(None),
    }
}

/// All that a program says until it ends, if that is soon enough.
fn read(mut stdout: ChildStdout, limit: Duration) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    let mut said = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while said.len() < ANSWER_LIMIT {
        let left = limit.saturating_sub(start.elapsed());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match stdout.read(&mut piece)? {
            0 => break,
            count => said.extend_from_slice(&piece[..count]),
        }
    }
    Ok(said)
}

/// What a user is called, by passwd(5).
pub(crate) fn user_name(id: u32) -> Option<String> {
    name(&fs_err::read_to_string(Kind::User.file()).ok()?, id)
}

fn number(lines: &str, name: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn name(lines: &str, id: u32) -> Option<String> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let groups = "root:x:0:\nmica:x:991:me\nmicado:x:7:\n";
        assert_eq!(number(groups, "mica"), Some(991));
        assert_eq!(number(groups, "mic"), None);
        assert_eq!(number("mica:x:no:", "mica"), None);
        assert_eq!(name(groups, 7).as_deref(), Some("micado"));
        assert_eq!(name(groups, 8), None);
        assert_eq!(name("x", 8), None);
    }

    #[test]
    fn root_is_known_everywhere() {
        assert_eq!(find(Kind::User, "root"), Ok(Some(0)));
        assert_eq!(find(Kind::Group, "12345"), Ok(Some(12345)));
        assert_eq!(find(Kind::User, "no-such-user-here"), Ok(None));
        assert_eq!(find(Kind::User, "--help"), Ok(None));
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }

    #[test]
    fn a_directory_that_says_nothing_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let path = folder.path().join(name);
            // by another process: none that is made now inherits the open file
            let copied = Command::new("install")
                .args(["-m", "755", "/dev/stdin"])
                .arg(&path)
                .stdin(script_file(folder.path(), script))
                .status();
            assert!(copied.unwrap().success());
            path
        };
        let silent = program("silent", "#!/bin/sh\nexec sleep 600\n");
        let limit = Duration::from_millis(50);
        let unanswered = ask(&silent, Kind::Group, "team", limit).unwrap_err();
        let said = unanswered.to_string();
        for part in [
            "within 0 seconds",
            "group is called \"team\"",
            "getent group team",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        // one that has answered and does not end is no trouble
        let lingering = program(
            "lingering",
            "#!/bin/sh\necho \"$3:x:77:me\"\nexec sleep 600 >&-\n",
        );
        assert_eq!(ask(&lingering, Kind::Group, "team", PATIENCE), Ok(Some(77)));
        let large = program("large", "#!/bin/sh\necho \"$3:x:78:\"\nexec yes\n");
        assert_eq!(ask(&large, Kind::Group, "team", PATIENCE), Ok(Some(78)));
        let none = folder.path().join("none");
        assert_eq!(ask(&none, Kind::Group, "team", PATIENCE), Ok(None));
    }

    fn script_file(folder: &Path, script: &str) -> std::fs::File {
        let path = folder.join("script");
        fs_err::write(&path, script).unwrap();
        fs_err::File::open(path).unwrap().into_parts().0
    }
}
