//! `mica build --check` and `--call`: what can be said of a Dockerfile without building it, or asking a daemon.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_dockerfile::lint::{Checks, Facts, Warning, check, excerpt, needed_stages, render, summary};
use mica_dockerfile::outline::{Need, Outline, Target, outline, targets};
use mica_dockerfile::{Dockerfile, ParseError, Span, is_builtin_frontend};
use mica_oci::Platform;
use serde_json::{Map, Value, json};

use crate::commands::build_call::{Call, Method};
use crate::commands::build_context::Place;
use crate::commands::build_options::{Options, build_args};
use crate::context::{Source, Wanted};
use crate::error::Error;
use crate::{platform, ui};

/// A Dockerfile as it was found.
struct File<'a> {
    /// What it is called where its lines are shown.
    name: &'a str,
    bytes: Vec<u8>,
}

/// Answers `call`.
pub(super) fn run(options: &Options, call: Call) -> Result<(), Error> {
    let wanted = options.file.as_deref().map_or(Wanted::Default, Wanted::File);
    if Place::of(&options.context) != Place::Folder(options.context.clone())
        || options.file.as_deref() == Some(std::path::Path::new("-"))
    {
        return Err(Error::Unsupported {
            what: "checking a Dockerfile that is in no folder".to_owned(),
        });
    }
    let source = Source::prepare(&options.context, wanted)?;
    let given = options.file.as_deref().and_then(|file| file.to_str());
    let file = File {
        name: given.unwrap_or(source.dockerfile()),
        bytes: source.dockerfile_bytes()?,
    };
    let dockerfile = match Dockerfile::parse(&file.bytes) {
        Ok(dockerfile) => dockerfile,
        Err(error) => return file.refuse(&error, call),
    };
    let args = build_args(&options.build_arg, |name| std::env::var(name).ok())?;
    let args = arguments(args);
    refuse_foreign(&dockerfile, &args)?;
    let checks = Checks::of(&dockerfile.directives, &args).map_err(|error| refused(error.to_string()))?;
    let host = Platform::host().to_string();
    let target_platform = wanted_platform(options)?.unwrap_or_else(|| host.clone());
    let mut facts = Facts {
        checks,
        build_args: &args,
        target_platform: &target_platform,
        build_platform: &host,
        target: options.target.as_deref().filter(|target| !target.is_empty()),
        ignore: Some(source.ignored()),
        ..Facts::default()
    };
    let unknown = || {
        let target = options.target.as_deref().unwrap_or_default();
        refused(format!("target stage \"{target}\" could not be found"))
    };
    let needed = needed_stages(&dockerfile, &facts).ok_or_else(unknown)?;
    match call.method {
        Method::Check => {
            // without a target, all of them are meant
            facts.stages = facts.target.map(|_| needed.as_slice());
            file.tell_findings(&dockerfile, &facts, call)
        }
        Method::Outline => {
            let outline = outline(&dockerfile, &facts).ok_or_else(unknown)?;
            if call.as_json {
                return tell_json(&file.outline_json(&outline));
            }
            ui::result(ui::printable(&outline_text(&outline)))
        }
        Method::Targets => {
            let targets = targets(&dockerfile);
            if call.as_json {
                return tell_json(&file.targets_json(&targets));
            }
            ui::result(ui::printable(&targets_text(&targets)))
        }
    }
}

/// Fails for a file that is written for another frontend.
fn refuse_foreign(dockerfile: &Dockerfile, args: &[(String, Option<String>)]) -> Result<(), Error> {
    let syntax = args.iter().rev().find(|(name, _)| name == "BUILDKIT_SYNTAX");
    let syntax = syntax
        .and_then(|(_, value)| value.as_deref())
        .or(dockerfile.directives.syntax.as_deref());
    if let Some(name) = syntax.filter(|name| !is_builtin_frontend(name)) {
        return Err(refused(format!(
            "syntax \"{name}\" is not built in: only docker/dockerfile frontends are"
        )));
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::Refused { message }
}

fn arguments(map: Map<String, Value>) -> Vec<(String, Option<String>)> {
    let text = |value: Value| value.as_str().map(str::to_owned);
    map.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// `--platform` or its default, in Go's names.
fn wanted_platform(options: &Options) -> Result<Option<String>, Error> {
    let flag = options.platforms().first().map(|platform| (*platform).to_owned());
    let wanted = platform::or_default(flag).map(|text| text.parse::<Platform>());
    let wanted = wanted.transpose().map_err(|error| Error::Usage {
        message: error.to_string(),
    })?;
    Ok(wanted.map(|platform| platform.to_string()))
}

impl File<'_> {
    /// Shows what the checks find; an error if that is anything, as docker's exit code says.
    fn tell_findings(&self, dockerfile: &Dockerfile, facts: &Facts<'_>, call: Call) -> Result<(), Error> {
        let found = check(dockerfile, facts);
        if call.as_json {
            tell_json(&self.findings_json(&found, None))?;
        } else {
            ui::result(summary(found.len()))?;
            for warning in &found {
                ui::result(ui::printable(&render(warning, self.name, &self.bytes)))?;
            }
        }
        if found.is_empty() {
            Ok(())
        } else {
            Err(Error::Found)
        }
    }

    /// Says why there is nothing to check.
    fn refuse(&self, error: &ParseError, call: Call) -> Result<(), Error> {
        if call.as_json && call.method == Method::Check {
            tell_json(&self.findings_json(&[], Some(error)))?;
            return Err(Error::Found);
        }
        let place = error.span().map(|span| excerpt(span, self.name, &self.bytes));
        let message = format!("{error}\n{}", place.unwrap_or_default());
        Err(refused(message.trim_end().to_owned()))
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
                "data": STANDARD.encode(&self.bytes),
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
        json!({"targets": targets, "sources": [STANDARD.encode(&self.bytes)]})
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
        put(&mut all, "sources", json!([STANDARD.encode(&self.bytes)]));
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

fn tell_json(value: &Value) -> Result<(), Error> {
    ui::result(format!("{value:#}\n"))
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
