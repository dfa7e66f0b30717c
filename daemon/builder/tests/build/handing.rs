//! What clients hand to RUN: secrets and agents, where they are seen, and where nobody may ever find them.

use std::path::Path;
use std::sync::Arc;

use mica_builder::ports::MountSource;
use mica_builder::{Agent, Secret};

use crate::mounting::{again, context, last, said, world};
use crate::world::{World, options};

const VALUE: &str = "v4lue-that-nobody-finds";

fn with_secret() -> World {
    let mut world = world();
    world.secrets = vec![Secret {
        id: "token".into(),
        value: Arc::from(VALUE.as_bytes()),
    }];
    world
}

#[test]
fn secrets_are_files_or_variables() {
    let world = with_secret();
    let dockerfile = "FROM base\nWORKDIR /w\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,target=own,mode=0440,uid=5,gid=6 \
                      --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=absent,target=/absent run\n";
    world.make(dockerfile, &context());
    let ran = last(&world);
    let seen: Vec<_> = ran
        .mounts
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Secret { secret, access } => {
                assert_eq!(&*secret.value, VALUE.as_bytes());
                (
                    mount.target.to_str().unwrap(),
                    access.mode,
                    access.uid,
                    access.gid,
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [("/run/secrets/token", 0o400, 0, 0), ("/w/own", 0o440, 5, 6)]
    );
    assert_eq!(ran.secret_env.len(), 1);
    assert_eq!(ran.secret_env[0].0, "TOKEN");
    assert!(!ran.env.iter().any(|entry| entry.starts_with("TOKEN=")));
    assert!(!format!("{ran:?}").contains(VALUE));
}

#[test]
fn a_secret_is_in_nothing_that_stays() {
    let mut world = with_secret();
    let dockerfile = "FROM base\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=T run\n";
    let image = world.make(dockerfile, &context());
    assert!(!format!("{:?}", image.config).contains(VALUE));
    assert!(!format!("{:?}", world.events.lock().unwrap()).contains(VALUE));
    assert!(!anywhere(world.folder.path(), VALUE.as_bytes()));
    // neither its value nor its absence makes another step
    world.secrets[0].value = Arc::from(&b"other"[..]);
    assert!(again(&world, &options(), dockerfile, &context()).is_empty());
    world.secrets.clear();
    assert!(again(&world, &options(), dockerfile, &context()).is_empty());
    // its name and place do
    let renamed = dockerfile.replace("id=token,env", "id=other,env");
    assert_eq!(again(&world, &options(), &renamed, &context()).len(), 1);
    let failing = "FROM base\nRUN --mount=type=secret,id=token exit 1\n";
    world.secrets = with_secret().secrets;
    assert!(!world.refuse(failing, &context()).contains(VALUE));
}

/// Whether any file below has these bytes.
fn anywhere(place: &Path, bytes: &[u8]) -> bool {
    fs_err::read_dir(place).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return anywhere(&entry.path(), bytes);
        }
        let content = |path: &Path| fs_err::read(path).unwrap_or_default();
        kind.is_file()
            && content(&entry.path())
                .windows(bytes.len())
                .any(|part| part == bytes)
    })
}

#[test]
fn what_is_required_and_missing_is_told_with_the_way_out() {
    let world = with_secret();
    for (mount, wanted) in [
        (
            "type=secret,id=gone,required",
            "secret gone: not found: hand it over with --secret id=gone,src=FILE",
        ),
        (
            "type=ssh,required=true",
            "ssh agent default: not found: hand it over with --ssh default",
        ),
    ] {
        let error = world.refuse(&format!("FROM base\nRUN --mount={mount} x\n"), &context());
        assert!(error.starts_with("line 2:") && error.contains(wanted), "{error}");
        assert!(world.commands().is_empty());
    }
}

#[test]
fn agents_have_sockets_and_the_first_is_in_the_environment() {
    let mut world = world();
    let file = fs_err::File::open("/dev/null").unwrap();
    let socket = Arc::new(std::os::fd::OwnedFd::from(file.into_parts().0));
    let agent = |id: &str| Agent {
        id: id.into(),
        socket: socket.clone(),
    };
    world.agents = vec![agent("default"), agent("other")];
    let run = "RUN --mount=type=ssh --mount=type=ssh,id=other,mode=0666,uid=7 --mount=type=ssh,target=/s x";
    said(&world, &context(), run);
    let ran = last(&world);
    let seen: Vec<_> = ran
        .mounts
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Agent { agent, access } => (
                mount.target.to_str().unwrap(),
                agent.id.as_str(),
                access.mode,
                access.uid,
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("/run/buildkit/ssh_agent.0", "default", 0o600, 0),
            ("/run/buildkit/ssh_agent.1", "other", 0o666, 7),
            ("/s", "default", 0o600, 0),
        ]
    );
    let socket = "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned();
    assert!(ran.env.contains(&socket), "{:?}", ran.env);
    said(
        &world,
        &context(),
        "ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh y",
    );
    assert!(!last(&world).env.contains(&socket));
    world.agents.clear();
    said(&world, &context(), "RUN --mount=type=ssh z");
    let ran = last(&world);
    // BuildKit tells of it all the same, as a dockerd shows
    assert!(ran.mounts.is_empty() && ran.env.contains(&socket));
}
