//! Go's text templates, as far as `--format` needs them, over JSON values.

mod evaluate;
mod function;
mod lexer;
mod parser;
mod text;

use serde_json::Value;

use crate::template::evaluate::Evaluation;
use crate::template::parser::Node;

/// Templates longer than this are refused: they come from a command line.
const MAX_TEMPLATE_BYTES: usize = 64 * 1024;

/// Text a template may produce for one value, so that nested loops end with an error and not with the memory.
const MAX_OUTPUT_BYTES: usize = 256 * 1024 * 1024;

/// Why a template cannot be read or cannot be filled, in the words of Go's `text/template`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: template: :{message}")]
pub(crate) struct TemplateError {
    /// `LINE: text` or `LINE:COLUMN: text`.
    message: String,
}

/// What a field that is `null` or absent prints as; Go knows it from the field's type.
pub(crate) type Nils = &'static [(&'static str, &'static str)];

/// Names that a template uses for fields and the keys they have in JSON, where the two differ.
pub(crate) type Tags = &'static [(&'static str, &'static str)];

/// A template that has been read.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<Node>,
    nils: Nils,
    tags: Tags,
    is_heading: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is not one, or uses what is not there (`define`, `template`, `block`, unknown functions).
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            let message = format!("1: longer than {MAX_TEMPLATE_BYTES} bytes");
            return Err(TemplateError { message });
        }
        Ok(Self {
            nodes: parser::parse(&lexer::lex(text)?)?,
            nils: &[],
            tags: &[],
            is_heading: false,
        })
    }

    /// Names fields that may be absent or `null` and what they print as then.
    pub(crate) fn with_nils(mut self, nils: Nils) -> Self {
        self.nils = nils;
        self
    }

    /// Says which fields have other keys in JSON.
    pub(crate) fn with_tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Makes it the template of a table's head: functions that change a text leave column heads as they are, and
    /// fields without a head are empty.
    pub(crate) fn heading(mut self) -> Self {
        self.is_heading = true;
        self
    }

    /// Fills the template from `value`.
    ///
    /// # Errors
    /// When the template asks for a field that is not there, or for something that cannot be done.
    pub(crate) fn execute(&self, value: &Value) -> Result<String, TemplateError> {
        let mut evaluation = Evaluation::new(value, (self.nils, self.tags), self.is_heading);
        evaluation.run(&self.nodes)?;
        Ok(evaluation.into_output())
    }
}

