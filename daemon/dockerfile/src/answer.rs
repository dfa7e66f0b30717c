//! What can be said of a Dockerfile without building it, as documents: JSON and text, both docker's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{
    directive::is_builtin_frontend,
    error::ParseError,
    file::Dockerfile,
    ignore::IgnorePatterns,
    instruction::Span,
    lint::{Checks, Facts, Warning, check, excerpt, needed_stages, render, summary},
    outline::{Need, Outline, Target, outline, targets},
};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// What the checks find.
    Check,
    /// What a target can be given.
    Outline,
    /// Which targets there are.
    Targets,
}

/// The file that something is asked of, and the build it is for.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    /// What it is called where its lines are shown.
    pub name: &'a str,
    /// Its text.
    pub bytes: &'a [u8],
    /// `--build-arg`
    pub build_args: &'a [(String, Option<String>)],
    /// The stage that is meant; if `None` the last one, and for the checks all.
    pub target: Option<&'a str>,
    /// What the image is for, as `os/architecture[/variant]` in Go's names.
    pub target_platform: &'a str,
    /// Where it is built, likewise.
    pub build_platform: &'a str,
    /// What of the build context is left out.
    pub ignore: Option<&'a IgnorePatterns>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// For programs.
    pub json: Value,
    /// For people, line ends inside.
    pub text: String,
    /// Whether nothing was found that should be mended.
    pub is_clean: bool,
}

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{message}")]
pub struct Unanswered {
    /// Why, with the lines it is about.
    pub message: String,
    /// The same for programs, if the checks were asked for and the file is no Dockerfile.
    pub json: Option<Value>,
}

impl Unanswered {
    fn because(message: String) -> Self {
        Self { message, json: None }
    }
}

/// Answers.
///
/// # Errors
/// A text that is no Dockerfile or one for another frontend, checks that are not named right, a target that is not there.
pub fn answer(subject: &Examined<'_>, question: Question) -> Result<Answer, Unanswered> {
    let file = match Dockerfile::parse(subject.bytes) {
        Ok(file) => file,
        Err(error) => return Err(subject.refuse(&error, question)),
    };
    subject.refuse_foreign(&file)?;
    let checks = Checks::of(&file.directives, subject.build_args)
        .map_err(|error| Unanswered::because(error.to_string()))?;
    let mut facts = Facts {
        checks,
        build_args: subject.build_args,
        target_platform: subject.target_platform,
        build_platform: subject.build_platform,
        target: subject.target,
        ignore: subject.ignore,
        ..Facts::default()
    };
    let unknown = || {
        let target = subject.target.unwrap_or_default();
        Unanswered::because(format!("target stage \"{target}\" could not be found"))
    };
    let needed = needed_stages(&file, &facts).ok_or_else(unknown)?;
    match question {
        Question::Check => {
            // without a target, all of them are meant
            facts.stages = facts.target.map(|_| needed.as_slice());
            let found = check(&file, &facts);
            let rendered = found
                .iter()
                .map(|warning| render(warning, subject.name, subject.bytes));
            Ok(Answer {
                json: subject.findings_json(&found, None),
                text: std::iter::once(summary(found.len())).chain(rendered).collect(),
                is_clean: found.is_empty(),
            })
        }
        Question::Outline => {
            let outline = outline(&file, &facts).ok_or_else(unknown)?;
            Ok(Answer {
                json: subject.outline_json(&outline),
                text: outline_text(&outline),
                is_clean: true,
            })
        }
        Question::Targets => {
            let targets = targets(&file);
            Ok(Answer {
                json: subject.targets_json(&targets),
                text: targets_text(&targets),
                is_clean: true,
            })
        }
    }
}

