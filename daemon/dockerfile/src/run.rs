//! The arguments of RUN.

use crate::{
    error::Fault,
    excerpt::of_word,
    flag::Takes::{List, Text},
    heredoc::{self, RawHeredoc},
    instruction::{Command, NetworkMode, Run, RunScript, SecurityMode},
    mount::Mount,
    statement::Statement,
};

/// Reads RUN.
pub(crate) fn run(statement: &Statement<'_>, heredocs: &[RawHeredoc]) -> Result<Run, Fault> {
    let flags = statement.flags(&[
        ("device", List),
        ("mount", List),
        ("network", Text),
        ("security", Text),
    ])?;
    let network = match flags.text("network").as_deref() {
        None => None,
        Some("default") => Some(NetworkMode::Default),
        Some("none") => Some(NetworkMode::None),
        Some("host") => Some(NetworkMode::Host),
        Some(other) => return Err(unsupported("network", other, "default, none or host")),
    };
    let security = match flags.text("security").as_deref() {
        None => None,
        Some("sandbox") => Some(SecurityMode::Sandbox),
        Some("insecure") => Some(SecurityMode::Insecure),
        Some(other) => return Err(unsupported("security", other, "sandbox or insecure")),
    };
    let mounts = flags
        .list("mount")
        .iter()
        .map(|text| Mount::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Fault::Mount)?;
    let command = command(statement)?;
    if command == Command::Exec(Vec::new()) {
        return Err(statement.wants("a command: the JSON array must not be empty"));
    }
    Ok(Run {
        script: script(statement, heredocs)?,
        command,
        heredocs: heredocs.iter().map(RawHeredoc::finish).collect(),
        mounts,
        network,
        security,
        devices: flags.list("device"),
    })
}

/// The rest of a line as a command: JSON, or text for a shell.
pub(crate) fn command(statement: &Statement<'_>) -> Result<Command, Fault> {
    Ok(statement
        .json()?
        .map_or_else(|| Command::Shell(statement.rest.to_owned()), Command::Exec))
}

fn unsupported(flag: &'static str, value: &str, expected: &'static str) -> Fault {
    Fault::FlagValue {
        flag,
        value: of_word(value),
        expected,
    }
}

/// What here-documents make of the command.
fn script(statement: &Statement<'_>, heredocs: &[RawHeredoc]) -> Result<Option<RunScript>, Fault> {
    let [first, ..] = heredocs else { return Ok(None) };
    if heredoc::word(statement.rest).is_none() {
        return Ok(Some(RunScript::Inline(heredoc::inline(statement.rest, heredocs))));
    }
    let heredoc = first.finish();
    if !heredoc.body.starts_with("#!") {
        return Ok(Some(RunScript::Body(heredoc.body)));
    }
    if !heredoc::is_file_name(&heredoc.name) {
        return Err(Fault::HeredocName {
            instruction: "RUN",
            name: of_word(&heredoc.name),
        });
    }
    Ok(Some(RunScript::File {
        name: heredoc.name,
        body: heredoc.body,
    }))
}
