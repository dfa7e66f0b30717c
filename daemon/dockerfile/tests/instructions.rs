//! What each instruction accepts, refuses and means.

use mica_dockerfile::{
    CacheSharing, Command, Dockerfile, Healthcheck, Instruction, MountKind, NetworkMode, ParseError, Run,
    RunScript, SecurityMode, parse_trigger,
};

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &[u8]) -> ParseError {
    match Dockerfile::parse(text) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(text)),
        Err(error) => error,
    }
}

/// The only instruction after `FROM x`.
fn one(line: &str) -> Instruction {
    let file = parse(&format!("FROM x\n{line}\n"));
    let [stage] = file.stages.as_slice() else {
        panic!("{line}")
    };
    let [located] = stage.instructions.as_slice() else {
        panic!("{line}")
    };
    located.instruction.clone()
}

fn run(line: &str) -> Run {
    match one(line) {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
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

#[test]
fn lines_keep_their_numbers_through_continuations_comments_and_heredocs() {
    let text = "# c\nFROM x AS a\nRUN a \\\n # c\n\n b\nCOPY <<E /f\n1\n2\nE\n\nENV a=1\n";
    let file = parse(text);
    let stage = &file.stages[0];
    let spans: Vec<_> = stage
        .instructions
        .iter()
        .map(|l| (l.span.start, l.span.end))
        .collect();
    assert_eq!((stage.span.start, stage.span.end), (2, 2));
    assert_eq!(spans, [(3, 6), (7, 10), (12, 12)]);
    let sources: Vec<_> = stage.instructions.iter().map(|l| l.source.as_str()).collect();
    assert_eq!(sources, ["RUN a  b", "COPY <<E /f", "ENV a=1"]);
}

#[test]
fn escape_directive_changes_continuation_and_word_escapes() {
    let file = parse("# escape=`\nFROM x\nENV A=c:`\\dir `\n B=d:\\ C=`\"\n");
    let Instruction::Env(pairs) = &file.stages[0].instructions[0].instruction else {
        panic!()
    };
    let want = [("A", "c:`\\dir"), ("B", "d:\\"), ("C", "`\"")];
    assert_eq!(*pairs, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn from_takes_a_platform_and_a_name_in_lower_case() {
    let file = parse("ARG V=1\nFROM --platform=$P img:$V As Build-1.x_y\nfrom scratch\nFROM --platform= a\n");
    let from = &file.stages[0].from;
    assert_eq!(
        (
            from.image.as_str(),
            from.platform.as_deref(),
            from.name.as_deref()
        ),
        ("img:$V", Some("$P"), Some("build-1.x_y"))
    );
    assert_eq!(file.stages[1].from.name, None);
    assert_eq!(file.stages[2].from.platform, None);
    assert_eq!(file.globals[0].args[0].default.as_deref(), Some("1"));
    assert_eq!(file.globals[0].span.start, 1);
}

#[test]
fn json_form_is_taken_only_if_the_whole_text_is_a_json_array() {
    for (line, want) in [
        ("CMD [\"a\", \"b c\"]", Command::Exec(words(&["a", "b c"]))),
        ("CMD []", Command::Exec(vec![])),
        ("CMD", Command::Shell(String::new())),
        ("CMD ['a']", Command::Shell("['a']".to_owned())),
        ("CMD [\"a\"] b", Command::Shell("[\"a\"] b".to_owned())),
        ("CMD [\"a\"", Command::Shell("[\"a\"".to_owned())),
        (
            "CMD   echo   \"a  b\"  ",
            Command::Shell("echo   \"a  b\"".to_owned()),
        ),
    ] {
        assert_eq!(one(line), Instruction::Cmd(want), "{line}");
    }
    assert_eq!(
        one("VOLUME [\"/c d\", \" /a \"]"),
        Instruction::Volume(words(&["/c d", "/a"]))
    );
    assert_eq!(one("VOLUME /a  /b"), Instruction::Volume(words(&["/a", "/b"])));
    let Instruction::Copy(copy) = one("COPY [\"sp ace/f 1\", \"<<EOF\", \"/d st/\"]") else {
        panic!()
    };
    assert_eq!(
        (copy.sources, copy.dest),
        (words(&["sp ace/f 1", "<<EOF"]), "/d st/".to_owned())
    );
}

#[test]
fn env_and_label_have_a_new_and_an_old_form() {
    let pairs = |line: &str| match one(line) {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs
            .into_iter()
            .map(|(n, v)| format!("{n}|{v}"))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        pairs("ENV A=a\\ b B=\"c d\" C='e f' F= G=\"\""),
        ["A|a\\ b", "B|\"c d\"", "C|'e f'", "F|", "G|\"\""]
    );
    assert_eq!(pairs("ENV A  b  c = \"d\""), ["A|b  c = \"d\""]);
    assert_eq!(pairs("ENV B\tx y"), ["B|x y"]);
    assert_eq!(
        pairs("LABEL \"q k\"=\"v w\" d=x\"y\"z=1"),
        ["\"q k\"|\"v w\"", "d|x\"y\"z=1"]
    );
    assert_eq!(pairs("LABEL a=\"<<EOF\" B=<<EOF"), ["a|\"<<EOF\"", "B|<<EOF"]);
}

#[test]
fn arg_and_stopsignal_never_look_at_flags() {
    let Instruction::Arg(args) = one("ARG --foo A=\"b c\" D E=") else {
        panic!()
    };
    let got: Vec<_> = args
        .iter()
        .map(|arg| (arg.name.as_str(), arg.default.as_deref()))
        .collect();
    assert_eq!(got, [("A", Some("\"b c\"")), ("D", None), ("E", Some(""))]);
    assert_eq!(
        one("STOPSIGNAL --foo SIGTERM"),
        Instruction::Stopsignal("SIGTERM".to_owned())
    );
}

#[test]
fn single_value_instructions_take_the_raw_rest() {
    assert_eq!(
        one("WORKDIR /a b \"c\""),
        Instruction::Workdir("/a b \"c\"".to_owned())
    );
    assert_eq!(one("WORKDIR \"\""), Instruction::Workdir("\"\"".to_owned()));
    assert_eq!(one("USER a:b"), Instruction::User("a:b".to_owned()));
    assert_eq!(
        one("MAINTAINER Some One <a@b>"),
        Instruction::Maintainer("Some One <a@b>".to_owned())
    );
    assert_eq!(
        one("EXPOSE 8080:80 127.0.0.1:91:90"),
        Instruction::Expose(words(&["127.0.0.1:91:90", "8080:80"]))
    );
}

#[test]
fn healthcheck_reads_go_durations_and_both_forms() {
    let all =
        "HEALTHCHECK --interval=5m --timeout=3s --start-period=1m --start-interval=2s --retries=4 CMD a || b";
    assert_eq!(
        one(all),
        Instruction::Healthcheck(Healthcheck::Test {
            test: Command::Shell("a || b".to_owned()),
            interval: 300_000_000_000,
            timeout: 3_000_000_000,
            start_period: 60_000_000_000,
            start_interval: 2_000_000_000,
            retries: 4,
        })
    );
    assert_eq!(
        one("HEALTHCHECK none"),
        Instruction::Healthcheck(Healthcheck::None)
    );
    let Instruction::Healthcheck(Healthcheck::Test {
        test,
        interval,
        retries,
        ..
    }) = one("HEALTHCHECK --interval=0s cmd [\"a\", \"b\"]")
    else {
        panic!()
    };
    assert_eq!(
        (test, interval, retries),
        (Command::Exec(words(&["a", "b"])), 0, 0)
    );
}

#[test]
fn copy_and_add_read_their_flags() {
    let Instruction::Copy(copy) = one(
        "COPY --from=a --chown=\"1:2\" --chmod=0600 --link --parents=false --exclude=*.x --exclude=y -- --f $g /d/",
    ) else {
        panic!()
    };
    assert_eq!(copy.from.as_deref(), Some("a"));
    assert_eq!(
        (copy.chown.as_deref(), copy.chmod.as_deref()),
        (Some("1:2"), Some("0600"))
    );
    assert_eq!((copy.link, copy.parents), (true, false));
    assert_eq!(copy.excludes, ["*.x", "y"]);
    assert_eq!((copy.sources, copy.dest.as_str()), (words(&["--f", "$g"]), "/d/"));
    let Instruction::Add(add) = one("ADD --checksum=sha256:0 --keep-git-dir --unpack=false https://h/x /d")
    else {
        panic!()
    };
    assert_eq!(
        (add.checksum.as_deref(), add.keep_git_dir, add.unpack),
        (Some("sha256:0"), Some(true), Some(false))
    );
    let Instruction::Add(add) = one("ADD a b") else {
        panic!()
    };
    assert_eq!((add.keep_git_dir, add.unpack, add.link), (None, None, false));
}

#[test]
fn copy_heredocs_are_files_that_come_after_the_sources() {
    let Instruction::Copy(copy) = one("COPY f <<E1 g <<-\"E2\" /d/\n\tone $x\r\nE1\n\t\ttwo\n\t x\n\tE2")
    else {
        panic!()
    };
    assert_eq!(copy.sources, ["f", "g"]);
    let got: Vec<_> = copy
        .heredocs
        .iter()
        .map(|h| (h.name.as_str(), h.body.as_str(), h.expand))
        .collect();
    assert_eq!(got, [("E1", "\tone $x\r\n", true), ("E2", "two\n x\n", false)]);
}

#[test]
fn run_heredoc_is_a_script_a_file_or_part_of_the_command() {
    assert_eq!(
        run("RUN <<EOF\na\n  b\nEOF").script,
        Some(RunScript::Body("a\n  b\n".to_owned()))
    );
    assert_eq!(
        run("RUN <<-EOF\n\t\ta\n\tEOF").script,
        Some(RunScript::Body("a\n".to_owned()))
    );
    assert_eq!(
        run("RUN 3<< EOF\na\nEOF").script,
        Some(RunScript::Body("a\n".to_owned()))
    );
    assert_eq!(run("RUN <<EOF\nEOF").script, Some(RunScript::Body(String::new())));
    assert_eq!(
        run("RUN <<EOF\n#!/bin/sh -e\na\nEOF").script,
        Some(RunScript::File {
            name: "EOF".to_owned(),
            body: "#!/bin/sh -e\na\n".to_owned()
        })
    );
    assert_eq!(
        run("RUN cat <<-E1 > /a && cat <<\"E2\"\n\tx $A\n\tE1\ny $A\nE2").script,
        Some(RunScript::Inline(
            "cat <<-E1 > /a && cat <<\"E2\"\n\tx $A\nE1\ny $A\nE2".to_owned()
        ))
    );
    assert_eq!(run("RUN echo $((1<<2)) $((1 << 2))").script, None);
    let exec = run("RUN [\"sh\", \"-c\", \"cat <<EOF\\nx\\nEOF\"]");
    assert_eq!((exec.heredocs.len(), exec.script), (0, None));
    let error = refused(b"FROM x\nRUN <<../a\n#!/bin/sh\n../a\n");
    assert!(
        error.to_string().contains("cannot make a file of heredoc"),
        "{error}"
    );
}

#[test]
fn comments_escapes_and_near_terminators_inside_heredocs_are_data() {
    let body = "# a \\\n\n  EOF\nEOF \nEOFx\n";
    assert_eq!(
        run(&format!("RUN <<EOF\n{body}EOF\r")).script,
        Some(RunScript::Body(body.to_owned()))
    );
}

#[test]
fn run_reads_network_security_and_devices() {
    let run = run("RUN --network=none --security=insecure --device=a --device=b,required x");
    assert_eq!(
        (run.network, run.security),
        (Some(NetworkMode::None), Some(SecurityMode::Insecure))
    );
    assert_eq!(run.devices, ["a", "b,required"]);
    assert_eq!(run.command, Command::Shell("x".to_owned()));
}

#[test]
fn onbuild_keeps_the_text_of_its_trigger() {
    let text = |line: &str| match one(line) {
        Instruction::Onbuild(onbuild) => onbuild.text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text("onbuild   RUN   echo  hi  "), "RUN   echo  hi  ");
    assert_eq!(text("ONBUILD COPY <<-E /x\n\ta\n\tE"), "COPY <<-E /x\n\ta\nE");
    assert_eq!(text("ONBUILD RUN a \\\n   b"), "RUN a    b");
}

#[test]
fn a_trigger_parses_again_to_what_it_was() {
    for line in [
        "ONBUILD COPY <<-E /x\n\ta\n\tE",
        "ONBUILD RUN a <<A <<B\n1\nA\n2\nB",
        "ONBUILD ENV a=$b c",
    ] {
        let line = line.replace("ENV a=$b c", "ENV a=$b c=d");
        let Instruction::Onbuild(onbuild) = one(&line) else {
            panic!()
        };
        assert_eq!(
            parse_trigger(&onbuild.text, '\\').unwrap().instruction,
            *onbuild.instruction,
            "{line}"
        );
    }
    for (text, message) in [
        ("FROM x", "FROM isn't allowed"),
        ("ONBUILD RUN a", "chaining"),
        ("MAINTAINER x", "MAINTAINER isn't allowed"),
        ("RUN a\nRUN b", "should be a single instruction"),
        ("COPY a", "at least two arguments"),
        ("", "no instructions"),
    ] {
        assert!(
            parse_trigger(text, '\\')
                .unwrap_err()
                .to_string()
                .contains(message),
            "{text}"
        );
    }
}

#[test]
fn mounts_are_read_with_defaults_by_type() {
    let mount = |text: &str| {
        run(&format!("RUN --mount={text} x")).mounts[0]
            .resolve('\\', &|_| None)
            .unwrap()
    };
    let bind = mount("target=/m");
    assert_eq!(
        (bind.kind, bind.readonly, bind.target.as_deref()),
        (MountKind::Bind, true, Some("/m"))
    );
    assert!(!mount("TYPE=bind,Dst=/m,RW").readonly);
    assert!(!mount("type=bind,destination=/m,readwrite=true").readonly);
    assert!(mount("type=bind,dst=/m,rw=false").readonly);
    let cache = mount("type=cache,target=/c,sharing=Locked,mode=0700,uid=5,gid=6,id=p,from=s,source=/seed");
    assert_eq!(
        (cache.kind, cache.readonly, cache.sharing),
        (MountKind::Cache, false, CacheSharing::Locked)
    );
    assert_eq!(
        (cache.mode, cache.uid, cache.gid),
        (Some(0o700), Some(5), Some(6))
    );
    assert_eq!(
        (
            cache.id.as_deref(),
            cache.from.as_deref(),
            cache.source.as_deref()
        ),
        (Some("p"), Some("s"), Some("/seed"))
    );
    assert!(mount("type=cache,target=/c,ro").readonly);
    assert_eq!(mount("type=tmpfs,target=/t,size=1m").size, Some(1 << 20));
    assert_eq!(mount("type=tmpfs,target=/t,size=1.5GiB").size, Some(3 << 29));
    let secret = mount("type=secret,id=s,env=TOK,required");
    assert_eq!(
        (secret.env.as_deref(), secret.required, secret.target),
        (Some("TOK"), true, None)
    );
    assert!(mount("type=ssh").id.is_none());
    assert_eq!(
        mount("type=bind,\\\"target=/a,b\\\"").target.as_deref(),
        Some("/a,b")
    );
}

#[test]
fn mount_options_are_expanded_when_the_step_runs() {
    let mount = run("RUN --mount=type=$T,target=/c$D,id=\"a b\",size=$S x")
        .mounts
        .remove(0);
    let env = |name: &str| {
        Some(
            match name {
                "T" => "tmpfs",
                "S" => "1k",
                _ => "/d",
            }
            .to_owned(),
        )
    };
    let options = mount.resolve('\\', &env).unwrap();
    assert_eq!((options.kind, options.size), (MountKind::Tmpfs, Some(1024)));
    assert_eq!(
        (options.target.as_deref(), options.id.as_deref()),
        (Some("/c/d"), Some("a b"))
    );
    assert!(
        mount
            .resolve('\\', &|_| None)
            .unwrap_err()
            .to_string()
            .contains("invalid value '' for type")
    );
}

#[test]
fn wrong_mounts_are_refused() {
    for (text, message) in [
        (
            "type=foo,target=/x",
            "invalid value 'foo' for type, expected bind, cache, tmpfs, secret or ssh",
        ),
        ("target=/x,nope=1", "unexpected key 'nope'"),
        ("tagret=/x", "unexpected key 'tagret' (did you mean target?)"),
        ("type=tmpfs,target=/", "target '/' is not allowed"),
        ("type=cache,target=/a/..", "target '/' is not allowed"),
        ("target=/x,from=$y", "'from' doesn't support variable expansion"),
        ("target", "must be a key=value pair"),
        (
            "target=/x,mode=0700",
            "unexpected key 'mode' for mount type 'bind'",
        ),
        (
            "type=tmpfs,target=/x,uid=1",
            "unexpected key 'uid' for mount type 'tmpfs'",
        ),
        (
            "type=cache,target=/x,mode=9",
            "invalid value '9' for mode, expected an octal number",
        ),
        ("type=cache,target=/x,gid=-1", "expected a number"),
        ("type=cache,target=/x,uid=+1", "expected a number"),
        (
            "size=1,type=tmpfs,target=/x",
            "unexpected key 'size' for mount type 'bind'",
        ),
        ("type=tmpfs,target=/x,size=1q", "expected a size"),
        ("type=tmpfs,target=/x,size=99999999999999p", "expected a size"),
        (
            "required,type=secret,id=x",
            "unexpected key 'required' for mount type 'bind'",
        ),
        (
            "type=cache,target=/x,sharing=some",
            "expected shared, private or locked",
        ),
        (
            "target=/x,sharing=shared",
            "unexpected key 'sharing' for mount type 'bind'",
        ),
        (
            "type=cache,target=/x,env=A",
            "unexpected key 'env' for mount type 'cache'",
        ),
        ("type=secret", "one of id, source and target is required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "it has no from"),
        ("target=/x,ro=maybe", "expected true or false"),
        ("\\\"target=/x", "misplaced quote"),
        ("target=a\\\"b", "misplaced quote"),
        ("target=/x,", "unexpected key ''"),
    ] {
        let error = refused(format!("FROM x\nRUN --mount={text} a\n").as_bytes());
        assert!(error.message().contains(message), "{text}: {error}");
    }
}
