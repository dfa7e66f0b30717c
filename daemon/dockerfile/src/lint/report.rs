//! Findings as `docker build --check` shows them.

use crate::{instruction::Span, lint::findings::Warning};

/// What stands above and below an excerpt.
const RULER: &str = "--------------------";
/// Lines shown around one line.
const AROUND_ONE: usize = 2;
/// Lines shown around several.
const AROUND_MANY: usize = 1;

/// The line that says how many findings there are.
#[must_use]
pub fn summary(count: usize) -> String {
    match count {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        _ => format!("Check complete, {count} warnings have been found!\n"),
    }
}

/// One finding in the file `name` whose text is `file`: a blank line, rule and address, what was found, an excerpt.
#[must_use]
pub fn render(warning: &Warning, name: &str, file: &[u8]) -> String {
    let Warning { span, rule, text } = warning;
    let address = rule.address();
    format!(
        "\nWARNING: {rule} - {address}\n{text}\n{}",
        excerpt(*span, name, file)
    )
}

/// The lines of `span` and some around them, those of `span` marked.
#[must_use]
pub fn excerpt(span: Span, name: &str, file: &[u8]) -> String {
    let around = if span.start == span.end {
        AROUND_ONE
    } else {
        AROUND_MANY
    };
    let (start, end) = (span.start as usize, span.end as usize);
    let first = start.saturating_sub(around).max(1);
    let mut out = format!("{name}:{start}\n{RULER}\n");
    let lines = file.split(|b| *b == b'\n').enumerate().skip(first - 1);
    for (index, line) in lines.take(end.saturating_add(around + 1).saturating_sub(first)) {
        let number = index + 1;
        let mark = if (start..=end).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let line = String::from_utf8_lossy(line);
        out.push_str(&format!(" {number:3} | {mark} {line}\n"));
    }
    out.push_str(RULER);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::{excerpt, render, summary};
    use crate::{
        instruction::Span,
        lint::{findings::Warning, rule::Rule},
    };

    #[test]
    fn a_finding_is_shown_with_its_lines() {
        let warning = Warning {
            span: Span { start: 2, end: 2 },
            rule: Rule::JsonArgsRecommended,
            text: "what was found".to_owned(),
        };
        assert_eq!(
            render(&warning, "Dockerfile", b"FROM a\nCMD b\n"),
            "\nWARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n\
             what was found\nDockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> CMD b\n   3 |     \n\
             --------------------\n"
        );
    }

    #[test]
    fn excerpts_show_two_lines_around_one_and_one_around_many() {
        let file = b"1\n2\n3\n4\n5\n6\n7\n8";
        let numbers = |start, end| -> Vec<(String, bool)> {
            excerpt(Span { start, end }, "f", file)
                .lines()
                .skip(2)
                .filter(|line| line.contains('|'))
                .map(|line| (line[..4].trim().to_owned(), line.contains(">>>")))
                .collect()
        };
        let want = |list: &[(u32, bool)]| -> Vec<(String, bool)> {
            list.iter()
                .map(|(number, mark)| (number.to_string(), *mark))
                .collect()
        };
        assert_eq!(
            numbers(4, 4),
            want(&[(2, false), (3, false), (4, true), (5, false), (6, false)])
        );
        assert_eq!(
            numbers(4, 5),
            want(&[(3, false), (4, true), (5, true), (6, false)])
        );
        assert_eq!(numbers(1, 1), want(&[(1, true), (2, false), (3, false)]));
        assert_eq!(numbers(7, 9), want(&[(6, false), (7, true), (8, true)]));
        assert_eq!(numbers(20, 20), want(&[]));
    }

    #[test]
    fn summaries_count() {
        assert_eq!(summary(0), "Check complete, no warnings found.\n");
        assert_eq!(summary(1), "Check complete, 1 warning has been found!\n");
        assert_eq!(summary(2), "Check complete, 2 warnings have been found!\n");
    }
}
