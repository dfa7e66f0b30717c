//! What docker does and mica does not: containers and all that comes with them, each refused with what to use.

use crate::error::Error;
use crate::program;

/// Who runs containers of images that were built here.
const CONTAINERS: &str =
    "`{name} save IMAGE | podman load` hands an image to podman, whose `podman run IMAGE` does";

/// Docker's commands about containers, and the exit code each fails with.
const OF_CONTAINERS: [(&str, u8); 24] = [
    ("attach", 1),
    ("checkpoint", 1),
    ("commit", 1),
    ("cp", 1),
    ("create", 1),
    ("diff", 1),
    ("exec", 1),
    ("export", 1),
    ("inspect", 1),
    ("kill", 1),
    ("logs", 1),
    ("pause", 1),
    ("port", 1),
    ("rename", 1),
    ("restart", 1),
    ("rm", 1),
    ("run", 125),
    ("start", 1),
    ("stats", 1),
    ("stop", 1),
    ("top", 1),
    ("unpause", 1),
    ("update", 1),
    ("wait", 1),
];

/// Docker's commands about many machines.
const OF_SWARMS: [&str; 7] = ["config", "node", "secret", "service", "stack", "swarm", "task"];

/// What is said to a command of docker's that this program does not have; nothing if docker has none either. `group`
/// are the names before it.
pub(crate) fn refusal(group: &[String], name: &str) -> Option<Error> {
    let group: Vec<&str> = group.iter().map(String::as_str).collect();
    let (reason, code) = match group[..] {
        [] => of_root(name)?,
        ["container"] => of_containers(name)?,
        ["volume"] if matches!(name, "create" | "inspect" | "rm" | "update") => (
            "there are no volumes without containers; a build keeps files from run to run in \
              `RUN --mount=type=cache`"
                .to_owned(),
            1,
        ),
        ["network"] if matches!(name, "connect" | "create" | "disconnect" | "inspect" | "rm") => (
            "there are no networks without containers; a build takes --network=host or none".to_owned(),
            1,
        ),
        ["plugin"]
            if matches!(
                name,
                "create" | "disable" | "enable" | "inspect" | "install" | "push" | "rm" | "set" | "upgrade"
            ) =>
        {
            ("the daemon takes no plugins".to_owned(), 1)
        }
        ["context"] if matches!(name, "create" | "export" | "import" | "rm" | "update") => (
            "the only context is default; --host or MICA_HOST=unix:///path/of/socket names another daemon"
                .to_owned(),
            1,
        ),
        ["buildx" | "builder"] => (of_buildx(name)?.to_owned(), 1),
        ["buildx", "imagetools"] if name == "create" => (
            "manifests are made by a build or taken as they are: use tag and push".to_owned(),
            1,
        ),
        ["manifest"] if matches!(name, "annotate" | "create" | "push" | "rm") => (
            "manifests are made by a build or taken as they are: use tag and push".to_owned(),
            1,
        ),
        _ => return None,
    };
    let command = group.iter().copied().chain([name]).collect::<Vec<_>>().join(" ");
    let program = program::name();
    Some(Error::Elsewhere {
        message: format!("{program} {command}: {reason}"),
        code,
    })
}

fn of_root(name: &str) -> Option<(String, u8)> {
    if OF_SWARMS.contains(&name) {
        return Some((
            "mica does not run containers, on one machine or many".to_owned(),
            1,
        ));
    }
    match name {
        "compose" => Some((
            "mica does not run containers: build each image with `build`, and leave the rest to what runs containers, such \
             as podman-compose"
                .to_owned(),
            1,
        )),
        "trust" => Some(("mica signs nothing: sign what was pushed with cosign".to_owned(), 1)),
        name => of_containers(name),
    }
}

fn of_containers(name: &str) -> Option<(String, u8)> {
    let (_, code) = OF_CONTAINERS.iter().find(|(known, _)| *known == name)?;
    let instead = CONTAINERS.replace("{name}", program::name());
    Some((format!("mica does not run containers: {instead}"), *code))
}

fn of_buildx(name: &str) -> Option<&'static str> {
    match name {
        "create" | "rm" | "stop" => Some(
            "there is one builder, the daemon itself, and no need to make or remove one: leave this out; \
             `builder prune` empties its cache",
        ),
        "bake" => Some("bake files are not read: run `build` once for each target"),
        "debug" | "dap" => Some("use `debug BUILD`, which opens a shell where a build failed"),
        "history" => Some("use `logs`, which lists builds and shows their output"),
        "install" | "uninstall" => Some("`build` is what `buildx build` is already"),
        "policy" => Some("policies are not read"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_has_is_refused_and_the_rest_is_unknown() {
        for (group, name, words, code) in [
            (
                &[][..],
                "run",
                "mica run: mica does not run containers: `mica save IMAGE | podman load` hands",
                125,
            ),
            (&[], "exec", "mica exec: mica does not run containers: ", 1),
            (&[], "compose", "mica compose: mica does not run containers: ", 1),
            (
                &["container"],
                "start",
                "mica container start: mica does not run containers: ",
                1,
            ),
            (
                &["volume"],
                "create",
                "mica volume create: there are no volumes",
                1,
            ),
            (
                &["buildx"],
                "bake",
                "mica buildx bake: bake files are not read",
                1,
            ),
            (
                &["context"],
                "create",
                "mica context create: the only context is default",
                1,
            ),
        ] {
            let group: Vec<String> = group.iter().map(|name| (*name).to_owned()).collect();
            let error = refusal(&group, name).unwrap();
            assert!(error.to_string().starts_with(words), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            assert_eq!(error.exit_code(), code);
        }
        for (group, name) in [
            (&[][..], "foo"),
            (&["image"], "run"),
            (&["buildx"], "run"),
            (&[], "prune"),
        ] {
            let group: Vec<String> = group.iter().map(|name| (*name).to_owned()).collect();
            assert!(refusal(&group, name).is_none(), "{name}");
        }
    }
}
