//! Texts of image histories as Go's fmt package writes them, which is what docker's history shows.

/// A string in Go's `%q` form (strconv.Quote).
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || c == '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of strings in Go's `%q` form: `["a" "b"]`.
pub(crate) fn quote_list(words: &[String]) -> String {
    format!(
        "[{}]",
        words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    )
}

/// Nanoseconds in the form of Go's time.Duration: `1h2m3.5s`, `10ms`, `0s`.
pub(crate) fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, name: &str| {
        let rest = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{}{dot}{rest}{name}", value / unit)
    };
    let text = match n {
        0 => "0s".to_owned(),
        1..=999 => format!("{n}ns"),
        1_000..=999_999 => fraction(n, 1_000, "µs"),
        1_000_000..=999_999_999 => fraction(n, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quote("é\n\t\"\\\u{1}"), r#""é\n\t\"\\\x01""#);
        assert_eq!(quote_list(&["a".into(), "b c".into()]), r#"["a" "b c"]"#);
        assert_eq!(quote_list(&[]), "[]");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (n, text) in [
            (0, "0s"),
            (5, "5ns"),
            (1_500, "1.5µs"),
            (10_000_000, "10ms"),
            (300_000_000_000, "5m0s"),
            (3_661_500_000_000, "1h1m1.5s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(duration(n), text);
        }
    }
}
