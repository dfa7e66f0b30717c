//! What the parser knows and the builder cannot do yet: refused by name before anything is done.

use mica_dockerfile::{Dockerfile, Instruction, Located};

use crate::error::Error;
use crate::plan::Plan;

/// Refuses what stages of the plan ask for and nobody can do yet.
pub(crate) fn refuse_unsupported(dockerfile: &Dockerfile, plan: &Plan) -> Result<(), Error> {
    for stage in plan.order.iter().map(|number| &dockerfile.stages[*number]) {
        for located in &stage.instructions {
            if let Some(what) = unsupported(located) {
                return Err(Error::Unsupported {
                    line: located.span.start,
                    what,
                });
            }
        }
    }
    Ok(())
}

/// What of an instruction cannot be done yet.
pub(crate) fn unsupported(located: &Located) -> Option<String> {
    match &located.instruction {
        Instruction::Run(run) if !run.devices.is_empty() => Some("RUN --device".into()),
        Instruction::Copy(copy) if copy.parents => Some("COPY --parents".into()),
        Instruction::Copy(copy) => remote(&copy.sources).map(|source| format!("COPY of {source}")),
        Instruction::Add(add) if add.checksum.is_some() => Some("ADD --checksum".into()),
        Instruction::Add(add) if add.keep_git_dir.is_some() => Some("ADD --keep-git-dir".into()),
        Instruction::Add(add) => remote(&add.sources).map(|source| format!("ADD of {source}")),
        _ => None,
    }
}

/// The first source that is an address rather than a path.
pub(crate) fn remote(sources: &[String]) -> Option<&String> {
    const SCHEMES: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    sources
        .iter()
        .find(|source| SCHEMES.iter().any(|scheme| source.starts_with(scheme)))
}
