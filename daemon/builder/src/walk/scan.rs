//! What of a build the generator of its SBOM looks at.

use mica_oci::{Attestation, DiffId, Digest, Platform};
use mica_task::Chore;

use crate::attesting::Sbom;
use crate::chore::{Failure as _, chore};
use crate::error::{Error, StepError};
use crate::ops::transfer::{self, Origin, Transfer};
use crate::sbom::{Scanned, scan};
use crate::site::Place;
use crate::state::State;
use crate::walk::Walk;

/// The ARG that has stages looked at beside the image: `true` in a stage, or a list of their names.
const STAGES: &str = "BUILDKIT_SBOM_SCAN_STAGE";
/// The ARG that has the build context looked at.
const CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";

impl Walk<'_> {
    /// Lists what is in the finished image.
    pub(crate) fn list(&self, asked: &Sbom, image: &State) -> Result<Vec<Attestation>, Error> {
        let listing = Chore::Sbom {
            generator: asked.generator.clone(),
        };
        let listed = chore(self.site.reporter, &listing, || {
            let generator = self.image(&asked.generator, Some(&Platform::host()))?;
            scan(asked, generator, &self.scanned(image)?, &self.site)
        });
        listed.map_err(|problem| match problem.is_cancelled() {
            true => Error::Cancelled,
            false => {
                // what else is on its way is not wanted any more
                self.named.1.stop();
                self.site.layers.cancel.cancel();
                Error::Sbom {
                    generator: asked.generator.clone(),
                    problem,
                }
            }
        })
    }

    fn scanned(&self, image: &State) -> Result<Scanned, StepError> {
        let target = self.site.plan.target();
        let mut extras = Vec::new();
        if self.wants(CONTEXT, image, target) {
            extras.push(("context".to_owned(), vec![self.context_layer(target)?]));
        }
        for stage in self.site.plan.order.iter().filter(|stage| **stage != target) {
            let state = self.finished(*stage)?;
            if self.wants(STAGES, &state, *stage) {
                extras.push((self.stage_name(*stage), state.layers.clone()));
            }
        }
        Ok(Scanned {
            core: image.layers.clone(),
            extras,
        })
    }

    /// Whether an ARG is on for a stage: as the stage has it, or else as the whole Dockerfile or the client does.
    fn wants(&self, name: &str, state: &State, stage: usize) -> bool {
        let own = state.args.iter().rev().find(|(known, _)| known == name);
        let value = own.and_then(|(_, value)| value.as_deref());
        let scope = &self.site.scope;
        let value = value
            .or_else(|| scope.globals.get(name))
            .or_else(|| scope.options.build_arg(name));
        value.is_some_and(|value| is_on(value, &self.stage_name(stage)))
    }

    fn stage_name(&self, stage: usize) -> String {
        self.site
            .plan
            .name(stage)
            .map_or_else(|| format!("stage-{stage}"), str::to_owned)
    }

    /// The files of the build context, as far as they are not ignored.
    fn context_layer(&self, target: usize) -> Result<DiffId, StepError> {
        let name = "the build context, to be listed";
        let step = self.start(name, None, None);
        let place = Place {
            stage: target,
            instruction: 0,
            step,
            alike: Digest::of(name.as_bytes()),
        };
        let nothing = State::scratch(&self.site.plan.platform);
        let all = ["/".to_owned()];
        let what = Transfer::of_all(&all);
        let (outcome, _) =
            transfer::step(&what, &Origin::Context(self.context), &nothing, &self.site, place)?;
        self.done(step, outcome.cached, outcome.layer.digest().short());
        Ok(outcome.layer)
    }
}

/// Whether a value says yes, or names the stage.
fn is_on(value: &str, stage: &str) -> bool {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => true,
        names => names.split(',').any(|name| name.trim() == stage),
    }
}

#[cfg(test)]
mod tests {
    use super::is_on;

    #[test]
    fn stages_are_named_or_all_meant() {
        for (value, is) in [
            ("true", true),
            ("1", true),
            ("base,Build", true),
            ("false", false),
            ("", false),
            ("base", false),
        ] {
            assert_eq!(is_on(value, "build"), is, "{value}");
        }
    }
}
