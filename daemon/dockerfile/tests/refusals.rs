//! What is refused, where, and with which words.

use mica_dockerfile::{Dockerfile, Instruction, ParseError};

fn refused(text: &[u8]) -> ParseError {
    match Dockerfile::parse(text) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(text)),
        Err(error) => error,
    }
}

#[test]
fn every_refusal_names_its_line_shows_it_and_says_what_was_expected() {
    for (text, line, excerpt, message) in [
        ("FROM x\nFOO bar\n", 2, "FOO bar", "unknown instruction: FOO"),
        (
            "FROM x\nCOYP a b\n",
            2,
            "COYP a b",
            "unknown instruction: COYP (did you mean COPY?)",
        ),
        (
            "FROM x\nCOPY --nope=1 f /f\n",
            2,
            "COPY --nope=1 f /f",
            "unknown flag: --nope",
        ),
        (
            "FROM x\nCOPY --form=1 f /f\n",
            2,
            "COPY --form=1 f /f",
            "(did you mean from?)",
        ),
        (
            "FROM x\nCOPY --chown=1 --chown=2 f /\n",
            2,
            "COPY --chown=1 --chown=2 f /",
            "duplicate flag",
        ),
        (
            "FROM x\nCOPY --link= f /\n",
            2,
            "COPY --link= f /",
            "missing a value on flag: --link",
        ),
        ("FROM x\nENV A\n", 2, "ENV A", "ENV requires two arguments"),
        ("FROM x\nENV\n", 2, "ENV", "ENV requires at least one argument"),
        (
            "FROM x\nENV A=1 B\n",
            2,
            "ENV A=1 B",
            "Must be of the form: name=value",
        ),
        ("FROM x\nENV =1\n", 2, "ENV =1", "names can not be blank"),
        (
            "FROM x\nLABEL a=1 =b\n",
            2,
            "LABEL a=1 =b",
            "names can not be blank",
        ),
        ("FROM x\nARG =b\n", 2, "ARG =b", "names can not be blank"),
        ("FROM x\nARG\n", 2, "ARG", "ARG requires at least one argument"),
        (
            "FROM x\nCMD [\"a\", 1]\n",
            2,
            "CMD [\"a\", 1]",
            "arrays must be comprised of strings only",
        ),
        (
            "FROM x\nVOLUME [\"a\", null]\n",
            2,
            "VOLUME [\"a\", null]",
            "arrays must be comprised of strings only",
        ),
        (
            "FROM x\nSHELL /bin/sh -c\n",
            2,
            "SHELL /bin/sh -c",
            "SHELL requires the arguments to be in JSON form",
        ),
        ("FROM x\nSHELL []\n", 2, "SHELL []", "SHELL requires"),
        (
            "RUN true\n",
            1,
            "RUN true",
            "no build stage in current context: expected FROM before RUN",
        ),
        (
            "# c\n\nARG a=b\n",
            3,
            "ARG a=b",
            "expected FROM before the end of the file",
        ),
        (
            "FROM x AS 1a\n",
            1,
            "FROM x AS 1a",
            "invalid name for build stage: \"1a\"",
        ),
        (
            "FROM x AS a/b\n",
            1,
            "FROM x AS a/b",
            "invalid name for build stage",
        ),
        ("FROM\n", 1, "FROM", "FROM requires either one or three arguments"),
        (
            "FROM x y\n",
            1,
            "FROM x y",
            "FROM requires either one or three arguments",
        ),
        (
            "FROM x ON y\n",
            1,
            "FROM x ON y",
            "FROM requires either one or three arguments",
        ),
        (
            "FROM x\nCOPY a\n",
            2,
            "COPY a",
            "COPY requires at least two arguments",
        ),
        ("FROM x\nADD\n", 2, "ADD", "ADD requires at least two arguments"),
        (
            "FROM x\nCOPY --from=$a b /\n",
            2,
            "COPY --from=$a b /",
            "'--from' doesn't support variable expansion",
        ),
        (
            "FROM x\nCOPY a <<EOF\nEOF\n",
            2,
            "COPY a <<EOF\nEOF",
            "cannot accept a heredoc as a destination",
        ),
        (
            "FROM x\nCOPY <<\"A B\" /x\nA B\n",
            2,
            "COPY <<\"A B\" /x\nA B",
            "expected <<NAME with no blank",
        ),
        (
            "FROM x\nCOPY << EOF /x\nEOF\n",
            2,
            "COPY << EOF /x\nEOF",
            "expected <<NAME with no blank",
        ),
        (
            "FROM x\nADD <<../x /x\n../x\n",
            2,
            "ADD <<../x /x\n../x",
            "no '/' in it",
        ),
        (
            "FROM x\nRUN <<EOF\necho\n",
            2,
            "RUN <<EOF\necho",
            "unterminated heredoc: no line is exactly \"EOF\"",
        ),
        ("FROM x\nRUN []\n", 2, "RUN []", "RUN requires a command"),
        (
            "FROM x\nRUN --network=moon a\n",
            2,
            "RUN --network=moon a",
            "expected default, none or host",
        ),
        (
            "FROM x\nRUN --security=none a\n",
            2,
            "RUN --security=none a",
            "expected sandbox or insecure",
        ),
        (
            "FROM x\nCMD --x a\n",
            2,
            "CMD --x a",
            "unknown flag: --x, CMD takes no flags",
        ),
        (
            "FROM x\nWORKDIR\n",
            2,
            "WORKDIR",
            "WORKDIR requires exactly one argument",
        ),
        ("FROM x\nUSER\n", 2, "USER", "USER requires exactly one argument"),
        (
            "FROM x\nSTOPSIGNAL\n",
            2,
            "STOPSIGNAL",
            "STOPSIGNAL requires exactly one argument",
        ),
        (
            "FROM x\nEXPOSE\n",
            2,
            "EXPOSE",
            "EXPOSE requires at least one argument",
        ),
        (
            "FROM x\nVOLUME [\"\"]\n",
            2,
            "VOLUME [\"\"]",
            "can not be an empty string",
        ),
        (
            "FROM x\nVOLUME\n",
            2,
            "VOLUME",
            "VOLUME requires at least one argument",
        ),
        (
            "FROM x\nVOLUME []\n",
            2,
            "VOLUME []",
            "VOLUME requires at least one argument",
        ),
        (
            "FROM x\nONBUILD\n",
            2,
            "ONBUILD",
            "ONBUILD requires at least one argument",
        ),
        (
            "FROM x\nONBUILD ONBUILD RUN a\n",
            2,
            "ONBUILD ONBUILD RUN a",
            "chaining ONBUILD",
        ),
        (
            "FROM x\nONBUILD FROM y\n",
            2,
            "ONBUILD FROM y",
            "FROM isn't allowed as an ONBUILD trigger",
        ),
        (
            "FROM x\nONBUILD MAINTAINER y\n",
            2,
            "ONBUILD MAINTAINER y",
            "MAINTAINER isn't allowed",
        ),
        (
            "FROM x\nONBUILD COPY a\n",
            2,
            "ONBUILD COPY a",
            "COPY requires at least two arguments",
        ),
        (
            "FROM x\nONBUILD FOO a\n",
            2,
            "ONBUILD FOO a",
            "unknown instruction: FOO",
        ),
        (
            "FROM x\nHEALTHCHECK\n",
            2,
            "HEALTHCHECK",
            "HEALTHCHECK requires CMD and a command, or NONE",
        ),
        (
            "FROM x\nHEALTHCHECK RUN a\n",
            2,
            "HEALTHCHECK RUN a",
            "expected CMD or NONE",
        ),
        (
            "FROM x\nHEALTHCHECK NONE a\n",
            2,
            "HEALTHCHECK NONE a",
            "nothing after NONE",
        ),
        (
            "FROM x\nHEALTHCHECK CMD\n",
            2,
            "HEALTHCHECK CMD",
            "a command after CMD",
        ),
        (
            "FROM x\nHEALTHCHECK --interval=10us CMD a\n",
            2,
            "HEALTHCHECK --interval=10us CMD a",
            "less than 1ms",
        ),
        (
            "FROM x\nHEALTHCHECK --timeout=-1s CMD a\n",
            2,
            "HEALTHCHECK --timeout=-1s CMD a",
            "less than 1ms",
        ),
        (
            "FROM x\nHEALTHCHECK --timeout=5 CMD a\n",
            2,
            "HEALTHCHECK --timeout=5 CMD a",
            "invalid duration \"5\"",
        ),
        (
            "FROM x\nHEALTHCHECK --retries=-1 CMD a\n",
            2,
            "HEALTHCHECK --retries=-1 CMD a",
            "cannot be negative",
        ),
        (
            "FROM x\nHEALTHCHECK --retries=a CMD a\n",
            2,
            "HEALTHCHECK --retries=a CMD a",
            "is not a number",
        ),
        (
            "# escape=\\\n# escape=`\nFROM x\n",
            2,
            "# escape=`",
            "only one escape parser directive",
        ),
        (
            "# escape=ab\nFROM x\n",
            1,
            "# escape=ab",
            "invalid escape directive 'ab'",
        ),
    ] {
        let error = refused(text.as_bytes());
        assert_eq!(error.span().map(|span| span.start), Some(line), "{text:?}");
        assert_eq!(error.excerpt(), excerpt, "{text:?}");
        assert!(error.message().contains(message), "{text:?}: {error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("dockerfile parse error on line {line}: ")),
            "{error}"
        );
    }
}

