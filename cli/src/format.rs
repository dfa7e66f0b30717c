//! `--format` of lists: rows of named fields as a table, as JSON or through a template.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::table;
use crate::template::{Template, TemplateError};

/// The fields of one row, by name.
pub(crate) type Row = Vec<(&'static str, String)>;

/// How a list can be shown.
pub(crate) struct Listing<'a> {
    /// What `--format` said, or `table`.
    pub(crate) format: &'a str,
    /// The template of plain `table`.
    pub(crate) table: &'a str,
    /// What `raw` means, where it means something.
    pub(crate) raw: Option<&'a str>,
    /// Field names and their column heads.
    pub(crate) headers: &'a [(&'static str, &'static str)],
}

impl Listing<'_> {
    /// The rows as text, each line ended.
    ///
    /// # Errors
    /// A template that cannot be read or asks for a field that is not there.
    pub(crate) fn show(&self, rows: Vec<Row>) -> Result<String, Error> {
        self.show_objects(rows.into_iter().map(object).collect())
    }

    /// The same of rows whose fields are not all texts, in the order of their names.
    ///
    /// # Errors
    /// As [`Listing::show`].
    pub(crate) fn show_objects(&self, rows: Vec<Value>) -> Result<String, Error> {
        let format = match self.format {
            "" | "table" => format!("table {}", self.table),
            "raw" => self.raw.unwrap_or("raw").to_owned(),
            "json" => "{{json .}}".to_owned(),
            other => other.to_owned(),
        };
        let (source, is_table) = match format.strip_prefix("table ") {
            Some(source) => (source.trim(), true),
            None => (format.as_str(), false),
        };
        let source = source.replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&source).map_err(|error| told(&error))?;
        let mut text = String::new();
        for row in rows {
            text.push_str(&template.execute(&row).map_err(|error| told(&error))?);
            text.push('\n');
        }
        if !is_table {
            return Ok(match source.as_str() {
                "{{json .}}" => escaped(&text),
                _ => text,
            });
        }
        let head = head_template(&source).and_then(|template| template.execute(&heads(self.headers)));
        let head = head.map_err(|error| told(&error))?;
        Ok(table::align(&format!("{head}\n{text}")))
    }
}

/// JSON with `<`, `>` and `&` as Go writes them in an object; they can only stand in texts there.
pub(crate) fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Fields in the order Go writes a map's keys.
pub(crate) fn object(mut row: Row) -> Value {
    row.sort_unstable_by_key(|(name, _)| *name);
    let fields = row
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::String(text)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn heads(headers: &[(&'static str, &'static str)]) -> Value {
    let fields = headers
        .iter()
        .map(|(name, head)| ((*name).to_owned(), Value::from(*head)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// The template for the head line: functions that change a value leave the heads alone.
fn head_template(source: &str) -> Result<Template, TemplateError> {
    Template::parse(source).map(Template::heading)
}

/// A template's failure as the command's.
pub(crate) fn told(error: &TemplateError) -> Error {
    Error::Template {
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(format: &str) -> Result<String, String> {
        let row = |id: &str, size: &str| vec![("Size", size.to_owned()), ("ID", id.to_owned())];
        let listing = Listing {
            format,
            table: "{{.ID}}\t{{.Size}}",
            raw: Some("id: {{.ID}}\n"),
            headers: &[("ID", "THE ID"), ("Size", "SIZE")],
        };
        listing
            .show(vec![row("a", "1B"), row("b", "22B")])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_shown_in_every_way() {
        for (format, expected) in [
            ("", "THE ID    SIZE\na         1B\nb         22B\n"),
            ("table", "THE ID    SIZE\na         1B\nb         22B\n"),
            ("table {{.Size}}", "SIZE\n1B\n22B\n"),
            (
                r"table {{.Size}}\t{{.ID}}",
                "SIZE      THE ID\n1B        a\n22B       b\n",
            ),
            (
                "table {{upper .ID}} {{json .Size}}",
                "THE ID SIZE\nA \"1B\"\nB \"22B\"\n",
            ),
            (
                "json",
                "{\"ID\":\"a\",\"Size\":\"1B\"}\n{\"ID\":\"b\",\"Size\":\"22B\"}\n",
            ),
            ("raw", "id: a\n\nid: b\n\n"),
            (r"{{.ID}}\t{{.Size}}", "a\t1B\nb\t22B\n"),
            ("x", "x\nx\n"),
        ] {
            assert_eq!(show(format).as_deref(), Ok(expected), "{format}");
        }
        assert_eq!(
            escaped(r#"{"a":"<none> & co"}"#),
            r#"{"a":"\u003cnone\u003e \u0026 co"}"#
        );
        assert!(
            show("{{.Nope}}")
                .unwrap_err()
                .starts_with("template parsing error: template: :1:2:")
        );
        assert!(
            show("table {{")
                .unwrap_err()
                .starts_with("template parsing error")
        );
    }
}
