//! Follows the variables through the stages that are carried out, and holds their instructions to the rules.

use std::collections::{BTreeMap, HashSet};

use crate::{
    excerpt::of_word,
    file::{Dockerfile, Stage},
    instruction::{ArgDecl, Instruction, Located, Span},
    lint::{
        base::BaseOf,
        facts::{Base, Facts},
        findings::Findings,
        globals::Globals,
        instruction,
        judge::{Judge, State},
        platform,
        rule::Rule,
        scope::{Expanded, Scope},
        secret::is_secret,
        words,
    },
};

/// Most stages whose instructions are judged; each keeps its variables for those built on it.
const MAX_STAGES: usize = 1000;
/// Most triggers of a stage that are followed into the stages on it.
const MAX_TRIGGERS: usize = 100;
/// What every stage has even if its image does not (dockerfile contract 4.10).
const PATH: (&str, &str) = (
    "PATH",
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
);

/// The rules about instructions, in all stages that are carried out.
pub(crate) fn judge(file: &Dockerfile, facts: &Facts<'_>, globals: &Globals, findings: &mut Findings<'_>) {
    let mut states: BTreeMap<usize, State> = BTreeMap::new();
    let mut judge = Judge {
        facts,
        globals,
        findings,
    };
    for (number, stage) in file.stages.iter().enumerate().take(MAX_STAGES) {
        if !facts.carries_out(number) || judge.findings.is_full() {
            continue;
        }
        let mut state = match BaseOf::find(file, number, globals) {
            BaseOf::Scratch => on_nothing(),
            BaseOf::Stage(below) => Judge::on_stage(states.get(&below)),
            BaseOf::Image(name) => judge.on_image(number, stage, &name),
        };
        judge.stage(stage, &mut state);
        states.insert(number, state);
    }
}

fn on_nothing() -> State {
    let mut state = State::default();
    state.scope.set(PATH.0, PATH.1);
    state
}

impl Judge<'_, '_> {
    /// What a stage begins with that is based on another one.
    fn on_stage(below: Option<&State>) -> State {
        let Some(below) = below else {
            let mut state = on_nothing();
            state.scope.open = true;
            return state;
        };
        below.clone()
    }

    /// What a stage begins with that is based on an image.
    fn on_image(&mut self, number: usize, stage: &Stage, name: &str) -> State {
        let mut state = on_nothing();
        let Some(base) = self.facts.bases.get(&number) else {
            state.scope.open = true;
            return state;
        };
        for (name, value) in &base.variables {
            state.scope.set(name, value);
        }
        state.has_shell = base.has_shell;
        self.judge_base(stage, name, base);
        state
    }

    /// InvalidBaseImagePlatform.
    fn judge_base(&mut self, stage: &Stage, name: &str, base: &Base) {
        let flag = stage.from.platform.as_deref();
        let flag = flag.and_then(|text| self.globals.scope.expand(text, self.globals.escape));
        let wanted = flag.map_or_else(|| self.facts.target_platform.to_owned(), |flag| flag.value);
        let Some(actual) = &base.platform else {
            return;
        };
        let parts = |text: &str| platform::parts(text, self.facts.build_platform);
        let (Some(want), Some(have)) = (parts(&wanted), parts(actual)) else {
            return;
        };
        if want != have {
            self.findings.add(stage.span, Rule::InvalidBaseImagePlatform, || {
                format!(
                    "Base image {} was pulled with platform \"{}/{}\", expected \"{}/{}\" for current build",
                    of_word(name),
                    have.0,
                    have.1,
                    want.0,
                    want.1
                )
            });
        }
    }

    /// Judges the triggers of the stage below, which are said to be on the line of FROM, and then what the stage
    /// itself says.
    fn stage(&mut self, stage: &Stage, state: &mut State) {
        let triggers: Vec<Located> = std::mem::take(&mut state.triggers)
            .into_iter()
            .map(|trigger| Located {
                span: stage.span,
                source: trigger.text,
                instruction: *trigger.instruction,
            })
            .collect();
        let mut last: BTreeMap<&str, Span> = BTreeMap::new();
        for located in triggers.iter().chain(&stage.instructions) {
            let keyword = located.instruction.keyword();
            if matches!(keyword, "CMD" | "ENTRYPOINT" | "HEALTHCHECK")
                && let Some(overruled) = last.insert(keyword, located.span)
            {
                let keyword = instruction::spelling(located);
                self.findings
                    .add(overruled, Rule::MultipleInstructionsDisallowed, || {
                        format!(
                            "Multiple {keyword} instructions should not be used in the same stage because only the \
                             last one will be used"
                        )
                    });
            }
            self.instruction(located, state);
        }
    }

