//! Every rule of the checks, with what it finds and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use mica_dockerfile::Dockerfile;
use mica_dockerfile::ignore::IgnorePatterns;
use mica_dockerfile::lint::{Base, Checks, Facts, Warning, check};

/// What a build is told besides its file.
#[derive(Default)]
struct World<'a> {
    args: &'a [(&'a str, &'a str)],
    ignore: Option<&'a str>,
    /// Whether nothing is known of base images.
    blind: bool,
    stages: Option<&'a [usize]>,
}

fn find(text: &str, world: &World<'_>) -> Vec<Warning> {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let args: Vec<_> = world
        .args
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
        .collect();
    let ignore = world
        .ignore
        .map(|text| IgnorePatterns::parse(text.as_bytes()).unwrap());
    let known = |text: &str| Base {
        variables: vec![
            ("PATH".to_owned(), "/bin".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ],
        platform: Some(
            if text.contains("onarm") {
                "linux/arm64/v8"
            } else {
                "linux/amd64"
            }
            .to_owned(),
        ),
        has_shell: text.contains("shelled"),
    };
    let bases = file
        .stages
        .iter()
        .enumerate()
        .filter(|_| !world.blind)
        .map(|(number, stage)| (number, known(&stage.from.image)));
    let facts = Facts {
        checks: Checks::of(&file.directives, &args).unwrap(),
        build_args: &args,
        target_platform: "linux/amd64",
        build_platform: "linux/amd64",
        target: None,
        stages: world.stages,
        bases: bases.collect(),
        ignore: ignore.as_ref(),
    };
    check(&file, &facts)
}

fn rules(text: &str, world: &World<'_>) -> Vec<(u32, &'static str)> {
    let found = find(text, world);
    found
        .iter()
        .map(|warning| (warning.span.start, warning.rule.name()))
        .collect()
}

fn texts(text: &str, world: &World<'_>) -> Vec<String> {
    find(text, world)
        .into_iter()
        .map(|warning| warning.text)
        .collect()
}

/// Holds each text against the lines on which `rule`, and nothing else, is found.
fn table(rule: &'static str, cases: &[(&str, &[u32])]) {
    for (text, lines) in cases {
        let want: Vec<_> = lines.iter().map(|line| (*line, rule)).collect();
        assert_eq!(rules(text, &World::default()), want, "{text:?}");
    }
}

#[test]
fn names_of_stages() {
    table(
        "StageNameCasing",
        &[("FROM a AS B\n", &[1]), ("FROM a AS b\n", &[])],
    );
    table(
        "FromAsCasing",
        &[
            ("FROM a as b\n", &[1]),
            ("from a AS b\n", &[1]),
            ("FROM a As b\n", &[1]),
            ("from a as b\n", &[]),
            ("FROM a AS b\n", &[]),
        ],
    );
    // a keyword in mixed case is not held against AS as well
    table("ConsistentInstructionCasing", &[("From a as b\n", &[1])]);
    table(
        "DuplicateStageName",
        &[
            ("FROM a AS b\nFROM a AS b\n", &[2]),
            ("FROM a AS b\nFROM a AS c\n", &[]),
        ],
    );
    table(
        "ReservedStageName",
        &[
            ("FROM a AS scratch\n", &[1]),
            ("FROM a AS context\n", &[1]),
            ("FROM a AS contexts\n", &[]),
        ],
    );
}

#[test]
fn form_of_instructions() {
    table(
        "NoEmptyContinuation",
        &[
            ("FROM a\nRUN b \\\n\n c\n", &[4]),
            ("FROM a\nRUN b \\\n# fine\n c\n", &[]),
            ("FROM a\nCOPY <<E \\\n\n /x\n\nE\n", &[4]),
        ],
    );
    table(
        "ConsistentInstructionCasing",
        &[
            ("FROM a\nRUN b\nrun c\n", &[3]),
            ("from a\nrun b\nRun c\n", &[3]),
            ("arg x=1\nFROM a\nRUN b\n", &[]),
        ],
    );
    table(
        "JSONArgsRecommended",
        &[
            ("FROM a\nCMD b\nENTRYPOINT [\"c\"]\n", &[2]),
            ("FROM a\nENTRYPOINT b\n", &[2]),
            ("FROM a\nSHELL [\"x\"]\nCMD b\n", &[]),
            ("FROM a\nCMD b\nSHELL [\"x\"]\n", &[2]),
            ("FROM a AS b\nSHELL [\"x\"]\nFROM b\nCMD c\n", &[]),
            ("FROM shelled\nCMD b\n", &[]),
        ],
    );
    table("MaintainerDeprecated", &[("FROM a\nMAINTAINER b\n", &[2])]);
    table(
        "LegacyKeyValueFormat",
        &[
            ("FROM a\nENV b c\nLABEL d e\n", &[2, 3]),
            ("FROM a\nENV b=c\nLABEL d=e f=g\n", &[]),
        ],
    );
    table(
        "MultipleInstructionsDisallowed",
        &[
            (
                "FROM a\nCMD [\"b\"]\nCMD [\"c\"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n",
                &[2, 4],
            ),
            ("FROM a AS b\nCMD [\"b\"]\nFROM b\nCMD [\"c\"]\n", &[]),
        ],
    );
    table(
        "ExposeInvalidFormat",
        &[("FROM a\nEXPOSE 1:2\nEXPOSE 127.0.0.1:80:80\n", &[2, 3])],
    );
    table(
        "ExposeProtoCasing",
        &[("FROM a\nENV P=80/TCP\nEXPOSE $P\nEXPOSE 80/tcp\n", &[3])],
    );
}

#[test]
fn secrets_in_arg_and_env() {
    table(
        "SecretsUsedInArgOrEnv",
        &[
            ("FROM a\nENV DB_PASSWORD=x KEYS=1\n", &[2]),
            ("FROM a\nARG TOKEN\nARG PUBLIC_KEY\nARG KEY_FILE\n", &[2]),
            // a value that no stage takes goes nowhere
            ("ARG TOKEN\nFROM a\n", &[]),
        ],
    );
}

#[test]
fn platforms_of_from() {
    table(
        "FromPlatformFlagConstDisallowed",
        &[
            ("FROM --platform=linux/amd64 a\n", &[1]),
            ("FROM --platform=x86_64 a\n", &[1]),
            ("FROM --platform=linux/amd64 a AS x-amd64\n", &[]),
            ("FROM --platform=linux/amd64 a AS linux\n", &[]),
            ("FROM --platform=$BUILDPLATFORM a\n", &[]),
            ("ARG P\nFROM --platform=${P:-linux/amd64} a\n", &[]),
        ],
    );
    table(
        "RedundantTargetPlatform",
        &[
            ("FROM --platform=$TARGETPLATFORM a\n", &[1]),
            ("FROM --platform=${TARGETPLATFORM} a\n", &[1]),
            ("FROM --platform=$TARGETOS/$TARGETARCH a\n", &[]),
        ],
    );
    table(
        "InvalidBaseImagePlatform",
        &[
            ("FROM onarm\n", &[1]),
            ("FROM a\n", &[]),
            ("FROM onarm AS x\nFROM x\n", &[1]),
            ("ARG P=linux/arm64\nFROM --platform=$P onarm\n", &[]),
        ],
    );
}

#[test]
fn variables_of_from() {
    table(
        "UndefinedArgInFrom",
        &[
            ("FROM a$X\n", &[1]),
            ("FROM a$TARGETARCH\n", &[]),
            ("ARG X\nFROM a$X\n", &[]),
        ],
    );
    table(
        "InvalidDefaultArgInFrom",
        &[
            ("ARG T\nFROM a:$T\n", &[2]),
            ("ARG T=1\nFROM a:$T\n", &[]),
            ("ARG T\nFROM a:${T:-1}\n", &[]),
            ("ARG T\nFROM a:b$T\n", &[]),
            ("FROM a AS b-\nFROM b-\n", &[]),
        ],
    );
    let given = World {
        args: &[("T", "1")],
        ..World::default()
    };
    assert_eq!(
        rules("ARG T\nFROM a:$T\n", &given),
        [(2, "InvalidDefaultArgInFrom")]
    );
}

#[test]
fn variables_of_stages() {
    table(
        "UndefinedVar",
        &[
            ("FROM a\nCOPY $x .\n", &[2]),
            ("FROM a\nARG x\nCOPY $x .\n", &[]),
            ("FROM a\nENV A=$HOME/x\n", &[]),
            ("FROM a\nENV A=1 B=$A\n", &[2]),
            ("FROM a\nARG A=1 B=$A C=$D\n", &[2]),
            ("FROM a\nENV A=${B:-1}\n", &[2]),
            ("FROM a\nCOPY <<E /x\n$y\nE\n", &[2]),
            ("FROM a\nCOPY <<'E' /x\n$y\nE\n", &[]),
            ("FROM a\nRUN echo $y\n", &[]),
            ("FROM a\nRUN --mount=type=cache,target=/$y x\n", &[2]),
            ("FROM a\nUSER '$y'\nUSER \\$y\n", &[]),
            ("FROM a AS b\nARG X\nFROM b\nCOPY $X .\n", &[]),
            ("FROM a AS b\nARG X\nFROM a\nCOPY $X .\n", &[4]),
            ("ARG G=1\nFROM a\nCOPY $G .\n", &[3]),
            ("ARG G=1\nFROM a\nARG G\nCOPY $G .\n", &[]),
            ("FROM a\nCOPY $TARGETARCH .\n", &[2]),
            ("FROM a AS b\nONBUILD ARG X\nFROM b\nCOPY $X .\n", &[]),
            ("FROM a AS b\nONBUILD USER $X\nFROM b\n", &[3]),
        ],
    );
    let given = World {
        args: &[("X", "1")],
        ..World::default()
    };
    assert_eq!(rules("FROM a\nARG X=$Y\n", &given), []);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let blind = World {
        blind: true,
        ..World::default()
    };
    assert_eq!(rules("FROM a\nCOPY $x .\nWORKDIR $x\n", &blind), []);
    assert_eq!(
        rules("FROM scratch\nENV P=$PATH Q=$x\n", &blind),
        [(2, "UndefinedVar")]
    );
    assert_eq!(rules("FROM onarm\n", &blind), []);
    assert_eq!(rules("FROM a\nENV D=$BASE\nWORKDIR $D\n", &blind), []);
    let long = format!("FROM scratch\nENV D=/{}\nWORKDIR $D\n", "x".repeat(1000));
    assert_eq!(rules(&long, &blind), []);
    assert_eq!(
        rules(&format!("{long}COPY $D $x .\n"), &blind),
        [(4, "UndefinedVar")]
    );
}

#[test]
fn working_directories() {
    table(
        "WorkdirRelativePath",
        &[
            ("FROM a\nWORKDIR x\nWORKDIR y\n", &[2]),
            ("FROM a\nWORKDIR /x\nWORKDIR y\n", &[]),
            ("FROM a\nENV D=/x\nWORKDIR $D\n", &[]),
            ("FROM a\nENV D=x\nWORKDIR $D\n", &[3]),
            ("FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n", &[]),
        ],
    );
}

#[test]
fn files_that_are_left_out() {
    for (ignore, text, found) in [
        ("tmp\n*.log", "FROM a\nCOPY ./tmp/x a.log /d/\n", 2),
        ("tmp", "FROM a\nADD tmp /d/\n", 1),
        ("tmp", "FROM a\nCOPY /tmp/ /d/\n", 1),
        ("tmp", "FROM a\nENV T=tmp\nCOPY $T /d/\n", 1),
        ("tmp", "FROM a\nCOPY --from=b tmp /d/\n", 0),
        ("tmp", "FROM a\nCOPY <<tmp /d/\ntmp\n", 0),
        ("tmp\n!tmp/x", "FROM a\nCOPY tmp /d/\n", 0),
        ("**", "FROM a\nCOPY . /d/\n", 1),
        (".*", "FROM a\nCOPY . /d/\n", 0),
        ("", "FROM a\nCOPY tmp /d/\n", 0),
        ("**", "FROM a\nADD https://example.com/x /d/\n", 0),
    ] {
        let world = World {
            ignore: Some(ignore),
            ..World::default()
        };
        assert_eq!(
            rules(text, &world),
            vec![
                (
                    u32::try_from(text.matches('\n').count()).unwrap(),
                    "CopyIgnoredFile"
                );
                found
            ]
            .into_iter()
            .map(|(line, rule)| (if text.contains("<<") { 2 } else { line }, rule))
            .collect::<Vec<_>>(),
            "{ignore:?} {text:?}"
        );
    }
}

#[test]
fn comments_that_describe_something_else() {
    let asked = "# check=experimental=all\n";
    for (text, lines) in [
        (
            "# other\nFROM a AS b\n# V version\nARG V\n# no\nARG W X\n",
            &[3, 7][..],
        ),
        ("# other\n#\nFROM a AS b\n", &[]),
        ("# b builds\nFROM a AS b\n", &[]),
        ("# other\nFROM a\n", &[]),
    ] {
        let text = format!("{asked}{text}");
        let found = rules(&text, &World::default());
        let want: Vec<_> = lines
            .iter()
            .map(|line| (*line, "InvalidDefinitionDescription"))
            .collect();
        assert_eq!(found, want, "{text:?}");
    }
    assert_eq!(rules("# other\nFROM a AS b\n", &World::default()), []);
}

#[test]
fn rules_are_skipped_for_a_file_or_an_instruction() {
    let none = World::default();
    assert_eq!(
        rules("# check=skip=StageNameCasing\nFROM a as B\n", &none),
        [(2, "FromAsCasing")]
    );
    assert_eq!(rules("# check=skip=all\nFROM a as B\n", &none), []);
    let own = "FROM a\n# why\n# check=skip=JSONArgsRecommended\nENTRYPOINT x\nCMD x\n";
    assert_eq!(rules(own, &none), [(5, "JSONArgsRecommended")]);
    let argument = World {
        args: &[("BUILDKIT_DOCKERFILE_CHECK", "skip=FromAsCasing")],
        ..World::default()
    };
    assert_eq!(
        rules("# check=skip=all\nFROM a as B\n", &argument),
        [(2, "StageNameCasing")]
    );
}

#[test]
fn instructions_of_stages_that_are_not_built_are_left_alone() {
    let world = World {
        stages: Some(&[1]),
        ..World::default()
    };
    let text = "FROM a AS B\nCMD x\nFROM a\nCMD x\n";
    assert_eq!(
        rules(text, &world),
        [(1, "StageNameCasing"), (4, "JSONArgsRecommended")]
    );
}

#[test]
fn texts_say_what_was_found() {
    let none = World::default();
    for (text, want) in [
        ("FROM a AS Bc\n", "Stage name 'Bc' should be lowercase"),
        ("FROM a as b\n", "'as' and 'FROM' keywords' casing do not match"),
        (
            "FROM a\nRUN b\nrun c\n",
            "Command 'run' should match the case of the command majority (uppercase)",
        ),
        (
            "FROM a AS b\nFROM a AS b\n",
            "Duplicate stage name \"b\", stage names should be unique",
        ),
        (
            "from a\ncmd b\n",
            "JSON arguments recommended for cmd to prevent unintended behavior related to OS signals",
        ),
        (
            "ARG VERSION=1\nFROM a:$VERSIO\n",
            "FROM argument 'VERSIO' is not declared (did you mean VERSION?)",
        ),
        (
            "FROM a\nENV P=$PAHT\n",
            "Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        ),
        (
            "FROM a\nWORKDIR x\n",
            "Relative workdir \"x\" can have unexpected results if the base image changes",
        ),
        (
            "FROM a\nENV b c\n",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        (
            "FROM onarm\n",
            "Base image onarm was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build",
        ),
        (
            "FROM --platform=${TARGETPLATFORM} a\n",
            "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ),
        (
            "FROM a\nENV my_key=1\n",
            "Do not use ARG or ENV instructions for sensitive data (ENV \"my_key\")",
        ),
        (
            "# check=experimental=all\n# x\nARG a b\nFROM a\n",
            "Comment for ARG should follow the format: `# <arg_key> <description>`",
        ),
    ] {
        let got = texts(text, &none);
        assert!(got.iter().any(|got| got == want), "{text:?}: {got:?}");
    }
    let ignoring = World {
        ignore: Some("tmp"),
        ..World::default()
    };
    assert_eq!(
        texts("FROM a\nADD ./tmp/x /\n", &ignoring),
        ["Attempting to Add file \"tmp/x\" that is excluded by .dockerignore"]
    );
}

#[test]
fn findings_are_bounded_whatever_the_file_holds() {
    let names: String = (0..3000).map(|number| format!(" a{number}")).collect();
    let uses: String = (0..3000).map(|number| format!("USER $b{number}\n")).collect();
    let text = format!("FROM a\nARG{names}\n{uses}");
    assert_eq!(find(&text, &World::default()).len(), 0, "too many to be followed");
    let text = format!("FROM a\n{uses}");
    assert_eq!(find(&text, &World::default()).len(), 1000);
    let doubling = format!("FROM a\nENV v=xxxxxxxx\n{}", "ENV v=$v$v\n".repeat(5000));
    assert_eq!(find(&doubling, &World::default()).len(), 0);
}
