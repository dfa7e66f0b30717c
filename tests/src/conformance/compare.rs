//! Holds an image against an expectation.

use std::collections::{BTreeMap, BTreeSet};

use crate::conformance::case::Expected;
use crate::conformance::describe::Facts;
use crate::conformance::entry::{Entry, Kind};

/// What an image has that was not expected, and the other way round; one line each.
///
/// # Errors
/// A line of the expectation that cannot be read.
pub fn differences(expected: &Expected, got: &Facts, base: &Facts) -> Result<Vec<String>, String> {
    let mut files = BTreeMap::new();
    let mut config = BTreeMap::new();
    let mut history = Vec::new();
    let mut told = Vec::new();
    for line in &expected.lines {
        let (word, rest) = line
            .split_once(' ')
            .ok_or_else(|| format!("{line:?} says nothing"))?;
        match word {
            "config" => {
                let (name, value) = rest
                    .split_once(' ')
                    .ok_or_else(|| format!("{line:?} has no value"))?;
                config.insert(name, value);
            }
            "history" | "history-empty" => history.push(line.clone()),
            "layers" => {
                let count = got.layers.len() - base.layers.len().min(got.layers.len());
                if count.to_string() != rest {
                    told.push(format!("layers: expected {rest}, got {count}"));
                }
            }
            "layer" => told.extend(layer(rest, got, base)?),
            _ => {
                let entry = Entry::parse(line)?;
                files.insert(entry.path.clone(), entry);
            }
        }
    }
    told.extend(files_told(&files, got, base));
    told.extend(config_told(&config, got, base));
    if !history.is_empty() {
        let got: Vec<_> = got.history.iter().skip(base.history.len()).cloned().collect();
        if history != got {
            let list = |lines: &[String]| {
                lines
                    .iter()
                    .map(|line| format!("\n        {line}"))
                    .collect::<String>()
            };
            told.push(format!(
                "history: expected{}\n      got{}",
                list(&history),
                list(&got)
            ));
        }
    }
    Ok(told)
}

fn files_told(expected: &BTreeMap<String, Entry>, got: &Facts, base: &Facts) -> Vec<String> {
    let mut told = Vec::new();
    for (path, entry) in expected {
        match (got.files.get(path), &entry.kind) {
            (None, Kind::Gone) => {}
            (Some(found), _) => {
                let mut seen = found.clone();
                if entry.time.is_none() {
                    seen.time = None;
                }
                if *entry != seen {
                    told.push(format!("expected {entry}\n           got {found}"));
                }
            }
            (None, _) => told.push(format!("expected {entry}\n           got nothing")),
        }
    }
    for (path, found) in &got.files {
        if !expected.contains_key(path) && !got.same(base, path) {
            told.push(format!("not expected: {found}"));
        }
    }
    let unexpected = got
        .gone(base)
        .into_iter()
        .filter(|path| !expected.contains_key(*path));
    told.extend(unexpected.map(|path| format!("{path} is gone")));
    told
}

fn config_told(expected: &BTreeMap<&str, &str>, got: &Facts, base: &Facts) -> Vec<String> {
    let names: BTreeSet<&str> = got.config.keys().map(String::as_str).collect();
    let unknown = expected.keys().filter(|name| !names.contains(*name));
    let mut told: Vec<_> = unknown
        .map(|name| format!("config {name}: no such field"))
        .collect();
    for name in names {
        let want = expected
            .get(name)
            .copied()
            .or_else(|| base.config.get(name).map(String::as_str))
            .unwrap_or("null");
        if got.config[name] != want {
            told.push(format!(
                "config {name}: expected {want}, got {}",
                got.config[name]
            ));
        }
    }
    told
}

/// `NUMBER NAME…`: the names in a layer, the first layer on top of the base being number 1.
fn layer(rest: &str, got: &Facts, base: &Facts) -> Result<Option<String>, String> {
    let mut words = rest.split(' ');
    let number: usize = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|e| format!("layer {rest:?}: {e}"))?;
    let names: Vec<&str> = words.collect();
    let found = got.layers.get(base.layers.len() + number - 1);
    let found: Vec<&str> = found.into_iter().flatten().map(String::as_str).collect();
    Ok((names != found).then(|| format!("layer {number}: expected {names:?}, got {found:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &[&str]) -> Facts {
        let entries = lines.iter().map(|line| Entry::parse(line).unwrap());
        Facts {
            files: entries.map(|entry| (entry.path.clone(), entry)).collect(),
            ..Facts::default()
        }
    }

    fn told(expected: &[&str], got: &[&str], base: &[&str]) -> Vec<String> {
        let expected = Expected {
            lines: expected.iter().map(|&line| line.to_owned()).collect(),
            ..Expected::default()
        };
        differences(&expected, &facts(got), &facts(base)).unwrap()
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let base = ["f 644 0:0 /a \"1\" @5", "d 755 0:0 /d @5"];
        let same: [&str; 0] = [];
        assert_eq!(told(&[], &base, &base), same);
        assert_eq!(
            told(&[], &["f 644 0:0 /a \"1\" @5", "d 755 0:0 /d @6"], &base),
            same
        );
        assert_eq!(
            told(&[], &["f 644 0:0 /a \"1\" @6", "d 755 0:0 /d @5"], &base).len(),
            1
        );
        assert_eq!(told(&[], &["d 755 0:0 /d @5"], &base), ["/a is gone"]);
        assert_eq!(told(&["- /a"], &["d 755 0:0 /d @5"], &base), same);
        assert_eq!(told(&["- /a"], &base, &base).len(), 1);
        assert_eq!(told(&["f 644 0:0 /b \"1\""], &base, &base).len(), 1);
        assert_eq!(told(&["f 600 0:0 /a \"1\""], &base, &base).len(), 1);
        assert_eq!(told(&["d 755 0:0 /d @5"], &base, &base), same);
        assert_eq!(told(&["d 755 0:0 /d @7"], &base, &base).len(), 1);
        assert_eq!(told(&["layers 1"], &base, &base).len(), 1);
    }
}
