//! Who may do what: three rights, given to users and groups of this machine by the settings, and taken from the socket's peer.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::accounts::{self, Kind};

/// The group whose members may do everything, if there is one.
pub(crate) const GROUP: &str = "mica";

/// What somebody may do; each right has all those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Right {
    /// Look: list, inspect, save, events, logs, disk usage.
    Read,
    /// Make: build, pull, load, import, tag, ask registries, and take away names that one gave oneself.
    Build,
    /// Everything: push, remove, prune, enter failed steps, give RUN all rights.
    Full,
}

impl Right {
    /// What the settings call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Build => "build",
            Self::Full => "full",
        }
    }
}

/// Who is at the other end of a connection, as they were when they connected (`SO_PEERCRED` and `SO_PEERGROUPS`, unix(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Their user.
    pub(crate) user: u32,
    /// Their group, then those they have beside it.
    groups: Vec<u32>,
    /// Whether it is root or the user this program runs as: what this program may do they may do too.
    pub(crate) is_owner: bool,
}

impl Peer {
    /// The peer of a connection; nobody if the system does not tell.
    pub(crate) fn of(stream: &UnixStream) -> Self {
        let (user, group) = stream
            .peer_cred()
            .map_or((u32::MAX, u32::MAX), |peer| (peer.uid(), peer.gid()));
        // a system that does not tell gives them none
        let others = mica_sandbox::peer_groups(stream.as_fd()).unwrap_or_default();
        Self {
            user,
            groups: [vec![group], others].concat(),
            is_owner: user == 0 || user == rustix::process::geteuid().as_raw(),
        }
    }

    /// Whether the peer may write to a file with this owner and mode.
    pub(crate) fn may_write(&self, file: &Stat) -> bool {
        let bit = if self.user == file.st_uid {
            0o200
        } else if self.groups.contains(&file.st_gid) {
            0o020
        } else {
            0o002
        };
        self.is_owner || file.st_mode & bit != 0
    }

    /// The user for people: `ci (uid 1001)`.
    fn described(&self) -> String {
        match accounts::user_name(self.user) {
            Some(name) => format!("user {name} (uid {})", self.user),
            None => format!("the user with uid {}", self.user),
        }
    }
}

/// Who is named for a right in the settings: names, or numbers as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Named {
    users: Vec<String>,
    groups: Vec<String>,
}

/// The part `rights` of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RightsFile {
    read: Named,
    build: Named,
    full: Named,
}

/// Who has which right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    users: HashMap<u32, Right>,
    groups: HashMap<u32, Right>,
    lets_others_in: bool,
    /// The file to write into.
    file: PathBuf,
}

/// A right that is missing: what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied(pub(crate) String);

impl Rights {
    /// Finds out who is meant. `file` is where they are named, or could be.
    pub(crate) fn resolve(named: &RightsFile, file: &Path) -> Result<Self, String> {
        let mut rights = Self {
            file: file.to_owned(),
            ..Self::default()
        };
        // the group is not there on every machine
        if let Some(group) = accounts::local(Kind::Group, GROUP) {
            rights.groups.insert(group, Right::Full);
        }
        let mut seen: HashMap<(&str, &str), Right> = HashMap::new();
        for (right, who) in [
            (Right::Read, &named.read),
            (Right::Build, &named.build),
            (Right::Full, &named.full),
        ] {
            for (kind, names) in [(Kind::User, &who.users), (Kind::Group, &who.groups)] {
                for name in names {
                    if let Some(before) = seen.insert((kind.word(), name), right) {
                        return Err(format!(
                            "{} {name:?} is named in rights.{} and again in rights.{}: name it once, each right has those before it",
                            kind.word(),
                            before.word(),
                            right.word()
                        ));
                    }
                    let place = format!("rights.{}.{}s", right.word(), kind.word());
                    let found = accounts::find(kind, name).map_err(|error| format!("{place}: {error}"))?;
                    let Some(number) = found else {
                        return Err(format!(
                            "{place} names {name:?}, and this machine has no {} of that name: a number is taken as it is",
                            kind.word()
                        ));
                    };
                    let all = match kind {
                        Kind::User => &mut rights.users,
                        Kind::Group => &mut rights.groups,
                    };
                    let known = all.entry(number).or_insert(right);
                    *known = right.max(*known);
                    rights.lets_others_in = true;
                }
            }
        }
        Ok(rights)
    }

    /// Whether the socket is to be open to all users, because some may do something that are neither its owner nor of its group.
    pub(crate) fn lets_others_in(&self) -> bool {
        self.lets_others_in
    }

