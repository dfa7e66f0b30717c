//! Addresses that sources and contexts may be: files on the web and git repositories (dockerfile contract 7.15, 8.1).

mod name;

use std::fmt;
use std::str::FromStr;

use mica_layer::ImagePath;

use crate::address::name::decode;
use crate::error::BadAddress;

pub(crate) use crate::address::name::file_name;

/// The longest address that is taken, in bytes: no server takes a longer one.
const LONGEST: usize = 8 << 10;
/// The short form of an address that only contexts may have.
const GITHUB: &str = "github.com/";

/// Where something lies that is not in the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A file, at an http or https address.
    File(String),
    /// A git repository.
    Repository(GitAddress),
}

/// A git repository and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitAddress {
    /// Where it is, as git takes it: `https://…`, `ssh://…`, `git://…` or `user@host:path`.
    pub remote: String,
    /// A branch, tag, full reference or commit; the default branch if `None`.
    pub reference: Option<String>,
    /// The directory of it that is wanted; the root for all of it.
    pub subdir: ImagePath,
    /// What the commit must begin with, in lower-case hexadecimal digits.
    pub checksum: Option<String>,
    /// Whether its submodules are fetched too, and theirs.
    pub submodules: bool,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
}

/// The whole ID of a git commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

impl FromStr for Commit {
    type Err = ();

    /// Reads 40 (SHA-1) or 64 (SHA-256) hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let whole = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        match whole {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(()),
        }
    }
}

impl Commit {
    /// Its digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// Reads a source of ADD or COPY; `None` for one that is a path.
    pub(crate) fn of_source(text: &str) -> Result<Option<Self>, BadAddress> {
        let read = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "git" => repository("git://", rest).map(Some),
                "ssh" => repository("ssh://", rest).map(Some),
                "http" => on_the_web("http://", rest).map(Some),
                "https" => on_the_web("https://", rest).map(Some),
                _ => Ok(None),
            },
            None if is_host_and_path(text) => repository("", text).map(Some),
            None => Ok(None),
        };
        read.map_err(|reason| BadAddress {
            address: shown(text),
            reason,
        })
    }

    /// Reads the address of a context.
    pub(crate) fn of_context(text: &str) -> Result<Self, BadAddress> {
        let bad = |reason: &str| BadAddress {
            address: shown(text),
            reason: reason.to_owned(),
        };
        if text.starts_with("target:") {
            return Err(bad(
                "it names another target of a bake file, and this is a build of one Dockerfile: build that target first",
            ));
        }
        if text.starts_with(GITHUB) {
            return repository("https://", text)
                .map(Self::spelled_out)
                .map_err(|reason| bad(&reason));
        }
        Self::of_source(text)?.ok_or_else(|| {
            bad("only http://, https://, git://, ssh://, user@host:path and github.com/user/repository are fetched from")
        })
    }

    /// A repository at GitHub, with or without `.git`.
    fn spelled_out(self) -> Self {
        match self {
            Self::Repository(git) if !git.remote.ends_with(".git") => Self::Repository(GitAddress {
                remote: format!("{}.git", git.remote.trim_end_matches('/')),
                ..git
            }),
            other => other,
        }
    }
}

/// An address as it may be shown: without what may be a password, and not endlessly long.
pub fn shown(address: &str) -> String {
    const MOST: usize = 200;
    without_password(address).chars().take(MOST).collect()
}

/// An address without what may be a password.
pub(crate) fn without_password(address: &str) -> String {
    let public = match address.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest[..authority].rfind('@') {
                Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
                None => address.to_owned(),
            }
        }
        None => address.to_owned(),
    };
    public.chars().filter(|c| !c.is_control()).collect()
}

/// A repository if the path ends in `.git`, else a file.
fn on_the_web(scheme: &str, rest: &str) -> Result<Address, String> {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if path.contains('/') && path.ends_with(".git") {
        return repository(scheme, rest);
    }
    check(rest)?;
    let whole = rest.split('#').next().unwrap_or_default();
    Ok(Address::File(format!("{scheme}{whole}")))
}

/// Whether a text is `user@host:path`, as ssh takes it.
fn is_host_and_path(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let made_of = |text: &str, more: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    made_of(user, b"-_") && made_of(host, b"-.") && !path.is_empty()
}

