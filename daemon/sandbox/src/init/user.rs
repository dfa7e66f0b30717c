//! Who the process runs as: `USER` looked up in the image's own files, by docker's rules.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::wire::{AtStep, Failure, STEP_USER};

/// The most bytes of each file. They are looked at one line after the other and never held.
const MAX_FILE: u64 = 16 << 20;

/// The most bytes of one line: a group may have a hundred thousand members.
const MAX_LINE: u64 = 1 << 20;

/// The most supplementary groups: the kernel's `NGROUPS_MAX`.
const MAX_GROUPS: usize = 1 << 16;

/// The largest id: docker's limit.
const MAX_ID: u32 = i32::MAX as u32;

/// The ids of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory of the uid, `/` if it has none.
    pub home: String,
}

/// The image's lists of users and groups.
#[derive(Clone, Copy)]
struct Lists<'a> {
    passwd: &'a Path,
    group: &'a Path,
}

/// One line of `passwd(5)`.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of `group(5)`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    /// Names with commas between them.
    members: &'a str,
}

/// Looks a user up in the root's `/etc/passwd` and `/etc/group`.
///
/// # Errors
/// With [`STEP_USER`] and docker's text if a name is in neither, or if a list is over the limits.
pub(crate) fn find(user: &str) -> Result<Identity, Failure> {
    // The root is the image, so symbolic links cannot lead out of it.
    let lists = Lists {
        passwd: Path::new("/etc/passwd"),
        group: Path::new("/etc/group"),
    };
    resolve(user, lists)
}

fn resolve(user: &str, lists: Lists<'_>) -> Result<Identity, Failure> {
    let user = if user.is_empty() { "0" } else { user };
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    // As in docker's parser, a group alone belongs to root.
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let found = lists.first_account(
        |account| match number {
            Some(uid) => account.uid == uid,
            None => account.name == user,
        },
        |account| (account.name.to_owned(), account.uid, account.gid),
    )?;
    let (name, uid, mut gid) = match (found, number) {
        (Some((name, uid, gid)), _) => (Some(name), uid, gid),
        (None, Some(uid)) => (None, uid, 0),
        (None, None) => {
            let text = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(Failure::plain(STEP_USER, text));
        }
    };
    let mut extra = Vec::new();
    if !group.is_empty() {
        gid = lists.group_id(group)?;
    } else if let Some(name) = name {
        extra = lists.groups_of(&name)?;
    }
    // As containerd does: the group itself is always one of them, the first.
    if !extra.contains(&gid) {
        extra.insert(0, gid);
    }
    if extra.iter().chain([&uid]).any(|id| *id > MAX_ID) {
        let text = format!("uids and gids must be in range 0-{MAX_ID}");
        return Err(Failure::plain(STEP_USER, text));
    }
    // Not always the account above: an id can have many names, and its first line counts.
    let home = lists.first_account(|account| account.uid == uid, |account| account.home.to_owned())?;
    let home = home
        .filter(|home| !home.is_empty())
        .unwrap_or_else(|| "/".to_owned());
    Ok(Identity {
        uid,
        gid,
        groups: extra,
        home,
    })
}

