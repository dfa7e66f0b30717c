//! What a file offers to those who build it: its targets, and what one of them can be given.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    file::Dockerfile,
    instruction::{Instruction, Located, Span},
    lint::{Facts, Globals, Scope, description, needed_stages},
    mount::{Mount, MountKind},
};

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What the comment above it says of it; empty if nothing.
    pub description: String,
    /// Whether it is built when none is named.
    pub is_default: bool,
    /// What it is based on, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Its FROM.
    pub span: Span,
}

/// What a target can be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its name; empty if it has none.
    pub name: String,
    /// What the comment above it says of it; empty if nothing.
    pub description: String,
    /// Build arguments, in the order of lines.
    pub args: Vec<Argument>,
    /// Secrets, in the order of lines.
    pub secrets: Vec<Need>,
    /// Agents with SSH keys, in the order of lines.
    pub agents: Vec<Need>,
}

/// A build argument that a target uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// The value it has, empty if none.
    pub value: String,
    /// What the comment above it says of it; empty if nothing.
    pub description: String,
    /// Its ARG.
    pub span: Span,
}

/// Something a RUN of a target asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its id.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Its RUN.
    pub span: Span,
}

/// The stages of `file`, in order.
#[must_use]
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(number, stage): (usize, &crate::file::Stage)| Target {
        name: stage.from.name.clone(),
        description: stage
            .from
            .name
            .as_deref()
            .map_or("", |name| description(file, stage.span, name))
            .to_owned(),
        is_default: number == last,
        base: stage.from.image.clone(),
        platform: stage.from.platform.clone(),
        span: stage.span,
    };
    file.stages.iter().enumerate().map(target).collect()
}

/// What the target that `facts` name can be given; `None` if there is no such stage.
#[must_use]
pub fn outline(file: &Dockerfile, facts: &Facts<'_>) -> Option<Outline> {
    let needed = needed_stages(file, facts)?;
    let target = file.stages.get(*needed.last()?)?;
    let name = target.from.name.clone().unwrap_or_default();
    let mut draft = Draft {
        file,
        facts,
        globals: Globals::of(file, facts, true),
        args: BTreeMap::new(),
        outline: Outline {
            description: description(file, target.span, &name).to_owned(),
            name,
            ..Outline::default()
        },
    };
    // where two stages say something of one name, the later one counts
    for number in needed.iter().rev() {
        draft.stage(*number);
    }
    let mut outline = draft.outline;
    outline.args = draft.args.into_values().collect();
    outline.args.sort_by_key(|arg| arg.span.start);
    outline.secrets.sort_by_key(|need| need.span.start);
    outline.agents.sort_by_key(|need| need.span.start);
    Some(outline)
}

/// An outline being put together.
struct Draft<'a> {
    file: &'a Dockerfile,
    facts: &'a Facts<'a>,
    globals: Globals,
    args: BTreeMap<String, Argument>,
    outline: Outline,
}