/// Reads a repository's address with what is asked of it, after its scheme.
fn repository(scheme: &str, rest: &str) -> Result<Address, String> {
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (rest, None),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    check(rest)?;
    let mut asked = Asked::default();
    if let Some(fragment) = fragment {
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        asked.reference = said(reference);
        asked.subdir = said(subdir);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        asked.take(&text(name)?, &text(value)?)?;
    }
    asked.finish(format!("{scheme}{rest}")).map(Address::Repository)
}

/// What an address asks of a repository.
#[derive(Debug, Default)]
struct Asked {
    reference: Option<String>,
    branch: Option<String>,
    tag: Option<String>,
    subdir: Option<String>,
    checksum: Option<String>,
    submodules: Option<bool>,
    keep_git_dir: Option<bool>,
}

impl Asked {
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let place = match name {
            "ref" => &mut self.reference,
            "branch" => &mut self.branch,
            "tag" => &mut self.tag,
            "subdir" => &mut self.subdir,
            "checksum" | "commit" => &mut self.checksum,
            "submodules" => return set(name, &mut self.submodules, boolean(name, value)?),
            "keep-git-dir" => return set(name, &mut self.keep_git_dir, boolean(name, value)?),
            _ => return Err(format!("unexpected query {name:?}")),
        };
        match value {
            "" => Err(format!("query {name:?} has no value")),
            value => set(name, place, value.to_owned()),
        }
    }

    fn finish(self, remote: String) -> Result<GitAddress, String> {
        let named = [
            self.reference,
            self.branch.map(|name| format!("refs/heads/{name}")),
            self.tag.map(|name| format!("refs/tags/{name}")),
        ];
        let mut named = named.into_iter().flatten();
        let reference = named.next();
        if let (Some(one), Some(other)) = (&reference, named.next()) {
            return Err(format!("ref conflicts: {one:?} and {other:?}"));
        }
        if let Some(reference) = reference.as_deref().filter(|name| !is_reference(name)) {
            return Err(format!("{reference:?} is no name git has for anything"));
        }
        let subdir = self.subdir.unwrap_or_default();
        Ok(GitAddress {
            remote,
            reference,
            subdir: ImagePath::strict(subdir.as_bytes())
                .ok_or_else(|| format!("the subdir {subdir:?} leads out of the repository"))?,
            checksum: self.checksum.map(|text| commit_prefix(&text)).transpose()?,
            submodules: self.submodules.unwrap_or(true),
            keep_git_dir: self.keep_git_dir.unwrap_or(false),
        })
    }
}

/// Reads what a commit must begin with.
pub(crate) fn commit_prefix(text: &str) -> Result<String, String> {
    match (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "the checksum {text:?} is no commit: 7 to 64 hexadecimal digits are"
        )),
    }
}

fn set<T: PartialEq>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place {
        Some(before) if *before != value => Err(format!("{name} is said twice")),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A flag of a query; said without a value it is true.
fn boolean(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(format!("query {name:?} is true or false, not {value:?}")),
    }
}

/// What follows the scheme must name a host, and be nothing that git or ssh could take for an option.
fn check(rest: &str) -> Result<(), String> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("it names no host".to_owned());
    }
    if rest.starts_with('-') || host.starts_with('-') {
        return Err("a host's name does not begin with -".to_owned());
    }
    if rest.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    match rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Err("it has a blank or a control character in it".to_owned()),
        false => Ok(()),
    }
}

/// Whether a text can be the name of a reference, or a commit (git-check-ref-format(1)).
fn is_reference(text: &str) -> bool {
    let barred = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && !text.contains(barred)
        && text.split('/').all(part)
}

