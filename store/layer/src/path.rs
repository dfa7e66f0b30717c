//! A path inside an image.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A path inside an image: bytes, relative to its root, with no leading or doubled slash, no `.` and no `..`.
/// Empty is the root itself. Clones share the bytes. Orders as a walk meets paths: a directory, all below it, then its next sibling.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ImagePath(Arc<[u8]>);

impl ImagePath {
    /// The root of the image.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as it would be understood from the root: `/`, `.` and doubled slashes vanish and `..` goes up,
    /// but never above the root.
    pub fn clamped(text: &[u8]) -> Self {
        let mut path = Vec::with_capacity(text.len());
        for component in text.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                name => push(&mut path, name),
            }
        }
        Self(path.into())
    }

    /// As [`clamped`](Self::clamped), but `None` for a path with `..` in it or a NUL byte.
    pub fn strict(text: &[u8]) -> Option<Self> {
        let honest = !text.contains(&0) && text.split(|b| *b == b'/').all(|component| component != b"..");
        honest.then(|| Self::clamped(text))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path relative to the image's root, as the operating system takes it; `.` for the root.
    pub fn as_path(&self) -> &Path {
        if self.is_root() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(&self.0))
        }
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        if self.is_root() {
            None
        } else {
            self.0.rsplit(|b| *b == b'/').next()
        }
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// This path with one more component, which must be a plain name.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        push(&mut path, name);
        Self(path.into())
    }

    /// This path with all of `below` under it.
    #[must_use]
    pub fn join_path(&self, below: &Self) -> Self {
        if self.is_root() || below.is_root() {
            return if self.is_root() { below } else { self }.clone();
        }
        Self([&self.0[..], b"/", &below.0].concat().into())
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// The directories above this path, from just below the root down; neither the root nor the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| Self(self.0[..at].into()))
    }

    /// What remains of this path below `above`; `None` if it is not below or equal.
    pub fn strip_prefix(&self, above: &Self) -> Option<Self> {
        if above.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*above.0)? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.into())),
            _ => None,
        }
    }

    /// Whether this path is `above` or lies below it.
    pub fn starts_with(&self, above: &Self) -> bool {
        above.is_root()
            || self
                .0
                .strip_prefix(&*above.0)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    debug_assert!(!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..");
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // maps of many paths spend most of their time here, so what is equal is passed over in large steps
        let chunks = self.0.as_chunks::<16>().0.iter().zip(other.0.as_chunks::<16>().0);
        let passed = 16 * chunks.take_while(|(a, b)| a == b).count();
        let rest = self.0[passed..].iter().zip(&other.0[passed..]);
        let common = passed + rest.take_while(|(a, b)| a == b).count();
        // a slash sorts before every other byte, so that a directory's contents follow it at once
        let key = |b: &u8| if *b == b'/' { 0 } else { u16::from(*b) + 1 };
        self.0.get(common).map(key).cmp(&other.0.get(common).map(key))
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The most of a path that a message repeats, in bytes.
const SHOWN: usize = 300;

/// A path as a message names it: of one that is longer than any that is meant, the beginning.
pub(crate) fn shown(path: &[u8]) -> String {
    match path.get(..SHOWN) {
        Some(begin) => format!("{}…", String::from_utf8_lossy(begin)),
        None => String::from_utf8_lossy(path).into_owned(),
    }
}

impl fmt::Display for ImagePath {
    /// With a leading slash, undecodable bytes replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::clamped(text.as_bytes())
    }

    #[test]
    fn paths_are_cleaned_and_never_leave_the_root() {
        for (text, clean) in [
            ("/a//b/./c/", "a/b/c"),
            ("../../a", "a"),
            ("a/../../b", "b"),
            ("/", ""),
            ("a/..", ""),
        ] {
            assert_eq!(path(text).as_bytes(), clean.as_bytes(), "{text}");
        }
        assert_eq!(ImagePath::strict(b"a/../b"), None);
        assert_eq!(ImagePath::strict(b"a\0b"), None);
        assert_eq!(ImagePath::strict(b"/a/..b").unwrap(), path("a/..b"));
    }

    #[test]
    fn a_directory_is_followed_by_what_is_below_it() {
        let mut paths = ["a-b", "a/z", "a", "a/b/c", "a.b", "", "a/b"].map(path);
        paths.sort();
        assert_eq!(
            paths.map(|p| p.to_string()),
            ["/", "/a", "/a/b", "/a/b/c", "/a/z", "/a-b", "/a.b"]
        );
    }

    #[test]
    fn paths_compare_by_their_components() {
        let long = "abcdefghijklmnop/abcdefghijklmno";
        let mut paths = vec![path(""), path("a"), path("\u{1}"), path("\u{ff}/a")];
        for tail in [
            "",
            "/",
            "p",
            "p/q",
            "/p",
            "-",
            "p-",
            "/p/q/abcdefghijklmnopqrst",
            "/p/q/abcdefghijklmnopqrsz",
        ] {
            paths.push(path(&format!("{long}{tail}")));
            paths.push(path(&format!("x{long}{tail}")));
        }
        for (a, b) in paths.iter().flat_map(|a| paths.iter().map(move |b| (a, b))) {
            assert_eq!(a.cmp(b), a.components().cmp(b.components()), "{a} {b}");
        }
    }

    #[test]
    fn a_path_knows_its_family() {
        let p = path("a/bc/d");
        assert_eq!(p.parent().unwrap(), path("a/bc"));
        assert_eq!(p.file_name().unwrap(), b"d");
        assert_eq!(p.ancestors().collect::<Vec<_>>(), [path("a"), path("a/bc")]);
        assert!(p.starts_with(&path("a/bc")) && !p.starts_with(&path("a/b")) && p.starts_with(&p));
        assert_eq!(p.strip_prefix(&path("a")).unwrap(), path("bc/d"));
        assert_eq!(p.strip_prefix(&path("a/b")), None);
        assert_eq!(path("a").join_path(&path("b/c")), path("a/b/c"));
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(path("a").parent().unwrap(), ImagePath::root());
    }
}
