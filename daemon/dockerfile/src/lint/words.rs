//! The words of an instruction in which variables are expanded.

use crate::{
    heredoc::Heredoc,
    instruction::{Add, Copy, Instruction},
};

/// The words that are expanded in the scope of the instruction. ARG is not among them: each of its names sees those
/// before it; nor is EXPOSE, whose words BuildKit does not hold to UndefinedVar.
pub(crate) fn of(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Add(add) => of_add(add),
        Instruction::Copy(copy) => of_copy(copy),
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()])
            .collect(),
        Instruction::Run(run) => run.mounts.iter().flat_map(|mount| mount.values()).collect(),
        Instruction::Stopsignal(word) | Instruction::User(word) | Instruction::Workdir(word) => vec![word],
        Instruction::Volume(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

fn of_add(add: &Add) -> Vec<&str> {
    let flags = [&add.chown, &add.chmod, &add.checksum];
    let flags = flags.into_iter().flatten().map(String::as_str);
    flags
        .chain(add.sources.iter().map(String::as_str))
        .chain([add.dest.as_str()])
        .collect()
}

fn of_copy(copy: &Copy) -> Vec<&str> {
    let flags = [&copy.chown, &copy.chmod];
    let flags = flags.into_iter().flatten().map(String::as_str);
    flags
        .chain(copy.sources.iter().map(String::as_str))
        .chain([copy.dest.as_str()])
        .collect()
}

/// The bodies of here-documents that are expanded.
pub(crate) fn bodies(instruction: &Instruction) -> impl Iterator<Item = &str> {
    let heredocs: &[Heredoc] = match instruction {
        Instruction::Add(add) => &add.heredocs,
        Instruction::Copy(copy) => &copy.heredocs,
        _ => &[],
    };
    heredocs
        .iter()
        .filter(|heredoc| heredoc.expand)
        .map(|heredoc| heredoc.body.as_str())
}
