//! What FROM lines say: names of stages, names of images, platforms.

use std::collections::HashSet;

use crate::{
    excerpt::of_word,
    file::{Dockerfile, Stage},
    lint::{
        base_name::is_image_name,
        casing::{is_lower, is_upper},
        facts::Facts,
        findings::Findings,
        globals::Globals,
        platform,
        rule::Rule,
        scope::Expanded,
    },
    statement::Statement,
    word,
};

/// Names that mean something else where a stage could be named.
const RESERVED: [&str; 2] = ["context", "scratch"];
/// The variable whose use as a platform changes nothing.
const TARGET_PLATFORM: &str = "TARGETPLATFORM";

/// StageNameCasing, FromAsCasing, ReservedStageName, DuplicateStageName.
pub(crate) fn judge_names(file: &Dockerfile, findings: &mut Findings<'_>) {
    let mut earlier: HashSet<&str> = HashSet::new();
    for stage in &file.stages {
        let Some(name) = stage.from.name.as_deref() else {
            continue;
        };
        judge_spelling(stage, findings);
        if RESERVED.contains(&name) {
            let text = format!("Stage name should not use the same name as reserved stage \"{name}\"");
            findings.add(stage.span, Rule::ReservedStageName, || text);
        }
        if !earlier.insert(name) {
            let text = format!(
                "Duplicate stage name \"{}\", stage names should be unique",
                of_word(name)
            );
            findings.add(stage.span, Rule::DuplicateStageName, || text);
        }
    }
}

fn judge_spelling(stage: &Stage, findings: &mut Findings<'_>) {
    let Ok(statement) = Statement::split(&stage.source) else {
        return;
    };
    let words = word::on_blanks(statement.rest);
    let [_, as_word, name] = words.as_slice() else {
        return;
    };
    if !is_lower(name) {
        let text = format!("Stage name '{}' should be lowercase", of_word(name));
        findings.add(stage.span, Rule::StageNameCasing, || text);
    }
    let keyword = statement.spelling;
    let alike = match (is_lower(keyword), is_upper(keyword)) {
        (true, _) => is_lower(as_word),
        (_, true) => is_upper(as_word),
        // the keyword itself is what is wrong, and another rule says so
        _ => true,
    };
    if !alike {
        let text = format!("'{as_word}' and '{keyword}' keywords' casing do not match");
        findings.add(stage.span, Rule::FromAsCasing, || text);
    }
}

/// InvalidDefaultArgInFrom: every base must have a name when no build argument is given.
pub(crate) fn judge_defaults(file: &Dockerfile, facts: &Facts<'_>, findings: &mut Findings<'_>) {
    let defaults = Globals::of(file, facts, false);
    if !defaults.sound {
        return;
    }
    let mut earlier: HashSet<&str> = HashSet::new();
    for stage in &file.stages {
        let image = &stage.from.image;
        let Some(expanded) = defaults.scope.expand(image, defaults.escape) else {
            return;
        };
        let name = &expanded.value;
        // names of stages may end in a dash or a dot, which those of images may not
        if !earlier.contains(name.as_str()) && !is_image_name(name) {
            let text = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                of_word(image)
            );
            findings.add(stage.span, Rule::InvalidDefaultArgInFrom, || text);
        }
        earlier.extend(stage.from.name.as_deref());
    }
}

/// UndefinedArgInFrom, RedundantTargetPlatform, FromPlatformFlagConstDisallowed.
pub(crate) fn judge_values(file: &Dockerfile, globals: &Globals, findings: &mut Findings<'_>) {
    for stage in &file.stages {
        if let Some(expanded) = globals.scope.expand(&stage.from.image, globals.escape) {
            judge_unset(stage, &expanded, globals, findings);
        }
        let Some(written) = stage.from.platform.as_deref() else {
            continue;
        };
        let Some(expanded) = globals.scope.expand(written, globals.escape) else {
            continue;
        };
        judge_unset(stage, &expanded, globals, findings);
        judge_platform(stage, written, &expanded, globals, findings);
    }
}

fn judge_unset(stage: &Stage, expanded: &Expanded, globals: &Globals, findings: &mut Findings<'_>) {
    for name in &expanded.unset {
        findings.add(stage.span, Rule::UndefinedArgInFrom, || {
            let near = globals.scope.nearest(name);
            let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
            format!("FROM argument '{}' is not declared{hint}", of_word(name))
        });
    }
}

fn judge_platform(
    stage: &Stage,
    written: &str,
    expanded: &Expanded,
    globals: &Globals,
    findings: &mut Findings<'_>,
) {
    let value = &expanded.value;
    if !expanded.unset.is_empty() || !expanded.certain {
        return;
    }
    if expanded.varies {
        let only_target = expanded.used.len() == 1 && expanded.used.contains(TARGET_PLATFORM);
        if only_target && globals.scope.get(TARGET_PLATFORM) == Some(value) {
            let text = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                of_word(written)
            );
            findings.add(stage.span, Rule::RedundantTargetPlatform, || text);
        }
        return;
    }
    let host = globals.scope.get("BUILDPLATFORM").unwrap_or_default();
    let Some((os, architecture)) = platform::parts(value, host) else {
        return;
    };
    let name = stage.from.name.as_deref().unwrap_or_default();
    // a stage named after its platform is meant for it
    if name.contains(&os) || name.contains(&architecture) {
        return;
    }
    let text = format!(
        "FROM --platform flag should not use constant value \"{}\"",
        of_word(value)
    );
    findings.add(stage.span, Rule::FromPlatformFlagConstDisallowed, || text);
}
