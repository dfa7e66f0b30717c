//! Builds of the classic kind, good ones and such that must fail, and the build cache.

use crate::ask::Ask;
use crate::fixture::{Fixture, folder};

const BASE: &str = "FROM shapes/base:1\n";

fn build(name: &str, dockerfile: &str) -> Ask {
    let context = folder(&[("Dockerfile", dockerfile), ("f", "text\n")]);
    // without a bridge there is no other network at the peer
    Ask::post(&format!("build/{name}"), "/build")
        .with("networkmode", "none")
        .tar(context)
        .stream()
}

/// Builds.
pub(crate) fn asks(_: &Fixture) -> Vec<Ask> {
    [good(), failing(), parameters(), bodies(), cache()].concat()
}

fn good() -> Vec<Ask> {
    let text =
        format!("{BASE}LABEL a=b\nRUN echo out\nRUN echo err >&2\nCOPY f /f\nWORKDIR /w\nCMD [\"x\"]\n");
    let image = |tag: &str| {
        Ask::get(&format!("inspect/{tag}"), format!("/images/{tag}/json"))
            .loose(&["body.Size", "body.VirtualSize"])
    };
    vec![
        build("all", &text).with("t", "built:all"),
        image("built:all"),
        Ask::get("history/built:all", "/images/built:all/history").loose(&["body[].Created", "body[].Size"]),
        build("cached", &text).with("t", "built:all"),
        build("no-cache", &text).with("nocache", "1").with("t", "built:all").with("t", "built:other"),
        build("quiet", &format!("{BASE}RUN echo quiet\n")).with("q", "1"),
        build("keep", &format!("{BASE}RUN echo kept\n")).with("rm", "0"),
        build("force-rm", &format!("{BASE}RUN echo forced\n")).with("forcerm", "1"),
        build("scratch", "FROM scratch\nLABEL x=y\n").with("t", "built:scratch"),
        image("built:scratch"),
        build("labels", &format!("{BASE}CMD x\n")).with("labels", r#"{"k":"v","a":"b"}"#).with("t", "built:labels"),
        image("built:labels"),
        build("arguments", &format!("ARG B=1\n{BASE}ARG A\nARG C=d\nENV E=$A\nRUN echo $A $C\n")).with("buildargs", r#"{"A":"given","N":null}"#).with("t", "built:arguments"),
        image("built:arguments"),
        Ask::get("history/built:arguments", "/images/built:arguments/history").loose(&["body[].Created", "body[].Size"]),
        build("unused-arguments", &format!("{BASE}CMD y\n")).with("buildargs", r#"{"X":"1","Y":"2"}"#),
        build("stages", &format!("FROM shapes/base:1 AS one\nCOPY f /g\n{BASE}COPY --from=one /g /h\n")).with("t", "built:stages"),
        build("target", &format!("FROM shapes/base:1 AS one\nCOPY f /t\n{BASE}CMD z\n")).with("target", "one").with("t", "built:target"),
        build("on-build", "FROM shapes/two:1\nCMD x\n"),
        build("dockerfile", "FROM nope\n").with("dockerfile", "other").tar(folder(&[("other", "FROM scratch\nCMD o\n")])),
        build("lower-case", "").tar(folder(&[("dockerfile", "FROM scratch\nCMD l\n")])),
        build("everything", &format!("{BASE}ENV A=b C=d\nEXPOSE 80 81/udp\nVOLUME /v\nUSER 5\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/sh\",\"-c\"]\nENTRYPOINT [\"e\"]\nHEALTHCHECK --interval=5s CMD c\nONBUILD RUN x\nMAINTAINER m\nARG Z=y\n")).with("t", "built:everything"),
        image("built:everything"),
        Ask::get("history/built:everything", "/images/built:everything/history").loose(&["body[].Created"]),
        build("platform", &format!("{BASE}CMD p\n")).with("platform", "linux/amd64"),
        build("cache-from", &format!("{BASE}CMD cf\n")).with("cachefrom", r#"["nope"]"#),
        build("memory", &format!("{BASE}CMD m\n")).with("memory", "100000000").with("cpushares", "2"),
        build("version-1", &format!("{BASE}CMD m\n")).with("version", "1"),
        build("hosts", &format!("{BASE}RUN grep -c a.example /etc/hosts\n")).with("extrahosts", "a.example:1.2.3.4"),
        Ask::delete("remove/built:other", "/images/built:other"),
    ]
}

fn failing() -> Vec<Ask> {
    let of_base = |name: &str, rest: &str| build(name, &format!("{BASE}{rest}\n"));
    vec![
        of_base("run-fails", "RUN echo before; exit 3"),
        of_base("run-fails-exec", "RUN [\"/bin/sh\", \"-c\", \"exit 4\"]"),
        of_base("run-fails-quiet", "RUN echo before; exit 5").with("q", "1"),
        of_base("run-not-found", "RUN [\"/nope\"]"),
        of_base("run-fails-force-rm", "RUN exit 6").with("forcerm", "1"),
        of_base("copy-missing", "COPY nope /x"),
        of_base("add-missing", "ADD nope /x"),
        of_base("copy-outside", "COPY ../x /x"),
        of_base("copy-from-nowhere", "COPY --from=nope /x /x"),
        of_base("unknown-instruction", "NONSENSE x"),
        of_base("several-unknown", "NONSENSE x\nOTHER y"),
        of_base("no-arguments", "RUN"),
        of_base("bad-expose", "EXPOSE x"),
        of_base("bad-flag", "COPY --nope f /f"),
        of_base("bad-env", "ENV A"),
        of_base("bad-json", "SHELL x"),
        of_base("bad-health", "HEALTHCHECK NONSENSE"),
        of_base("bad-signal", "STOPSIGNAL NONSENSE"),
        of_base("bad-on-build", "ONBUILD FROM x"),
        build("no-from", "RUN x\n"),
        build("argument-first", "ARG A\n"),
        build("bad-from", "FROM\n"),
        build("from-upper", "FROM Upper\n"),
        build("from-missing", "FROM localhost:1/nope:1\n"),
        build("from-empty-argument", "ARG A\nFROM $A\n"),
        build(
            "from-with-bad-platform",
            "FROM --platform=nonsense shapes/base:1\n",
        ),
        build("bad-stage-name", "FROM shapes/base:1 AS 1x\n"),
        build("empty", ""),
        build("only-comment", "# nothing\n"),
        build("bad-directive", "# escape=x\nFROM scratch\n"),
        build("no-such-target", &format!("{BASE}CMD x\n")).with("target", "nope"),
        build("no-dockerfile", "FROM scratch\n").with("dockerfile", "nope"),
        build("dockerfile-outside", "FROM scratch\n").with("dockerfile", "../nope"),
        build("dockerfile-is-folder", "")
            .tar(folder(&[("d/x", "FROM scratch\n")]))
            .with("dockerfile", "d"),
    ]
}

fn parameters() -> Vec<Ask> {
    let with = |name: &str, parameter: &str, value: &str| {
        build(name, &format!("{BASE}CMD parameter\n")).with(parameter, value)
    };
    vec![
        with("bad-tag", "t", "Upper"),
        with("tag-with-digest", "t", &format!("x@sha256:{}", "0".repeat(64))),
        with("bad-tag-2", "t", "x:-y"),
        with("bad-platform", "platform", "nonsense"),
        with("other-platform", "platform", "linux/s390x"),
        with("bad-arguments", "buildargs", "{"),
        with("arguments-list", "buildargs", "[]"),
        with("bad-labels", "labels", "{"),
        with("bad-ulimits", "ulimits", "{"),
        with("bad-cache-from", "cachefrom", "{"),
        with("bad-memory", "memory", "x"),
        with("bad-shm", "shmsize", "x"),
        with("negative-shm", "shmsize", "-1"),
        with("bad-isolation", "isolation", "hyperv"),
        with("security", "securityopt", r#"["seccomp=unconfined"]"#),
        with("squash", "squash", "1"),
        with("bad-version", "version", "3"),
        with("bad-host", "extrahosts", "nope"),
        with("bad-outputs", "outputs", "{"),
        build("bad-network", &format!("{BASE}RUN echo net\n")).with("networkmode", "x"),
    ]
}

fn bodies() -> Vec<Ask> {
    let post = |name: &str| Ask::post(&format!("build/{name}"), "/build").stream();
    vec![
        post("no-body"),
        post("garbage").tar("this is no tar"),
        post("empty-tar").tar(vec![0; 1024]),
        post("half-a-tar").tar(folder(&[("Dockerfile", "FROM scratch\n")])[..700].to_vec()),
        post("remote-nobody").with("remote", "http://127.0.0.1:1/x.tar"),
        post("remote-bad").with("remote", "ftp://127.0.0.1:1/x"),
        post("remote-git").with("remote", "git://127.0.0.1:1/x.git"),
        Ask::post("build/cancel", "/build/cancel").with("id", "nope"),
        Ask::post("build/cancel-no-id", "/build/cancel"),
    ]
}

fn cache() -> Vec<Ask> {
    let prune = |name: &str| {
        Ask::post(&format!("build-prune/{name}"), "/build/prune").loose(&["body.SpaceReclaimed"])
    };
    vec![
        prune("bad-filters").with("filters", "{"),
        prune("empty-filters").with("filters", ""),
        prune("unknown-filter").with("filters", r#"{"nonsense":["x"]}"#),
        prune("bad-until").with("filters", r#"{"until":["x"]}"#),
        prune("bad-storage").with("keep-storage", "x"),
        prune("until").with("filters", r#"{"until":["1000h"]}"#),
        prune("all").with("all", "1"),
    ]
}