impl Draft<'_> {
    fn stage(&mut self, number: usize) {
        let stage = &self.file.stages[number];
        let mut scope = Scope::default();
        let mut of_file = BTreeSet::new();
        for located in &stage.instructions {
            match &located.instruction {
                Instruction::Arg(_) => self.declared(located, &mut scope, &mut of_file),
                Instruction::Env(pairs) => {
                    let expand = |word: &String| scope.expand(word, self.globals.escape);
                    let pairs: Vec<_> = pairs
                        .iter()
                        .filter_map(|(name, value)| Some((expand(name)?.value, expand(value)?.value)))
                        .collect();
                    pairs.iter().for_each(|(name, value)| scope.set(name, value));
                }
                Instruction::Run(run) => {
                    for mount in &run.mounts {
                        self.mount(mount, located.span, &scope);
                    }
                }
                _ => {}
            }
        }
        for word in [Some(&stage.from.image), stage.from.platform.as_ref()]
            .into_iter()
            .flatten()
        {
            let expanded = self.globals.scope.expand(word, self.globals.escape);
            of_file.extend(expanded.into_iter().flat_map(|expanded| expanded.used));
        }
        self.global(of_file);
    }

    /// The names of an ARG in a stage; those that are the file's go to `of_file`.
    fn declared(&mut self, located: &Located, scope: &mut Scope, of_file: &mut BTreeSet<String>) {
        let Instruction::Arg(args) = &located.instruction else {
            return;
        };
        for arg in args {
            let given = self.facts.build_arg(&arg.name).map(str::to_owned);
            let of_all = self.globals.scope.get(&arg.name).map(str::to_owned);
            let value = match (&given, &arg.default, &of_all) {
                (None, None, Some(value)) => {
                    of_file.insert(arg.name.clone());
                    scope.set(&arg.name, value);
                    continue;
                }
                (Some(value), ..) => value.clone(),
                (None, Some(default), _) => {
                    let expanded = scope.expand(default, self.globals.escape);
                    expanded.map(|expanded| expanded.value).unwrap_or_default()
                }
                (None, None, None) => String::new(),
            };
            if given.is_some() || arg.default.is_some() {
                scope.set(&arg.name, &value);
            }
            self.add(&arg.name, value, located.span);
        }
    }

    /// Global ARGs that are used, and those their defaults use.
    fn global(&mut self, mut names: BTreeSet<String>) {
        let args: Vec<_> = self
            .file
            .globals
            .iter()
            .flat_map(|line| line.args.iter().map(|arg| (arg, line.span)))
            .collect();
        // a default sees only what stands before it
        for (arg, span) in args.into_iter().rev() {
            if !names.contains(&arg.name) {
                continue;
            }
            let value = self.globals.scope.get(&arg.name).unwrap_or_default().to_owned();
            self.add(&arg.name, value, span);
            if self.facts.build_arg(&arg.name).is_none()
                && let Some(default) = &arg.default
                && let Some(expanded) = self.globals.scope.expand(default, self.globals.escape)
            {
                names.extend(expanded.used);
            }
        }
    }

    fn add(&mut self, name: &str, value: String, span: Span) {
        if self.args.contains_key(name) {
            return;
        }
        let argument = Argument {
            name: name.to_owned(),
            value,
            description: description(self.file, span, name).to_owned(),
            span,
        };
        self.args.insert(name.to_owned(), argument);
    }

    fn mount(&mut self, mount: &Mount, span: Span, scope: &Scope) {
        let lookup = |name: &str| scope.get(name).map(str::to_owned);
        let Ok(options) = mount.resolve(self.globals.escape, &lookup) else {
            return;
        };
        let (list, usual) = match options.kind {
            MountKind::Secret => (&mut self.outline.secrets, None),
            MountKind::Ssh => (&mut self.outline.agents, Some("default")),
            _ => return,
        };
        let of_target = || options.target.as_deref()?.rsplit('/').next();
        let id = options.id.as_deref().or(options.source.as_deref()).or(usual);
        let Some(id) = id.or_else(of_target) else {
            return;
        };
        if !list.iter().any(|need| need.id == id) {
            list.push(Need {
                id: id.to_owned(),
                required: options.required,
                span,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{outline, targets};
    use crate::{file::Dockerfile, lint::Facts};

    const TEXT: &str = "# V is the version\nARG V=1\n# W wide\nARG W=$V X\nARG UNUSED\n# base compiles\nFROM busybox:$W \
                        AS base\n# T thing\nARG T=a$V Z\nARG V\nENV T=2\nARG TARGETARCH Q=${T}\nFROM scratch\nARG X\nCOPY \
                        --from=base / /\nRUN --mount=type=secret,id=s1,required=true --mount=type=secret,target=/x/s2 \
                        --mount=type=ssh x\nFROM a AS last\n";

    #[test]
    fn targets_are_listed_with_what_is_said_of_them() {
        let file = Dockerfile::parse(TEXT.as_bytes()).unwrap();
        let list: Vec<_> = targets(&file)
            .into_iter()
            .map(|target| (target.name, target.description, target.is_default, target.base))
            .collect();
        let row = |name: Option<&str>, text: &str, last, base: &str| {
            (name.map(str::to_owned), text.to_owned(), last, base.to_owned())
        };
        assert_eq!(
            list,
            [
                row(Some("base"), "compiles", false, "busybox:$W"),
                row(None, "", false, "scratch"),
                row(Some("last"), "", true, "a"),
            ]
        );
    }

    #[test]
    fn an_outline_has_what_the_target_uses() {
        let text = TEXT.replace("FROM a AS last\n", "");
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let args = [("Z".to_owned(), Some("5".to_owned()))];
        let facts = |target| Facts {
            build_args: &args,
            target,
            ..Facts::default()
        };
        let whole = outline(&file, &facts(None)).unwrap();
        let rows: Vec<_> = whole
            .args
            .iter()
            .map(|arg| (arg.name.as_str(), arg.value.as_str(), arg.description.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ("V", "1", "is the version"),
                ("W", "1", "wide"),
                ("T", "a", "thing"),
                ("Z", "5", ""),
                ("Q", "2", ""),
                ("X", "", ""),
            ]
        );
        let secrets: Vec<_> = whole
            .secrets
            .iter()
            .map(|need| (need.id.as_str(), need.required))
            .collect();
        assert_eq!(secrets, [("s1", true), ("s2", false)]);
        assert_eq!(whole.agents[0].id, "default");
        let base = outline(&file, &facts(Some("base"))).unwrap();
        assert_eq!(
            (base.name.as_str(), base.description.as_str()),
            ("base", "compiles")
        );
        assert!(base.secrets.is_empty() && base.args.len() == 5);
        assert_eq!(outline(&file, &facts(Some("none"))), None);
    }
}
