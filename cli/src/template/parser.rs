//! Tokens to a tree of actions.

use serde_json::Value;

use crate::template::function;
use crate::template::lexer::{Kind, Token};
use crate::template::{Place, TemplateError};

/// How deep parentheses and blocks may nest: the tree is walked by recursion.
const MAX_DEPTH: usize = 100;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// `{{ pipeline }}`
    Action(Pipeline),
    /// `{{if}}`
    If(Branch),
    /// `{{with}}`
    With(Branch),
    /// `{{range}}`
    Range(Branch),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// A block with a condition and what is done without it.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands, each given the result of the one before.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// Variables that take the result.
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// Something with a value.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// `.A.B` behind it, each with its place.
    pub(super) fields: Vec<(String, Place)>,
    pub(super) place: Place,
}

/// What an operand starts from.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// `.`
    Dot,
    /// `$name`
    Variable(String),
    /// A constant and how it was written.
    Literal(Value, String),
    /// `nil`
    Nil,
    /// A function's name.
    Function(&'static str),
    /// `( pipeline )`
    Paren(Box<Pipeline>),
}

/// Reads the tokens of a whole template.
pub(super) fn parse(tokens: &[Token]) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        loops: 0,
        variables: vec![String::new()],
    };
    let (nodes, end) = parser.list()?;
    match end {
        End::Eof => Ok(nodes),
        End::Closed(place) => Err(place.bad("unexpected {{end}}")),
        End::Else(place) => Err(place.bad("unexpected {{else}}")),
    }
}

