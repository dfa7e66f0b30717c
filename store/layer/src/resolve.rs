//! Follows symbolic links inside a tree, whatever the tree is read through.

use crate::error::Error;
use crate::path::ImagePath;

/// The most links followed for one path; Linux stops at 40, BuildKit at 255.
pub const LINK_LIMIT: u64 = 255;

/// The path `path` leads to from the root when every link on its way is followed, the last component's only if
/// `follow_last`. Nothing leads above the root. `read_link` tells the raw target of a path that is a link and `None` of
/// all else, also of what is not there: below such a path the names are kept as they are.
pub(crate) fn resolve(
    path: &ImagePath,
    follow_last: bool,
    mut read_link: impl FnMut(&ImagePath) -> Result<Option<Vec<u8>>, Error>,
) -> Result<ImagePath, Error> {
    // what is still to be walked, the next component last
    let mut ahead: Vec<Vec<u8>> = path
        .as_bytes()
        .rsplit(|b| *b == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    let mut here = ImagePath::root();
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                here = here.parent().unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let next = here.join(&name);
        if ahead.is_empty() && !follow_last {
            return Ok(next);
        }
        let Some(target) = read_link(&next)? else {
            here = next;
            continue;
        };
        followed += 1;
        if followed > LINK_LIMIT {
            return Err(Error::Limit {
                what: format!("number of symbolic links on the way to {path}"),
                limit: LINK_LIMIT,
            });
        }
        if target.first() == Some(&b'/') {
            here = ImagePath::root();
        }
        ahead.extend(target.rsplit(|b| *b == b'/').map(<[u8]>::to_vec));
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn walk(links: &[(&str, &str)], path: &str, follow_last: bool) -> Result<String, Error> {
        let links: HashMap<_, _> = links
            .iter()
            .map(|(from, to)| (ImagePath::clamped(from.as_bytes()), to.as_bytes().to_vec()))
            .collect();
        let path = ImagePath::clamped(path.as_bytes());
        resolve(&path, follow_last, |p| Ok(links.get(p).cloned())).map(|p| p.to_string())
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let links = [
            ("bin", "usr/bin"),
            ("abs", "/usr"),
            ("up", "../../../../usr"),
            ("usr/back", ".."),
            ("usr/bin/sh", "dash"),
            ("chain", "abs/bin/./sh"),
            ("gone", "no/where"),
            ("slash", "/"),
        ];
        for (path, end) in [
            ("bin/ls", "/usr/bin/ls"),
            ("bin/sh", "/usr/bin/dash"),
            ("abs/bin/sh", "/usr/bin/dash"),
            ("up/x", "/usr/x"),
            ("usr/back/bin/sh", "/usr/bin/dash"),
            ("chain", "/usr/bin/dash"),
            ("gone/x", "/no/where/x"),
            ("slash", "/"),
            ("", "/"),
        ] {
            assert_eq!(walk(&links, path, true).unwrap(), end, "{path}");
        }
        assert_eq!(walk(&links, "bin/sh", false).unwrap(), "/usr/bin/sh");
        assert_eq!(walk(&links, "bin", false).unwrap(), "/bin");
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let error = walk(&[("a", "b"), ("b", "a")], "a/x", true).unwrap_err();
        assert!(matches!(error, Error::Limit { limit: 255, .. }));
    }

    #[test]
    fn a_link_that_grows_is_an_error() {
        assert!(walk(&[("a", "a/a/a/a/a/a/a")], "a", true).is_err());
    }
}
