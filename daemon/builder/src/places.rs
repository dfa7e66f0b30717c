//! Where the instructions of a Dockerfile stand in their stages, as BuildKit counts them: only what does more than change
//! settings counts.

use mica_dockerfile::{Dockerfile, Instruction, Located};
use mica_task::{PlannedStep, StagePlace, StagePlatform, StepId};

use crate::plan::{Base, Plan};

/// Says where instructions stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    dockerfile: &'a Dockerfile,
    plan: &'a Plan<'a>,
}

impl<'a> Places<'a> {
    /// The places of a Dockerfile's instructions.
    pub(crate) fn new(dockerfile: &'a Dockerfile, plan: &'a Plan<'a>) -> Self {
        Self { dockerfile, plan }
    }

    /// The place of a stage's FROM; `None` where it only names another stage, or nothing.
    pub(crate) fn from(self, stage: usize) -> Option<StagePlace> {
        let base = match &self.plan.bases[stage] {
            Base::Scratch | Base::Stage(_) => return None,
            Base::Named { .. } => None,
            Base::Image { name, .. } => Some(name.clone()),
        };
        Some(StagePlace {
            base,
            ..self.place(stage, 1, 0)
        })
    }

    /// The place of an instruction by its number in the stage, if it has one. `triggers` of the base image stand before it.
    pub(crate) fn instruction(self, stage: usize, number: usize, triggers: usize) -> Option<StagePlace> {
        let (before, rest) = self.plan.instructions(self.dockerfile, stage).split_at(number);
        does_something(&rest.first()?.instruction)
            .then(|| self.place(stage, self.first(stage) + triggers + count(before), triggers))
    }

    /// The place of a trigger of the base image; there are `triggers`, and so many of them stand before it.
    pub(crate) fn trigger(self, stage: usize, before: usize, triggers: usize) -> StagePlace {
        self.place(stage, self.first(stage) + before, triggers)
    }

    /// All steps of the plan that have a place.
    pub(crate) fn planned(self) -> Vec<PlannedStep> {
        let order = self.plan.order.iter();
        order.flat_map(|stage| self.planned_of(*stage)).collect()
    }

    fn planned_of(self, stage: usize) -> Vec<PlannedStep> {
        let Some(first) = self.plan.first_step(stage) else {
            return Vec::new();
        };
        let step = |step: StepId, name: &str, place: StagePlace| PlannedStep {
            step,
            name: name.to_owned(),
            place,
        };
        let from = self
            .from(stage)
            .map(|place| step(first, &self.dockerfile.stages[stage].source, place));
        let instructions = self.plan.instructions(self.dockerfile, stage).iter();
        let rest = (0..)
            .zip(first + 1..)
            .zip(instructions)
            .filter_map(|((number, id), located)| {
                Some(step(id, &located.source, self.instruction(stage, number, 0)?))
            });
        from.into_iter().chain(rest).collect()
    }

    /// The number of what comes after the FROM.
    fn first(self, stage: usize) -> usize {
        1 + usize::from(self.from(stage).is_some())
    }

    fn place(self, stage: usize, number: usize, triggers: usize) -> StagePlace {
        let is_only = self.dockerfile.stages.len() == 1;
        let name = || match self.plan.name(stage) {
            Some(name) => name.to_owned(),
            None => format!("stage-{stage}"),
        };
        let has_base = !matches!(self.plan.bases[stage], Base::Scratch | Base::Stage(_));
        let all = count(self.plan.instructions(self.dockerfile, stage));
        // a Dockerfile has fewer lines than this can count
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let platform = (self.plan.plans > 1).then(|| StagePlatform {
            own: self.plan.platform_of(stage).clone(),
            target: self.plan.platform.clone(),
        });
        StagePlace {
            platform,
            stage: short(stage),
            name: (!is_only).then(name),
            number: short(number),
            count: short(usize::from(has_base) + triggers + all),
            base: None,
        }
    }
}

fn count(instructions: &[Located]) -> usize {
    let counted = instructions
        .iter()
        .filter(|located| does_something(&located.instruction));
    counted.count()
}

/// Whether an instruction does more than change settings of the image.
pub(crate) fn does_something(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::Names;
    use crate::options::Options;

    fn shown(place: &StagePlace) -> String {
        let name = place.name.as_ref().map(|name| format!("{name} "));
        format!("{}{}/{}", name.unwrap_or_default(), place.number, place.count)
    }

    fn planned(text: &str) -> Vec<(StepId, String)> {
        let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
        let names = Names::default();
        let options = Options::default();
        let plan = Plan::all(&dockerfile, &options, &names).unwrap().swap_remove(0);
        let planned = Places::new(&dockerfile, &plan).planned();
        planned
            .iter()
            .map(|step| (step.step, format!("[{}] {}", shown(&step.place), step.name)))
            .collect()
    }

    #[test]
    fn one_stage_needs_no_name_and_settings_do_not_count() {
        assert_eq!(
            planned("ARG x\nFROM a\nENV b=c\nRUN d\nUSER e\nCOPY f g\n"),
            [
                (1, "[1/3] FROM a".to_owned()),
                (3, "[2/3] RUN d".to_owned()),
                (5, "[3/3] COPY f g".to_owned())
            ]
        );
    }

    #[test]
    fn stages_have_names_or_numbers_and_those_that_are_not_needed_have_no_steps() {
        assert_eq!(
            planned(
                "FROM a AS Work\nRUN b\nFROM a\nRUN no\nFROM scratch\nCOPY --from=work / /\nFROM work\nADD c d\nCOPY --from=2 / /\n"
            ),
            [
                (0, "[work 1/2] FROM a AS Work".to_owned()),
                (1, "[work 2/2] RUN b".to_owned()),
                (3, "[stage-2 1/1] COPY --from=work / /".to_owned()),
                (5, "[stage-3 1/2] ADD c d".to_owned()),
                (6, "[stage-3 2/2] COPY --from=2 / /".to_owned())
            ]
        );
    }

    #[test]
    fn triggers_stand_between_the_base_and_the_rest() {
        let dockerfile = Dockerfile::parse(b"FROM a\nRUN b\n").unwrap();
        let names = Names::default();
        let options = Options::default();
        let plan = Plan::all(&dockerfile, &options, &names).unwrap().swap_remove(0);
        let places = Places::new(&dockerfile, &plan);
        assert_eq!(shown(&places.trigger(0, 0, 2)), "2/4");
        assert_eq!(shown(&places.trigger(0, 1, 2)), "3/4");
        assert_eq!(shown(&places.instruction(0, 0, 2).unwrap()), "4/4");
    }
}
