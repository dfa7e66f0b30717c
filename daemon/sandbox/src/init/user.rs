//! Who the process runs as: `USER` looked up in the image's own files, by docker's rules.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::wire::{AtStep, Failure, STEP_USER};

/// The most bytes that are looked at of each file.
const MAX_FILE: u64 = 16 << 20;

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

/// One line of `passwd(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// One line of `group(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Looks a user up in the root's `/etc/passwd` and `/etc/group`.
///
/// # Errors
/// With [`STEP_USER`] and docker's text if a name is in neither.
pub(crate) fn find(user: &str) -> Result<Identity, Failure> {
    // The root is the image, so symbolic links cannot lead out of it.
    let accounts = lines("/etc/passwd")?
        .iter()
        .map(|line| parse_account(line))
        .collect::<Vec<_>>();
    let groups = lines("/etc/group")?
        .iter()
        .map(|line| parse_group(line))
        .collect::<Vec<_>>();
    resolve(user, &accounts, &groups).map_err(|text| Failure::plain(STEP_USER, text))
}

fn resolve(user: &str, accounts: &[Account], groups: &[Group]) -> Result<Identity, String> {
    let user = if user.is_empty() { "0" } else { user };
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    // As in docker's parser, a group alone belongs to root.
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let account = match number {
        Some(uid) => accounts.iter().find(|account| account.uid == uid),
        None => accounts.iter().find(|account| account.name == user),
    };
    let (uid, mut gid) = match (account, number) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => {
            return Err(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ));
        }
    };
    let mut extra = Vec::new();
    if !group.is_empty() {
        gid = group_id(group, groups)?;
    } else if let Some(account) = account {
        let member = |group: &&Group| group.members.contains(&account.name);
        extra = groups.iter().filter(member).map(|group| group.gid).collect();
    }
    // As containerd does: the group itself is always one of them, the first.
    if !extra.contains(&gid) {
        extra.insert(0, gid);
    }
    for id in extra.iter().chain([&uid]) {
        if *id > MAX_ID {
            return Err(format!("uids and gids must be in range 0-{MAX_ID}"));
        }
    }
    let home = accounts
        .iter()
        .find(|account| account.uid == uid)
        .map(|account| account.home.clone());
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

fn group_id(group: &str, groups: &[Group]) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let found = groups
        .iter()
        .find(|entry| entry.name == group)
        .map(|entry| entry.gid);
    found.ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))
}

/// The lines of a file that are not empty; none if it is missing or no file.
fn lines(path: impl AsRef<Path>) -> Result<Vec<String>, Failure> {
    let path = path.as_ref();
    let step = || format!("read {}", path.display());
    // Opening what is no file must not wait for anybody.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => return Ok(Vec::new()),
        other => other.at(step)?,
    };
    if FileType::from_raw_mode(fstat(&file).at(step)?.st_mode) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    for line in BufReader::new(File::from(file).take(MAX_FILE)).split(b'\n') {
        let line = line.at(step)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if !line.is_empty() {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// Fields that are missing are empty, and numbers that are none are zero, as docker reads them.
fn parse_account(line: &str) -> Account {
    let mut fields = line.split(':');
    let mut next = || fields.next().unwrap_or_default();
    let (name, _password, uid, gid, _comment, home) = (next(), next(), next(), next(), next(), next());
    Account {
        name: name.to_owned(),
        uid: id(uid),
        gid: id(gid),
        home: home.to_owned(),
    }
}

fn parse_group(line: &str) -> Group {
    let mut fields = line.split(':');
    let mut next = || fields.next().unwrap_or_default();
    let (name, _password, gid, members) = (next(), next(), next(), next());
    let members = members
        .split(',')
        .map(|member| member.trim().to_owned())
        .collect();
    Group {
        name: name.to_owned(),
        gid: id(gid),
        members,
    }
}

fn id(text: &str) -> u32 {
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Account, Group, Identity, parse_account, parse_group, resolve};

    fn files() -> (Vec<Account>, Vec<Group>) {
        let passwd = [
            "root:x:0:0:root:/root:/bin/sh",
            "ann:x:1000:1001::/home/ann:",
            "7:x:70:70::/seven",
            "bob:x:1002:5",
        ];
        let group = [
            "root:x:0:",
            "wheel:x:10:root,ann",
            "ann:x:1001:",
            "disk:x:6: ann,bob",
            "99:x:990:",
        ];
        (
            passwd.map(parse_account).to_vec(),
            group.map(parse_group).to_vec(),
        )
    }

    #[test]
    fn every_form_of_user() {
        let (accounts, groups) = files();
        let table: [(&str, u32, u32, &[u32], &str); 14] = [
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
            assert_eq!(resolve(user, &accounts, &groups), Ok(expected), "{user:?}");
        }
    }

    #[test]
    fn unknown_names_have_dockers_words() {
        let (accounts, groups) = files();
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
            assert_eq!(
                resolve(user, &accounts, &groups),
                Err(text.to_owned()),
                "{user:?}"
            );
        }
        assert!(resolve("root", &[], &[]).is_err());
    }
}
