//! Filling a template: the walk over its tree.

use serde_json::{Map, Value};

use crate::template::function;
use crate::template::parser::{Base, Branch, Command, Node, Operand, Pipeline};
use crate::template::text::{Datum, NO_VALUE, sorted, type_name};
use crate::template::{MAX_OUTPUT_BYTES, Nils, Place, Tags, TemplateError};

/// Actions and turns of loops after which a template is given up.
const MAX_STEPS: usize = 1_000_000;

/// What a list of nodes asks the loop around it to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// One filling of a template.
pub(super) struct Evaluation {
    dot: Datum,
    variables: Vec<(String, Datum)>,
    output: String,
    steps: usize,
    nils: Nils,
    tags: Tags,
    is_heading: bool,
}

impl Evaluation {
    pub(super) fn new(value: &Value, (nils, tags): (Nils, Tags), is_heading: bool) -> Self {
        let dot = Datum::from(value.clone());
        let variables = vec![(String::new(), dot.clone())];
        Self {
            dot,
            variables,
            output: String::new(),
            steps: 0,
            nils,
            tags,
            is_heading,
        }
    }

    pub(super) fn into_output(self) -> String {
        self.output
    }

    pub(super) fn run(&mut self, nodes: &[Node]) -> Result<(), TemplateError> {
        self.list(nodes).map(|_| ())
    }

