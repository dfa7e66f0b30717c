//! A file with everything in it, and the whole of what it parses to.

use mica_dockerfile::lint::{Facts, check};
use mica_dockerfile::{Dockerfile, Instruction, Located, Run};

const TEXT: &str = r##"# syntax=docker/dockerfile:1.7
# check=skip=StageNameCasing
# A service with its tools.

ARG GO_VERSION=1.23 \
    ALPINE="3.20"

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine${ALPINE} AS Build
WORKDIR /src
ENV CGO_ENABLED=0 \
    # where modules go
    GOFLAGS="-mod=mod -trimpath"

COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod,sharing=locked \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    go mod download
COPY --exclude=*_test.go . .
RUN --network=none <<-SCRIPT
	set -e
	# build it
	go build -o /out/app ./cmd/app
	SCRIPT
RUN ["/out/app", "--version"]

from scratch as base
COPY --from=build --chown=65532:65532 --chmod=0755 --link /out/app /app
COPY <<EOF <<"RAW" /etc/
port = ${PORT:-8080}
EOF
cost = $5
RAW
ADD --checksum=sha256:00 https://example.com/ca.tar.gz#x /certs/
LABEL org.opencontainers.image.title="the app" \

      version='1'
EXPOSE 8080 53/udp
VOLUME ["/data"]
USER 65532:65532
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --retries=3 CMD ["/app", "health"]
ONBUILD COPY <<EOF /x
y
EOF
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/app"]
CMD serve --all

FROM base
MAINTAINER Some One
"##;

const WANT: &str = r##"syntax=docker/dockerfile:1.7 check=skip=StageNameCasing
5-6 global ARG [ArgDecl { name: "GO_VERSION", default: Some("1.23") }, ArgDecl { name: "ALPINE", default: Some("\"3.20\"") }]
8-8 stage From { image: "golang:${GO_VERSION}-alpine${ALPINE}", platform: Some("$BUILDPLATFORM"), name: Some("build") }
 9-9 Workdir("/src")
 10-12 Env([("CGO_ENABLED", "0"), ("GOFLAGS", "\"-mod=mod -trimpath\"")])
 14-14 Copy(Copy { sources: ["go.mod", "go.sum"], heredocs: [], dest: "./", from: None, chown: None, chmod: None, link: false, parents: false, excludes: [] })
 15-17 Run Shell("go mod download") script=None network=None security=None devices=[]
  mount Cache target=Some("/go/pkg/mod") id=None sharing=Locked readonly=false
  mount Secret target=Some("/root/.netrc") id=Some("netrc") sharing=Shared readonly=true
 18-18 Copy(Copy { sources: ["."], heredocs: [], dest: ".", from: None, chown: None, chmod: None, link: false, parents: false, excludes: ["*_test.go"] })
 19-23 Run Shell("<<-SCRIPT") script=Some(Body("set -e\n# build it\ngo build -o /out/app ./cmd/app\n")) network=Some(None) security=None devices=[]
 24-24 Run Exec(["/out/app", "--version"]) script=None network=None security=None devices=[]
26-26 stage From { image: "scratch", platform: None, name: Some("base") }
 27-27 Copy(Copy { sources: ["/out/app"], heredocs: [], dest: "/app", from: Some("build"), chown: Some("65532:65532"), chmod: Some("0755"), link: true, parents: false, excludes: [] })
 28-32 Copy(Copy { sources: [], heredocs: [Heredoc { name: "EOF", body: "port = ${PORT:-8080}\n", expand: true }, Heredoc { name: "RAW", body: "cost = $5\n", expand: false }], dest: "/etc/", from: None, chown: None, chmod: None, link: false, parents: false, excludes: [] })
 33-33 Add(Add { sources: ["https://example.com/ca.tar.gz#x"], heredocs: [], dest: "/certs/", chown: None, chmod: None, checksum: Some("sha256:00"), link: false, keep_git_dir: None, unpack: None, excludes: [] })
 34-36 Label([("org.opencontainers.image.title", "\"the app\""), ("version", "'1'")])
 37-37 Expose(["53/udp", "8080"])
 38-38 Volume(["/data"])
 39-39 User("65532:65532")
 40-40 Stopsignal("SIGINT")
 41-41 Healthcheck(Test { test: Exec(["/app", "health"]), interval: 30000000000, timeout: 0, start_period: 0, start_interval: 0, retries: 3 })
 42-44 Onbuild(Onbuild { text: "COPY <<EOF /x\ny\nEOF", instruction: Copy(Copy { sources: [], heredocs: [Heredoc { name: "EOF", body: "y\n", expand: true }], dest: "/x", from: None, chown: None, chmod: None, link: false, parents: false, excludes: [] }) })
 45-45 Shell(["/bin/sh", "-ec"])
 46-46 Entrypoint(Exec(["/app"]))
 47-47 Cmd(Shell("serve --all"))
49-49 stage From { image: "base", platform: None, name: None }
 50-50 Maintainer("Some One")
8 StageNameCasing: Stage name 'Build' should be lowercase
26 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)
28 UndefinedVar: Usage of undefined variable '$PORT'
36 NoEmptyContinuation: Empty continuation line
50 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label
"##;

fn show_run(run: &Run, out: &mut String) {
    out.push_str(&format!(
        "Run {:?} script={:?} network={:?} security={:?} devices={:?}\n",
        run.command, run.script, run.network, run.security, run.devices
    ));
    for mount in &run.mounts {
        let m = mount.resolve('\\', &|_| None).expect("it has no variables");
        out.push_str(&format!(
            "  mount {:?} target={:?} id={:?} sharing={:?} readonly={}\n",
            m.kind, m.target, m.id, m.sharing, m.readonly
        ));
    }
}

fn show(located: &Located, out: &mut String) {
    out.push_str(&format!(" {}-{} ", located.span.start, located.span.end));
    match &located.instruction {
        Instruction::Run(run) => show_run(run, out),
        other => out.push_str(&format!("{other:?}\n")),
    }
}

#[test]
fn a_file_with_everything_in_it() {
    let file = Dockerfile::parse(TEXT.as_bytes()).unwrap();
    let directives = &file.directives;
    let mut out = format!(
        "syntax={} check={}\n",
        directives.syntax.as_deref().unwrap(),
        directives.check.as_deref().unwrap()
    );
    for global in &file.globals {
        out.push_str(&format!(
            "{}-{} global ARG {:?}\n",
            global.span.start, global.span.end, global.args
        ));
    }
    for stage in &file.stages {
        out.push_str(&format!(
            "{}-{} stage {:?}\n",
            stage.span.start, stage.span.end, stage.from
        ));
        stage
            .instructions
            .iter()
            .for_each(|located| show(located, &mut out));
    }
    for warning in check(&file, &Facts::default()) {
        out.push_str(&format!(
            "{} {}: {}\n",
            warning.span.start, warning.rule, warning.text
        ));
    }
    for (got, want) in out.lines().zip(WANT.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(out.lines().count(), WANT.lines().count(), "{out}");
}
