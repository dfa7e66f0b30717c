//! What `RUN --mount` accepts, refuses and means.

use mica_dockerfile::{CacheSharing, Dockerfile, Instruction, MountKind, ParseError, Run};

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
