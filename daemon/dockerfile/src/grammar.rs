//! From a split line to the typed instruction.

use crate::{
    duration::parse_duration,
    error::Fault,
    excerpt::of_word,
    flag::Takes::Text,
    heredoc::{self, RawHeredoc},
    instruction::{Command, From, Healthcheck, Instruction, Onbuild},
    keyvalue, run,
    statement::{Statement, json_of},
    transfer, word,
};

/// Shortest duration a health check may have, in nanoseconds (the daemon's smallest timer).
const MIN_CHECK_DURATION: i64 = 1_000_000;

/// Reads any instruction but FROM. `line` is the joined line the statement was split from.
pub(crate) fn instruction(
    statement: &Statement<'_>,
    line: &str,
    heredocs: &[RawHeredoc],
    escape: char,
) -> Result<Instruction, Fault> {
    Ok(match statement.keyword {
        "ADD" => Instruction::Add(transfer::add(statement, heredocs)?),
        "ARG" => Instruction::Arg(keyvalue::declarations(statement, escape)?),
        "CMD" => Instruction::Cmd(command(statement)?),
        "COPY" => Instruction::Copy(transfer::copy(statement, heredocs)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(statement)?),
        "ENV" => Instruction::Env(keyvalue::pairs(statement, escape)?),
        "EXPOSE" => Instruction::Expose(expose(statement)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(statement)?),
        "LABEL" => Instruction::Label(keyvalue::pairs(statement, escape)?),
        "MAINTAINER" => Instruction::Maintainer(statement.single()?),
        "ONBUILD" => Instruction::Onbuild(onbuild(statement, line, heredocs, escape)?),
        "RUN" => Instruction::Run(run::run(statement, heredocs)?),
        "SHELL" => Instruction::Shell(shell(statement)?),
        // Flags in front of it are dropped unread, as the reference implementation does.
        "STOPSIGNAL" => Instruction::Stopsignal(statement.some_rest("exactly one argument")?.to_owned()),
        "USER" => Instruction::User(statement.single()?),
        "VOLUME" => Instruction::Volume(volume(statement)?),
        "WORKDIR" => Instruction::Workdir(statement.single()?),
        other => return Err(Fault::OnbuildForbidden { instruction: other }),
    })
}

/// Reads FROM.
pub(crate) fn from(statement: &Statement<'_>) -> Result<From, Fault> {
    let platform = statement.flags(&[("platform", Text)])?.text("platform");
    let words = word::on_blanks(statement.rest);
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => (image, Some(stage_name(name)?)),
        _ => return Err(statement.wants("either one or three arguments: IMAGE or IMAGE AS NAME")),
    };
    Ok(From {
        image: image.clone(),
        platform,
        name,
    })
}

fn stage_name(name: &str) -> Result<String, Fault> {
    let lower = name.to_lowercase();
    let mut letters = lower.bytes();
    let well_formed = letters.next().is_some_and(|b| b.is_ascii_lowercase())
        && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
    if well_formed {
        Ok(lower)
    } else {
        Err(Fault::StageName { name: of_word(name) })
    }
}

fn command(statement: &Statement<'_>) -> Result<Command, Fault> {
    statement.no_flags()?;
    run::command(statement)
}

fn expose(statement: &Statement<'_>) -> Result<Vec<String>, Fault> {
    statement.no_flags()?;
    statement.some_rest("at least one argument, as PORT[/PROTOCOL]")?;
    let mut words = word::on_blanks(statement.rest);
    words.sort();
    Ok(words)
}

fn shell(statement: &Statement<'_>) -> Result<Vec<String>, Fault> {
    const EXPECTED: &str = "the arguments to be in JSON form, as [\"/bin/sh\", \"-c\"]";
    statement.no_flags()?;
    match statement.json()? {
        Some(words) if !words.is_empty() => Ok(words),
        _ => Err(statement.wants(EXPECTED)),
    }
}

