//! Fetches commits of git repositories, each once as long as it is kept.

use std::io;
use std::path::Path;

use mica_builder::ports::{Commit, Errand, GitAddress, shown_address};
use mica_layer::{Allowance, Change, Changes, Kind, Mtime, XattrPolicy, changes_of_tree};
use mica_oci::DiffId;

use crate::adapters::git_program::Git;
use crate::adapters::kept::{Kept, key};
use crate::error::Error;

/// What is asked for where an address names nothing.
const DEFAULT: &str = "HEAD";
const GIT_DIR: &str = ".git";
/// What a repository is called in which a commit is checked out.
const REMOTE: &str = "origin";

/// The commit an address means now. A whole commit ID is one without asking anybody.
pub(super) fn commit(git: &GitAddress, errand: &Errand<'_>) -> Result<Commit, Error> {
    let reference = git.reference.as_deref().unwrap_or(DEFAULT);
    let found = match reference.parse::<Commit>() {
        Ok(commit) => Found { commit, tag: None },
        Err(()) => ask(git, reference, errand)?,
    };
    if let Some(wanted) = &git.checksum {
        let fits = |commit: &Commit| commit.as_str().starts_with(wanted.as_str());
        // the ID of an annotated tag will do as well
        if !fits(&found.commit) && !found.tag.as_ref().is_some_and(fits) {
            return Err(Error::OtherContent {
                address: shown_address(&git.remote),
                expected: wanted.clone(),
                actual: found.commit.to_string(),
            });
        }
    }
    Ok(found.commit)
}

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    commit: Commit,
    /// The tag itself, where it is an object of its own.
    tag: Option<Commit>,
}

fn ask(git: &GitAddress, reference: &str, errand: &Errand<'_>) -> Result<Found, Error> {
    let address = shown_address(&git.remote);
    let program = Git {
        address: &address,
        folder: Path::new("/"),
        cancel: errand.cancel,
    };
    let peeled = format!("{reference}^{{}}");
    let output = program.run(
        "ask for the references of",
        &["ls-remote", "--", &git.remote, reference, &peeled],
    )?;
    choose(&String::from_utf8_lossy(&output), reference).ok_or_else(|| Error::NoReference {
        address,
        reference: reference.to_owned(),
    })
}

/// Of all that `git ls-remote` lists, which also are names that only end alike: the reference as it is written, else the
/// branch, else the tag.
fn choose(list: &str, reference: &str) -> Option<Found> {
    let short = reference.strip_prefix("refs/").unwrap_or(reference);
    let names = [
        reference.to_owned(),
        format!("refs/{short}"),
        format!("refs/heads/{reference}"),
        format!("refs/tags/{reference}"),
    ];
    let of = |name: &str| {
        let line = list.lines().filter_map(|line| line.split_once('\t'));
        let mut line = line.filter(|(_, listed)| *listed == name);
        line.next().and_then(|(commit, _)| commit.parse::<Commit>().ok())
    };
    names.iter().find_map(|name| {
        let itself = of(name)?;
        Some(match of(&format!("{name}^{{}}")) {
            Some(commit) => Found {
                commit,
                tag: Some(itself),
            },
            None => Found {
                commit: itself,
                tag: None,
            },
        })
    })
}

/// All files of a commit as a layer. Files are 0644 or 0755 as git has them, belong to 0:0, and are as old as the commit
/// (BuildKit: as old as the checkout), so that the same commit gives the same layer.
pub(super) fn checkout(git: &GitAddress, commit: &Commit, kept: Kept<'_>) -> Result<DiffId, Error> {
    let options = format!("{} {}", git.keep_git_dir, git.submodules);
    let key = key(
        "git",
        &[
            git.remote.as_bytes(),
            commit.as_str().as_bytes(),
            options.as_bytes(),
        ],
    );
    if let Some(layer) = kept.find(&key)? {
        return Ok(layer);
    }
    let address = shown_address(&git.remote);
    let work = kept.store.work(kept.lease)?;
    let folder = work.path().join("repository");
    fs_err::create_dir(&folder).map_err(|source| Error::Io {
        action: "make room for a repository",
        source,
    })?;
    let program = Git {
        address: &address,
        folder: &folder,
        cancel: kept.cancel,
    };
    let clone = Clone { git, commit, program };
    clone.make()?;
    let time = clone.time()?;
    let keep_failed = |source| Error::Keep {
        address: address.clone(),
        source,
    };
    let go_on = || kept.cancel.check().map_err(io::Error::other);
    let mut changes =
        changes_of_tree(&folder, XattrPolicy::All, Allowance::default(), &go_on).map_err(keep_failed)?;
    if !git.keep_git_dir {
        // in submodules it is a file
        changes.retain(|path, _| path.components().all(|name| name != GIT_DIR.as_bytes()));
    }
    settle(&mut changes, time);
    kept.put(&key, &changes, &address)
}

/// A commit on its way into a folder.
struct Clone<'a> {
    git: &'a GitAddress,
    commit: &'a Commit,
    program: Git<'a>,
}