impl Lists<'_> {
    /// What is wanted of the first account that is meant.
    fn first_account<T>(
        self,
        meant: impl Fn(&Account<'_>) -> bool,
        wanted: impl Fn(&Account<'_>) -> T,
    ) -> Result<Option<T>, Failure> {
        each_line(self.passwd, |line| {
            let account = parse_account(line);
            if meant(&account) {
                return ControlFlow::Break(Ok(wanted(&account)));
            }
            ControlFlow::Continue(())
        })
    }

    fn group_id(self, group: &str) -> Result<u32, Failure> {
        if let Ok(gid) = group.parse() {
            return Ok(gid);
        }
        let found = each_line(self.group, |line| {
            let entry = parse_group(line);
            if entry.name == group {
                return ControlFlow::Break(Ok(entry.gid));
            }
            ControlFlow::Continue(())
        })?;
        found.ok_or_else(|| {
            let text = format!("unable to find group {group}: no matching entries in group file");
            Failure::plain(STEP_USER, text)
        })
    }

    /// All groups this name is a member of.
    fn groups_of(self, name: &str) -> Result<Vec<u32>, Failure> {
        let mut groups = Vec::new();
        each_line::<()>(self.group, |line| {
            let group = parse_group(line);
            if !group.members.split(',').any(|member| member.trim() == name) {
                return ControlFlow::Continue(());
            }
            // One place is for the group of the account itself.
            if groups.len() + 1 == MAX_GROUPS {
                let text = format!("user {name} is in more than {MAX_GROUPS} groups");
                return ControlFlow::Break(Err(Failure::plain(STEP_USER, text)));
            }
            groups.push(group.gid);
            ControlFlow::Continue(())
        })?;
        Ok(groups)
    }
}

/// Shows the lines of a file that are not empty, one by one, until one is an answer. A file that is
/// missing or no file has none.
fn each_line<T>(
    path: &Path,
    mut visit: impl FnMut(&str) -> ControlFlow<Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    let step = || format!("read {}", path.display());
    // Opening what is no file must not wait for anybody.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => return Ok(None),
        other => other.at(step)?,
    };
    if FileType::from_raw_mode(fstat(&file).at(step)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let too_long = |what: &str, limit: u64| {
        let text = format!("{}: {what} of more than {limit} bytes", path.display());
        Failure::plain(STEP_USER, text)
    };
    let mut reader = BufReader::new(File::from(file));
    let (mut line, mut seen) = (Vec::new(), 0);
    loop {
        line.clear();
        // The line feed is one more than the limit.
        let count = (&mut reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)
            .at(step)?;
        if count == 0 {
            return Ok(None);
        }
        seen += count as u64;
        if seen > MAX_FILE {
            return Err(too_long("a file", MAX_FILE));
        }
        if line.len() as u64 > MAX_LINE && line.last() != Some(&b'\n') {
            return Err(too_long("a line", MAX_LINE));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        if let ControlFlow::Break(answer) = visit(text) {
            return answer.map(Some);
        }
    }
}

/// Fields that are missing are empty, and numbers that are none are zero, as docker reads them.
fn parse_account(line: &str) -> Account<'_> {
    let mut fields = line.split(':');
    let mut next = || fields.next().unwrap_or_default();
    let (name, _password, uid, gid, _comment, home) = (next(), next(), next(), next(), next(), next());
    Account {
        name,
        uid: id(uid),
        gid: id(gid),
        home,
    }
}

fn parse_group(line: &str) -> Group<'_> {
    let mut fields = line.split(':');
    let mut next = || fields.next().unwrap_or_default();
    let (name, _password, gid, members) = (next(), next(), next(), next());
    Group {
        name,
        gid: id(gid),
        members,
    }
}

