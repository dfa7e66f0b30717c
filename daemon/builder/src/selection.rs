//! What the source arguments of COPY and ADD name, and a digest of it that is the same on every machine.

use std::collections::BTreeMap;
use std::io::Read;

use mica_dockerfile::glob_match;
use mica_dockerfile::ignore::IgnorePatterns;
use mica_layer::{CAPABILITY_XATTR, Content, Found, ImagePath, Kind, LinkKey, Stack, Step, Xattrs};
use mica_oci::{Digest, Hasher};
use mica_task::Cancel;

use crate::absence::{IgnoreFile, hint};
use crate::error::StepError;

/// A tree to copy from.
#[derive(Clone)]
pub(crate) struct Tree {
    /// The files.
    pub stack: Stack,
    /// How errors call it: `build context or excluded by .dockerignore`, `stage "x"`.
    pub place: String,
    /// Whether it is the build context, whose owners and security attributes mean nothing here.
    pub is_context: bool,
    /// What leaves files out of it.
    pub ignore: Option<IgnoreFile>,
}

/// One path that a source argument names.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    /// The name it keeps, as the argument spells it; empty for the root.
    pub name: Vec<u8>,
    /// Where it is, links followed.
    pub path: ImagePath,
    /// What it is.
    pub found: Found,
}

impl Tree {
    /// Finds what `argument` names: one path, or with a pattern any number of them in lexical order.
    pub(crate) fn select(&self, argument: &str, verb: &'static str) -> Result<Vec<Selected>, StepError> {
        let written = ImagePath::clamped(argument.as_bytes());
        if !has_wildcard(argument) {
            let path = self.stack.resolve(&written, true)?;
            let found = self
                .stack
                .lookup(&path)?
                .ok_or_else(|| self.missing(argument, verb))?;
            return Ok(vec![Selected {
                name: written.file_name().unwrap_or_default().to_vec(),
                path,
                found,
            }]);
        }
        let components: Vec<String> = written
            .components()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let plain = components
            .iter()
            .take_while(|component| !has_wildcard(component))
            .count();
        let mut base = ImagePath::root();
        components[..plain]
            .iter()
            .for_each(|name| base = base.join(name.as_bytes()));
        let base = self.stack.resolve(&base, true)?;
        let mut matches = Vec::new();
        self.descend(&base, &components[plain..], &mut matches)?;
        Ok(matches)
    }

    /// Says that what `argument` names is not there.
    pub(crate) fn missing(&self, argument: &str, verb: &'static str) -> StepError {
        StepError::Missing {
            verb,
            place: self.place.clone(),
            path: argument.to_owned(),
            hint: hint(&self.stack, self.ignore.as_ref(), argument),
        }
    }

    /// Matches one pattern per level, as `*` and its like never span a slash.
    fn descend(
        &self,
        directory: &ImagePath,
        patterns: &[String],
        matches: &mut Vec<Selected>,
    ) -> Result<(), StepError> {
        let Some((pattern, rest)) = patterns.split_first() else {
            return Ok(());
        };
        for (name, found) in self.stack.read_dir(directory)? {
            let matched = glob_match(pattern, &String::from_utf8_lossy(&name)).map_err(|source| {
                StepError::Pattern {
                    pattern: pattern.clone(),
                    source,
                }
            })?;
            if !matched {
                continue;
            }
            let path = directory.join(&name);
            if !rest.is_empty() {
                if found.node.meta.is_directory() {
                    self.descend(&path, rest, matches)?;
                }
                continue;
            }
            let path = self.stack.resolve(&path, true)?;
            if let Some(found) = self.stack.lookup(&path)? {
                matches.push(Selected { name, path, found });
            }
        }
        Ok(())
    }