#[test]
fn files_with_nothing_in_them_have_errors_of_their_own() {
    for text in ["", "\u{feff}"] {
        assert_eq!(refused(text.as_bytes()), ParseError::Empty, "{text:?}");
    }
    for text in ["\n", "# c\n\n  # d", "# escape=`\n", "\\\n"] {
        assert_eq!(refused(text.as_bytes()), ParseError::NoInstructions, "{text:?}");
    }
    assert_eq!(
        ParseError::NoInstructions.to_string(),
        "file with no instructions"
    );
}

#[test]
fn faults_in_stages_nobody_needs_count_too() {
    assert_eq!(
        refused(b"FROM x AS unused\nFOO\nFROM y\n").span().unwrap().start,
        2
    );
}

#[test]
fn other_bytes_than_utf8_are_fine_in_comments_and_become_replacements_in_labels() {
    let file = Dockerfile::parse(b"# Jos\xe9\nFROM x\nMAINTAINER Jos\xe9\nRUN a \\\n# \xff\n b\n").unwrap();
    let Instruction::Maintainer(author) = &file.stages[0].instructions[0].instruction else {
        panic!()
    };
    assert_eq!(author, "Jos\u{fffd}");
    for text in [
        &b"FROM x\nRUN \xff\n"[..],
        b"FROM x\nCOPY <<A /\n\xff\nA\n",
        b"FROM x\nENV a=\\\n\xff\n",
    ] {
        let error = refused(text);
        assert_eq!(error.span().unwrap().start, 2);
        assert!(error.to_string().contains("not valid UTF-8"), "{error}");
    }
}
