//! Here-documents and triggers: what becomes of text over several lines.

use mica_dockerfile::{Dockerfile, Instruction, ParseError, Run, RunScript, parse_trigger};

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