    fn instruction(&mut self, located: &Located, state: &mut State) {
        let mut told = HashSet::new();
        for word in words::of(&located.instruction) {
            let expanded = state.scope.expand(word, self.globals.escape);
            self.undefined(located, &state.scope, expanded, &mut told);
        }
        for body in words::bodies(&located.instruction) {
            let expanded = state.scope.expand_body(body);
            self.undefined(located, &state.scope, expanded, &mut told);
        }
        instruction::judge(self, located, state);
        if let Instruction::Arg(args) = &located.instruction {
            for arg in args {
                self.arg(located, arg, &mut state.scope, &mut told);
            }
        } else {
            self.effect(&located.instruction, state);
        }
    }

    /// UndefinedVar, where all variables there are are known; each variable is `told` once.
    fn undefined(
        &mut self,
        located: &Located,
        scope: &Scope,
        expanded: Option<Expanded>,
        told: &mut HashSet<String>,
    ) {
        for name in expanded.map(|expanded| expanded.unset).unwrap_or_default() {
            if told.contains(&name) {
                continue;
            }
            self.add(located, Rule::UndefinedVar, || {
                let near = scope.nearest_set(&name);
                let hint = near.map_or_else(String::new, |near| format!(" (did you mean ${near}?)"));
                format!("Usage of undefined variable '${}'{hint}", of_word(&name))
            });
            told.insert(name);
        }
    }

    /// Judges one name of ARG and puts it into the scope; the next one may use it.
    fn arg(&mut self, located: &Located, arg: &ArgDecl, scope: &mut Scope, told: &mut HashSet<String>) {
        if is_secret(&arg.name) {
            self.add(located, Rule::SecretsUsedInArgOrEnv, || {
                instruction::secret_text("ARG", &arg.name)
            });
        }
        if let (None, Some(default)) = (self.facts.build_arg(&arg.name), &arg.default) {
            let expanded = scope.expand(default, self.globals.escape);
            self.undefined(located, scope, expanded, told);
        }
        self.declare(arg, scope);
    }

    fn declare(&self, arg: &ArgDecl, scope: &mut Scope) {
        scope.declare(&arg.name);
        let default = arg.default.as_deref();
        if let Some(given) = self.facts.build_arg(&arg.name) {
            scope.set(&arg.name, given);
        } else if let Some(expanded) = default.and_then(|word| scope.expand(word, self.globals.escape)) {
            scope.assign(&arg.name, &expanded);
        } else if let Some(global) = self.globals.scope.get(&arg.name) {
            scope.set(&arg.name, global);
        }
    }

    /// What an instruction does to what comes after it.
    fn effect(&self, instruction: &Instruction, state: &mut State) {
        let escape = self.globals.escape;
        match instruction {
            Instruction::Arg(args) => args.iter().for_each(|arg| self.declare(arg, &mut state.scope)),
            Instruction::Env(pairs) => {
                let scope = &state.scope;
                let expand = |word: &String| scope.expand(word, escape);
                // every pair sees the variables as they were before the instruction
                let expanded: Option<Vec<_>> = pairs
                    .iter()
                    .map(|(name, value)| Some((expand(name)?, expand(value)?)))
                    .collect();
                let known = |(name, _): &(Expanded, Expanded)| name.certain;
                match expanded.filter(|pairs| pairs.iter().all(known)) {
                    Some(pairs) => pairs
                        .iter()
                        .for_each(|(name, value)| state.scope.assign(&name.value, value)),
                    None => state.scope.open = true,
                }
            }
            Instruction::Shell(_) => state.has_shell = true,
            Instruction::Workdir(_) => state.has_workdir = true,
            Instruction::Onbuild(_) if state.triggers.len() >= MAX_TRIGGERS => {}
            Instruction::Onbuild(onbuild) => state.triggers.push(onbuild.clone()),
            _ => {}
        }
    }
}