    /// The most that somebody may do; nothing for a stranger.
    pub(crate) fn of(&self, peer: &Peer) -> Option<Right> {
        if peer.is_owner {
            return Some(Right::Full);
        }
        let groups = peer.groups.iter().filter_map(|group| self.groups.get(group));
        self.users
            .get(&peer.user)
            .into_iter()
            .chain(groups)
            .max()
            .copied()
    }

    /// Whether somebody may do something that needs a right; `what` is it in words.
    pub(crate) fn check(
        &self,
        peer: &Peer,
        needed: Right,
        what: impl FnOnce() -> String,
    ) -> Result<(), Denied> {
        let has = self.of(peer);
        if has >= Some(needed) {
            return Ok(());
        }
        let has = match has {
            None => "has no right here".to_owned(),
            Some(has) => format!("has the right {:?} here", has.word()),
        };
        Err(Denied(format!(
            "{} {has}, and {} needs {:?}: the setting \"rights\" of {} gives it, as in \
             {{\"rights\": {{{:?}: {{\"users\": [\"{}\"]}}}}}}; so does the group {GROUP}",
            peer.described(),
            what(),
            needed.word(),
            self.file.display(),
            needed.word(),
            accounts::user_name(peer.user).unwrap_or_else(|| peer.user.to_string()),
        )))
    }
}

#[cfg(test)]
impl Peer {
    /// Somebody with these numbers who is no owner.
    pub(crate) fn someone(user: u32, groups: &[u32]) -> Self {
        Self {
            user,
            groups: groups.to_vec(),
            is_owner: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Rights, String> {
        Rights::resolve(
            &serde_json::from_str(text).unwrap(),
            Path::new("/etc/mica/daemon.json"),
        )
    }

    #[test]
    fn the_best_of_user_and_groups_counts() {
        let rights = resolve(
            r#"{"read": {"groups": ["70001"]}, "build": {"users": ["70002"], "groups": ["70003"]}, "full": {"users": ["70004"]}}"#,
        )
        .unwrap();
        assert!(rights.lets_others_in());
        for (user, groups, right) in [
            (70001, &[70000][..], None),
            (70000, &[70000, 70001], Some(Right::Read)),
            (70002, &[70001], Some(Right::Build)),
            (70000, &[70001, 70003], Some(Right::Build)),
            (70004, &[70001], Some(Right::Full)),
            // groups are not users
            (70003, &[70004], None),
        ] {
            assert_eq!(
                rights.of(&Peer::someone(user, groups)),
                right,
                "{user} {groups:?}"
            );
        }
        let owner = Peer {
            is_owner: true,
            ..Peer::someone(0, &[])
        };
        assert_eq!(rights.of(&owner), Some(Right::Full));
    }

    #[test]
    fn nobody_is_let_in_by_default() {
        let rights = resolve("{}").unwrap();
        assert!(!rights.lets_others_in());
        assert_eq!(rights.of(&Peer::someone(70000, &[70000])), None);
    }

    #[test]
    fn a_refusal_names_the_right_the_user_and_the_setting() {
        let rights = resolve(r#"{"read": {"users": ["70001"]}}"#).unwrap();
        let refused = |user, needed| {
            rights
                .check(&Peer::someone(user, &[]), needed, || "POST /build".to_owned())
                .map_err(|denied| denied.0)
        };
        assert_eq!(refused(70001, Right::Read), Ok(()));
        let text = refused(70001, Right::Build).unwrap_err();
        for part in [
            "uid 70001",
            "has the right \"read\"",
            "POST /build needs \"build\"",
            "/etc/mica/daemon.json",
            r#"{"rights": {"build": {"users": ["70001"]}}}"#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            refused(70000, Right::Read)
                .unwrap_err()
                .contains("has no right here")
        );
    }

    #[test]
    fn names_that_are_none_or_stand_twice_are_refused() {
        let error = resolve(r#"{"full": {"groups": ["no-such-group-here"]}}"#).unwrap_err();
        assert!(
            error.contains("rights.full.groups names \"no-such-group-here\""),
            "{error}"
        );
        let error = resolve(r#"{"read": {"users": ["root"]}, "full": {"users": ["root"]}}"#).unwrap_err();
        assert!(
            error.contains("in rights.read and again in rights.full"),
            "{error}"
        );
    }

    #[test]
    fn files_are_written_to_by_owner_group_or_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut stat = rustix::fs::stat(file.path()).unwrap();
        (stat.st_uid, stat.st_gid) = (70001, 70002);
        for (mode, user, groups, may) in [
            (0o600, 70001, &[][..], true),
            (0o060, 70001, &[70002], false),
            (0o060, 70000, &[70000, 70002], true),
            (0o600, 70000, &[70002], false),
            (0o002, 70000, &[70000], true),
        ] {
            stat.st_mode = mode;
            assert_eq!(Peer::someone(user, groups).may_write(&stat), may, "{mode:o}");
        }
    }
}
