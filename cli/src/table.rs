//! Columns: text with tabs in, text with padded cells out, as Go's `tabwriter` lays it out for docker.

/// The least width of a column, padding included.
const MIN_WIDTH: usize = 10;

/// The least number of spaces between two columns.
const PADDING: usize = 3;

/// Lays out lines whose cells end with tabs. A column is a run of lines that all have a cell there; the text behind
/// a line's last tab belongs to no column.
pub(crate) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut from = 0;
        while from < lines.len() {
            let run = widths[from..]
                .iter()
                .take_while(|cells| cells.len() > column)
                .count();
            let widest = lines[from..from + run]
                .iter()
                .map(|cells| width(cells[column]) + PADDING)
                .max();
            let widest = widest.unwrap_or(0).max(MIN_WIDTH);
            for cells in &mut widths[from..from + run] {
                cells[column] = widest;
            }
            from += run.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(total) = widths.get(column) {
                out.extend(std::iter::repeat_n(' ', total - width(cell)));
            }
        }
    }
    out
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// The text, its end replaced by one character if it has more than so many.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text =
            "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\nbusybox\tlatest\t0123456789ab\t2 hours ago\t4.26MB\n";
        let expected = "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n\
                        busybox      latest    0123456789ab   2 hours ago   4.26MB\n";
        assert_eq!(align(text), expected);
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(
            align("a\tb\nlong long long cell\nc\td"),
            "a         b\nlong long long cell\nc         d"
        );
        assert_eq!(align("ééééééééééé\tb\nx\ty"), "ééééééééééé   b\nx             y");
        assert_eq!(align(""), "");
    }

    #[test]
    fn long_texts_end_with_dots() {
        assert_eq!(shortened("ééé", 3), "ééé");
        assert_eq!(shortened("éééé", 3), "éé…");
        assert_eq!(shortened("", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-zé\t\n ]{0,80}") {
            let squeeze = |text: &str| text.replace(['\t', ' '], "");
            prop_assert_eq!(squeeze(&align(&text)), squeeze(&text));
        }
    }
}
