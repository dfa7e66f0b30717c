//! `COPY --parents`: which files a source names, each with the path it keeps (dockerfile contract 7.13).

use std::collections::BTreeMap;

use mica_dockerfile::ignore::IgnorePatterns;
use mica_layer::{Found, ImagePath, LinkKey};
use mica_oci::{Digest, Hasher};
use mica_task::Cancel;

use crate::error::StepError;
use crate::selection::{Excludes, Tree, has_wildcard};

/// A file that is copied with the path it has.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its path below the destination.
    pub kept: ImagePath,
    /// Where it is.
    pub path: ImagePath,
    /// What it is.
    pub found: Found,
}

/// What is looked for below one directory.
struct Search<'a> {
    tree: &'a Tree,
    /// What `path` in an [`Entry`] is below, and `kept` is relative to.
    pivot: ImagePath,
    /// `None` takes everything.
    pattern: Option<IgnorePatterns>,
    /// How many names a match has at most; `None` if `**` is among them.
    deepest: Option<usize>,
    excludes: &'a Excludes,
    cancel: &'a Cancel,
    entries: Vec<Entry>,
    /// Directories on the way to what may match: they are copied once something in them is.
    above: Vec<Entry>,
}

impl Tree {
    /// The files that a source names, each directory before what is in it. `/./` in it says from where on paths are kept.
    /// What is not a pattern must be there. Links are not followed, except in front of `/./`.
    pub(crate) fn select_with_parents(
        &self,
        argument: &str,
        verb: &'static str,
        excludes: &Excludes,
        cancel: &Cancel,
    ) -> Result<Vec<Entry>, StepError> {
        let missing = || self.missing(argument, verb);
        let (front, rest) = cut(argument);
        let pivot = self.stack.resolve(&ImagePath::clamped(front.as_bytes()), true)?;
        let wanted = ImagePath::clamped(rest.as_bytes());
        let names: Vec<_> = wanted
            .components()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let plain = names.iter().take_while(|name| !has_wildcard(name)).count();
        let is_pattern = plain < names.len();
        let mut search = Search {
            tree: self,
            pattern: is_pattern.then(|| pattern(&names)).transpose()?,
            deepest: (!names.iter().any(|name| name.contains("**"))).then_some(names.len()),
            pivot,
            excludes,
            cancel,
            entries: Vec::new(),
            above: Vec::new(),
        };
        let mut kept = ImagePath::root();
        // a walk from the pivot down, one plain name after the other
        for name in &names[..plain] {
            if !search.note_above(&kept)? {
                return if is_pattern {
                    Ok(Vec::new())
                } else {
                    Err(missing())
                };
            }
            kept = kept.join(name.as_bytes());
        }
        let there = self.stack.lookup(&search.pivot.join_path(&kept))?;
        match there {
            None if is_pattern => return Ok(Vec::new()),
            None => return Err(missing()),
            Some(found) => search.look(kept, found, false)?,
        }
        Ok(search.entries)
    }

    /// A digest of files with the paths they keep, as [`Tree::digest`] is one of selected paths.
    pub(crate) fn digest_entries(&self, entries: &[Entry], cancel: &Cancel) -> Result<Digest, StepError> {
        let mut hasher = Hasher::new();
        let mut links: BTreeMap<(u32, LinkKey), u64> = BTreeMap::new();
        for entry in entries {
            cancel.check()?;
            self.digest_file(&entry.kept, &entry.path, &entry.found, &mut links, &mut hasher)?;
        }
        Ok(hasher.finish())
    }
}

impl Search<'_> {
    /// Remembers a directory on the way; says whether it is one.
    fn note_above(&mut self, kept: &ImagePath) -> Result<bool, StepError> {
        let path = self.pivot.join_path(kept);
        let found = self.tree.stack.lookup(&path)?;
        let Some(found) = found.filter(|found| found.node.meta.is_directory()) else {
            return Ok(false);
        };
        if !kept.is_root() {
            self.above.push(Entry {
                kept: kept.clone(),
                path,
                found,
            });
        }
        Ok(true)
    }

    /// Looks at a file and all below it; `taken` says that the directory it is in was wanted as a whole.
    fn look(&mut self, kept: ImagePath, found: Found, taken: bool) -> Result<(), StepError> {
        // depth is bounded: no path of a tree is longer than its names
        let mut ahead = vec![(kept, found, taken)];
        while let Some((kept, found, taken)) = ahead.pop() {
            self.cancel.check()?;
            let directory = found.node.meta.is_directory();
            let wanted = taken || self.matches(&kept);
            let depth = kept.components().count();
            let excluded = !kept.is_root() && self.excludes.excludes(&kept);
            if excluded && !(directory && self.excludes.may_reinclude_below(&kept)) {
                continue;
            }
            let path = self.pivot.join_path(&kept);
            self.above.retain(|above| kept.starts_with(&above.kept));
            let entry = Entry {
                kept: kept.clone(),
                path: path.clone(),
                found,
            };
            match (wanted && !excluded, directory) {
                (true, _) => {
                    self.entries.append(&mut self.above);
                    self.entries.push(entry);
                }
                (false, true) if !kept.is_root() => self.above.push(entry),
                _ => {}
            }
            let may_match_below = self.deepest.is_none_or(|deepest| depth < deepest);
            if directory && (wanted || may_match_below) {
                let below = self.tree.stack.read_dir(&path)?;
                // the first name is looked at next
                let below = below.into_iter().rev();
                ahead.extend(below.map(|(name, found)| (kept.join(&name), found, wanted)));
            }
        }
        Ok(())
    }

    fn matches(&self, kept: &ImagePath) -> bool {
        match &self.pattern {
            None => true,
            Some(pattern) => !kept.is_root() && pattern.excludes(&String::from_utf8_lossy(kept.as_bytes())),
        }
    }
}

/// Cuts a source at the first `.` that is a name of its own, one at its start aside.
fn cut(argument: &str) -> (&str, &str) {
    let argument = argument.trim_start_matches('/');
    let argument = argument.strip_prefix("./").unwrap_or(argument);
    match argument.split_once("/./") {
        Some(cut) => cut,
        None => match argument.strip_suffix("/.") {
            Some(front) => (front, ""),
            None => ("", argument),
        },
    }
}

/// The matcher of ignore files, whose grammar these patterns have; a leading `!` means nothing here.
fn pattern(names: &[String]) -> Result<IgnorePatterns, StepError> {
    let joined = names.join("/");
    let escaped = match joined.strip_prefix('!') {
        Some(rest) => format!("\\!{rest}"),
        None => joined.clone(),
    };
    IgnorePatterns::from_patterns([escaped.as_str()])
        .map_err(|_| StepError::Invalid(format!("{joined:?} is not a valid pattern")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_cut_at_a_dot_of_its_own() {
        for (text, front, rest) in [
            ("a/./b/c", "a", "b/c"),
            ("/a/./b", "a", "b"),
            ("./a", "", "a"),
            ("./", "", ""),
            (".", "", "."),
            ("./x/./", "x", ""),
            ("./x/./y/*.txt", "x", "y/*.txt"),
            ("x/.", "x", ""),
            ("x/./", "x", ""),
            ("a/./b/./c", "a", "b/./c"),
            ("a/.b", "", "a/.b"),
        ] {
            assert_eq!(cut(text), (front, rest), "{text}");
        }
    }
}
