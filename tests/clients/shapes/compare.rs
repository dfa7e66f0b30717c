//! Where two answers differ.

use serde_json::Value;

/// How much of a value is shown.
const SHOWN: usize = 400;

/// A place where answers differ, and what each has there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// The name of the question.
    pub(crate) ask: String,
    /// Keys from the outside in, parted by dots; `[]` is any element of a list.
    pub(crate) path: String,
    /// What dockerd has.
    pub(crate) theirs: String,
    /// What micad has.
    pub(crate) ours: String,
}

/// All differences, each once.
pub(crate) fn compare(ask: &str, loose: &[&str], theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut walk = Walk {
        ask,
        loose,
        found: Vec::new(),
    };
    walk.compare("", Some(theirs), Some(ours));
    walk.found.sort();
    walk.found.dedup();
    walk.found
}

struct Walk<'a> {
    ask: &'a str,
    loose: &'a [&'a str],
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn compare(&mut self, path: &str, theirs: Option<&Value>, ours: Option<&Value>) {
        match (theirs, ours) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
                for key in keys {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    self.compare(&path, a.get(key), b.get(key));
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => self.compare_lists(&format!("{path}[]"), a, b),
            _ if theirs == ours => {}
            _ if self.only_types(path) && kind(theirs) == kind(ours) => {}
            _ => self.found.push(Difference {
                ask: self.ask.to_owned(),
                path: path.to_owned(),
                theirs: shown(theirs),
                ours: shown(ours),
            }),
        }
    }

    /// Elements are compared with those at the same place between what both have.
    fn compare_lists(&mut self, path: &str, theirs: &[Value], ours: &[Value]) {
        let mut from = (0, 0);
        let ends = (theirs.len(), ours.len());
        for at in self.common(path, theirs, ours).into_iter().chain([ends]) {
            let (a, b) = (&theirs[from.0..at.0], &ours[from.1..at.1]);
            if a.len() == b.len() {
                for (a, b) in a.iter().zip(b) {
                    self.compare(path, Some(a), Some(b));
                }
            } else {
                a.iter().for_each(|a| self.compare(path, Some(a), None));
                b.iter().for_each(|b| self.compare(path, None, Some(b)));
            }
            from = (at.0 + 1, at.1 + 1);
        }
    }

    /// Places of the elements that are alike, as many as can be had in order.
    fn common(&self, path: &str, theirs: &[Value], ours: &[Value]) -> Vec<(usize, usize)> {
        let alike = |a: &Value, b: &Value| {
            let mut walk = Walk {
                ask: self.ask,
                loose: self.loose,
                found: Vec::new(),
            };
            walk.compare(path, Some(a), Some(b));
            walk.found.is_empty()
        };
        let mut best = vec![vec![0_usize; ours.len() + 1]; theirs.len() + 1];
        for (i, a) in theirs.iter().enumerate().rev() {
            for (j, b) in ours.iter().enumerate().rev() {
                best[i][j] = match alike(a, b) {
                    true => best[i + 1][j + 1] + 1,
                    false => best[i + 1][j].max(best[i][j + 1]),
                };
            }
        }
        let (mut places, mut i, mut j) = (Vec::new(), 0, 0);
        while i < theirs.len() && j < ours.len() {
            if alike(&theirs[i], &ours[j]) {
                places.push((i, j));
                (i, j) = (i + 1, j + 1);
            } else if best[i + 1][j] >= best[i][j + 1] {
                i += 1;
            } else {
                j += 1;
            }
        }
        places
    }

    fn only_types(&self, path: &str) -> bool {
        self.loose.iter().any(|pattern| matches(pattern, path))
    }
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "absent",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "text",
        Some(Value::Array(_)) => "list",
        Some(Value::Object(_)) => "object",
    }
}

fn shown(value: Option<&Value>) -> String {
    let mut text = value.map_or_else(|| "absent".to_owned(), Value::to_string);
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Whether a text is like a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            rest.is_empty()
                || left
                    .char_indices()
                    .map(|(at, _)| at)
                    .chain([left.len()])
                    .any(|at| matches(rest, &left[at..]))
        }),
    }
}

#[test]
fn differences_are_found_where_they_are() {
    let theirs = serde_json::json!({"a": [{"b": 1, "t": 5}, {"b": 2}], "c": null, "same": "x"});
    let ours = serde_json::json!({"a": [{"b": 1, "t": 6}], "c": [], "same": "x", "more": true});
    let found = compare("q", &["a[].t"], &theirs, &ours);
    let found: Vec<String> = found
        .iter()
        .map(|d| format!("{}: {} => {}", d.path, d.theirs, d.ours))
        .collect();
    assert_eq!(
        found,
        [
            "a[]: {\"b\":2} => absent",
            "c: null => []",
            "more: absent => true"
        ]
    );
    assert_eq!(compare("q", &[], &theirs, &ours).len(), 5);
}

#[test]
fn lists_are_laid_side_by_side() {
    let theirs = serde_json::json!(["a", "b", {"k": 1}, "z"]);
    let ours = serde_json::json!(["a", "new", "b", {"k": 2}, "z"]);
    let found = compare("q", &[], &theirs, &ours);
    let found: Vec<String> = found
        .iter()
        .map(|d| format!("{}: {} => {}", d.path, d.theirs, d.ours))
        .collect();
    assert_eq!(found, ["[]: absent => \"new\"", "[].k: 1 => 2"]);
}

#[test]
fn a_star_is_anything() {
    for (pattern, text, is) in [
        ("a*c", "abc", true),
        ("a*", "a", true),
        ("*", "", true),
        ("*b", "abab", true),
        ("a*c", "abd", false),
        ("a", "ab", false),
        ("a*b*c", "a-b-b-c", true),
    ] {
        assert_eq!(matches(pattern, text), is, "{pattern} {text}");
    }
}