impl Clone<'_> {
    fn make(&self) -> Result<(), Error> {
        let format = match self.commit.as_str().len() {
            64 => "--object-format=sha256",
            _ => "--object-format=sha1",
        };
        let run = |action, arguments: &[&str]| self.program.run(action, arguments).map(drop);
        run(
            "make a copy of",
            &["init", "--quiet", "--template=", "--initial-branch=main", format],
        )?;
        let remote = without_user(&self.git.remote);
        run("make a copy of", &["remote", "add", REMOTE, "--", &remote])?;
        self.fetch()?;
        self.name_head()?;
        run(
            "check out",
            &[
                "checkout",
                "--quiet",
                "--force",
                self.head().unwrap_or(self.commit.as_str()),
                "--",
            ],
        )?;
        if self.git.submodules {
            self.submodules()?;
        }
        Ok(())
    }

    /// Fetches the commit alone, or where the server does not give single commits everything it has.
    fn fetch(&self) -> Result<(), Error> {
        let (remote, commit) = (self.git.remote.as_str(), self.commit.as_str());
        let alone = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", remote, commit];
        if self.program.try_run(&alone)?.is_well() {
            return Ok(());
        }
        self.program.run(
            "fetch",
            &[
                "fetch",
                "--quiet",
                "--",
                remote,
                "+refs/heads/*:refs/remotes/origin/*",
                "+refs/tags/*:refs/tags/*",
            ],
        )?;
        let there = self
            .program
            .try_run(&["cat-file", "-e", &format!("{commit}^{{commit}}")])?;
        match there.is_well() {
            true => Ok(()),
            false => Err(Error::NoReference {
                address: self.program.address.to_owned(),
                reference: commit.to_owned(),
            }),
        }
    }

    /// The branch that is asked for by its full name.
    fn head(&self) -> Option<&str> {
        self.git.reference.as_deref()?.strip_prefix("refs/heads/")
    }

    /// Whoever keeps `.git` finds the branch or tag in it.
    fn name_head(&self) -> Result<(), Error> {
        let Some(reference) = self.git.reference.as_deref() else {
            return Ok(());
        };
        if reference.starts_with("refs/heads/") || reference.starts_with("refs/tags/") {
            let update = ["update-ref", "--", reference, self.commit.as_str()];
            self.program.run("name the head of", &update)?;
        }
        Ok(())
    }

    fn submodules(&self) -> Result<(), Error> {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let shallow: Vec<&str> = update.iter().copied().chain(["--depth=1"]).collect();
        if self.program.try_run(&shallow)?.is_well() {
            return Ok(());
        }
        // some servers give no single commits
        self.program.run("fetch the submodules of", &update).map(drop)
    }

    /// When the commit was made.
    fn time(&self) -> Result<Mtime, Error> {
        let show = ["show", "--no-patch", "--format=%ct", self.commit.as_str(), "--"];
        let output = self.program.run("read the time of", &show)?;
        let seconds = String::from_utf8_lossy(&output).trim().parse().unwrap_or(0);
        Ok(Mtime {
            seconds,
            nanoseconds: 0,
        })
    }
}

/// An address without user and password, which would end up in the image with `.git`; an ssh user is part of the address.
fn without_user(remote: &str) -> String {
    match remote.starts_with("http") {
        true => shown_address(remote),
        false => remote.to_owned(),
    }
}

/// Whatever this machine made of the files: owners, the rest of their modes and times are the same everywhere.
fn settle(changes: &mut Changes, time: Mtime) {
    for change in changes.values_mut() {
        if let Change::Node { meta, .. } = change {
            (meta.uid, meta.gid, meta.mtime) = (0, 0, time);
            meta.xattrs.clear();
            meta.mode = match meta.kind {
                Kind::Symlink { .. } => 0o777,
                Kind::File { .. } if meta.mode & 0o100 == 0 => 0o644,
                _ => 0o755,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[(char, &str)]) -> String {
        lines
            .iter()
            .map(|(digit, name)| format!("{}\t{name}\n", digit.to_string().repeat(40)))
            .collect()
    }

    fn first_digit(found: Option<Found>) -> Option<char> {
        found.and_then(|found| found.commit.as_str().chars().next())
    }

    #[test]
    fn a_name_means_what_git_takes_it_for() {
        let all = list(&[
            ('1', "HEAD"),
            ('2', "refs/heads/x/main"),
            ('3', "refs/heads/main"),
            ('4', "refs/tags/main"),
            ('5', "refs/tags/v1"),
            ('6', "refs/tags/v1^{}"),
            ('7', "refs/pull/1/head"),
        ]);
        for (name, digit) in [
            ("HEAD", Some('1')),
            ("main", Some('3')),
            ("refs/tags/main", Some('4')),
            ("heads/main", Some('3')),
            ("v1", Some('6')),
            ("refs/pull/1/head", Some('7')),
            ("pull/1/head", Some('7')),
            ("x", None),
        ] {
            assert_eq!(first_digit(choose(&all, name)), digit, "{name}");
        }
        let tag = choose(&all, "v1").unwrap().tag.unwrap();
        assert!(tag.as_str().starts_with('5'));
        assert_eq!(choose("nonsense\nx\tHEAD\n", "HEAD"), None);
    }
}
