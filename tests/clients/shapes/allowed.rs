//! The list of differences that are on purpose, with their reasons.

use crate::compare::{Difference, matches};

/// A difference that is on purpose. `*` stands for anything in each of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Why.
    pub(crate) reason: String,
    /// Where in the list it stands.
    pub(crate) line: usize,
    /// Whether it is there by chance, so that nothing is wrong where it is not.
    pub(crate) sometimes: bool,
    ask: String,
    path: String,
    theirs: String,
    ours: String,
}

impl Allowed {
    /// Whether this is the difference that was found.
    pub(crate) fn is(&self, found: &Difference) -> bool {
        matches(&self.ask, &found.ask)
            && matches(&self.path, &found.path)
            && matches(&self.theirs, &found.theirs)
            && matches(&self.ours, &found.ours)
    }
}

/// Before a difference that is there by chance.
const CHANCE: &str = "? ";

/// Reads the list: lines that begin with `#` are the reason of the lines after them, which are `ASK PATH: THEIRS => OURS`,
/// with `? ` before those that are there by chance.
///
/// # Errors
/// The first line that is none.
pub(crate) fn parse(text: &str) -> Result<Vec<Allowed>, String> {
    let mut list = Vec::new();
    let (mut reason, mut open) = (String::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(comment) = line.strip_prefix('#') {
            if !std::mem::replace(&mut open, true) {
                reason.clear();
            }
            reason = format!("{reason} {}", comment.trim()).trim().to_owned();
            continue;
        }
        open = false;
        if line.trim().is_empty() {
            continue;
        }
        let sometimes = line.starts_with(CHANCE);
        let line = line.strip_prefix(CHANCE).unwrap_or(line);
        let allowed = entry(line).filter(|_| !reason.is_empty());
        let (ask, path, theirs, ours) =
            allowed.ok_or_else(|| format!("line {number} is no difference with a reason: {line}"))?;
        list.push(Allowed {
            reason: reason.clone(),
            line: number,
            sometimes,
            ask: ask.to_owned(),
            path: path.to_owned(),
            theirs: theirs.to_owned(),
            ours: ours.to_owned(),
        });
    }
    Ok(list)
}

fn entry(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (ask, rest) = line.split_once(' ')?;
    let (path, rest) = rest.split_once(": ")?;
    let (theirs, ours) = rest.split_once(" => ")?;
    Some((ask, path, theirs, ours))
}

#[test]
fn the_list_is_read() {
    let list = parse("# old\n# and gone\nq a.b: 500 => 400\n\n? r* c: * => absent\n").unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(
        list.iter().map(|one| one.sometimes).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(list[1].reason, "old and gone");
    let found = |ask: &str, path: &str, theirs: &str, ours: &str| Difference {
        ask: ask.to_owned(),
        path: path.to_owned(),
        theirs: theirs.to_owned(),
        ours: ours.to_owned(),
    };
    assert!(list[0].is(&found("q", "a.b", "500", "400")));
    assert!(!list[0].is(&found("q", "a.b", "500", "404")));
    assert!(list[1].is(&found("rx", "c", "1", "absent")));
    assert!(parse("q a: 1 => 2").is_err());
    assert!(parse("# why\nq a 1 2").is_err());
}