/// A place in a template: line from 1, column in bytes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    /// The error of reading.
    fn bad(self, text: impl AsRef<str>) -> TemplateError {
        TemplateError {
            message: format!("{}: {}", self.line, text.as_ref()),
        }
    }

    /// The error of filling, `what` being the piece of the template that failed.
    fn failed(self, what: &str, text: impl AsRef<str>) -> TemplateError {
        let Self { line, column } = self;
        TemplateError {
            message: format!("{line}:{column}: executing \"\" at <{what}>: {}", text.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};
    use serde_json::json;

    use super::*;

    fn fill(template: &str) -> Result<String, String> {
        let value = json!({
            "ID": "sha256:abc", "Size": 1234, "Ratio": 1.5, "On": true, "Off": false, "Empty": "", "Zero": 0,
            "Tags": ["a:1", "b:2"], "None": null, "List": [], "Missing": {},
            "Config": {"Env": ["A=1"], "Labels": {"z": "26", "a.b": "1"}, "Cmd": null},
            "summe": "sum", "Rows": [{"N": 1}, {"N": 2}, {"N": 3}], "Html": "<a&b>",
        });
        let template = Template::parse(template).map_err(|e| e.to_string())?;
        template
            .with_nils(&[("Cmd", "[]"), ("Healthcheck", "<nil>"), ("Labels", "map[]")])
            .with_tags(&[("Sum", "summe")])
            .execute(&value)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn templates_are_filled_as_go_fills_them() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{.ID}}", "sha256:abc"),
            ("{{ .ID }}\t{{.Size}}", "sha256:abc\t1234"),
            ("{{.Ratio}} {{.On}} {{.None}}", "1.5 true <no value>"),
            (
                "{{.Config.Cmd}} {{.Config.Healthcheck}} {{json .Config.Cmd}}",
                "[] <nil> null",
            ),
            (
                "{{.Tags}} {{.List}} {{.Config.Labels}}",
                "[a:1 b:2] [] map[a.b:1 z:26]",
            ),
            ("{{json .Tags}} {{json .Html}}", r#"["a:1","b:2"] "<a&b>""#),
            (
                "{{json .Config}}",
                r#"{"Env":["A=1"],"Labels":{"z":"26","a.b":"1"},"Cmd":null}"#,
            ),
            ("{{.Config.Env}}", "[A=1]"),
            ("{{.Config.Labels.z}} {{.Config.Labels.no}}", "26 <no value>"),
            ("{{.Sum}}{{.Sum | len}}", "sum3"),
            ("{{index .Tags 0}}{{index .Config.Labels \"a.b\"}}", "a:11"),
            ("{{index .Config.Labels \"no\"}}|", "|"),
            ("{{index .Config \"Env\" 0}}", "A=1"),
            ("{{(index .Rows 1).N}}", "2"),
            ("{{range .Tags}}[{{.}}]{{end}}", "[a:1][b:2]"),
            ("{{range $i, $e := .Tags}}{{$i}}={{$e}};{{end}}", "0=a:1;1=b:2;"),
            ("{{range $e := .Tags}}{{$e}};{{end}}", "a:1;b:2;"),
            (
                "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}",
                "a.b:1 z:26 ",
            ),
            ("{{range .List}}x{{else}}none{{end}}", "none"),
            ("{{range .None}}x{{else}}none{{end}}", "none"),
            (
                "{{range .Rows}}{{if eq .N 2}}{{continue}}{{end}}{{.N}}{{end}}",
                "13",
            ),
            ("{{range .Rows}}{{if eq .N 2}}{{break}}{{end}}{{.N}}{{end}}", "1"),
            ("{{range 3}}{{.}}{{end}}", "012"),
            ("{{if .On}}yes{{else}}no{{end}}{{if .Off}}yes{{end}}", "yes"),
            ("{{if .Empty}}a{{else if .Zero}}b{{else}}c{{end}}", "c"),
            (
                "{{if and .On .Tags}}x{{end}}{{if or .Off .Empty}}y{{end}}{{if not .Off}}z{{end}}",
                "xz",
            ),
            (
                "{{with .Config}}{{.Env}}{{end}}{{with .None}}a{{else}}b{{end}}",
                "[A=1]b",
            ),
            ("{{with $x := .Size}}{{$x}}{{.}}{{end}}", "12341234"),
            ("{{$x := .Size}}{{$x}}{{$x = 2}}{{$x}}{{$.ID}}", "12342sha256:abc"),
            ("{{range .Rows}}{{$.Size}}{{end}}", "123412341234"),
            ("{{join .Tags \", \"}}", "a:1, b:2"),
            (
                "{{split .ID \":\"}} {{index (split .ID \":\") 1}}",
                "[sha256 abc] abc",
            ),
            (
                "{{lower \"AbC\"}}{{upper \"AbC\"}}{{title \"abc def\"}}",
                "abcABCAbc Def",
            ),
            ("{{.ID | upper | printf \"%s!\"}}", "SHA256:ABC!"),
            ("{{truncate .ID 6}}{{truncate .ID 600}}", "sha256sha256:abc"),
            (
                "{{pad .Size 0 0}}|{{pad \"a\" 1 2}}|{{pad \"\" 1 2}}|",
                "1234| a  ||",
            ),
            ("{{len .Tags}}{{len .ID}}{{len .Config.Labels}}", "2102"),
            (
                "{{println .Size \"x\"}}{{print \"a\" 1 2 \"b\"}}",
                "1234 x\na1 2b",
            ),
            (
                "{{printf \"%d %5d|%-5d|%05d %x %q %v %t %%\" 1 2 3 4 255 \"q\" .Tags .On}}",
                "1     2|3    |00004 ff \"q\" [a:1 b:2] true %",
            ),
            (
                "{{printf \"%.2f %6.1f %s %T\" 1.234 2.25 .Size .ID}}",
                "1.23    2.2 %!s(int=1234) string",
            ),
            (
                "{{printf \"%d\" \"x\"}} {{printf \"%s\"}} {{printf \"a\" 1}}",
                "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)",
            ),
            (
                "{{printf \"%.3s|%10s|%-10s|\" \"abcdef\" \"r\" \"l\"}}",
                "abc|         r|l         |",
            ),
            (
                "{{eq .Size 1234}} {{eq .ID \"a\" \"sha256:abc\"}} {{ne 1 2}} {{lt 1 2}} {{ge \"b\" \"a\"}}",
                "true true true true true",
            ),
            ("{{slice .ID 0 6}} {{slice .Tags 1}}", "sha256 [b:2]"),
            ("a {{- .Size -}} b", "a1234b"),
            ("a\n{{- /* comment */ -}}\nb{{/* c */}}", "ab"),
            (
                "{{\"quo\\\"ted\\n\"}}{{`raw\\n`}}{{'a'}}{{0x10}}{{1e3}}{{-3}}{{true}}",
                "quo\"ted\nraw\\n97161000-3true",
            ),
            ("{{/* a */}}{{\"}}\"}}", "}}"),
            ("{{html .Html}} {{urlquery \"a b&\"}}", "&lt;a&amp;b&gt; a+b%26"),
            ("{{not true | printf \"%v\"}}", "false"),
        ] {
            assert_eq!(fill(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (template, expected) in [
            (
                "{{.Foo}}",
                "1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "a\n{{.Config.Foo}}",
                "2:9: executing \"\" at <.Config.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "{{.ID.X}}",
                "1:5: executing \"\" at <.ID.X>: can't evaluate field X in type string",
            ),
            ("{{.Foo", "1: unclosed action"),
            ("{{foo}}", "1: function \"foo\" not defined"),
            ("{{if .On}}", "1: unexpected EOF"),
            ("{{end}}", "1: unexpected {{end}}"),
            ("{{else}}", "1: unexpected {{else}}"),
            ("{{}}", "1: missing value for command"),
            ("{{if}}{{end}}", "1: missing value for if"),
            ("{{.A | }}", "1: missing value for command"),
            ("{{$x}}", "1: undefined variable \"$x\""),
            ("{{\"abc}}", "1: unterminated quoted string"),
            ("{{(.ID}}", "1: unclosed left paren"),
            ("{{.ID)}}", "1: unexpected right paren"),
            ("{{/* a }}", "1: unclosed comment"),
            ("{{break}}", "1: {{break}} outside {{range}}"),
            ("{{define \"x\"}}{{end}}", "1: {{define}} is not supported"),
            ("{{template \"x\"}}", "1: {{template}} is not supported"),
            (
                "{{index .Tags 7}}",
                "1:2: executing \"\" at <index .Tags 7>: error calling index: index out of range: 7",
            ),
            (
                "{{len .Size}}",
                "1:2: executing \"\" at <len .Size>: error calling len: len of type int",
            ),
            (
                "{{range .On}}{{end}}",
                "1:8: executing \"\" at <.On>: range can't iterate over true",
            ),
            (
                "{{.ID 1}}",
                "1:2: executing \"\" at <.ID>: ID has arguments but cannot be invoked as function",
            ),
            (
                "{{lt 1 \"a\"}}",
                "1:2: executing \"\" at <lt 1 \"a\">: error calling lt: incompatible types for comparison",
            ),
            (
                "{{join .Size \"a\"}}",
                "1:2: executing \"\" at <join .Size \"a\">: error calling join: want a list of strings, not int",
            ),
            (
                "{{upper}}",
                "1:2: executing \"\" at <upper>: wrong number of args for upper: want 1 got 0",
            ),
            (
                "{{1 2}}",
                "1:2: executing \"\" at <1>: can't give argument to non-function 1",
            ),
            ("{{nil}}", "1:2: executing \"\" at <nil>: nil is not a command"),
            ("{{.ID | 1}}", "1: non executable command in pipeline stage 2"),
            (
                "{{9999999999999999999999}}",
                "1: bad number syntax: \"9999999999999999999999\"",
            ),
            ("{{#}}", "1: unexpected \"#\" in command"),
        ] {
            let expected = format!("template parsing error: template: :{expected}");
            assert_eq!(
                fill(template).err().as_deref(),
                Some(expected.as_str()),
                "{template}"
            );
        }
    }

    #[test]
    fn deep_nesting_and_endless_output_are_errors() {
        let deep = format!(
            "{}1{}",
            String::from("{{") + &"(".repeat(10_001),
            ")".repeat(10_001) + "}}"
        );
        assert!(fill(&deep).unwrap_err().contains("nested too deeply"));
        let ifs = "{{if .On}}".repeat(1000) + &"{{end}}".repeat(1000);
        assert!(fill(&ifs).unwrap_err().contains("nested too deeply"));
        assert!(
            fill("{{range 9000000000}}{{printf \"%9000d\" 1}}{{end}}")
                .unwrap_err()
                .contains("too long")
        );
        assert!(
            fill("{{range 9000000000}}{{end}}")
                .unwrap_err()
                .contains("too many steps")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = fill(&text);
        }

        #[test]
        fn pieces_in_any_order_are_read_or_refused(pieces in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", " ", ".", ".ID", ".Tags", ".Rows", "$", "$x", ":=", "=", "|", "(", ")", ",", "if ", "range ", "end",
            "else", "with ", "break", "continue", "\"a\"", "`b`", "'c'", "1", "-1", "1.5", "99999999999", "index ", "slice ", "printf ",
            "\"%5.3d%s%q%-*d\"", "truncate ", "pad ", "len ", "eq ", "lt ", "and ", "not ", "join ", "split ", "nil", "true", "/*", "*/", "\n", "é",
        ]), 0..40)) {
            let text = pieces.concat();
            let wrapped = format!("{{{{{text}}}}}");
            let _ = fill(&text);
            prop_assert!(fill(&wrapped).map_or(true, |out| out.len() <= MAX_OUTPUT_BYTES));
        }
    }
}
