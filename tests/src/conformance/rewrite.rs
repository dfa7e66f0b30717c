//! Puts a newly recorded expectation into a file of cases.

/// The file with the lines under the expectation of a case replaced; nothing else is touched.
///
/// # Errors
/// If the file has no such case or the case no expectation.
pub fn rewrite(text: &str, case: &str, lines: &[String]) -> Result<String, String> {
    let heading = format!("=== {case}\n");
    let start = match text.find(&format!("\n{heading}")) {
        Some(at) => at + 1,
        None if text.starts_with(&heading) => 0,
        None => return Err(format!("there is no case {case}")),
    };
    let end = text[start..]
        .find("\n=== ")
        .map_or(text.len(), |at| start + at + 1);
    let expect = "\n--- expect\n";
    let body = text[start..end]
        .find(expect)
        .ok_or_else(|| format!("{case} has no expectation"))?;
    let body = start + body + expect.len();
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let gap = if end == text.len() { "" } else { "\n" };
    Ok(format!("{}{lines}{gap}{}", &text[..body], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_expectation_changes() {
        let text = "# x\n=== a\n--- expect\nold\n\n=== ab\n--- Dockerfile\nFROM a\n--- expect\nold\n";
        let new = ["new".to_owned()];
        let first = rewrite(text, "a", &new).unwrap();
        assert_eq!(first, text.replacen("old", "new", 1));
        assert_eq!(rewrite(&first, "ab", &new).unwrap(), text.replace("old", "new"));
        assert!(rewrite(text, "b", &new).is_err());
    }
}