fn id(text: &str) -> u32 {
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::{Identity, Lists, MAX_FILE, MAX_GROUPS, MAX_LINE};
    use crate::wire::STEP_USER;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nann:x:1000:1001::/home/ann:\n\
        7:x:70:70::/seven\nbob:x:1002:5\nalso-ann:x:1000:7::/other:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,ann\nann:x:1001:\ndisk:x:6: ann,bob\n99:x:990:";

    struct Files {
        _dir: TempDir,
        passwd: PathBuf,
        group: PathBuf,
    }

    impl Files {
        fn new(passwd: &str, group: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let [passwd, group] = [("passwd", passwd), ("group", group)].map(|(name, text)| {
                let path = dir.path().join(name);
                fs::write(&path, text).unwrap();
                path
            });
            Files {
                _dir: dir,
                passwd,
                group,
            }
        }

        fn resolve(&self, user: &str) -> Result<Identity, String> {
            let lists = Lists {
                passwd: &self.passwd,
                group: &self.group,
            };
            super::resolve(user, lists).map_err(|failure| {
                assert_eq!(failure.step, STEP_USER);
                failure.text
            })
        }
    }

    #[test]
    fn every_form_of_user() {
        let files = Files::new(PASSWD, GROUP);
        let table: [(&str, u32, u32, &[u32], &str); 15] = [
            ("", 0, 0, &[0, 10], "/root"),
            ("0", 0, 0, &[0, 10], "/root"),
            ("root", 0, 0, &[0, 10], "/root"),
            ("0:0", 0, 0, &[0], "/root"),
            ("ann", 1000, 1001, &[1001, 10, 6], "/home/ann"),
            ("1000", 1000, 1001, &[1001, 10, 6], "/home/ann"),
            ("1000:1001", 1000, 1001, &[1001], "/home/ann"),
            ("ann:disk", 1000, 6, &[6], "/home/ann"),
            ("ann:55", 1000, 55, &[55], "/home/ann"),
            ("1234", 1234, 0, &[0], "/"),
            ("1234:4321", 1234, 4321, &[4321], "/"),
            ("7", 7, 0, &[0], "/"),
            ("also-ann", 1000, 7, &[7], "/home/ann"),
            ("bob", 1002, 5, &[5, 6], "/"),
            (":disk", 0, 6, &[6], "/root"),
        ];
        for (user, uid, gid, extra, home) in table {
            let expected = Identity {
                uid,
                gid,
                groups: extra.to_vec(),
                home: home.to_owned(),
            };
            assert_eq!(files.resolve(user), Ok(expected), "{user:?}");
        }
    }

    #[test]
    fn unknown_names_have_dockers_words() {
        let files = Files::new(PASSWD, GROUP);
        let table = [
            (
                "eve",
                "unable to find user eve: no matching entries in passwd file",
            ),
            (
                "eve:root",
                "unable to find user eve: no matching entries in passwd file",
            ),
            (
                "ann:eve",
                "unable to find group eve: no matching entries in group file",
            ),
            ("4294967295", "uids and gids must be in range 0-2147483647"),
            ("0:2147483648", "uids and gids must be in range 0-2147483647"),
        ];
        for (user, text) in table {
            assert_eq!(files.resolve(user), Err(text.to_owned()), "{user:?}");
        }
        assert!(Files::new("", "").resolve("root").is_err());
    }

    #[test]
    fn lists_are_bounded() {
        let ann = "ann:x:1000:1001::/home/ann:\n";
        let line = "x".repeat(MAX_LINE as usize);
        let files = Files::new(&format!("{line}\n{ann}"), "");
        assert_eq!(files.resolve("ann").unwrap().uid, 1000);
        let files = Files::new(&format!("{line}x\n{ann}"), "");
        let text = files.resolve("ann").unwrap_err();
        assert!(
            text.ends_with("passwd: a line of more than 1048576 bytes"),
            "{text}"
        );

        let filler = format!("{}\n", "x".repeat(1023)).repeat(MAX_FILE as usize / 1024);
        assert!(
            Files::new(&filler, "")
                .resolve("eve")
                .unwrap_err()
                .contains("eve")
        );
        let text = Files::new(&format!("{filler}{ann}"), "")
            .resolve("ann")
            .unwrap_err();
        assert!(
            text.ends_with("passwd: a file of more than 16777216 bytes"),
            "{text}"
        );
        // What comes first is found whatever follows.
        assert_eq!(
            Files::new(&format!("{ann}{filler}{ann}"), "")
                .resolve("ann")
                .unwrap()
                .uid,
            1000
        );

        let groups = "::7:ann\n".repeat(MAX_GROUPS - 1);
        let files = Files::new(ann, &groups);
        assert_eq!(files.resolve("ann").unwrap().groups.len(), MAX_GROUPS);
        let text = Files::new(ann, &format!("{groups}::7:ann\n"))
            .resolve("ann")
            .unwrap_err();
        assert_eq!(text, "user ann is in more than 65536 groups");
    }
}
