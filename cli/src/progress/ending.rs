//! What is said below a build once it is over: the output of what failed, and what the user should know.

use mica_api::VertexWarning;

use crate::progress::palette::Palette;
use crate::row::printable;

/// The output of a step that failed, between rulers.
pub(crate) fn failure(name: &str, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = format!("------\n > {name}:\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str("------\n");
    text
}

/// The warnings, one on a line; empty if there are none.
pub(crate) fn warnings(warnings: &[VertexWarning], palette: &Palette) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let head = match warnings.len() {
        1 => "1 warning found".to_owned(),
        count => format!("{count} warnings found"),
    };
    // only what the checks found says more with them
    let hint = match warnings.iter().any(|warning| !warning.url.is_empty()) {
        true => " (use mica build --check to expand)",
        false => "",
    };
    let head = format!("{head}{hint}:");
    let mut text = match &palette.warning {
        Some(color) => format!("\n \x1b[{color}m{head}\x1b[0m\n"),
        None => format!("\n {head}\n"),
    };
    for warning in warnings {
        let short = printable(&String::from_utf8_lossy(&warning.short));
        text.push_str(&format!(" - {short}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted() {
        let warning = |text: &str, url: &str| VertexWarning {
            short: text.as_bytes().to_vec(),
            url: url.to_owned(),
            ..VertexWarning::default()
        };
        let plain = Palette::of(|name| if name == "NO_COLOR" { "1" } else { "" }.to_owned());
        assert_eq!(warnings(&[], &plain), "");
        assert_eq!(
            warnings(&[warning("a\x1b", "x")], &plain),
            "\n 1 warning found (use mica build --check to expand):\n - a\n"
        );
        assert_eq!(
            warnings(&[warning("a", ""), warning("b", "")], &plain),
            "\n 2 warnings found:\n - a\n - b\n"
        );
        let colored = Palette::of(|_| String::new());
        assert!(warnings(&[warning("a", "")], &colored).contains("\x1b[33m1 warning found:\x1b[0m\n"));
    }

    #[test]
    fn output_stands_between_rulers() {
        assert_eq!(
            failure("[2/2] RUN false", ["a".to_owned()]),
            "------\n > [2/2] RUN false:\na\n------\n"
        );
    }
}
