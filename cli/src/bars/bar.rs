//! One bar: `[====>    ]  1.2MB/3.4MB`.

use mica_api::ProgressDetail;

use crate::size::human;

/// The marks between the brackets of a bar that has all the room it wants.
const WIDEST: usize = 50;

/// Fewer marks than these tell nothing.
const NARROWEST: usize = 8;

/// The bar and its numbers in so many columns: the bar shrinks first, then vanishes. Empty where there is nothing to
/// tell.
pub(super) fn text(detail: &ProgressDetail, columns: usize) -> String {
    let current = detail.current.unwrap_or(0).max(0);
    let total = detail.total.unwrap_or(0).max(0);
    if current == 0 && total == 0 {
        return String::new();
    }
    let numbers = numbers(detail, current, total);
    if total == 0 {
        return numbers;
    }
    // Two brackets, the tip, a space before the numbers.
    let marks = columns.saturating_sub(numbers.len() + 4).min(WIDEST);
    if marks < NARROWEST {
        return numbers;
    }
    let done = (current.min(total) as f64 / total as f64 * marks as f64) as usize;
    let bar = format!("[{}>{}]", "=".repeat(done), " ".repeat(marks - done));
    if numbers.is_empty() {
        bar
    } else {
        format!("{bar} {numbers}")
    }
}

fn numbers(detail: &ProgressDetail, current: i64, total: i64) -> String {
    if detail.hidecounts == Some(true) {
        return String::new();
    }
    // Who is beyond the end does not know it.
    let is_known = total > 0 && current <= total;
    match detail.units.as_deref().filter(|units| !units.is_empty()) {
        None if is_known => format!("{:>8}/{}", human(current, 4), human(total, 4)),
        None => format!("{:>8}", human(current, 4)),
        Some(units) if is_known => format!("{current}/{total} {units}"),
        Some(units) => format!("{current} {units}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(json: &str) -> ProgressDetail {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn bars_fit_their_room() {
        for (json, columns, expected) in [
            ("{}", 100, ""),
            (r#"{"current":0,"total":-1}"#, 100, ""),
            (
                r#"{"current":1048576,"total":3145728}"#,
                100,
                "[================>                                  ]  1.049MB/3.146MB",
            ),
            (
                r#"{"current":1048576,"total":3145728}"#,
                32,
                "[====>        ]  1.049MB/3.146MB",
            ),
            (r#"{"current":1048576,"total":3145728}"#, 20, " 1.049MB/3.146MB"),
            (r#"{"current":0,"total":5}"#, 23, "[>        ]       0B/5B"),
            (r#"{"current":7}"#, 100, "      7B"),
            (r#"{"current":7,"total":5}"#, 22, "[==========>]       7B"),
            (
                r#"{"current":5,"total":5,"hidecounts":true}"#,
                14,
                "[==========>]",
            ),
            (
                r#"{"current":2,"total":4,"units":"files"}"#,
                21,
                "[====>    ] 2/4 files",
            ),
            (r#"{"current":2,"units":"files"}"#, 20, "2 files"),
            (
                r#"{"current":9223372036854775807,"total":9223372036854775807}"#,
                30,
                "[==========>]  9.223EB/9.223EB",
            ),
        ] {
            let text = text(&detail(json), columns);
            assert_eq!(text, expected, "{json} {columns}");
        }
    }
}
