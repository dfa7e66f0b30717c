//! Instructions applied to an image's config alone, as `import --change` gives them.

use mica_dockerfile::{Dockerfile, Instruction};
use mica_oci::{ImageConfig, ImageId};

use crate::environment::Environment;
use crate::error::{Error, StepError};
use crate::ops::config::{self, Scope};
use crate::ops::workdir;
use crate::options::Options;
use crate::ports::BaseImage;
use crate::state::State;

/// The escape character of an instruction that stands in no file.
const ESCAPE: char = '\\';

/// Applies instructions to a config, one after the other; the history stays as it is. Only those that need no file system
/// are taken (moby's `validCommitCommands`).
///
/// # Errors
/// The first instruction that cannot be read, is not among them or makes no sense.
pub fn apply_changes(config: ImageConfig, changes: &[String]) -> Result<ImageConfig, Error> {
    let history = config.history.clone();
    let (globals, options) = (Environment::default(), Options::default());
    let scope = Scope {
        globals: &globals,
        options: &options,
        escape: ESCAPE,
    };
    let mut state = State::unchanged(BaseImage {
        manifest: None,
        id: ImageId(mica_oci::Digest::of(b"")),
        layers: config.rootfs.diff_ids.clone(),
        config,
    });
    for change in changes {
        let file = Dockerfile::parse(format!("FROM scratch\n{change}").as_bytes()).map_err(Error::Parse)?;
        let instructions = file.stages.iter().flat_map(|stage| &stage.instructions);
        for located in instructions {
            apply(&located.instruction, &mut state, &scope).map_err(|problem| problem.at(1, change))?;
        }
    }
    state.image.history = history;
    Ok(state.image)
}

fn apply(instruction: &Instruction, state: &mut State, scope: &Scope<'_>) -> Result<(), StepError> {
    match instruction {
        Instruction::Cmd(_)
        | Instruction::Entrypoint(_)
        | Instruction::Env(_)
        | Instruction::Expose(_)
        | Instruction::Healthcheck(_)
        | Instruction::Label(_)
        | Instruction::Onbuild(_)
        | Instruction::Stopsignal(_)
        | Instruction::User(_)
        | Instruction::Volume(_) => config::apply(instruction, state, scope),
        Instruction::Workdir(path) => workdir::set(path, state, scope),
        other => Err(StepError::Invalid(format!(
            "{} is not a valid change command",
            other.keyword()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<ImageConfig, Error> {
        let changes: Vec<String> = changes.iter().map(|change| change.to_string()).collect();
        apply_changes(ImageConfig::default(), &changes)
    }

    #[test]
    fn changes_are_seen_in_the_config_and_not_in_the_history() {
        let config = changed(&[
            "ENV A=b",
            "CMD [\"x\"]",
            "WORKDIR /a",
            "WORKDIR $A",
            "ONBUILD RUN x",
            "EXPOSE 80",
        ])
        .unwrap();
        // no PATH, as nothing is built
        assert_eq!(config.config.env.unwrap(), ["A=b"]);
        assert_eq!(config.config.cmd.unwrap(), ["x"]);
        assert_eq!(config.config.working_dir, "/a/b");
        assert_eq!(config.config.on_build.unwrap(), ["RUN x"]);
        assert!(config.config.exposed_ports.unwrap().contains_key("80/tcp"));
        assert!(config.history.is_empty());
    }

    #[test]
    fn what_needs_files_is_refused() {
        for (change, text) in [
            ("RUN x", "RUN is not a valid change command"),
            ("COPY a b", "COPY is not a valid change command"),
            ("NONSENSE x", "unknown instruction: NONSENSE"),
            ("STOPSIGNAL x", "STOPSIGNAL"),
        ] {
            let error = changed(&[change]).unwrap_err();
            let mut shown = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                shown.push_str(&source.to_string());
            }
            assert!(shown.contains(text), "{change}: {shown}");
        }
    }
}
