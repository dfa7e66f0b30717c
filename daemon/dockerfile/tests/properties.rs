//! What holds for any input.

use mica_dockerfile::{
    Dockerfile, Instruction, expand_heredoc, expand_word, expand_words, glob_match,
    ignore::IgnorePatterns,
    lint::{self, Checks, Facts, Rule},
    outline, parse_duration, parse_expose, parse_signal, parse_trigger,
};
use proptest::prelude::*;

/// Text that is likelier than noise to reach deep into the parser.
fn dockerfile_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM ",
        "x",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "CMD ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "LABEL ",
        "EXPOSE ",
        "VOLUME ",
        "SHELL ",
        "--mount=",
        "type=cache,",
        "target=/a",
        "--from=",
        "AS ",
        "<<EOF",
        "<<-'E'",
        "EOF",
        "\nE",
        "\n",
        "\r\n",
        "\\\n",
        "\\",
        "`",
        "# escape=`\n",
        "# ",
        "#",
        " ",
        "\t",
        "[\"a\"",
        "]",
        "\"",
        "'",
        "$a",
        "$b",
        "${a",
        "# check=skip=all;error=true\n",
        "# check=experimental=all\n",
        "FROM x AS ",
        "WORKDIR ",
        "--platform=$TARGETPLATFORM ",
        ":-",
        "}",
        "=",
        "a=b",
        "NONE",
        "1s",
        "80/tcp",
        "\u{feff}",
        "é",
        "/",
        "--",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Patterns and paths over few letters, so that they often meet.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "/", "*", "**", "?", "[ab]", "[^a]", "\\*", ".", "!", "**/", "/**",
    ]);
    prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab*.]{1,3}", 1..5).prop_map(|parts| parts.join("/"))
}

/// Tries every way to match; slow and plainly right.
fn matches_by_trying(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len())
            .take_while(|&n| !name[..n].contains(&'/'))
            .any(|n| matches_by_trying(rest, &name[n..])),
        (['?', rest @ ..], [c, more @ ..]) => *c != '/' && matches_by_trying(rest, more),
        ([p, rest @ ..], [c, more @ ..]) => p == c && matches_by_trying(rest, more),
        _ => false,
    }
}

