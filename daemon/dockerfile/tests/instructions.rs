//! What each instruction accepts and means.

use mica_dockerfile::{Command, Dockerfile, Healthcheck, Instruction, NetworkMode, Run, SecurityMode};

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
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
fn run_reads_network_security_and_devices() {
    let run = run("RUN --network=none --security=insecure --device=a --device=b,required x");
    assert_eq!(
        (run.network, run.security),
        (Some(NetworkMode::None), Some(SecurityMode::Insecure))
    );
    assert_eq!(run.devices, ["a", "b,required"]);
    assert_eq!(run.command, Command::Shell("x".to_owned()));
}
