//! Finds the known word a mistyped one was probably meant to be.

/// Longest word that is compared; longer ones are no typing errors.
const MAX_WORD: usize = 32;
/// Most edits between the two.
const MAX_EDITS: usize = 2;

/// ` (did you mean X?)` with the nearest of `known` (letter case aside), or nothing.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if word.is_empty() || word.len() > MAX_WORD {
        return String::new();
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    known
        .into_iter()
        .map(|k| (edits(&word, &k.to_lowercase().chars().collect::<Vec<_>>()), k))
        // Short words are near to everything: two thirds of the letters must be right.
        .filter(|(n, k)| *n <= MAX_EDITS && n * 3 <= k.len())
        .min()
        .map_or_else(String::new, |(_, k)| format!(" (did you mean {k}?)"))
}

/// The nearest of `known` that a typing error could have made `word` of, letter case counting; the first in their order
/// where several are equally near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let letters: Vec<char> = word.chars().collect();
    known
        .into_iter()
        .filter(|k| k.len().abs_diff(word.len()) <= MAX_EDITS * 4 && k.len() <= MAX_WORD * 2)
        .map(|k| (edits(&letters, &k.chars().collect::<Vec<_>>()), k))
        .filter(|(n, _)| (1..=MAX_EDITS).contains(n))
        .min_by_key(|(n, _)| *n)
        .map(|(_, k)| k)
}

/// How many letters must be changed, added, dropped or swapped with a neighbour.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{hint, nearest};

    #[test]
    fn near_names_are_found_with_regard_to_case() {
        assert_eq!(nearest("PAHT", ["PATH", "HOME"]), Some("PATH"));
        assert_eq!(nearest("path", ["PATH"]), None);
        assert_eq!(nearest("versions", ["version", "versio"]), Some("version"));
        assert_eq!(nearest(&"a".repeat(100), ["a"]), None);
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        let known = ["RUN", "FROM", "COPY", "ENTRYPOINT", "--chown"];
        assert_eq!(hint("FORM", known), " (did you mean FROM?)");
        assert_eq!(hint("entripoint", known), " (did you mean ENTRYPOINT?)");
        assert_eq!(hint("RUM", known), " (did you mean RUN?)");
        assert_eq!(hint("FOO", known), "");
        assert_eq!(hint("", known), "");
        assert_eq!(hint(&"R".repeat(100), known), "");
    }
}