/// A part of a query, decoded.
fn text(part: &str) -> Result<String, String> {
    let bytes = decode(part, true).ok_or_else(|| format!("{part:?} is not encoded as queries are"))?;
    String::from_utf8(bytes).map_err(|_| format!("{part:?} is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn git(text: &str) -> GitAddress {
        match Address::of_context(text) {
            Ok(Address::Repository(git)) => git,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn repositories_are_told_from_files_and_paths() {
        for (text, remote) in [
            ("https://h/u/r.git", "https://h/u/r.git"),
            ("HTTP://h:80/r.git#main:a/b", "http://h:80/r.git"),
            ("git://h/r", "git://h/r"),
            ("ssh://git@h:22/r", "ssh://git@h:22/r"),
            ("git@h:u/r.git?branch=x", "git@h:u/r.git"),
            ("me@h.example:r", "me@h.example:r"),
        ] {
            let read = Address::of_source(text).unwrap();
            assert!(
                matches!(&read, Some(Address::Repository(git)) if git.remote == remote),
                "{text}: {read:?}"
            );
        }
        for (text, file) in [
            ("https://h/a.tar.gz#x", "https://h/a.tar.gz"),
            ("http://h/r.git/info/refs?x=y", "http://h/r.git/info/refs?x=y"),
            ("http://h", "http://h"),
            ("https://h?a.git", "https://h?a.git"),
        ] {
            assert_eq!(
                Address::of_source(text),
                Ok(Some(Address::File(file.into()))),
                "{text}"
            );
        }
        for path in [
            "a",
            "./git@h:x",
            "github.com/u/r",
            "a:b",
            "file:///etc",
            "@h:x",
            "a b@h:c",
            "ftp://h/x",
        ] {
            assert_eq!(Address::of_source(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn what_is_wanted_of_a_repository_is_read() {
        let all = git("https://h/r.git");
        assert_eq!(
            (all.reference, all.subdir.is_root(), all.submodules),
            (None, true, true)
        );
        let one = git("https://h/r.git#v1:a/./b/");
        assert_eq!(
            (one.reference.as_deref(), one.subdir.to_string()),
            (Some("v1"), "/a/b".into())
        );
        assert_eq!(git("https://h/r.git#:d").subdir.to_string(), "/d");
        assert_eq!(
            git("https://h/r.git?branch=a%2Fb").reference.as_deref(),
            Some("refs/heads/a/b")
        );
        assert_eq!(
            git("https://h/r.git?tag=v1").reference.as_deref(),
            Some("refs/tags/v1")
        );
        let asked = git("git@h:r?ref=x&subdir=s&checksum=ABCDEF1&submodules=false&keep-git-dir");
        assert_eq!(asked.reference.as_deref(), Some("x"));
        assert_eq!(asked.checksum.as_deref(), Some("abcdef1"));
        assert!(!asked.submodules && asked.keep_git_dir);
        assert_eq!(git("github.com/u/r#x").remote, "https://github.com/u/r.git");
        assert_eq!(git("github.com/u/r.git").remote, "https://github.com/u/r.git");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "https://h/r.git?foo=1",
            "https://h/r.git?ref=",
            "https://h/r.git?ref=a&ref=b",
            "https://h/r.git?ref=a#b",
            "https://h/r.git?tag=a&branch=a",
            "https://h/r.git?checksum=xyz",
            "https://h/r.git?submodules=maybe",
            "https://h/r.git#../x",
            "https://h/r.git#:../x",
            "https://h/r.git#--upload-pack=x",
            "https://h/r.git#a b",
            "https:///r.git",
            "ssh://-oProxyCommand=x/r",
            "ssh://u@-oProxyCommand=x/r",
            "-x@h:r",
            "git@-h:r",
            "https://h/a b.git",
            "target:x",
            "ftp://h/x",
            "https://h/r.git?ref=%zz",
        ] {
            assert!(Address::of_context(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(shown("https://u:p@h/x@y"), "https://h/x@y");
        assert_eq!(shown("https://h/x@y"), "https://h/x@y");
        assert_eq!(shown("git@h:r"), "git@h:r");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail_or_gives_git_an_option(text in ".{0,80}") {
            for read in [Address::of_source(&text).ok().flatten(), Address::of_context(&text).ok()] {
                if let Some(Address::Repository(git)) = read {
                    prop_assert!(!git.remote.starts_with('-'));
                    prop_assert!(!git.remote.contains(|c: char| c.is_whitespace() || c.is_control()));
                    prop_assert!(git.reference.is_none_or(|name| !name.starts_with('-')));
                }
            }
        }

        #[test]
        fn parts_of_an_address_come_out_as_they_went_in(
            host in "[a-z]{1,8}", path in "[a-z/]{0,8}[a-z]", branch in "[a-z]{1,8}", subdir in "[a-z]{1,5}(/[a-z]{1,5}){0,2}",
            checksum in "[0-9a-f]{7,40}", keep in any::<bool>(), submodules in any::<bool>(),
        ) {
            let query = format!("branch={branch}&subdir={subdir}&checksum={checksum}&keep-git-dir={keep}&submodules={submodules}");
            let read = Address::of_source(&format!("https://{host}/{path}.git?{query}")).unwrap();
            prop_assert_eq!(read, Some(Address::Repository(GitAddress {
                remote: format!("https://{host}/{path}.git"),
                reference: Some(format!("refs/heads/{branch}")),
                subdir: ImagePath::clamped(subdir.as_bytes()),
                checksum: Some(checksum),
                submodules,
                keep_git_dir: keep,
            })));
        }
    }
}
