//! What the parser knows and the builder cannot do yet: refused by name before anything is done.

use mica_dockerfile::{Dockerfile, Instruction, Located};

use crate::error::Error;
use crate::plan::Plan;

/// Refuses what stages of the plan ask for and nobody can do yet.
pub(crate) fn refuse_unsupported(dockerfile: &Dockerfile, plan: &Plan<'_>) -> Result<(), Error> {
    for stage in &plan.order {
        for located in plan.instructions(dockerfile, *stage) {
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
        _ => None,
    }
}
