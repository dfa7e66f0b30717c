//! Variables, quotes and escapes in words.

use mica_dockerfile::{Expansion, expand_heredoc, expand_word, expand_words};

fn env(name: &str) -> Option<String> {
    let value = match name {
        "A" => "foobarbaz",
        "E" => "",
        "P" => "80  443",
        "S" => "a*b?c/d}e\\f",
        "N1_x" => "n",
        "1" => "one",
        "é" => "accent",
        _ => return None,
    };
    Some(value.to_owned())
}

fn word(text: &str) -> Result<String, String> {
    expand_word(text, '\\', &env).map_err(|error| error.to_string())
}

#[test]
fn names_end_where_letters_digits_and_underscores_do() {
    for (text, want) in [
        ("$A", "foobarbaz"),
        ("x$A-y", "xfoobarbaz-y"),
        ("${A}x", "foobarbazx"),
        ("$Ax", ""),
        ("$N1_x.", "n."),
        ("$1A", "oneA"),
        ("$é!", "accent!"),
        ("$@$*$#$?$!$$", ""),
        ("$-x", "x"),
        ("$", "$"),
        ("$ $. $/", "$ $. $/"),
        ("a$", "a$"),
        ("$A$A", "foobarbazfoobarbaz"),
        ("$(A)", "$(A)"),
    ] {
        assert_eq!(word(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn modifiers_choose_between_value_and_word() {
    for (text, want) in [
        ("${A:-x}", "foobarbaz"),
        ("${U:-x}", "x"),
        ("${E:-x}", "x"),
        ("${E-x}", ""),
        ("${U-x}", "x"),
        ("${A:+y}", "y"),
        ("${E:+y}", ""),
        ("${E+y}", "y"),
        ("${U+y}", ""),
        ("${A:?m}", "foobarbaz"),
        ("${E?m}", ""),
        ("${U:-${A:-z}}", "foobarbaz"),
        ("${U:-a b}", "a b"),
        ("${U:-'}'}", "}"),
        ("${U:-\\}}", "}"),
        ("${U:-\"$A\"}", "foobarbaz"),
        ("${U-}", ""),
    ] {
        assert_eq!(word(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn patterns_cut_and_replace() {
    for (text, want) in [
        ("${A#f*b}", "arbaz"),
        ("${A##f*b}", "az"),
        ("${A%b*}", "foobar"),
        ("${A%%b*}", "foo"),
        ("${A#x}", "foobarbaz"),
        ("${A%x}", "foobarbaz"),
        ("${A#???}", "barbaz"),
        ("${A##*}", ""),
        ("${A#*}", "foobarbaz"),
        ("${A%%*}", ""),
        ("${A:#foo}", "barbaz"),
        ("${A/b/X}", "fooXarbaz"),
        ("${A//b/X}", "fooXarXaz"),
        ("${A/ba?/}", "foobaz"),
        ("${A//ba?/-}", "foo--"),
        ("${A/o*a/-}", "f-z"),
        ("${A//a*/-}", "foob-"),
        ("${A/*/x}", "x"),
        ("${A/nope/x}", "foobarbaz"),
        ("${A/b/$N1_x}", "foonarbaz"),
        ("${U/b/c}", ""),
        ("${A//[ab]/x}", "foobarbaz"),
        ("${S#a\\*}", "b?c/d}e\\f"),
        ("${S/\\?/x}", "a*bxc/d}e\\f"),
        ("${S/\\//x}", "a*b?cxd}e\\f"),
        ("${S#*\\}}", "e\\f"),
        ("${S%\\\\f}", "a*b?c/d}e"),
        ("${E//x/y}", ""),
        ("${N1_x//a*/y}", "n"),
    ] {
        assert_eq!(word(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn quotes_and_escapes_come_off() {
    for (text, want) in [
        ("'$A'", "$A"),
        ("\"$A\"", "foobarbaz"),
        ("\"'$A'\"", "'foobarbaz'"),
        ("'\"'", "\""),
        ("\\$A", "$A"),
        ("\"\\$A\"", "$A"),
        ("\"g\\\"h\"", "g\"h"),
        ("\"a\\nb\"", "a\\nb"),
        ("a\\nb", "anb"),
        ("a\\ b", "a b"),
        ("'a\\'", "a\\"),
        ("i\"j k\"l", "ij kl"),
        ("\\\\", "\\"),
        ("a\\", "a"),
        ("\"a\\\\b\"", "a\\b"),
        ("b  c = \"d\"", "b  c = d"),
        ("\"\"", ""),
    ] {
        assert_eq!(word(text).as_deref(), Ok(want), "{text}");
    }
    assert_eq!(
        expand_word("c:`\\dir`$A \"`\"\"", '`', &env).as_deref(),
        Ok("c:\\dir$A \"")
    );
}

#[test]
fn bad_words_are_errors() {
    for (text, message) in [
        ("${}", "bad substitution"),
        ("${{A}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${", "missing '}'"),
        ("${A", "missing '}'"),
        ("${A:", "missing '}'"),
        ("${A:-x", "missing '}'"),
        ("${A/b", "missing '/'"),
        ("${A/b/c", "missing '}'"),
        ("${A!b}", "unsupported modifier (!) in substitution"),
        ("${A:/b/c}", "unsupported modifier (:/)"),
        ("${A b}", "unsupported modifier ( )"),
        ("${.}", "unsupported modifier (.)"),
        ("${U:?must be set}", "U: must be set"),
        ("${U?}", "U: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${A#\\n}", "invalid pattern (\\n) in substitution"),
        ("'a", "looking for matching single-quote"),
        ("\"a", "looking for matching double-quote"),
        ("a\"b'c", "looking for matching double-quote"),
    ] {
        let error = word(text).unwrap_err();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn hostile_words_hit_limits_instead_of_memory_or_stack() {
    let deep = format!("{}x{}", "${U:-".repeat(100_000), "}".repeat(100_000));
    assert!(word(&deep).unwrap_err().contains("nested"));
    let big = |name: &str| (name == "B").then(|| "b".repeat(400_000));
    assert!(expand_word("$B$B", '\\', &big).is_ok());
    assert!(
        expand_word("$B$B$B", '\\', &big)
            .unwrap_err()
            .to_string()
            .contains("more than")
    );
    assert!(expand_word("${B//b/$B}", '\\', &big).is_err());
    assert!(
        expand_word(&format!("${{B#{}}}", "?".repeat(5000)), '\\', &big)
            .unwrap_err()
            .to_string()
            .contains("too long")
    );
    assert!(expand_heredoc("$B$B$B", &big).is_ok());
}

#[test]
fn expose_words_are_split_after_expansion_unless_quoted() {
    let words = |text: &str| expand_words(text, '\\', &env).unwrap();
    assert_eq!(words("$P"), ["80", "443"]);
    assert_eq!(words("x$P/udp"), ["x80", "443/udp"]);
    assert_eq!(words("\"$P\""), ["80  443"]);
    assert_eq!(words("a\\ b c"), ["a b", "c"]);
    assert_eq!(words("$E"), [""; 0]);
    assert_eq!(words("'' \"\""), [""; 0]);
}

#[test]
fn unset_variables_are_reported_unless_a_default_covers_them() {
    let unset = |text: &str| Expansion::of(text, '\\', &env).unwrap().unset;
    assert_eq!(
        unset("$U $A ${V} $U ${W#x} ${X:-$Y} ${Z+z}"),
        ["U", "V", "W", "Y"]
    );
}

#[test]
fn heredoc_bodies_keep_quotes_and_lose_escapes() {
    assert_eq!(
        expand_heredoc("x $A ${U:-d} \\$A \"q\" 's $E'\n\\n \\\\ it's ${U:-\"}\n", &env).unwrap(),
        "x foobarbaz d $A \"q\" 's '\nn \\ it's \"\n"
    );
}