/// What a list of nodes ended with.
enum End {
    Eof,
    Closed(Place),
    /// The parser stands behind the word.
    Else(Place),
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    loops: usize,
    /// Variables in scope, innermost last.
    variables: Vec<String>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn peek_kind(&self) -> Option<&'a Kind> {
        self.peek().map(|token| &token.kind)
    }

    fn place(&self) -> Place {
        let token = self.peek().or_else(|| self.tokens.last());
        token.map_or(Place { line: 1, column: 0 }, |token| token.place)
    }

    fn deeper<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, TemplateError>,
    ) -> Result<T, TemplateError> {
        if self.depth == MAX_DEPTH {
            return Err(self.place().bad("nested too deeply"));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to the end, `{{end}}` or `{{else`.
    fn list(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let Some(token) = self.peek() else {
                return Ok((nodes, End::Eof));
            };
            self.at += 1;
            if let Kind::Text(text) = &token.kind {
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            let word = match self.peek_kind() {
                Some(Kind::Word(word)) => word.as_str(),
                _ => "",
            };
            let place = self.place();
            match word {
                "end" => {
                    self.at += 1;
                    self.close("end")?;
                    return Ok((nodes, End::Closed(place)));
                }
                "else" => {
                    self.at += 1;
                    return Ok((nodes, End::Else(place)));
                }
                _ => nodes.push(self.action(word, place)?),
            }
        }
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        match self.peek_kind() {
            Some(Kind::Close) => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.place().bad(format!("unexpected token in {context}"))),
        }
    }

    fn action(&mut self, word: &str, place: Place) -> Result<Node, TemplateError> {
        match word {
            "if" | "with" | "range" => {
                self.at += 1;
                let branch = self.deeper(|parser| parser.branch(word))?;
                Ok(match word {
                    "if" => Node::If(branch),
                    "with" => Node::With(branch),
                    _ => Node::Range(branch),
                })
            }
            "break" | "continue" => {
                self.at += 1;
                if self.loops == 0 {
                    return Err(place.bad(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.close(word)?;
                Ok(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                })
            }
            "define" | "template" | "block" => Err(place.bad(format!("{{{{{word}}}}} is not supported"))),
            _ => {
                let pipeline = self.pipeline("command")?;
                self.close("command")?;
                Ok(Node::Action(pipeline))
            }
        }
    }

    /// What follows `if`, `with` or `range`, to the block's `{{end}}`.
    fn branch(&mut self, word: &str) -> Result<Branch, TemplateError> {
        let scope = self.variables.len();
        let pipeline = self.pipeline(word)?;
        self.close(word)?;
        self.loops += usize::from(word == "range");
        let (body, end) = self.list()?;
        self.loops -= usize::from(word == "range");
        let otherwise = match end {
            End::Eof => return Err(self.place().bad("unexpected EOF")),
            End::Closed(_) => Vec::new(),
            End::Else(_) => self.otherwise(word)?,
        };
        self.variables.truncate(scope);
        Ok(Branch {
            pipeline,
            body,
            otherwise,
        })
    }

    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, TemplateError> {
        if let Some(Kind::Word(next)) = self.peek_kind()
            && next == word
            && word != "range"
        {
            self.at += 1;
            let branch = self.deeper(|parser| parser.branch(word))?;
            return Ok(vec![if word == "if" {
                Node::If(branch)
            } else {
                Node::With(branch)
            }]);
        }
        self.close("else")?;
        match self.list()? {
            (nodes, End::Closed(_)) => Ok(nodes),
            (_, End::Else(place)) => Err(place.bad("expected end; found {{else}}")),
            (_, End::Eof) => Err(self.place().bad("unexpected EOF")),
        }
    }

    /// `[$x [, $y] :=] command | command`, up to what closes it.
    fn pipeline(&mut self, context: &str) -> Result<Pipeline, TemplateError> {
        let (variables, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            let place = self.place();
            let command = self.command()?;
            if command.operands.is_empty() {
                let what = if commands.is_empty() { context } else { "command" };
                return Err(place.bad(format!("missing value for {what}")));
            }
            if !commands.is_empty()
                && matches!(
                    command.operands[0].base,
                    Base::Literal(..) | Base::Nil | Base::Dot
                )
                && command.operands[0].fields.is_empty()
            {
                let stage = commands.len() + 1;
                return Err(place.bad(format!("non executable command in pipeline stage {stage}")));
            }
            commands.push(command);
            if !matches!(self.peek_kind(), Some(Kind::Pipe)) {
                break;
            }
            self.at += 1;
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline {
            variables,
            assigns,
            commands,
        })
    }

    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), TemplateError> {
        let kinds: Vec<_> = self.tokens[self.at..]
            .iter()
            .take(4)
            .map(|token| &token.kind)
            .collect();
        let (names, operator) = match kinds[..] {
            [Kind::Variable(a), Kind::Comma, Kind::Variable(b), operator] if context == "range" => {
                (vec![a, b], operator)
            }
            [Kind::Variable(a), operator, ..] => (vec![a], operator),
            _ => return Ok((Vec::new(), false)),
        };
        let assigns = match operator {
            Kind::Declare => false,
            Kind::Assign => true,
            Kind::Comma => return Err(self.place().bad(format!("too many declarations in {context}"))),
            _ => return Ok((Vec::new(), false)),
        };
        if assigns {
            for name in &names {
                self.known(name)?;
            }
        }
        self.at += names.len() * 2;
        Ok((names.into_iter().cloned().collect(), assigns))
    }

    fn known(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(self.place().bad(format!("undefined variable \"${name}\"")))
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
        }
        Ok(Command { operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let Some(token) = self.peek() else {
            return Err(self.place().bad("unclosed action"));
        };
        let place = token.place;
        let mut fields = Vec::new();
        let base = match &token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push((name.clone(), place));
                Base::Dot
            }
            Kind::Variable(name) => {
                self.known(name)?;
                Base::Variable(name.clone())
            }
            Kind::Literal(value, source) => Base::Literal(value.clone(), source.clone()),
            Kind::Word(word) if word == "nil" => Base::Nil,
            Kind::Word(word) => Base::Function(
                function::known(word).ok_or_else(|| place.bad(format!("function {word:?} not defined")))?,
            ),
            Kind::LeftParen => return self.paren(place).map(Some),
            Kind::RightParen if self.depth == 0 => return Err(place.bad("unexpected right paren")),
            Kind::Comma | Kind::Declare | Kind::Assign => {
                return Err(place.bad("unexpected token in operand"));
            }
            Kind::Text(_) | Kind::Open | Kind::Close | Kind::RightParen | Kind::Pipe => return Ok(None),
        };
        self.at += 1;
        if !matches!(base, Base::Literal(..) | Base::Nil | Base::Function(_)) {
            self.chain(&mut fields);
        }
        Ok(Some(Operand { base, fields, place }))
    }

    fn paren(&mut self, place: Place) -> Result<Operand, TemplateError> {
        self.at += 1;
        let pipeline = self.deeper(|parser| parser.pipeline("parenthesized pipeline"))?;
        if !matches!(self.peek_kind(), Some(Kind::RightParen)) {
            return Err(place.bad("unclosed left paren"));
        }
        self.at += 1;
        let mut fields = Vec::new();
        self.chain(&mut fields);
        Ok(Operand {
            base: Base::Paren(Box::new(pipeline)),
            fields,
            place,
        })
    }

    /// Fields written directly behind an operand.
    fn chain(&mut self, fields: &mut Vec<(String, Place)>) {
        while let Some(Token {
            kind: Kind::Field(name),
            place,
            spaced: false,
        }) = self.peek()
        {
            fields.push((name.clone(), *place));
            self.at += 1;
        }
    }
}

impl Operand {
    /// The operand as it was written, for messages.
    pub(super) fn source(&self) -> String {
        let mut text = match &self.base {
            Base::Dot if !self.fields.is_empty() => String::new(),
            Base::Dot => ".".to_owned(),
            Base::Variable(name) => format!("${name}"),
            Base::Literal(_, source) => source.clone(),
            Base::Nil => "nil".to_owned(),
            Base::Function(name) => (*name).to_owned(),
            Base::Paren(pipeline) => {
                let commands: Vec<_> = pipeline.commands.iter().map(Command::source).collect();
                format!("({})", commands.join(" | "))
            }
        };
        for (name, _) in &self.fields {
            text.push('.');
            text.push_str(name);
        }
        text
    }
}

impl Command {
    /// The command as it was written, for messages.
    pub(super) fn source(&self) -> String {
        let operands: Vec<_> = self.operands.iter().map(Operand::source).collect();
        operands.join(" ")
    }
}
