//! Which stages a build needs, what each is based on, and how many steps that makes: all that can be known before any step is done.

use std::collections::{BTreeMap, BTreeSet};

use mica_dockerfile::{ArgDecl, Dockerfile, Instruction, Located, Stage, expand_word};
use mica_oci::Platform;

use crate::environment::Environment;
use crate::error::{Error, StepError};
use crate::named::Names;
use crate::options::Options;

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage, by number.
    Stage(usize),
    /// A named context, by number.
    Named {
        /// Which.
        context: usize,
        /// What it is used for.
        platform: Platform,
    },
    /// An image.
    Image {
        /// Its name, expanded.
        name: String,
        /// `--platform`, expanded.
        platform: Option<Platform>,
    },
}

/// What `--from` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// An earlier stage, by number.
    Stage(usize),
    /// A named context, by number.
    Named(usize),
    /// An image.
    Image(String),
}

/// The stages of a build that are needed, in an order in which each comes after what it needs.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The stages' numbers in the Dockerfile, ascending; the last is the target.
    pub order: Vec<usize>,
    /// What every stage is based on, by number; stages that are not needed have what could be found out.
    pub bases: Vec<Base>,
    /// Global ARGs with their values.
    pub globals: Environment,
    /// The number of the first step of all: those for other platforms have theirs before it.
    pub first: u32,
    /// How many steps are done: global ARGs, needed stages and their instructions, one for `--label`.
    pub steps: u32,
    /// Whether some RUN works on the result of a stage's instruction, by stage and instruction number.
    runs_after: BTreeMap<usize, usize>,
    /// The number of the first step, the FROM, of every needed stage.
    first_steps: BTreeMap<usize, u32>,
    /// The platform the image is for.
    pub platform: Platform,
    /// The same where it was asked for.
    pub asked: Option<&'a Platform>,
    /// How many steps the whole build has, those for other platforms too.
    pub all_steps: u32,
    /// How many plans the build has: one for each platform.
    pub plans: usize,
    names: Vec<Option<String>>,
    contexts: &'a Names,
}

impl<'a> Plan<'a> {
    /// Plans the build of `dockerfile` for every platform that is asked for.
    pub(crate) fn all(
        dockerfile: &Dockerfile,
        options: &'a Options,
        contexts: &'a Names,
    ) -> Result<Vec<Self>, Error> {
        let targets = options.targets().into_iter();
        let plans = targets.map(|asked| Self::new(dockerfile, options, asked, contexts));
        let mut plans = plans.collect::<Result<Vec<_>, _>>()?;
        let count = plans.len();
        let all_steps = plans
            .iter()
            .fold(0, |sum: u32, plan| sum.saturating_add(plan.steps));
        let mut first = 0_u32;
        for plan in &mut plans {
            plan.plans = count;
            plan.all_steps = all_steps;
            plan.first = first;
            for number in plan.first_steps.values_mut() {
                *number = number.saturating_add(first);
            }
            first = first.saturating_add(plan.steps);
        }
        Ok(plans)
    }

    /// Plans the build of `dockerfile` for one platform. Fails on what can never work, such as a stage copying from itself.
    fn new(
        dockerfile: &Dockerfile,
        options: &Options,
        asked: Option<&'a Platform>,
        contexts: &'a Names,
    ) -> Result<Self, Error> {
        let platform = asked.cloned().unwrap_or_else(Platform::host);
        let names: Vec<_> = dockerfile
            .stages
            .iter()
            .map(|stage| stage.from.name.clone())
            .collect();
        let target = find_target(options.target.as_deref(), &names)?;
        let globals = global_args(dockerfile, options, &platform, names[target].as_deref())?;
        let mut plan = Self {
            order: Vec::new(),
            bases: Vec::new(),
            globals,
            first: 0,
            steps: 0,
            runs_after: BTreeMap::new(),
            first_steps: BTreeMap::new(),
            platform,
            asked,
            all_steps: 0,
            plans: 1,
            names,
            contexts,
        };
        // a stage that is not needed may have a base that cannot be expanded
        let mut failures = BTreeMap::new();
        for (number, stage) in dockerfile.stages.iter().enumerate() {
            let base = plan
                .base(number, stage, dockerfile.directives.escape)
                .unwrap_or_else(|problem| {
                    failures.insert(number, problem);
                    Base::Scratch
                });
            plan.bases.push(base);
        }
        let mut needed = vec![false; dockerfile.stages.len()];
        plan.need(dockerfile, target, &mut needed, &mut failures)?;
        plan.order = (0..needed.len()).filter(|number| needed[*number]).collect();
        plan.note_runs(dockerfile);
        // a Dockerfile has fewer lines than this can count
        let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        plan.steps = count(dockerfile.globals.len());
        for number in &plan.order {
            plan.first_steps.insert(*number, plan.steps);
            plan.steps += count(plan.instructions(dockerfile, *number).len() + 1);
        }
        plan.steps += u32::from(!options.labels.is_empty());
        plan.all_steps = plan.steps;
        Ok(plan)
    }

    /// The number of the stage that is built.
    pub(crate) fn target(&self) -> usize {
        self.order.last().copied().unwrap_or_default()
    }