impl Examined<'_> {
    /// Fails for a file that is written for another frontend.
    fn refuse_foreign(&self, file: &Dockerfile) -> Result<(), Unanswered> {
        let syntax = self
            .build_args
            .iter()
            .rev()
            .find(|(name, _)| name == "BUILDKIT_SYNTAX");
        let syntax = syntax
            .and_then(|(_, value)| value.as_deref())
            .or(file.directives.syntax.as_deref());
        match syntax.filter(|name| !is_builtin_frontend(name)) {
            Some(name) => Err(Unanswered::because(format!(
                "syntax \"{name}\" is not built in: only docker/dockerfile frontends are"
            ))),
            None => Ok(()),
        }
    }

    fn refuse(&self, error: &ParseError, question: Question) -> Unanswered {
        let place = error.span().map(|span| excerpt(span, self.name, self.bytes));
        let message = format!("{error}\n{}", place.unwrap_or_default());
        Unanswered {
            message: message.trim_end().to_owned(),
            json: (question == Question::Check).then(|| self.findings_json(&[], Some(error))),
        }
    }

    fn findings_json(&self, found: &[Warning], error: Option<&ParseError>) -> Value {
        let warning = |warning: &Warning| {
            json!({
                "ruleName": warning.rule.name(),
                "description": warning.rule.description(),
                "url": warning.rule.address(),
                "detail": warning.text,
                "location": location(warning.span),
            })
        };
        let warnings: Vec<Value> = found.iter().map(warning).collect();
        let mut all = json!({
            "warnings": warnings,
            "sources": [{
                "filename": self.name,
                "data": STANDARD.encode(self.bytes),
                "language": "Dockerfile",
            }],
        });
        if let Some(error) = error {
            let place = error.span().map_or_else(|| json!({}), location);
            all["buildError"] = json!({"message": error.to_string(), "location": place});
        }
        all
    }

    fn targets_json(&self, targets: &[Target]) -> Value {
        let target = |target: &Target| {
            let mut object = Map::new();
            put(
                &mut object,
                "name",
                target.name.as_deref().unwrap_or_default().into(),
            );
            put(&mut object, "default", target.is_default.into());
            put(&mut object, "description", target.description.as_str().into());
            put(&mut object, "base", target.base.as_str().into());
            put(
                &mut object,
                "platform",
                target.platform.as_deref().unwrap_or_default().into(),
            );
            put(&mut object, "location", location(target.span));
            Value::Object(object)
        };
        let targets: Vec<Value> = targets.iter().map(target).collect();
        json!({"targets": targets, "sources": [STANDARD.encode(self.bytes)]})
    }

    fn outline_json(&self, outline: &Outline) -> Value {
        let need = |need: &Need| {
            let mut object = Map::new();
            put(&mut object, "name", need.id.as_str().into());
            put(&mut object, "required", need.required.into());
            put(&mut object, "location", location(need.span));
            Value::Object(object)
        };
        let args = outline.args.iter().map(|arg| {
            let mut object = Map::new();
            put(&mut object, "name", arg.name.as_str().into());
            put(&mut object, "description", arg.description.as_str().into());
            put(&mut object, "value", arg.value.as_str().into());
            put(&mut object, "location", location(arg.span));
            Value::Object(object)
        });
        let mut all = Map::new();
        put(&mut all, "name", outline.name.as_str().into());
        put(&mut all, "description", outline.description.as_str().into());
        put(&mut all, "args", args.collect());
        put(&mut all, "secrets", outline.secrets.iter().map(need).collect());
        put(&mut all, "ssh", outline.agents.iter().map(need).collect());
        put(&mut all, "sources", json!([STANDARD.encode(self.bytes)]));
        Value::Object(all)
    }
}

/// Adds a member, unless it says nothing: those docker leaves out.
fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(is_set) => !is_set,
        _ => false,
    };
    if !is_empty {
        object.insert(name.to_owned(), value);
    }
}

/// Lines as docker's documents give them: one range for each.
fn location(span: Span) -> Value {
    let ranges: Vec<Value> = (span.start..=span.end)
        .map(|line| json!({"start": {"line": line}, "end": {"line": line}}))
        .collect();
    json!({ "ranges": ranges })
}

fn targets_text(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let name = target.name.as_deref().unwrap_or_default();
        let name = match target.is_default {
            true => format!("{name} (default)").trim_start().to_owned(),
            false => name.to_owned(),
        };
        [name, target.description.clone()]
    };
    columns(["TARGET", "DESCRIPTION"], targets.iter().map(row), 1)
}

fn outline_text(outline: &Outline) -> String {
    let mut text = String::new();
    if !outline.name.is_empty() || !outline.description.is_empty() {
        let name = match outline.name.as_str() {
            "" => "(default)",
            name => name,
        };
        let description = [outline.description.clone()];
        let rows = description.iter().filter(|text| !text.is_empty());
        let rows = rows.map(|text| ["DESCRIPTION:".to_owned(), text.clone()]);
        text.push_str(&columns(["TARGET:", name], rows, 1));
        text.push('\n');
    }
    if !outline.args.is_empty() {
        let rows = outline
            .args
            .iter()
            .map(|arg| [arg.name.clone(), arg.value.clone(), arg.description.clone()]);
        text.push_str(&columns(["BUILD ARG", "VALUE", "DESCRIPTION"], rows, 3));
        text.push('\n');
    }
    for (title, needs) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        let required = |need: &Need| if need.required { "true" } else { "" }.to_owned();
        let rows = needs.iter().map(|need| [need.id.clone(), required(need)]);
        if !needs.is_empty() {
            text.push_str(&columns([title, "REQUIRED"], rows, 3));
            text.push('\n');
        }
    }
    text
}

/// Rows below a title, each column as wide as its widest cell and `padding`; the last one is not padded.
fn columns<const N: usize>(
    title: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    padding: usize,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(title.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default() + padding
    };
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == N {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:<width$}", width = width(column))),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_as_wide_as_needed() {
        let rows = [["a".to_owned(), "b".to_owned()]].into_iter();
        assert_eq!(columns(["LONG", "X"], rows, 1), "LONG X\na    b\n");
    }
}
