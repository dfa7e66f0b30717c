//! Names of this machine's users and groups: passwd(5), group(5), and what the system knows beside these files.

use std::process::{Command, Stdio};

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

/// The number of a user or group by whatever the system is set up to ask, a directory service for instance. A name that is a
/// number means that number.
pub(crate) fn find(kind: Kind, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    local(kind, name).or_else(|| {
        // a name that looks like an option is none
        let asked = Command::new("getent")
            .args([kind.database(), "--", name])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        number(&String::from_utf8_lossy(&asked.ok()?.stdout), name)
    })
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
        assert_eq!(find(Kind::User, "root"), Some(0));
        assert_eq!(find(Kind::Group, "12345"), Some(12345));
        assert_eq!(find(Kind::User, "no-such-user-here"), None);
        assert_eq!(find(Kind::User, "--help"), None);
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }
}