    /// Shows `visit` the selected path and all below it, parents first, each with its path relative to the selection;
    /// what `excludes` names is left out.
    pub(crate) fn visit(
        &self,
        selected: &Selected,
        excludes: &Excludes,
        cancel: &Cancel,
        visit: &mut dyn FnMut(&ImagePath, &ImagePath, &Found) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let mut failure = None;
        // excluded directories on the way to something that may be wanted again
        let mut above: Vec<(ImagePath, ImagePath, Found)> = Vec::new();
        self.stack.walk(&selected.path, &mut |path, found| {
            if failure.is_some() {
                return Ok(Step::Over);
            }
            let relative = path.strip_prefix(&selected.path).unwrap_or_default();
            // a file is matched by its own name, a directory's contents by their path in it
            let matched = if relative.is_root() && !found.node.meta.is_directory() {
                ImagePath::clamped(&selected.name)
            } else {
                relative.clone()
            };
            if !matched.is_root() && excludes.excludes(&matched) {
                if found.node.meta.is_directory() && excludes.may_reinclude_below(&matched) {
                    above.retain(|(_, directory, _)| path.starts_with(directory));
                    above.push((relative, path.clone(), found.clone()));
                    return Ok(Step::Into);
                }
                return Ok(Step::Over);
            }
            above.retain(|(_, directory, _)| path.starts_with(directory));
            let visited = cancel.check().map_err(StepError::from).and_then(|()| {
                above.drain(..).try_for_each(|(r, p, f)| visit(&r, &p, &f))?;
                visit(&relative, path, found)
            });
            Ok(match visited {
                Ok(()) => Step::Into,
                Err(e) => {
                    failure = Some(e);
                    Step::Over
                }
            })
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Looks at all that is selected, by more than one thread where that pays.
    pub(crate) fn prepare(&self, selected: &[Selected], excludes: &Excludes) -> Result<(), StepError> {
        for one in selected.iter().filter(|one| one.found.node.meta.is_directory()) {
            self.stack.prepare(&one.path, &|directory| {
                let relative = directory.strip_prefix(&one.path).unwrap_or_default();
                !excludes.excludes(&relative) || excludes.may_reinclude_below(&relative)
            })?;
        }
        Ok(())
    }

    /// A digest of all that is selected: names, types, modes, owners, sizes, link targets, devices, attributes and
    /// bytes; neither times nor inode numbers (dockerfile contract 13.2).
    pub(crate) fn digest(
        &self,
        selected: &[Selected],
        excludes: &Excludes,
        cancel: &Cancel,
    ) -> Result<Digest, StepError> {
        let mut hasher = Hasher::new();
        for one in selected {
            hasher.field(&one.name);
            let mut links: BTreeMap<(u32, LinkKey), u64> = BTreeMap::new();
            self.visit(one, excludes, cancel, &mut |relative, path, found| {
                self.digest_file(relative, path, found, &mut links, &mut hasher)
            })?;
            hasher.field(b"last");
        }
        Ok(hasher.finish())
    }

    /// Adds one file to a digest.
    pub(crate) fn digest_file(
        &self,
        relative: &ImagePath,
        path: &ImagePath,
        found: &Found,
        links: &mut BTreeMap<(u32, LinkKey), u64>,
        hasher: &mut Hasher,
    ) -> Result<(), StepError> {
        let meta = &found.node.meta;
        let (kind, detail): (&[u8], Vec<u8>) = match &meta.kind {
            Kind::File { .. } => (b"file", self.content(path, found)?.as_raw().to_vec()),
            Kind::Directory => (b"dir", Vec::new()),
            Kind::Symlink { target } => (b"link", target.clone()),
            Kind::CharDevice { major, minor } => (b"char", format!("{major}:{minor}").into_bytes()),
            Kind::BlockDevice { major, minor } => (b"block", format!("{major}:{minor}").into_bytes()),
            Kind::Fifo => (b"fifo", Vec::new()),
        };
        // every list says how long it is, so that no two trees give the same fields
        hasher.field(b"file of it");
        hasher.field(relative.as_bytes());
        hasher.field(kind);
        hasher.field(&detail);
        let (uid, gid) = if self.is_context {
            (0, 0)
        } else {
            (meta.uid, meta.gid)
        };
        // the root of a context is not part of it
        let mode = if self.is_context && path.is_root() {
            0o755
        } else {
            meta.mode
        };
        hasher.field(format!("{mode:o} {uid} {gid}").as_bytes());
        let xattrs = self.carried_xattrs(&meta.xattrs);
        hasher.field(&xattrs.len().to_le_bytes());
        for (name, value) in &xattrs {
            hasher.field(name);
            hasher.field(value);
        }
        let next = links.len() as u64;
        let number = found.link().map(|key| *links.entry(key).or_insert(next));
        hasher.field(number.map(u64::to_le_bytes).as_ref().map_or(&[], |n| n));
        Ok(())
    }

    fn content(&self, path: &ImagePath, found: &Found) -> Result<Digest, StepError> {
        if let Some(digest) = found.node.content {
            return Ok(digest);
        }
        let digest = hash_content(&self.stack.open(path)?)?;
        self.stack.was_read(path, Some(&digest))?;
        Ok(digest)
    }

    /// The attributes that are copied. A client cannot send file capabilities: owners are forced after they are set.
    pub(crate) fn carried_xattrs(&self, xattrs: &Xattrs) -> Xattrs {
        let carried = |name: &[u8]| match name {
            CAPABILITY_XATTR => !self.is_context,
            name => !name.starts_with(b"security.") && !name.starts_with(b"system."),
        };
        xattrs
            .iter()
            .filter(|(name, _)| carried(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }
}

fn hash_content(content: &Content) -> Result<Digest, StepError> {
    let mut hasher = Hasher::new();
    let mut reader = content.reader();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// What `--exclude` leaves out.
pub(crate) struct Excludes(Option<IgnorePatterns>);

impl Excludes {
    /// Reads the values of all `--exclude` flags.
    pub(crate) fn parse(patterns: &[String]) -> Result<Self, StepError> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let bad = |pattern: &&String| IgnorePatterns::from_patterns([pattern.as_str()]).is_err();
        let named = || patterns.iter().find(bad).map_or("", String::as_str);
        IgnorePatterns::from_patterns(patterns.iter().map(String::as_str))
            .map(|patterns| Self(Some(patterns)))
            .map_err(|_| StepError::Invalid(format!("--exclude={}: not a valid pattern", named())))
    }

    /// Whether a path is left out.
    pub(crate) fn excludes(&self, path: &ImagePath) -> bool {
        self.0
            .as_ref()
            .is_some_and(|patterns| patterns.excludes(&String::from_utf8_lossy(path.as_bytes())))
    }

    /// Whether something below a directory that is left out may be wanted again.
    pub(crate) fn may_reinclude_below(&self, path: &ImagePath) -> bool {
        self.0
            .as_ref()
            .is_some_and(|patterns| patterns.may_reinclude_below(&String::from_utf8_lossy(path.as_bytes())))
    }
}

/// Whether a text is a pattern rather than a path; an escaped character is not one (BuildKit's rule).
pub(crate) fn has_wildcard(text: &str) -> bool {
    let mut escaped = false;
    text.bytes().any(|b| {
        let wild = !escaped && matches!(b, b'*' | b'?' | b'[');
        escaped = !escaped && b == b'\\';
        wild
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_from_paths() {
        for (text, wild) in [
            ("a", false),
            ("a*", true),
            ("a\\*", false),
            ("a\\\\*", true),
            ("[a]", true),
            ("?", true),
        ] {
            assert_eq!(has_wildcard(text), wild, "{text}");
        }
    }
}