fn volume(statement: &Statement<'_>) -> Result<Vec<String>, Fault> {
    statement.no_flags()?;
    let (paths, _) = statement.list()?;
    if paths.is_empty() {
        return Err(statement.wants("at least one argument, as a path or a JSON array of paths"));
    }
    let paths: Vec<String> = paths.iter().map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        Err(Fault::EmptyVolume)
    } else {
        Ok(paths)
    }
}

fn onbuild(
    statement: &Statement<'_>,
    line: &str,
    heredocs: &[RawHeredoc],
    escape: char,
) -> Result<Onbuild, Fault> {
    statement.no_flags()?;
    let inner = Statement::split(statement.some_rest("at least one argument: the instruction to trigger")?)?;
    match inner.keyword {
        "ONBUILD" => return Err(Fault::OnbuildChain),
        keyword @ ("FROM" | "MAINTAINER") => return Err(Fault::OnbuildForbidden { instruction: keyword }),
        _ => {}
    }
    // Images keep the trigger with its inner and trailing blanks.
    let text = line
        .get(statement.spelling.len()..)
        .unwrap_or_default()
        .trim_start();
    Ok(Onbuild {
        instruction: Box::new(instruction(&inner, statement.rest, heredocs, escape)?),
        text: heredoc::inline(text, heredocs),
    })
}

fn healthcheck(statement: &Statement<'_>) -> Result<Healthcheck, Fault> {
    let rest = statement.some_rest("CMD and a command, or NONE")?;
    let (kind, rest) = match rest.split_once(char::is_whitespace) {
        Some((kind, rest)) => (kind, rest.trim()),
        None => (rest, ""),
    };
    if kind.eq_ignore_ascii_case("NONE") {
        return if rest.is_empty() {
            Ok(Healthcheck::None)
        } else {
            Err(statement.wants("nothing after NONE"))
        };
    }
    if !kind.eq_ignore_ascii_case("CMD") {
        return Err(Fault::HealthcheckType { word: of_word(kind) });
    }
    const FLAGS: [&str; 5] = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let flags = statement.flags(&FLAGS.map(|flag| (flag, Text)))?;
    let duration = |flag: &'static str| check_duration(flag, flags.text(flag));
    let test = match json_of(statement.keyword, rest)? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.to_owned()),
    };
    if matches!(&test, Command::Exec(words) if words.is_empty()) || test == Command::Shell(String::new()) {
        return Err(statement.wants("a command after CMD"));
    }
    Ok(Healthcheck::Test {
        test,
        interval: duration("interval")?,
        timeout: duration("timeout")?,
        start_period: duration("start-period")?,
        start_interval: duration("start-interval")?,
        retries: check_retries(flags.text("retries"))?,
    })
}

fn check_duration(flag: &'static str, value: Option<String>) -> Result<i64, Fault> {
    let Some(value) = value else { return Ok(0) };
    let nanoseconds = parse_duration(&value).map_err(|error| Fault::HealthcheckValue {
        flag,
        problem: error.to_string(),
    })?;
    if nanoseconds != 0 && nanoseconds < MIN_CHECK_DURATION {
        let problem = format!(
            "duration \"{}\" cannot be less than 1ms, expected 0 or more",
            of_word(&value)
        );
        return Err(Fault::HealthcheckValue { flag, problem });
    }
    Ok(nanoseconds)
}

fn check_retries(value: Option<String>) -> Result<i64, Fault> {
    let Some(value) = value else { return Ok(0) };
    let wrong = |problem| Fault::HealthcheckValue {
        flag: "retries",
        problem,
    };
    match value.parse::<i32>() {
        Ok(retries) if retries < 0 => Err(wrong(format!("cannot be negative ({retries})"))),
        Ok(retries) => Ok(i64::from(retries)),
        Err(_) => Err(wrong(format!(
            "\"{}\" is not a number, expected 0 to {}",
            of_word(&value),
            i32::MAX
        ))),
    }
}