    fn write(&mut self, text: &str, place: Place) -> Result<(), TemplateError> {
        if self.output.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(place.bad("the output is too long"));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn step(&mut self, place: Place) -> Result<(), TemplateError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(place.bad("too many steps"));
        }
        Ok(())
    }

    fn list(&mut self, nodes: &[Node]) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.write(text, Place { line: 1, column: 0 })?;
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let result = self.pipeline(pipeline)?;
                    if pipeline.variables.is_empty() {
                        self.write(&result.text(), place_of(pipeline))?;
                    }
                    Flow::On
                }
                Node::If(branch) => self.branch(branch, false)?,
                Node::With(branch) => self.branch(branch, true)?,
                Node::Range(branch) => self.range(branch)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, branch: &Branch, moves_dot: bool) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline)?;
        let flow = if !value.is_true() {
            self.list(&branch.otherwise)
        } else if moves_dot {
            let outer = std::mem::replace(&mut self.dot, value);
            let flow = self.list(&branch.body);
            self.dot = outer;
            flow
        } else {
            self.list(&branch.body)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &Branch) -> Result<Flow, TemplateError> {
        let place = place_of(&branch.pipeline);
        let scope = self.variables.len();
        let over = self.commands(&branch.pipeline)?;
        let outer = self.dot.clone();
        let flow = match &over.value {
            Value::Array(list) if !list.is_empty() => {
                let items = list
                    .iter()
                    .enumerate()
                    .map(|(at, item)| (Value::from(at), item.clone()));
                self.turns(branch, items)
            }
            Value::Object(map) if !map.is_empty() => {
                let items = sorted(map)
                    .into_iter()
                    .map(|(key, item)| (Value::from(key.as_str()), item.clone()));
                self.turns(branch, items)
            }
            Value::Number(number) if number.as_u64().is_some_and(|n| n > 0) => {
                let items = (0..number.as_u64().unwrap_or(0)).map(|at| (Value::from(at), Value::from(at)));
                self.turns(branch, items)
            }
            Value::Array(_) | Value::Object(_) | Value::Null => self.list(&branch.otherwise),
            Value::Number(number) if number.is_i64() => self.list(&branch.otherwise),
            _ => {
                let source = branch
                    .pipeline
                    .commands
                    .last()
                    .map(Command::source)
                    .unwrap_or_default();
                Err(place.failed(&source, format!("range can't iterate over {}", over.text())))
            }
        };
        self.dot = outer;
        self.variables.truncate(scope);
        flow
    }

    fn turns(
        &mut self,
        branch: &Branch,
        items: impl Iterator<Item = (Value, Value)>,
    ) -> Result<Flow, TemplateError> {
        let pipeline = &branch.pipeline;
        let scope = self.variables.len();
        for (key, item) in items {
            self.step(place_of(pipeline))?;
            let item = Datum::from(item);
            match &pipeline.variables[..] {
                [] => {}
                [one] => self.set(one, item.clone(), pipeline.assigns),
                [first, second, ..] => {
                    self.set(first, key.into(), pipeline.assigns);
                    self.set(second, item.clone(), pipeline.assigns);
                }
            }
            self.dot = item;
            let flow = self.list(&branch.body)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Datum, assigns: bool) {
        let known = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| assigns && known == name);
        match known {
            Some((_, place)) => *place = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Datum, TemplateError> {
        let value = self.commands(pipeline)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline) -> Result<Datum, TemplateError> {
        self.step(place_of(pipeline))?;
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value)?);
        }
        Ok(value.unwrap_or_else(|| Value::Null.into()))
    }

    fn command(&mut self, command: &Command, piped: Option<Datum>) -> Result<Datum, TemplateError> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Null.into());
        };
        let place = first.place;
        let Base::Function(name) = &first.base else {
            if rest.is_empty() && piped.is_none() {
                if matches!(first.base, Base::Nil) {
                    return Err(place.failed("nil", "nil is not a command"));
                }
                return self.operand(first);
            }
            let source = first.source();
            return Err(match first.fields.last() {
                Some((field, _)) => place.failed(
                    &source,
                    format!("{field} has arguments but cannot be invoked as function"),
                ),
                None => place.failed(&source, format!("can't give argument to non-function {source}")),
            });
        };
        if matches!(*name, "and" | "or") {
            return self.lazily(name, command, rest, piped);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(operand)?);
        }
        args.extend(piped);
        if self.is_heading && function::changes_text(name) && !args.is_empty() {
            return Ok(args.swap_remove(0));
        }
        function::call(name, &args).map_err(|text| place.failed(&command.source(), text))
    }

    /// `and` and `or`: the first argument that decides.
    fn lazily(
        &mut self,
        name: &str,
        command: &Command,
        rest: &[Operand],
        piped: Option<Datum>,
    ) -> Result<Datum, TemplateError> {
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand)?;
            let decides = value.is_true() == (name == "or");
            last = Some(value);
            if decides {
                break;
            }
        }
        let undecided = last
            .as_ref()
            .is_none_or(|value| value.is_true() != (name == "or"));
        let value = if undecided { piped.or(last) } else { last };
        value.ok_or_else(|| {
            let text = format!("wrong number of args for {name}: want at least 1 got 0");
            command.operands[0].place.failed(&command.source(), text)
        })
    }

    fn operand(&mut self, operand: &Operand) -> Result<Datum, TemplateError> {
        let mut value = match &operand.base {
            Base::Dot => self.dot.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found
                    .map(|(_, value)| value.clone())
                    .unwrap_or_else(|| Value::Null.into())
            }
            Base::Literal(value, _) => value.clone().into(),
            Base::Nil => Datum {
                value: Value::Null,
                nil: "<nil>",
            },
            Base::Function(name) => {
                return function::call(name, &[]).map_err(|text| operand.place.failed(name, text));
            }
            Base::Paren(pipeline) => self.pipeline(pipeline)?,
        };
        for (name, place) in &operand.fields {
            value = self
                .field(value, name)
                .map_err(|text| place.failed(&operand.source(), text))?;
        }
        Ok(value)
    }

    fn field(&self, datum: Datum, name: &str) -> Result<Datum, String> {
        let nil = self
            .nils
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, nil)| *nil);
        let tag = self.tags.iter().find(|(known, _)| *known == name);
        match datum.value {
            Value::Object(mut map) => match (take(&mut map, name, tag), nil) {
                (Some(Value::Null) | None, Some(nil)) => Ok(Datum {
                    value: Value::Null,
                    nil,
                }),
                (Some(value), nil) => Ok(Datum {
                    value,
                    nil: nil.unwrap_or(NO_VALUE),
                }),
                // In Go a map lacks a key where a struct has no such field.
                (None, None) if datum.nil == "map[]" => Ok(Value::Null.into()),
                (None, None) if self.is_heading => Ok(String::new().into()),
                (None, None) => Err(format!("map has no entry for key {name:?}")),
            },
            Value::Null if datum.nil == "<nil>" => Err(format!("nil pointer evaluating .{name}")),
            Value::Null if datum.nil == "map[]" => Ok(Value::Null.into()),
            Value::Null => Err(format!("nil data; no entry for key {name:?}")),
            value => Err(format!(
                "can't evaluate field {name} in type {}",
                type_name(&value)
            )),
        }
    }
}

/// The value of a field, under its own name or the one it has in JSON.
fn take(map: &mut Map<String, Value>, name: &str, tag: Option<&(&str, &str)>) -> Option<Value> {
    map.swap_remove(name)
        .or_else(|| tag.and_then(|(_, key)| map.swap_remove(*key)))
}

fn place_of(pipeline: &Pipeline) -> Place {
    let first = pipeline
        .commands
        .first()
        .and_then(|command| command.operands.first());
    first.map_or(Place { line: 1, column: 0 }, |operand| operand.place)
}
