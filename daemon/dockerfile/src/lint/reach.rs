//! Which stages a target needs.

use std::collections::BTreeSet;

use crate::{
    file::Dockerfile,
    instruction::Instruction,
    lint::{
        base::{BaseOf, stage_named},
        facts::Facts,
        globals::Globals,
    },
};

/// The numbers of the stages that `facts.target`, or the last stage, needs: itself, what it is based on and what it
/// copies or mounts from, in ascending order. `None` if no stage is called so.
#[must_use]
pub fn needed_stages(file: &Dockerfile, facts: &Facts<'_>) -> Option<Vec<usize>> {
    let target = match facts.target {
        Some(name) => stage_named(&file.stages, &name.to_ascii_lowercase())?,
        None => file.stages.len().checked_sub(1)?,
    };
    let globals = Globals::of(file, facts, true);
    let mut needed = BTreeSet::new();
    let mut open = vec![target];
    while let Some(number) = open.pop() {
        if !needed.insert(number) {
            continue;
        }
        if let BaseOf::Stage(below) = BaseOf::find(file, number, &globals) {
            open.push(below);
        }
        let Some(stage) = file.stages.get(number) else {
            continue;
        };
        for name in stage
            .instructions
            .iter()
            .flat_map(|located| sources(&located.instruction))
        {
            let earlier = &file.stages[..number];
            let by_number = || name.parse().ok().filter(|found| *found < number);
            open.extend(stage_named(earlier, &name.to_ascii_lowercase()).or_else(by_number));
        }
    }
    Some(needed.into_iter().collect())
}

/// The stages an instruction takes files from, as it names them.
fn sources(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mount.from.as_deref())
            .collect(),
        // what a trigger names is looked for where the trigger is carried out, which is further down
        Instruction::Onbuild(onbuild) => sources(&onbuild.instruction),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::needed_stages;
    use crate::{Dockerfile, lint::Facts};

    #[test]
    fn only_what_the_target_needs_is_carried_out() {
        let text = "ARG B=one\nFROM x AS one\nFROM x AS two\nFROM ${B} AS three\nRUN --mount=from=two,target=/t a\nFROM x \
                    AS four\nCOPY --from=0 a b\n";
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let needed = |target, value: Option<&str>| {
            let args = [("B".to_owned(), value.map(str::to_owned))];
            let facts = Facts {
                target,
                build_args: &args,
                ..Facts::default()
            };
            needed_stages(&file, &facts)
        };
        assert_eq!(needed(None, None), Some(vec![0, 3]));
        assert_eq!(needed(Some("Three"), None), Some(vec![0, 1, 2]));
        assert_eq!(needed(Some("three"), Some("x")), Some(vec![1, 2]));
        assert_eq!(needed(Some("five"), None), None);
    }
}