proptest! {
    #[test]
    fn parsing_any_bytes_ends_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Dockerfile::parse(&bytes);
        let _ = IgnorePatterns::parse(&bytes);
    }

    #[test]
    fn parsing_dockerfile_like_text_gives_spans_in_order(text in dockerfile_like()) {
        let lines = u32::try_from(text.split('\n').count()).unwrap();
        match Dockerfile::parse(text.as_bytes()) {
            Ok(file) => {
                let mut last = 0;
                for stage in &file.stages {
                    let inner = stage.instructions.iter().map(|located| located.span);
                    for span in std::iter::once(stage.span).chain(inner) {
                        prop_assert!(last < span.start && span.start <= span.end && span.end <= lines);
                        last = span.end;
                    }
                }
            }
            Err(error) => {
                if let Some(span) = error.span() {
                    prop_assert!(1 <= span.start && span.start <= span.end && span.end <= lines);
                }
            }
        }
    }

    #[test]
    fn checking_anything_that_parses_ends_with_findings_in_its_lines(
        text in dockerfile_like(),
        known in any::<bool>(),
        only in any::<bool>(),
        ignored in prop::collection::vec(pattern(), 0..3),
    ) {
        let start = if text.contains("FROM") { "" } else { "FROM a AS b\n" };
        let text = format!("{start}{text}");
        let Ok(file) = Dockerfile::parse(text.as_bytes()) else { return Ok(()) };
        let args = [("a".to_owned(), known.then(|| "value".to_owned()))];
        let ignore = IgnorePatterns::parse(ignored.join("\n").as_bytes()).ok();
        let bases = (0..file.stages.len()).filter(|_| known).map(|stage| (stage, lint::Base::default()));
        let facts = Facts {
            checks: Checks::of(&file.directives, &args).unwrap_or_default(),
            build_args: &args,
            target_platform: "linux/amd64",
            build_platform: "linux/amd64",
            stages: only.then_some(&[0]),
            bases: bases.collect(),
            ignore: ignore.as_ref(),
            ..Facts::default()
        };
        let lines = u32::try_from(text.split('\n').count()).unwrap();
        let found = lint::check(&file, &facts);
        let mut last = 1;
        for warning in &found {
            let span = warning.span;
            prop_assert!(last <= span.start && span.start <= span.end && span.end <= lines, "{warning:?}");
            prop_assert!(Rule::named(warning.rule.name()) == Some(warning.rule) && !warning.text.is_empty());
            let shown = lint::render(warning, "f", text.as_bytes());
            let place = format!("f:{}\n", span.start);
            prop_assert!(shown.contains(&place) && shown.contains(">>>"), "{}", shown);
            last = span.start;
        }
        let all_skipped = Facts { checks: Checks::parse("skip=all").unwrap(), ..facts.clone() };
        prop_assert!(lint::check(&file, &all_skipped).is_empty());
        prop_assert_eq!(outline::targets(&file).len(), file.stages.len());
        prop_assert!(outline::outline(&file, &facts).is_some());
    }

    #[test]
    fn reading_checks_never_panics(text in "\\PC{0,40}") {
        let _ = Checks::parse(&text);
    }

    #[test]
    fn small_parsers_never_panic(text in "\\PC{0,40}") {
        let env = |name: &str| (name.len() % 2 == 1).then(|| name.repeat(2));
        let _ = (expand_word(&text, '\\', &env), expand_words(&text, '`', &env), expand_heredoc(&text, &env));
        let _ = (parse_duration(&text), parse_expose(&text), parse_signal(&text), parse_trigger(&text, '\\'));
    }

    #[test]
    fn expansion_of_text_without_specials_is_identity(text in "[a-zA-Z0-9 ./_=:@é-]{0,40}") {
        let none = |_: &str| None;
        prop_assert_eq!(expand_word(&text, '\\', &none).unwrap(), text.clone());
        prop_assert_eq!(expand_heredoc(&text, &none).unwrap(), text.clone());
        prop_assert_eq!(expand_words(&text, '\\', &none).unwrap(), text.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn single_quotes_protect_any_value(text in "[^'\n\r]{0,40}") {
        prop_assert_eq!(expand_word(&format!("'{text}'"), '\\', &|_| Some("no".to_owned())).unwrap(), text);
    }

    #[test]
    fn values_are_not_expanded_again(value in "\\PC{0,40}") {
        prop_assert_eq!(expand_word("$v", '\\', &|_| Some(value.clone())).unwrap(), value.clone());
        prop_assert_eq!(expand_word("\"${v}\"", '\\', &|_| Some(value.clone())).unwrap(), value);
    }

    #[test]
    fn removed_prefix_and_suffix_are_the_shortest_and_longest(value in "[ab]{0,8}", pattern in "[ab*?]{0,5}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let whole = chars(&value);
        let glob = chars(&pattern);
        // Without `/` in the value, path patterns and value patterns mean the same.
        let fits = |part: &[char]| matches_by_trying(&glob, part);
        let ends: Vec<usize> = (0..=whole.len()).filter(|&end| fits(&whole[..end])).collect();
        let starts: Vec<usize> = (0..=whole.len()).rev().filter(|&start| fits(&whole[start..])).collect();
        let cut = |sign: &str| expand_word(&format!("${{v{sign}{pattern}}}"), '\\', &|_| Some(value.clone())).unwrap();
        prop_assert_eq!(cut("#"), &value[ends.first().copied().unwrap_or(0)..]);
        prop_assert_eq!(cut("##"), &value[ends.last().copied().unwrap_or(0)..]);
        prop_assert_eq!(cut("%"), &value[..starts.first().copied().unwrap_or(whole.len())]);
        prop_assert_eq!(cut("%%"), &value[..starts.last().copied().unwrap_or(whole.len())]);
    }

    #[test]
    fn heredoc_bodies_come_through_untouched(body in "([^\n]{0,20}\n){0,5}") {
        prop_assume!(!body.lines().any(|line| line.trim_end_matches('\r') == "EOF"));
        let file = Dockerfile::parse(format!("FROM x\nCOPY <<EOF /f\n{body}EOF\nENV a=1\n").as_bytes()).unwrap();
        let [copy, env] = file.stages[0].instructions.as_slice() else { panic!() };
        let Instruction::Copy(inner) = &copy.instruction else { panic!() };
        prop_assert_eq!(&inner.heredocs[0].body, &body);
        prop_assert_eq!(env.span.start, copy.span.end + 1);
    }

    #[test]
    fn fast_matching_agrees_with_trying_everything(pattern in "[ab/*?]{0,8}", name in "[ab/]{0,8}") {
        let slow = matches_by_trying(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
        prop_assert_eq!(glob_match(&pattern, &name).unwrap(), slow);
    }

    #[test]
    fn walking_asking_and_pruning_agree(
        patterns in prop::collection::vec(pattern(), 0..6),
        paths in prop::collection::vec(path(), 1..12),
    ) {
        let Ok(patterns) = IgnorePatterns::parse(patterns.join("\n").as_bytes()) else { return Ok(()) };
        for path in paths {
            let mut walk = patterns.walk();
            let mut pruned = false;
            for (at, _) in path.match_indices('/') {
                let dir = &path[..at];
                let excluded = walk.excludes(dir);
                prop_assert_eq!(excluded, patterns.excludes(dir), "{}", dir);
                let may_reinclude = walk.enter(dir);
                prop_assert_eq!(may_reinclude, patterns.may_reinclude_below(dir), "{}", dir);
                pruned |= excluded && !may_reinclude;
            }
            let excluded = walk.excludes(&path);
            prop_assert_eq!(excluded, patterns.excludes(&path), "{}", path);
            prop_assert!(excluded || !pruned, "{path} is kept in a directory that is not entered");
        }
    }
}
