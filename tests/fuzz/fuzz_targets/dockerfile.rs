//! Any bytes as a Dockerfile: parsing ends, spans are in order, triggers parse again, expansion stays in bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mica_dockerfile::{
    Dockerfile, Expansion, Instruction, ParseError, expand_heredoc, expand_words, parse_expose, parse_signal,
    parse_trigger,
};

fuzz_target!(|bytes: &[u8]| {
    let file = match Dockerfile::parse(bytes) {
        Ok(file) => file,
        Err(error) => {
            let lines = u32::try_from(bytes.split(|&b| b == b'\n').count()).unwrap_or(u32::MAX);
            if let ParseError::At { span, .. } = &error {
                assert!(
                    1 <= span.start && span.start <= span.end && span.end <= lines,
                    "{error}"
                );
            }
            assert!(error.to_string().len() < 4096 && error.excerpt().len() < 8192);
            return;
        }
    };
    let escape = file.directives.escape;
    let mut last = 0;
    for stage in &file.stages {
        assert!(stage.span.start > last && stage.span.end >= stage.span.start);
        last = stage.span.end;
        for located in &stage.instructions {
            assert!(located.span.start > last && located.span.end >= located.span.start);
            last = located.span.end;
            look_into(&located.instruction, escape);
        }
    }
});

/// Does with an instruction what a build would do.
fn look_into(instruction: &Instruction, escape: char) {
    let env = |name: &str| match name.len() % 3 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(format!("{name} $x/*\\")),
    };
    let expand = |word: &String| {
        let expansion = Expansion::of(word, escape, &env);
        if let Ok(expansion) = &expansion {
            let _ = parse_signal(&expansion.value);
        }
    };
    match instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            for (name, value) in pairs {
                expand(name);
                expand(value);
            }
        }
        Instruction::Arg(args) => args
            .iter()
            .filter_map(|arg| arg.default.as_ref())
            .for_each(expand),
        Instruction::Expose(words) => {
            for word in words {
                for port in expand_words(word, escape, &env).unwrap_or_default() {
                    let _ = parse_expose(&port);
                }
            }
        }
        Instruction::Copy(copy) => {
            copy.sources.iter().for_each(expand);
            expand(&copy.dest);
            for heredoc in &copy.heredocs {
                let _ = expand_heredoc(&heredoc.body, &env);
            }
        }
        Instruction::Run(run) => {
            for mount in &run.mounts {
                let _ = mount.resolve(escape, &env);
            }
        }
        Instruction::Onbuild(onbuild) => {
            let _ = parse_trigger(&onbuild.text, escape);
        }
        Instruction::User(word) | Instruction::Workdir(word) | Instruction::Stopsignal(word) => expand(word),
        _ => {}
    }
}
