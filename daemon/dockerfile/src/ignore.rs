//! `.dockerignore`: which paths of a build context are left out.

use thiserror::Error;

use crate::{
    glob::{BadPattern, Glob},
    line::{without_end, without_mark},
};

/// Why a list of patterns was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IgnoreError {
    /// A `!` with nothing after it.
    #[error("line {line}: illegal exclusion pattern: \"!\", expected a pattern after it")]
    LoneBang {
        /// The line, from 1; for patterns that are no file, their number.
        line: usize,
    },
    /// Something is wrong with a wildcard.
    #[error("line {line}: bad pattern")]
    Pattern {
        /// The line, from 1; for patterns that are no file, their number.
        line: usize,
        /// What is wrong.
        #[source]
        source: BadPattern,
    },
}

/// Patterns in order, of which the last that matches decides.
///
/// Paths are relative, with `/` between components and none at the ends. A pattern also matches everything below
/// a directory it matches.
#[derive(Debug, Clone, Default)]
pub struct IgnorePatterns {
    patterns: Vec<Pattern>,
    reincludes: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Its line in the file, from 1.
    line: usize,
    /// As it is written.
    text: String,
    /// Whether it began with `!`.
    reincludes: bool,
    shape: Shape,
}

/// The pattern that decides that a path is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExcludedBy<'a> {
    /// Its line in the ignore file, from 1.
    pub line: usize,
    /// The pattern as it is written.
    pub pattern: &'a str,
}

/// What a pattern comes down to; most are plain names and need no wildcard machine.
#[derive(Debug, Clone)]
enum Shape {
    /// This path.
    Path(String),
    /// Everything that begins with this.
    Begins(String),
    /// Everything that ends with this; the empty text means everything.
    Ends(String),
    /// A component of any depth with this name: `**/name`, kept with the `/` in front.
    Named(String),
    /// Paths of one component that end with this: `*.o`.
    TopEnds(String),
    /// Anything else.
    Wild(Box<Glob>),
}

