//! What is done again and what is not; what is the same on another machine.

use mica_tests::{Context, Daemon};

/// The numbers of the steps that were carried out, not taken from the cache. Only steps that make a layer count.
pub(crate) fn executed(stderr: &str) -> Vec<&str> {
    let steps = stderr.split("Step ").skip(1);
    steps
        .filter(|text| {
            ["RUN", "COPY", "ADD", "WORKDIR"]
                .iter()
                .any(|word| text.contains(&format!(" : {word} ")))
        })
        .filter(|text| !text.contains("---> Using cache"))
        .map(|text| {
            text.split(" : ")
                .nth(1)
                .and_then(|rest| rest.lines().next())
                .unwrap_or_default()
        })
        .collect()
}

const STEPS: &str = "FROM base AS one\nCOPY a /a\nRUN cat /a > /a2\nFROM base\nCOPY b /b\nRUN cat /b > /b2\nCOPY --from=one /a2 /a2\nRUN cat /a2 /b2 > /c\n";

fn context() -> Context {
    Context::with_shell(STEPS)
        .file("a", "1")
        .file("b", "2")
        .file("unused", "3")
}

#[test]
fn an_edit_reruns_exactly_what_depends_on_it() {
    let daemon = Daemon::start();
    let context = context();
    let build = |context: &Context| daemon.mica(["build", context.arg()]).ok().stderr;
    assert_eq!(
        executed(&build(&context)).len(),
        8,
        "the first build does everything"
    );
    assert_eq!(executed(&build(&context)), [""; 0]);
    // another folder, other times
    assert_eq!(executed(&build(&context.copy())), [""; 0]);
    context.write("unused", "33");
    assert_eq!(executed(&build(&context)), [""; 0]);
    context.write("b", "22");
    assert_eq!(
        executed(&build(&context)),
        [
            "COPY b /b",
            "RUN cat /b > /b2",
            "COPY --from=one /a2 /a2",
            "RUN cat /a2 /b2 > /c"
        ]
    );
    context.chmod("a", 0o600);
    let rerun = executed(&build(&context)).join("\n");
    // what the next step makes of it is the same as before, and so is all that follows
    assert_eq!(rerun, "COPY a /a\nRUN cat /a > /a2");
    context.write("a", "11");
    let rerun = executed(&build(&context)).join("\n");
    assert_eq!(
        rerun,
        "COPY a /a\nRUN cat /a > /a2\nCOPY --from=one /a2 /a2\nRUN cat /a2 /b2 > /c"
    );
}

#[test]
fn a_parent_rebuilt_with_the_same_content_is_the_same_parent() {
    let daemon = Daemon::start();
    let build = |first: &str| {
        let context = Context::with_shell(&format!("FROM base\n{first}\nRUN cat /x > /y\n"));
        daemon.mica(["build", context.arg()]).ok().stderr
    };
    build("RUN echo 1 > /x");
    let again = build("RUN printf '1\\n' > /x");
    assert_eq!(executed(&again), ["RUN printf '1\\n' > /x"]);
}

#[test]
fn no_cache_does_it_all_again() {
    let daemon = Daemon::start();
    let context = context();
    daemon.mica(["build", context.arg()]).ok();
    assert_eq!(
        executed(&daemon.mica(["build", "--no-cache", context.arg()]).ok().stderr).len(),
        8
    );
}

#[test]
fn arguments_matter_from_where_they_are_declared() {
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo 1 > /1\nARG A\nRUN echo 2 > /2\n");
    let build = |arg: &str| {
        daemon
            .mica(["build", "--build-arg", arg, context.arg()])
            .ok()
            .stderr
    };
    build("A=1");
    assert_eq!(executed(&build("A=2")), ["RUN echo 2 > /2"]);
    assert_eq!(executed(&build("A=1")), [""; 0]);
    let proxy = daemon
        .mica([
            "build",
            "--build-arg",
            "A=1",
            "--build-arg",
            "http_proxy=http://p",
            context.arg(),
        ])
        .ok();
    assert_eq!(executed(&proxy.stderr), [""; 0]);
}

#[test]
fn two_clones_give_the_same_image_with_source_date_epoch() {
    let context =
        Context::new("FROM scratch\nCOPY . /app/\nADD d /d/\nWORKDIR /app\nCOPY a b /both/\nLABEL x=y\n")
            .file("a", "1")
            .file("b", "2")
            .file("d/e/f", "3")
            .link("l", "a");
    let ids = [context.copy(), context].map(|context| {
        // its own store, its own time
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let daemon = Daemon::start();
        let mut command = daemon.command(["build", "-q", context.arg()]);
        mica_tests::run(command.env("SOURCE_DATE_EPOCH", "1700000000"))
            .ok()
            .stdout
    });
    assert_eq!(ids[0], ids[1]);
}
