//! The table in README.md: what every client does, compared with what was found, or written anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::cell::Outcome;
use crate::verbs::VERBS;

const BEGIN: &str = "<!-- the table: UPDATE=1 writes it -->\n";
const END: &str = "<!-- the end of the table -->\n";

/// More verbs than this of one reason are not listed.
const MANY: usize = 10;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/README.md")
}

/// The table as text: `yes`, or `-` with the reasons below.
pub(crate) fn rendered(columns: &[(&str, Vec<Outcome>)]) -> String {
    let mut text = String::from("| |");
    for (name, _) in columns {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    for (row, verb) in VERBS.iter().enumerate() {
        let _ = write!(text, "\n| {verb} |");
        for (_, outcomes) in columns {
            let _ = match &outcomes[row] {
                Outcome::Passed => write!(text, " yes |"),
                Outcome::Cannot(_) => write!(text, " - |"),
                Outcome::Failed(_) => write!(text, " fails |"),
            };
        }
    }
    text.push('\n');
    for (name, outcomes) in columns {
        text.push_str(&reasons(name, outcomes));
    }
    text
}

/// A paragraph with what a client cannot do and why; verbs of one reason stand together.
fn reasons(name: &str, outcomes: &[Outcome]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (verb, outcome) in VERBS.iter().zip(outcomes) {
        let Outcome::Cannot(why) = outcome else { continue };
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, verbs)) => verbs.push(verb),
            None => reasons.push((why, vec![verb])),
        }
    }
    // what would fill half a page is told last, and for all the rest
    let (many, few): (Vec<_>, Vec<_>) = reasons.iter().partition(|(_, verbs)| verbs.len() > MANY);
    let few = few
        .iter()
        .map(|(why, verbs)| format!("- {}: {why}\n", verbs.join("; ")));
    let many = many.iter().map(|(why, _)| format!("- all else: {why}\n"));
    let lines: String = few.chain(many).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\nWhat {name} cannot:\n\n{lines}"),
    }
}

/// What a table says of one client: a line for every verb, and the paragraph.
fn column<'a>(table: &'a str, name: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let at = rows.first()?.iter().position(|title| *title == name)?;
    let rows = rows.iter().skip(2);
    let mut lines: Vec<_> = rows
        .map(|row| (row[0], row.get(at).copied().unwrap_or_default()))
        .collect();
    let title = format!("What {name} cannot:");
    let paragraph = table.lines().skip_while(|line| *line != title).skip(2);
    lines.extend(
        paragraph
            .take_while(|line| line.starts_with("- "))
            .map(|line| ("cannot", line)),
    );
    Some(lines)
}

/// The parts of README.md: before the table, the table, after it.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    Some((before, table, after))
}

/// Holds what was found of these clients against README.md.
///
/// # Errors
/// What differs.
pub(crate) fn compared(columns: &[(&str, Vec<Outcome>)]) -> Result<(), String> {
    let text = fs_err::read_to_string(path()).map_err(|error| error.to_string())?;
    let (_, committed, _) = parts(&text).ok_or("README.md has no table between its two lines")?;
    let found = rendered(columns);
    let mut wrong = Vec::new();
    for (name, _) in columns {
        let Some(expected) = column(committed, name) else {
            wrong.push(format!("there is no column of {name} in README.md"));
            continue;
        };
        let found = column(&found, name).unwrap_or_default();
        let missing = expected.iter().filter(|line| !found.contains(line));
        wrong.extend(missing.map(|(verb, told)| format!("{name}, {verb}: {told} is not so")));
        let more = found.iter().filter(|line| !expected.contains(line));
        wrong.extend(more.map(|(verb, told)| format!("{name}, {verb}: {told} is not in README.md")));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n    ")),
    }
}

/// Writes what was found of all clients into README.md.
///
/// # Errors
/// If it cannot be written, or has no place for it.
pub(crate) fn write(columns: &[(&str, Vec<Outcome>)]) -> Result<(), String> {
    let text = fs_err::read_to_string(path()).map_err(|error| error.to_string())?;
    let (before, _, after) = parts(&text).ok_or("README.md has no table between its two lines")?;
    let text = format!("{before}{BEGIN}\n{}\n{END}{after}", rendered(columns));
    fs_err::write(path(), text).map_err(|error| error.to_string())
}