impl IgnorePatterns {
    /// Reads an ignore file. Lines that begin with `#` and blank ones are skipped; bytes that are not UTF-8 become
    /// U+FFFD, as they must in the paths they are compared with.
    ///
    /// # Errors
    /// A `!` alone, a pattern with a broken wildcard or over 4095 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        let lines = without_mark(bytes).split(|&b| b == b'\n').enumerate();
        let mut found = Self::default();
        for (index, line) in lines.filter(|(_, line)| !line.starts_with(b"#")) {
            found.add(index + 1, &String::from_utf8_lossy(without_end(line)))?;
        }
        Ok(found)
    }

    /// The same from patterns that do not come from a file, as those of `COPY --exclude`; `#` is no comment here.
    ///
    /// # Errors
    /// As [`IgnorePatterns::parse`].
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        let mut found = Self::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            found.add(index + 1, pattern)?;
        }
        Ok(found)
    }

    fn add(&mut self, line: usize, text: &str) -> Result<(), IgnoreError> {
        let written = text.trim();
        let (reincludes, text) = match written.strip_prefix('!') {
            Some(rest) if rest.trim().is_empty() => return Err(IgnoreError::LoneBang { line }),
            Some(rest) => (true, rest.trim()),
            None if written.is_empty() => return Ok(()),
            None => (false, written),
        };
        let cleaned = clean(text);
        let shape = Shape::parse(cleaned.strip_prefix('/').unwrap_or(&cleaned))
            .map_err(|source| IgnoreError::Pattern { line, source })?;
        self.patterns.push(Pattern {
            line,
            text: written.to_owned(),
            reincludes,
            shape,
        });
        self.reincludes |= reincludes;
        Ok(())
    }

    /// Whether there are no patterns, so that nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether there are `!` patterns.
    #[must_use]
    pub fn has_reincludes(&self) -> bool {
        self.reincludes
    }

    /// Whether a pattern leaves out all there is: `*`, `**` or the like.
    #[must_use]
    pub fn excludes_everything(&self) -> bool {
        let is_all =
            |shape: &Shape| matches!(shape, Shape::Ends(end) | Shape::TopEnds(end) if end.is_empty());
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| !pattern.reincludes && is_all(&pattern.shape))
    }

    /// Whether `path` is left out.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        self.excluding(path).is_some()
    }

    /// The pattern that leaves `path` out, if it is left out.
    #[must_use]
    pub fn excluding(&self, path: &str) -> Option<ExcludedBy<'_>> {
        let last = self
            .patterns
            .iter()
            .rev()
            .find(|pattern| pattern.shape.matches_or_holds(path))?;
        (!last.reincludes).then_some(ExcludedBy {
            line: last.line,
            pattern: &last.text,
        })
    }

    /// Whether anything below the directory `dir` may be kept although `dir` is left out: whether a `!` pattern
    /// that nothing after it overrules could match there. A walk need not enter other excluded directories.
    #[must_use]
    pub fn may_reinclude_below(&self, dir: &str) -> bool {
        self.may_reinclude(dir, |index| self.patterns[index].shape.matches_or_holds(dir))
    }

    fn may_reinclude(&self, dir: &str, matches: impl Fn(usize) -> bool) -> bool {
        if !self.reincludes {
            return false;
        }
        let below = format!("{dir}/");
        for (index, pattern) in self.patterns.iter().enumerate().rev() {
            match (pattern.reincludes, matches(index)) {
                // What a later pattern leaves out as a whole, an earlier one cannot bring back.
                (false, true) => return false,
                (false, false) => {}
                (true, true) => return true,
                (true, false) => {
                    if dir.is_empty() || pattern.shape.could_match_below(&below) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// A walk through a directory tree from its root, which is faster than asking for each path alone: what
    /// matched a directory is remembered for all that is in it.
    #[must_use]
    pub fn walk(&self) -> IgnoreWalk<'_> {
        IgnoreWalk {
            patterns: self,
            levels: Vec::new(),
        }
    }
}

/// A depth-first walk; see [`IgnorePatterns::walk`].
#[derive(Debug, Clone)]
pub struct IgnoreWalk<'a> {
    patterns: &'a IgnorePatterns,
    /// For each directory entered, which patterns match it or one above.
    levels: Vec<Vec<bool>>,
}

impl IgnoreWalk<'_> {
    /// Whether `path`, which lies directly in the directory entered last, is left out.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let patterns = self.patterns.patterns.iter().enumerate().rev();
        let mut matching =
            patterns.filter(|(index, pattern)| self.inherits(*index) || pattern.shape.matches(path));
        matching.next().is_some_and(|(_, pattern)| !pattern.reincludes)
    }

    /// Goes into `path`, a directory directly in the one entered last. Says whether anything below it may be kept
    /// if it is left out itself, as [`IgnorePatterns::may_reinclude_below`] does.
    pub fn enter(&mut self, path: &str) -> bool {
        let patterns = self.patterns.patterns.iter().enumerate();
        let level: Vec<bool> = patterns
            .map(|(index, pattern)| self.inherits(index) || pattern.shape.matches(path))
            .collect();
        let may_reinclude = self.patterns.may_reinclude(path, |index| level[index]);
        self.levels.push(level);
        may_reinclude
    }

    /// Goes back out of the directory entered last.
    pub fn leave(&mut self) {
        self.levels.pop();
    }

    fn inherits(&self, index: usize) -> bool {
        self.levels.last().is_some_and(|level| level[index])
    }
}

impl Shape {
    fn parse(pattern: &str) -> Result<Self, BadPattern> {
        const WILD: [char; 5] = ['*', '?', '[', ']', '\\'];
        // Everything that looks simple below is still read once, for its syntax.
        let glob = Glob::parse(pattern, true)?;
        if !pattern.contains(WILD) {
            return Ok(Self::Path(pattern.to_owned()));
        }
        if let Some(rest) = pattern.strip_prefix("**") {
            // `**/*.o`: the last component ends so, which the path as a whole does too.
            let rest_of_any_name = rest.strip_prefix("/*").filter(|rest| !rest.contains('/'));
            let ends = rest_of_any_name.unwrap_or(rest);
            if !ends.contains(WILD) {
                let named = rest_of_any_name.is_none() && rest.starts_with('/');
                return Ok(if named {
                    Self::Named(ends.to_owned())
                } else {
                    Self::Ends(ends.to_owned())
                });
            }
        }
        if let Some(start) = pattern.strip_suffix("**").filter(|start| !start.contains(WILD)) {
            return Ok(Self::Begins(start.to_owned()));
        }
        if let Some(end) = pattern
            .strip_prefix('*')
            .filter(|end| !end.contains(WILD) && !end.contains('/'))
        {
            return Ok(Self::TopEnds(end.to_owned()));
        }
        Ok(Self::Wild(Box::new(glob)))
    }

