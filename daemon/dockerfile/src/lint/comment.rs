//! Comments above FROM and ARG that seem to describe something else.

use crate::{
    excerpt::of_word,
    file::Dockerfile,
    instruction::{ArgDecl, Instruction, Span},
    lint::{findings::Findings, rule::Rule},
};

/// InvalidDefinitionDescription.
pub(crate) fn judge(file: &Dockerfile, findings: &mut Findings<'_>) {
    for line in &file.globals {
        judge_arg(file, line.span, &line.args, findings);
    }
    for stage in &file.stages {
        if let Some(name) = &stage.from.name {
            judge_one(file, stage.span, "FROM", &[name], findings);
        }
        for located in &stage.instructions {
            if let Instruction::Arg(args) = &located.instruction {
                judge_arg(file, located.span, args, findings);
            }
        }
    }
}

fn judge_arg(file: &Dockerfile, span: Span, args: &[ArgDecl], findings: &mut Findings<'_>) {
    let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
    judge_one(file, span, "ARG", &names, findings);
}

fn judge_one(file: &Dockerfile, span: Span, keyword: &str, names: &[&str], findings: &mut Findings<'_>) {
    let last = file
        .comments
        .get(&span.start)
        .and_then(|comments| comments.last());
    let Some(first_word) = last.and_then(|comment| comment.split(' ').next()) else {
        return;
    };
    if names.contains(&first_word) {
        return;
    }
    findings.add(span, Rule::InvalidDefinitionDescription, || {
        let example = match names {
            [one] => of_word(one),
            _ => "<arg_key>".to_owned(),
        };
        format!("Comment for {keyword} should follow the format: `# {example} <description>`")
    });
}

/// What the comments above an instruction say of `name`: the rest of the first that begins with it.
pub(crate) fn description<'a>(file: &'a Dockerfile, span: Span, name: &str) -> &'a str {
    let comments = file.comments.get(&span.start).into_iter().flatten();
    comments
        .filter_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '))
        .next()
        .unwrap_or_default()
}