    /// What is carried out in a stage: nothing in one whose place a named context takes.
    pub(crate) fn instructions<'d>(&self, dockerfile: &'d Dockerfile, stage: usize) -> &'d [Located] {
        match self.is_replaced(stage) {
            true => &[],
            false => &dockerfile.stages[stage].instructions,
        }
    }

    fn is_replaced(&self, stage: usize) -> bool {
        let name = self.names[stage].as_deref();
        let platform = match &self.bases[stage] {
            Base::Named { platform, .. } => platform,
            _ => return false,
        };
        name.is_some_and(|name| self.contexts.find(name, platform).is_some())
    }

    /// The number of a stage's FROM among the steps, from 0; `None` for a stage that is not among those needed.
    pub(crate) fn first_step(&self, stage: usize) -> Option<u32> {
        self.first_steps.get(&stage).copied()
    }

    /// What a stage is for: the platform of its base.
    pub(crate) fn platform_of(&self, mut stage: usize) -> &Platform {
        // a stage is based on earlier ones only
        while let Base::Stage(below) = self.bases[stage] {
            stage = below;
        }
        match &self.bases[stage] {
            Base::Named { platform, .. } => platform,
            Base::Image {
                platform: Some(platform),
                ..
            } => platform,
            _ => &self.platform,
        }
    }

    /// The name of a stage, in lower case.
    pub(crate) fn name(&self, stage: usize) -> Option<&str> {
        self.names[stage].as_deref()
    }

    /// Whether a RUN works on what `instruction` of `stage` leaves, so that it is wanted as a tree.
    pub(crate) fn is_run_on(&self, stage: usize, instruction: usize) -> bool {
        self.runs_after
            .get(&stage)
            .is_some_and(|last| instruction <= *last)
    }

    /// What `--from=name` means in stage `here`.
    pub(crate) fn from(&self, name: &str, here: usize) -> Result<From, StepError> {
        if let Some(context) = self.contexts.find(name, &self.platform) {
            return Ok(From::Named(context));
        }
        let lower = name.to_ascii_lowercase();
        let named = |number: &usize| self.names[*number].as_deref() == Some(&lower);
        if let Some(stage) = (0..here).rev().find(named) {
            return Ok(From::Stage(stage));
        }
        if named(&here) {
            return Err(StepError::Invalid(format!(
                "a stage cannot copy from itself: {name:?}"
            )));
        }
        if (here + 1..self.names.len()).any(|number| named(&number)) {
            return Err(StepError::Invalid(format!(
                "stage {name:?} is defined later: move it above this one"
            )));
        }
        match name.parse::<usize>() {
            Ok(stage) if stage < here => Ok(From::Stage(stage)),
            Ok(stage) => Err(StepError::Invalid(format!(
                "there is no stage {stage} before this one, stages count from 0"
            ))),
            Err(_) => Ok(From::Image(name.to_owned())),
        }
    }

    /// What `from=name` of a mount means in stage `here`: as for `--from`, but numbers name no stages.
    pub(crate) fn mount_from(&self, name: &str, here: usize) -> Result<From, StepError> {
        match name.parse::<usize>() {
            Ok(_) => Ok(From::Image(name.to_owned())),
            Err(_) => self.from(name, here),
        }
    }

    /// What an instruction of stage `here` takes files from, beside the context.
    fn origins(&self, instruction: &Instruction, here: usize) -> Result<Vec<From>, StepError> {
        match instruction {
            Instruction::Copy(copy) => copy.from.iter().map(|name| self.from(name, here)).collect(),
            Instruction::Run(run) => {
                let names = run.mounts.iter().filter_map(|mount| mount.from.as_deref());
                names.map(|name| self.mount_from(name, here)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    fn base(&self, number: usize, stage: &Stage, escape: char) -> Result<Base, StepError> {
        let lookup = self.globals.lookup();
        let name = expand_word(&stage.from.image, escape, &lookup)?;
        if name.is_empty() {
            return Err(StepError::Invalid(format!(
                "the base name ({}) is empty: give its ARG a default or pass --build-arg",
                stage.from.image
            )));
        }
        let platform = match &stage.from.platform {
            Some(text) => {
                let text = expand_word(text, escape, &lookup)?;
                Some(
                    text.parse::<Platform>()
                        .map_err(|e| StepError::Invalid(e.to_string()))?,
                )
            }
            None => None,
        };
        // a stage that a context takes the place of is that context
        let used = platform.as_ref().unwrap_or(&self.platform);
        let own = self.names[number].as_deref();
        let context = own
            .and_then(|own| self.contexts.find(own, used))
            .or_else(|| self.contexts.find(&name, used));
        if let Some(context) = context {
            return Ok(Base::Named {
                context,
                platform: used.clone(),
            });
        }
        if let Some(stage) = (0..number)
            .rev()
            .find(|n| self.names[*n].as_deref() == Some(name.as_str()))
        {
            return Ok(Base::Stage(stage));
        }
        if name == "scratch" {
            return Ok(Base::Scratch);
        }
        Ok(Base::Image { name, platform })
    }

    /// Marks `stage` and all it needs.
    fn need(
        &self,
        dockerfile: &Dockerfile,
        stage: usize,
        needed: &mut [bool],
        failures: &mut BTreeMap<usize, StepError>,
    ) -> Result<(), Error> {
        let mut open = vec![stage];
        while let Some(number) = open.pop() {
            if std::mem::replace(&mut needed[number], true) {
                continue;
            }
            let stage = &dockerfile.stages[number];
            if let Some(problem) = failures.remove(&number) {
                return Err(problem.at(stage.span.start, &stage.source));
            }
            if let Base::Stage(base) = self.bases[number] {
                open.push(base);
            }
            for located in self.instructions(dockerfile, number) {
                let origins = self
                    .origins(&located.instruction, number)
                    .map_err(|e| e.at(located.span.start, &located.source))?;
                open.extend(origins.iter().filter_map(|origin| match origin {
                    From::Stage(from) => Some(*from),
                    From::Named(_) | From::Image(_) => None,
                }));
            }
        }
        Ok(())
    }

    /// The stages that a RUN of the plan mounts, whose layers are then wanted as trees.
    fn mounted(&self, dockerfile: &Dockerfile) -> BTreeSet<usize> {
        let instructions = self.order.iter().flat_map(|stage| {
            let instructions = self.instructions(dockerfile, *stage).iter();
            instructions.map(move |located| (*stage, &located.instruction))
        });
        instructions
            .filter(|(_, instruction)| matches!(instruction, Instruction::Run(_)))
            // what cannot be is an error already
            .flat_map(|(stage, instruction)| self.origins(instruction, stage).unwrap_or_default())
            .filter_map(|origin| match origin {
                From::Stage(stage) => Some(stage),
                From::Named(_) | From::Image(_) => None,
            })
            .collect()
    }

    /// Finds the last instruction of every needed stage that a RUN works on.
    fn note_runs(&mut self, dockerfile: &Dockerfile) {
        let mounted = self.mounted(dockerfile);
        for number in self.order.iter().rev() {
            let instructions = self.instructions(dockerfile, *number);
            let own = instructions
                .iter()
                .rposition(|located| matches!(located.instruction, Instruction::Run(_)));
            // a stage on top of this one that runs something runs it on all of this one
            let built_upon = self.order.iter().any(|above| {
                self.bases[*above] == Base::Stage(*number) && self.runs_after.contains_key(above)
            });
            let last = if built_upon || mounted.contains(number) {
                Some(instructions.len())
            } else {
                own
            };
            if let Some(last) = last {
                self.runs_after.insert(*number, last);
            }
        }
    }
}

fn find_target(target: Option<&str>, names: &[Option<String>]) -> Result<usize, Error> {
    let Some(target) = target.filter(|name| !name.is_empty()) else {
        return Ok(names.len() - 1);
    };
    let lower = target.to_ascii_lowercase();
    names
        .iter()
        .rposition(|name| name.as_deref() == Some(&lower))
        .ok_or_else(|| Error::Target(target.to_owned()))
}

/// The variables of FROM lines: the automatic ones, and ARGs before the first FROM.
fn global_args(
    dockerfile: &Dockerfile,
    options: &Options,
    platform: &Platform,
    target: Option<&str>,
) -> Result<Environment, Error> {
    let mut globals = automatic_args(platform, target);
    for (name, value) in &options.build_args {
        if globals.get(name).is_some() {
            globals.set(name, value.as_deref().unwrap_or_default());
        }
    }
    for line in &dockerfile.globals {
        for ArgDecl { name, default } in &line.args {
            let value = match (options.build_arg(name), default) {
                (Some(value), _) => Some(value.to_owned()),
                (None, Some(default)) => Some(
                    expand_word(default, dockerfile.directives.escape, &globals.lookup())
                        .map_err(|e| StepError::from(e).at(line.span.start, &line.source))?,
                ),
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.set(name, &value);
            }
        }
    }
    Ok(globals)
}

/// The ARGs every Dockerfile has without declaring them.
fn automatic_args(target: &Platform, target_stage: Option<&str>) -> Environment {
    let mut args = Environment::default();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &Platform::host())] {
        args.set(&format!("{prefix}PLATFORM"), &platform.to_string());
        args.set(&format!("{prefix}OS"), &platform.os);
        args.set(&format!("{prefix}ARCH"), &platform.architecture);
        args.set(&format!("{prefix}VARIANT"), &platform.variant);
        args.set(&format!("{prefix}OSVERSION"), &platform.os_version);
    }
    args.set("TARGETSTAGE", target_stage.unwrap_or("default"));
    args
}

/// Whether a name is one of the automatic ARGs.
pub(crate) fn is_automatic(name: &str) -> bool {
    const OF_A_PLATFORM: [&str; 5] = ["PLATFORM", "OS", "ARCH", "VARIANT", "OSVERSION"];
    let prefixes = ["TARGET", "BUILD"].into_iter();
    let mut rests = prefixes.filter_map(|prefix| name.strip_prefix(prefix));
    name == "TARGETSTAGE" || rests.any(|rest| OF_A_PLATFORM.contains(&rest))
}
