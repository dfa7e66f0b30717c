//! What a stage is after some of its instructions.

use mica_oci::{ChainId, DiffId, History, ImageConfig, Platform};

use crate::environment::{DEFAULT_PATH, Environment};
use crate::inline::Origins;
use crate::ports::BaseImage;
use crate::site::Outcome;

/// What a stage is after some of its instructions. History entries of instructions that made no layer have no time yet.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// What the image would be.
    pub image: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What expansion and RUN see: the image's variables and ARGs, the last writer wins.
    pub env: Environment,
    /// ARGs declared so far with the values they had, for histories.
    pub args: Vec<(String, Option<String>)>,
    /// Whether this stage has a CMD of its own.
    pub has_cmd: bool,
    /// What made its layers.
    pub origins: Origins,
    /// How many of the history's entries are from the base image, through all stages in between.
    pub inherited: usize,
}

/// What history entries of built steps are marked with.
const COMMENT: &str = "buildkit.dockerfile.v0";

impl State {
    /// `FROM scratch`.
    pub(crate) fn scratch(platform: &Platform) -> Self {
        let mut image = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        image.config.working_dir = "/".into();
        Self::with_path(Self {
            image,
            layers: Vec::new(),
            env: Environment::default(),
            args: Vec::new(),
            has_cmd: false,
            origins: Origins::default(),
            inherited: 0,
        })
    }

    /// `FROM` an image.
    pub(crate) fn of(base: BaseImage) -> Self {
        Self::with_path(Self::unchanged(base))
    }

    /// An image as it is: what is not built is not given a PATH.
    pub(crate) fn unchanged(base: BaseImage) -> Self {
        let mut image = base.config;
        Origins::forget(&mut image);
        image.rootfs.diff_ids.clone_from(&base.layers);
        pad_history(&mut image, base.layers.len());
        let env = Environment::of(image.config.env.as_deref().unwrap_or_default());
        Self {
            inherited: image.history.len(),
            image,
            layers: base.layers,
            env,
            args: Vec::new(),
            has_cmd: false,
            origins: Origins::default(),
        }
    }

    /// `FROM` an earlier stage: all of it, its ARGs included, but not that it had a CMD.
    pub(crate) fn on(stage: &Self) -> Self {
        Self {
            has_cmd: false,
            ..stage.clone()
        }
    }

    fn with_path(mut self) -> Self {
        if self.env.get("PATH").is_none() {
            self.set_env("PATH", DEFAULT_PATH);
        }
        self
    }

    /// Sets a variable of the image.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        let mut texts = Environment::of(self.image.config.env.as_deref().unwrap_or_default());
        texts.set(name, value);
        self.image.config.env = Some(texts.texts());
        self.env.set(name, value);
    }

    /// What the layers are, as one identity.
    pub(crate) fn chain(&self) -> ChainId {
        ChainId::of(&self.layers)
    }

    /// The shell of shell forms.
    pub(crate) fn shell(&self) -> Vec<String> {
        match &self.image.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".into(), "-c".into()],
        }
    }

    /// The working directory, `/` where the image names none.
    pub(crate) fn cwd(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            cwd => cwd,
        }
    }

    /// Notes an instruction that made no layer.
    pub(crate) fn note(&mut self, created_by: String) {
        self.image.history.push(History {
            created_by,
            comment: COMMENT.into(),
            empty_layer: true,
            ..History::default()
        });
    }

    /// Notes an instruction that made a layer, and when.
    pub(crate) fn note_layer(&mut self, created_by: String, outcome: &Outcome) {
        self.origins.note(self.layers.len(), outcome);
        self.layers.push(outcome.layer);
        self.image.rootfs.diff_ids.push(outcome.layer);
        self.image.history.push(History {
            created: Some(outcome.created),
            created_by,
            comment: COMMENT.into(),
            ..History::default()
        });
    }
}

/// Makes as many history entries say that they made a layer as there are layers.
fn pad_history(image: &mut ImageConfig, layers: usize) {
    let entries = image.history.iter().filter(|entry| !entry.empty_layer).count();
    let created = image.created;
    image.history.extend((entries..layers).map(|_| History {
        created,
        ..History::default()
    }));
    let surplus = image
        .history
        .iter_mut()
        .rev()
        .filter(|entry| !entry.empty_layer)
        .take(entries.saturating_sub(layers));
    surplus.for_each(|entry| entry.empty_layer = true);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::{Digest, ImageId};

    fn base(history: Vec<History>, layers: usize) -> State {
        let config = ImageConfig {
            history,
            ..ImageConfig::default()
        };
        let layers = (0..layers).map(|n| DiffId(Digest::of(&[n as u8]))).collect();
        State::of(BaseImage {
            manifest: None,
            id: ImageId(Digest::of(b"")),
            config,
            layers,
        })
    }

    #[test]
    fn a_base_without_path_gets_one() {
        let state = base(Vec::new(), 0);
        assert_eq!(state.image.config.env.unwrap(), [format!("PATH={DEFAULT_PATH}")]);
    }

    #[test]
    fn history_has_an_entry_for_every_layer() {
        let entry = |empty_layer| History {
            empty_layer,
            ..History::default()
        };
        let count = |state: &State| state.image.history.iter().filter(|e| !e.empty_layer).count();
        assert_eq!(count(&base(vec![entry(true)], 2)), 2);
        assert_eq!(count(&base(vec![entry(false), entry(false), entry(false)], 1)), 1);
        assert_eq!(count(&base(vec![entry(false), entry(true)], 1)), 1);
    }
}
