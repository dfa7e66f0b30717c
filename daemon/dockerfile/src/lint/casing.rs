//! Keywords spelled in another case than most.

use crate::{
    excerpt::of_word,
    file::Dockerfile,
    instruction::Span,
    lint::{findings::Findings, rule::Rule},
    word,
};

/// ConsistentInstructionCasing. ARGs before the first FROM are not among those that count.
pub(crate) fn judge(file: &Dockerfile, findings: &mut Findings<'_>) {
    let words: Vec<(Span, &str)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let own = stage
                .instructions
                .iter()
                .map(|located| (located.span, located.source.as_str()));
            std::iter::once((stage.span, stage.source.as_str())).chain(own)
        })
        .map(|(span, source)| (span, word::first(source).0))
        .collect();
    let lower = words.iter().filter(|(_, word)| is_lower(word)).count();
    let upper = words.iter().filter(|(_, word)| is_upper(word)).count();
    for (span, word) in words {
        let (fits, majority) = if lower > upper {
            (is_lower(word), "lowercase")
        } else {
            (is_upper(word), "uppercase")
        };
        if !fits {
            findings.add(span, Rule::ConsistentInstructionCasing, || {
                format!(
                    "Command '{}' should match the case of the command majority ({majority})",
                    of_word(word)
                )
            });
        }
    }
}

/// Whether a word has no capitals.
pub(crate) fn is_lower(word: &str) -> bool {
    !word.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether a word has nothing but capitals.
pub(crate) fn is_upper(word: &str) -> bool {
    !word.bytes().any(|b| b.is_ascii_lowercase())
}