    /// Whether it matches this very path.
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(own) => path == own,
            Self::Begins(start) => path.starts_with(start),
            Self::Ends(end) => path.ends_with(end),
            Self::Named(end) => path.ends_with(end) || path == &end[1..],
            Self::TopEnds(end) => path.ends_with(end) && !path.contains('/'),
            Self::Wild(glob) => glob.matches(path),
        }
    }

    /// Whether it matches the path or a directory the path lies in.
    fn matches_or_holds(&self, path: &str) -> bool {
        self.matches(path) || path.match_indices('/').any(|(at, _)| self.matches(&path[..at]))
    }

    /// Whether it could match a path that begins with `below`, which ends with `/`.
    fn could_match_below(&self, below: &str) -> bool {
        match self {
            Self::Path(own) => own.starts_with(below),
            Self::Begins(start) => start.starts_with(below) || below.starts_with(start),
            Self::Ends(_) | Self::Named(_) => true,
            Self::TopEnds(_) => false,
            Self::Wild(glob) => glob.could_go_on(below),
        }
    }
}

/// The shortest path that means the same, as Go's `path.Clean` finds it by looking at the text alone.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if rooted {
        format!("/{joined}")
    } else if joined.is_empty() {
        ".".to_owned()
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::{IgnorePatterns, clean};

    fn parse(text: &str) -> IgnorePatterns {
        IgnorePatterns::parse(text.as_bytes()).unwrap()
    }

    /// What of `paths` is kept.
    fn kept<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let patterns = parse(text);
        paths
            .iter()
            .copied()
            .filter(|path| !patterns.excludes(path))
            .collect()
    }

    #[test]
    fn one_pattern_and_what_it_leaves_out() {
        for (pattern, out, kept) in [
            ("a", &["a", "a/b", "a/b/c"][..], &["b/a", "ab"][..]),
            ("a/b", &["a/b", "a/b/c"], &["a", "a/bc", "x/a/b"]),
            ("*.log", &["x.log", ".log", "d.log/f"], &["d/x.log", "x.logs"]),
            ("?.y", &["1.y"], &["22.y", ".y", "d/1.y"]),
            ("[ab].x", &["a.x", "b.x"], &["c.x"]),
            ("[^ab].x", &["c.x"], &["a.x"]),
            ("\\*.z", &["*.z"], &["q.z"]),
            (
                "**/deep",
                &["deep", "x/deep", "x/y/deep/f"],
                &["xdeep", "x/deeper"],
            ),
            ("**/*.o", &["o.o", "m/n.o", "m/n.o/x"], &["m/n.ox"]),
            ("**/a?c", &["abc", "x/abc", "x/y/abc/z"], &["xabc"]),
            ("**foo", &["foo", "xfoo", "d/xfoo"], &["food"]),
            ("foo**", &["foo", "foobar", "foobar/x", "foo/x"], &["xfoo"]),
            ("d/**", &["d/x", "d/x/y"], &["d", "dx"]),
            ("d*/**", &["da/x", "d/x/y"], &["da"]),
            ("**", &["a", "a/b"], &[]),
            ("**/**", &["a", "a/b"], &[]),
            ("*", &["a", "a/b", ".a"], &[]),
            ("*/*", &["a/b", "a/b/c"], &["a"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
            ("a**b", &["ab", "axx/b"], &["axb"]),
            ("**/x/**", &["x/a", "q/x/a/b"], &["x", "q/x"]),
            ("/abs", &["abs"], &["x/abs"]),
            ("a//b/./c/../d/", &["a/b/d"], &["a/b/c"]),
            ("  sp  ", &["sp"], &[]),
            ("a b", &["a b"], &["a"]),
            (".", &[], &["a", ".a"]),
            ("/", &[], &["a"]),
            ("../a", &[], &["a"]),
            ("a.b+(c)", &["a.b+(c)"], &["aXb+(c)", "a.bb(c)"]),
            ("\u{e9}?", &["\u{e9}\u{4e2d}"], &["\u{e9}"]),
        ] {
            let patterns = parse(pattern);
            for path in out {
                assert!(patterns.excludes(path), "{pattern} should leave out {path}");
            }
            for path in kept {
                assert!(!patterns.excludes(path), "{pattern} should keep {path}");
            }
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        assert_eq!(kept("!a\na\nb\n!b\n", &["a", "b", "b/c"]), ["b", "b/c"]);
        assert_eq!(kept("*.log\n! keep.log\n", &["a.log", "keep.log"]), ["keep.log"]);
        assert_eq!(
            kept(
                "*\n!src\n!a/b/c\n",
                &["src", "src/x", "a", "a/b", "a/b/c", "a/b/c/d", "a/b/d", "z"]
            ),
            ["src", "src/x", "a/b/c", "a/b/c/d"]
        );
        assert_eq!(kept("d/**\n!d/k\n", &["d", "d/k", "d/n"]), ["d", "d/k"]);
        assert_eq!(
            kept("a\n!a/b\na/b/c", &["a/x", "a/b", "a/b/c", "a/b/c/d"]),
            ["a/b"]
        );
    }

    #[test]
    fn comments_start_in_the_first_column_and_line_ends_may_be_crlf() {
        assert_eq!(
            kept("\u{feff}# c\r\na\r\n\r\n #b\r\n", &["a", "b", "#b", "c"]),
            ["b", "c"]
        );
        assert!(parse("").is_empty());
        assert!(parse("# x\n\n  \n").is_empty());
        assert!(!parse("x").is_empty());
    }

    #[test]
    fn broken_patterns_name_their_line() {
        for (text, want) in [
            (
                "a\n!\n",
                "line 2: illegal exclusion pattern: \"!\", expected a pattern after it",
            ),
            (
                "!  \n",
                "line 1: illegal exclusion pattern: \"!\", expected a pattern after it",
            ),
            ("a\n\n[\n", "line 3: bad pattern"),
            ("a\\\n", "line 1: bad pattern"),
        ] {
            assert_eq!(
                IgnorePatterns::parse(text.as_bytes()).unwrap_err().to_string(),
                want,
                "{text:?}"
            );
        }
    }

    #[test]
    fn excluded_directories_are_entered_only_if_something_below_may_be_kept() {
        for (text, dir, want) in [
            ("*\n!a/b/c\n", "a", true),
            ("*\n!a/b/c\n", "a/b", true),
            ("*\n!a/b/c\n", "x", false),
            ("*\n!a/b/c\n", "a/x", false),
            ("!a/b\na\n", "a", false),
            ("a\n!**/k\n", "a", true),
            ("a\n!a/*.x\n", "a", true),
            ("a\n!a/*.x\n", "a/b", false),
            ("a\n!*.x\n", "a", false),
            ("a\n!a/b**\n", "a/bc", true),
            ("a\n!a/b**\n", "a/c", false),
            ("a\n", "a", false),
            ("a\n!ab\n", "a", false),
        ] {
            assert_eq!(parse(text).may_reinclude_below(dir), want, "{text:?} {dir}");
        }
    }

    #[test]
    fn exclude_flags_are_patterns_without_comments() {
        let patterns = IgnorePatterns::from_patterns(["#a", "*.txt", "!b.txt"]).unwrap();
        assert!(patterns.excludes("#a") && patterns.excludes("a.txt") && !patterns.excludes("b.txt"));
    }

    #[test]
    fn paths_are_cleaned_as_text() {
        for (path, want) in [
            ("a/./b", "a/b"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("//a//", "/a"),
            ("a/..", "."),
            ("../../a/..", "../.."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }
}
